"""The management port: health and metrics over HTTP, for probes and monitoring."""
