-- The embedded store. A position is `account number << 40 | sequence`: an account's events are adjacent.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    number        INTEGER PRIMARY KEY,
    account_id    TEXT NOT NULL UNIQUE,
    last_sequence INTEGER NOT NULL,
    -- Events up to this sequence have expired, and so have the cursors before it.
    expired_sequence INTEGER NOT NULL DEFAULT 0,
    -- How many events are stored: fewer than sequences, which erased events and notices keep.
    events INTEGER NOT NULL DEFAULT 0,
    -- Bytes of those events as producers sent them, without what is derived from them.
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    -- Who sent the first event, by the name in the grants; empty: nobody was asked, or there is none yet.
    principal TEXT NOT NULL DEFAULT ''
);
CREATE INDEX accounts_by_principal ON accounts (principal) WHERE principal <> '';

-- An envelope and opaque bytes. The event id is the only random key; time-ordered ids keep it local.
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
    matched_type    TEXT,
    -- Number of the upload that brought it, and number of the event there; NULL if a single call did.
    upload          INTEGER,
    upload_event    INTEGER
);
CREATE UNIQUE INDEX events_by_id ON events (account, event_id);

-- Bounds of the event times and of the times of acceptance in every block of 4,096 positions, so that a scan for a
-- time range skips the blocks outside it. Events arrive nearly in the order of their times: an index on times would
-- add little.
CREATE TABLE blocks (
    block  INTEGER PRIMARY KEY,
    min_ms INTEGER NOT NULL,
    max_ms INTEGER NOT NULL,
    min_receive_ms INTEGER NOT NULL,
    max_receive_ms INTEGER NOT NULL
);

-- search_index.sql declares the search index, which can be rebuilt from the events. It finds candidates by values and by
-- ids (hashed to one token), which are then checked against the events. It is contentless: deleting a row takes its old
-- text, and merges then drop both. Text arrives cut into words (`words.py`): its tokenizer splits at ASCII characters only.

CREATE TABLE uploads (
    -- Never reused: events that outlive the record of their upload still have its number.
    number            INTEGER PRIMARY KEY AUTOINCREMENT,
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
    salt              TEXT NOT NULL,
    source_events     INTEGER,
    source_sha256     TEXT,
    source_name       TEXT NOT NULL,
    unreadable        INTEGER NOT NULL,
    -- Whom it belongs to, by the name in the grants; empty: everybody of the account.
    principal         TEXT NOT NULL DEFAULT '',
    UNIQUE (account_id, upload_id)
);
-- Lists go by number.
CREATE INDEX uploads_by_account ON uploads (account_id);

-- The last chunks of each upload: what they held, and how far they reach.
CREATE TABLE upload_chunks (
    upload         INTEGER NOT NULL,
    sequence       INTEGER NOT NULL,
    digest         BLOB NOT NULL,
    events_through INTEGER NOT NULL,
    source_events  INTEGER,
    source_sha256  TEXT,
    PRIMARY KEY (upload, sequence)
) WITHOUT ROWID;

-- The events of uploads that were not accepted.
CREATE TABLE upload_results (
    upload         INTEGER NOT NULL,
    chunk_sequence INTEGER NOT NULL,
    event_index    INTEGER NOT NULL,
    event_id       TEXT NOT NULL,
    outcome        INTEGER NOT NULL,
    position       INTEGER NOT NULL,
    error          BLOB NOT NULL,
    event_number   INTEGER NOT NULL,
    time_ms        INTEGER NOT NULL,
    PRIMARY KEY (upload, chunk_sequence, event_index)
) WITHOUT ROWID;
CREATE INDEX upload_rejections ON upload_results (upload, chunk_sequence, event_index) WHERE outcome = 3;
-- Erasures find the results of their events.
CREATE INDEX upload_results_by_event ON upload_results (event_id);
-- Salted hashes of the subjects of rejected events, packed by chunk (`rejection_subjects.py`): erasures find those that
-- were never stored.
CREATE TABLE rejection_subjects (
    -- `upload << 32 | chunk_sequence`
    chunk  INTEGER PRIMARY KEY,
    hashes BLOB NOT NULL
);

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

-- Salted hashes of the ids of erased events, and of suppressed subjects.
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

