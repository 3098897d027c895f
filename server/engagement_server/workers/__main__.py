"""Runs a worker as `python -m engagement_server.workers`."""

import gc
import sys

# Imports create many objects and no garbage.
gc.disable()
from engagement_server.workers.worker import main  # noqa: E402

gc.enable()
sys.exit(main())
