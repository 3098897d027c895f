"""Several processes on one port: workers serve calls, and their parent writes for all of them."""
