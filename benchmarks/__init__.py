"""Measures what the server does on this machine and compares it with its targets."""
