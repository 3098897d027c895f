"""The services of the contract: each converts a request, asks the layer below, and converts back."""
