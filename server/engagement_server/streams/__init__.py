"""The server's side of streams, without gRPC: uploads in, subscriptions out."""
