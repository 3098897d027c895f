-- From schema version 1 to 2: retention, entities, erasures and profiles; the search index is made anew.

ALTER TABLE accounts ADD COLUMN expired_sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN matched_status TEXT;
ALTER TABLE events ADD COLUMN matched_type TEXT;
CREATE INDEX upload_results_by_event ON upload_results (event_id);

CREATE TABLE entity_lists (
    account INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    closed  INTEGER NOT NULL,
    PRIMARY KEY (account, kind)
) WITHOUT ROWID;
CREATE TABLE entities (
    number  INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    folded  TEXT NOT NULL,
    name    TEXT NOT NULL,
    UNIQUE (account, kind, folded)
);

CREATE TABLE erased_ids (
    account INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) WITHOUT ROWID;
CREATE TABLE suppressions (
    account INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) WITHOUT ROWID;

CREATE TABLE erasures (
    number           INTEGER PRIMARY KEY,
    account          INTEGER NOT NULL,
    erasure_id       TEXT NOT NULL,
    request_id       TEXT NOT NULL,
    kind             INTEGER NOT NULL,
    subject          TEXT,
    subject_hash     BLOB NOT NULL,
    suppress         INTEGER NOT NULL,
    through_position INTEGER NOT NULL,
    progress         INTEGER NOT NULL,
    erased_events    INTEGER NOT NULL,
    create_time_ms   INTEGER NOT NULL,
    complete_time_ms INTEGER,
    UNIQUE (account, erasure_id),
    UNIQUE (account, request_id)
);
CREATE INDEX erasures_running ON erasures (number) WHERE complete_time_ms IS NULL;

CREATE TABLE notices (
    position   INTEGER PRIMARY KEY,
    erasure_id TEXT NOT NULL,
    erased     BLOB NOT NULL
);

CREATE TABLE profiles (
    account          INTEGER NOT NULL,
    consumer_id      TEXT NOT NULL,
    through_position INTEGER NOT NULL,
    oldest_position  INTEGER NOT NULL,
    merged           BLOB NOT NULL,
    replaced         BLOB NOT NULL,
    PRIMARY KEY (account, consumer_id)
) WITHOUT ROWID;
CREATE INDEX profiles_by_age ON profiles (account, oldest_position);

DROP TABLE search;
CREATE VIRTUAL TABLE search USING fts5 (
    attributes, consumer_id, conversation_id, customer_id,
    content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 0'
);
INSERT INTO search (search, rank) VALUES ('automerge', 0);
INSERT INTO search (search, rank) VALUES ('usermerge', 16);
INSERT INTO search (search, rank) VALUES ('crisismerge', 64);
