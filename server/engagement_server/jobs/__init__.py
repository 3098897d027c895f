"""Background jobs of a partition."""