-- One that has found and suppressed nothing leaves no row.
CREATE TABLE erasures (
    number             INTEGER PRIMARY KEY,
    account            INTEGER NOT NULL,
    erasure_id         TEXT NOT NULL,
    request_id         TEXT NOT NULL,
    suppress           INTEGER NOT NULL,
    through_position   INTEGER NOT NULL,
    erased_events      INTEGER NOT NULL,
    cleared_rejections INTEGER NOT NULL,
    create_time_ms     INTEGER NOT NULL,
    complete_time_ms   INTEGER,
    -- Rejected events are cleared through this chunk of this upload; NULL: all are.
    cleared_upload     INTEGER,
    cleared_chunk      INTEGER,
    UNIQUE (account, erasure_id),
    UNIQUE (account, request_id)
);
CREATE INDEX erasures_by_account ON erasures (account);
CREATE INDEX erasures_running ON erasures (number) WHERE complete_time_ms IS NULL;
-- The subjects and single events of erasures, in the order of the request. `value` is NULL once nothing is left of it.
-- Kinds are numbers of `SubjectKind`. `lift_time_ms` is when the suppression by this erasure was lifted.
CREATE TABLE erasure_subjects (
    erasure      INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    value        TEXT,
    hash         BLOB NOT NULL,
    progress     INTEGER NOT NULL,
    lift_time_ms INTEGER,
    PRIMARY KEY (erasure, number)
) WITHOUT ROWID;
CREATE INDEX erasure_subjects_by_hash ON erasure_subjects (hash);

-- Subscribers get notices in the order of the log. `erased` are positions of events, packed as u64.
CREATE TABLE notices (
    position   INTEGER PRIMARY KEY,
    erasure_id TEXT NOT NULL,
    erased     BLOB NOT NULL
);

-- Folds of consumers and of customer ids with many events, so that a profile reads only the events after them.
CREATE TABLE profiles (
    account          INTEGER NOT NULL,
    -- One of them is ''.
    consumer_id      TEXT NOT NULL,
    customer_id      TEXT NOT NULL,
    through_position INTEGER NOT NULL,
    oldest_position  INTEGER NOT NULL,
    merged           BLOB NOT NULL,
    replaced         BLOB NOT NULL,
    -- Of the server that folded the events; another contract would fold them to other values.
    fingerprint      TEXT NOT NULL,
    PRIMARY KEY (account, consumer_id, customer_id)
) WITHOUT ROWID;
CREATE INDEX profiles_by_age ON profiles (account, oldest_position);

-- How long events are kept, and why none expires now: one row.
CREATE TABLE retention (
    -- NULL until the first server has set it.
    retention_ms        INTEGER,
    -- Events accepted before this may go however many they are: an operator has confirmed it.
    confirmed_before_ms INTEGER NOT NULL,
    -- The hold: NULL while expiry goes on. The reason is a number of `ExpiryHold.Reason`.
    hold_reason         INTEGER,
    hold_since_ms       INTEGER,
    hold_commit_ms      INTEGER,
    hold_clock_ms       INTEGER,
    hold_sequences      INTEGER
);
INSERT INTO retention (confirmed_before_ms) VALUES (0);

-- The position of a view in its replicated log, one row; 0 and "" if the store is its own log.
CREATE TABLE log_position (
    -- The last message that was applied.
    sequence   INTEGER NOT NULL,
    -- Its id, which tells a log that was replaced from the one it replaced.
    message_id TEXT NOT NULL,
    -- The time of the latest commit; if the store is its own log, to a minute.
    time_ms    INTEGER NOT NULL,
    -- Folded over all messages up to this one, and what came of them.
    digest     BLOB NOT NULL
);
-- The digest at the last boundaries: of this view (voter '') and as other views have voted for in the log.
CREATE TABLE log_digests (
    sequence INTEGER NOT NULL,
    voter    TEXT NOT NULL,
    digest   BLOB NOT NULL,
    PRIMARY KEY (sequence, voter)
) WITHOUT ROWID;
-- Messages that an operator had all views skip.
CREATE TABLE log_skips (
    sequence    INTEGER PRIMARY KEY,
    -- Whether this view had applied it before; then it differs from the others.
    was_applied INTEGER NOT NULL
);
-- The last commit of each publisher: a commit that is in the log twice is applied once.
CREATE TABLE publishers (
    publisher   TEXT PRIMARY KEY,
    last_number INTEGER NOT NULL,
    time_ms     INTEGER NOT NULL
) WITHOUT ROWID;
