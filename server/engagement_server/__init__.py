"""The engagement attributes server."""
