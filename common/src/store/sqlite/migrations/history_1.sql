-- History, who may read it, and who still waits for which part of it.

CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id BLOB NOT NULL,
    checked INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A rowid table: rows are appended where they come, and only the small index is written here and there. Buckets,
-- by which the CQL store bounds its partitions, have no meaning in a B-tree, so there is no table of them.
CREATE TABLE messages (
    channel_id BLOB NOT NULL,
    message_id BLOB NOT NULL,
    conversation BLOB NOT NULL,
    sender TEXT NOT NULL,
    kind INTEGER NOT NULL,
    payload BLOB NOT NULL,
    meant_for BLOB NOT NULL -- participation ids, one behind the other
) STRICT;
CREATE UNIQUE INDEX messages_in_order ON messages (channel_id, message_id);

CREATE TABLE channel_members (
    channel_id BLOB NOT NULL,
    passport TEXT NOT NULL,
    since BLOB NOT NULL,
    PRIMARY KEY (channel_id, passport)
) STRICT, WITHOUT ROWID;

CREATE TABLE channels_of (
    passport TEXT NOT NULL,
    channel_id BLOB NOT NULL,
    since BLOB NOT NULL,
    last_read BLOB,
    PRIMARY KEY (passport, channel_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE participations (
    passport TEXT NOT NULL,
    participation BLOB NOT NULL,
    conversation BLOB NOT NULL,
    switchboard TEXT NOT NULL,
    generation INTEGER NOT NULL,
    live_cursor BLOB,
    offline_cursor BLOB,
    closed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (passport, participation)
) STRICT, WITHOUT ROWID;

CREATE TABLE participation_channels (
    passport TEXT NOT NULL,
    participation BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    PRIMARY KEY (passport, participation, channel_id)
) STRICT, WITHOUT ROWID;

-- Messages to principals who are away. Read from the watermark on; gone once `expires` has passed.
CREATE TABLE inbox (
    passport TEXT NOT NULL,
    week INTEGER NOT NULL, -- since 1970
    inbox_id BLOB NOT NULL, -- made at insertion
    message_id BLOB NOT NULL,
    sender TEXT NOT NULL,
    payload BLOB NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (passport, week, inbox_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox_watermarks (
    passport TEXT NOT NULL PRIMARY KEY,
    watermark BLOB NOT NULL
) STRICT, WITHOUT ROWID;
