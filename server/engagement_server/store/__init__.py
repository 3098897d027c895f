"""The embedded store: commits write a SQLite file, readers query it."""
