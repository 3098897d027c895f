"""Snapshots of views, from which new and stale nodes are restored."""
