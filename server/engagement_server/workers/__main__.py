"""Runs a worker as `python -m engagement_server.workers`."""

import gc
import os
import sys

# As `serve` does: gRPC reads it when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# Imports create many objects and no garbage.
gc.disable()
from engagement_server.workers.worker import main  # noqa: E402

gc.enable()
sys.exit(main())
