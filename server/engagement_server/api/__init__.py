"""Handlers of the contract's services: each converts a request, asks the layer below, and converts back."""
