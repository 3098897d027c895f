"""What a server tells about single calls: log lines and traces. It knows neither gRPC nor the store."""
