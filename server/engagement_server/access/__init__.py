"""Who calls, and what they may do: identities, grants, scopes, quotas, masking, audit. No gRPC."""
