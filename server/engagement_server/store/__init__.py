"""The embedded store: a SQLite file that is written by commits and answers questions."""
