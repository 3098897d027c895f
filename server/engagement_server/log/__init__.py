"""The commit log: what makes commits durable and gives them their order."""
