"""The commit log, which orders commits and makes them durable."""
