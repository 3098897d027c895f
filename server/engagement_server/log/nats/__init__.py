"""A commit log replicated by NATS JetStream, with a view of it on each node."""
