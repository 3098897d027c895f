"""Measures the server on this machine and compares it with its targets."""
