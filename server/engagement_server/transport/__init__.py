"""How calls reach the server: certificates and who may reach an address. It knows neither gRPC nor HTTP."""
