"""A commit log replicated over NATS JetStream servers, followed by a view on each node."""
