"""Several processes on one port: workers take calls, and their parent writes for all of them."""
