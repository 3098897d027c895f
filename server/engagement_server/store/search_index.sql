CREATE VIRTUAL TABLE search USING fts5 (
    attributes, consumer_id, conversation_id, customer_id,
    content = '', columnsize = 0, tokenize = 'ascii'
);
-- The server paces the merges (docs/decisions/0009-fts-merges.md); crisis merges are the last resort.
INSERT INTO search (search, rank) VALUES ('automerge', 0);
INSERT INTO search (search, rank) VALUES ('usermerge', 16);
INSERT INTO search (search, rank) VALUES ('crisismerge', 64);
