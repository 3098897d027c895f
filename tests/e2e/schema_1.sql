-- The embedded store. Positions are `account number << 40 | sequence`: an account's events lie together.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    number        INTEGER PRIMARY KEY,
    account_id    TEXT NOT NULL UNIQUE,
    last_sequence INTEGER NOT NULL
);

-- An envelope and opaque bytes. The only random key is the event id: time-ordered ids keep it local.
CREATE TABLE events (
    position        INTEGER PRIMARY KEY,
    account         INTEGER NOT NULL,
    event_id        TEXT NOT NULL,
    attribute_set   INTEGER NOT NULL,
    authenticated   INTEGER NOT NULL,
    server_time_ms  INTEGER NOT NULL,
    receive_time_ms INTEGER NOT NULL,
    payload         BLOB NOT NULL
);
CREATE UNIQUE INDEX events_by_id ON events (account, event_id);

-- Bounds of the event times in every run of 4,096 positions, so that a walk over a time range skips the
-- runs outside it. Events come nearly in the order of their times: an index on times would say no more.
CREATE TABLE blocks (
    block  INTEGER PRIMARY KEY,
    min_ms INTEGER NOT NULL,
    max_ms INTEGER NOT NULL
);

-- Finds candidates by values and ids; what it finds is checked against the event itself. It holds no
-- text, so that deleting a row with the old text leaves nothing behind (secure-delete).
CREATE VIRTUAL TABLE search USING fts5 (
    attributes, consumer_id, conversation_id,
    content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 0'
);
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
-- Merges are paced by the server (docs/decisions/0009-fts-merges.md); the last is for emergencies.
INSERT INTO search (search, rank) VALUES ('automerge', 0);
INSERT INTO search (search, rank) VALUES ('usermerge', 16);
INSERT INTO search (search, rank) VALUES ('crisismerge', 64);

CREATE TABLE uploads (
    number            INTEGER PRIMARY KEY,
    account_id        TEXT NOT NULL,
    upload_id         TEXT NOT NULL,
    owner             TEXT NOT NULL,
    is_finished       INTEGER NOT NULL,
    committed_through INTEGER NOT NULL,
    accepted          INTEGER NOT NULL,
    duplicate         INTEGER NOT NULL,
    rejected          INTEGER NOT NULL,
    suppressed        INTEGER NOT NULL,
    create_time_ms    INTEGER NOT NULL,
    update_time_ms    INTEGER NOT NULL,
    UNIQUE (account_id, upload_id)
);

-- The events of uploads that were not accepted.
CREATE TABLE upload_results (
    upload         INTEGER NOT NULL,
    chunk_sequence INTEGER NOT NULL,
    item           INTEGER NOT NULL,
    event_id       TEXT NOT NULL,
    outcome        INTEGER NOT NULL,
    position       INTEGER NOT NULL,
    error          BLOB NOT NULL,
    PRIMARY KEY (upload, chunk_sequence, item)
) WITHOUT ROWID;
CREATE INDEX upload_rejections ON upload_results (upload, chunk_sequence, item) WHERE outcome = 3;
