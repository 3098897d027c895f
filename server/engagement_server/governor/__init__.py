"""Fairness between callers, and the memory that all of them together may take."""
