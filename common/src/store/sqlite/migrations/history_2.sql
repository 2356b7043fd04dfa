-- The last beat of each node's heart.
CREATE TABLE heartbeats (
    node TEXT NOT NULL PRIMARY KEY,
    generation INTEGER NOT NULL,
    beats INTEGER NOT NULL -- rises within a generation
) STRICT, WITHOUT ROWID;
