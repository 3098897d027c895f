-- From schema version 2 to 3.

CREATE TABLE log_position (
    sequence   INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    time_ms    INTEGER NOT NULL
);
CREATE TABLE publishers (
    publisher   TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL,
    time_ms     INTEGER NOT NULL
) WITHOUT ROWID;
