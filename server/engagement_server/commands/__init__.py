"""What the server adds to the command line."""
