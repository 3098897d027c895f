-- The embedded store. Positions are `account number << 40 | sequence`: an account's events lie together.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    number        INTEGER PRIMARY KEY,
    account_id    TEXT NOT NULL UNIQUE,
    last_sequence INTEGER NOT NULL,
    -- Events up to this sequence are gone because of their age; cursors before it have expired.
    expired_sequence INTEGER NOT NULL DEFAULT 0
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
    payload         BLOB NOT NULL,
    matched_status  TEXT,
    matched_type    TEXT
);
CREATE UNIQUE INDEX events_by_id ON events (account, event_id);

-- Bounds of the event times in every run of 4,096 positions, so that a walk over a time range skips the
-- runs outside it. Events come nearly in the order of their times: an index on times would say no more.
CREATE TABLE blocks (
    block  INTEGER PRIMARY KEY,
    min_ms INTEGER NOT NULL,
    max_ms INTEGER NOT NULL
);

-- Finds candidates by values and ids (hashed to one token); what it finds is checked against the event
-- itself. It holds no text: a row is deleted with its old text, and merges then drop both.
CREATE VIRTUAL TABLE search USING fts5 (
    attributes, consumer_id, conversation_id, customer_id,
    content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 0'
);
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
    event_index    INTEGER NOT NULL,
    event_id       TEXT NOT NULL,
    outcome        INTEGER NOT NULL,
    position       INTEGER NOT NULL,
    error          BLOB NOT NULL,
    PRIMARY KEY (upload, chunk_sequence, event_index)
) WITHOUT ROWID;
CREATE INDEX upload_rejections ON upload_results (upload, chunk_sequence, event_index) WHERE outcome = 3;
-- An erasure blanks the ids of its events here too.
CREATE INDEX upload_results_by_event ON upload_results (event_id);

-- The account's lists of customer statuses and types: kinds are numbers of `EntityKind`.
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

-- What is left of erased events and of suppressed subjects: salted hashes. Kinds are numbers of `SubjectKind`.
CREATE TABLE tombstones (
    account INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) WITHOUT ROWID;
CREATE TABLE suppressions (
    account INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) WITHOUT ROWID;

-- `subject` is blank once nothing is left to erase.
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

-- Told to subscribers in their place among the events: positions that were erased, packed as u64.
CREATE TABLE notices (
    position   INTEGER PRIMARY KEY,
    erasure_id TEXT NOT NULL,
    erased     BLOB NOT NULL
);

-- Folded events of consumers who have many, so that a profile reads only those behind them.
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

-- How far a view has followed a replicated log: one row; none where the store is its own log.
CREATE TABLE log_position (
    -- Of the last message that was applied.
    sequence   INTEGER NOT NULL,
    -- Its id, by which a log that was replaced is told from the one that was followed.
    message_id TEXT NOT NULL,
    -- The time of the latest commit; no commit gets an earlier one.
    time_ms    INTEGER NOT NULL
);
-- The last commit of each publisher of the log: one that stands in the log twice is applied once.
CREATE TABLE publishers (
    publisher   TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL,
    time_ms     INTEGER NOT NULL
) WITHOUT ROWID;
