"""Runs the command line as `python -m engagement.cli`."""

import sys

from engagement.cli.entry import main

sys.exit(main())
