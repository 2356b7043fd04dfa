-- Accounts, rosters, groups. Ids are 16-byte blobs; times are milliseconds since 1970; 64-bit numbers without a
-- sign are kept as the signed number of the same bits.

CREATE TABLE store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id BLOB NOT NULL,
    checked INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE accounts (
    passport TEXT NOT NULL PRIMARY KEY,
    claim BLOB NOT NULL,
    credential_epoch INTEGER NOT NULL,
    password_hash TEXT NOT NULL,
    sealed_password BLOB,
    created INTEGER NOT NULL,
    friendly_name TEXT NOT NULL,
    strangers INTEGER NOT NULL DEFAULT 0,
    add_prompt INTEGER NOT NULL DEFAULT 0,
    list_version INTEGER NOT NULL,
    lists_changed INTEGER NOT NULL,
    settings_changed INTEGER NOT NULL,
    reverse_digest INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A cell for each property that is set, by its three letters on the wire.
CREATE TABLE properties (
    passport TEXT NOT NULL,
    property TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (passport, property)
) STRICT, WITHOUT ROWID;

CREATE TABLE last_active (
    passport TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One cell for each list, so that two sides never overwrite one another. A row with none set is no contact; its
-- names wait for the next time.
CREATE TABLE roster (
    owner TEXT NOT NULL,
    contact TEXT NOT NULL,
    forward INTEGER NOT NULL DEFAULT 0,
    allow INTEGER NOT NULL DEFAULT 0,
    block INTEGER NOT NULL DEFAULT 0,
    reverse INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    label TEXT,    -- what the owner calls the contact
    own_name TEXT, -- what the contact called itself
    PRIMARY KEY (owner, contact)
) STRICT, WITHOUT ROWID;

-- A cell for each property of a contact that its owner knows of. The contact's own session writes it too.
CREATE TABLE contact_properties (
    owner TEXT NOT NULL,
    contact TEXT NOT NULL,
    property TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (owner, contact, property)
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    owner TEXT NOT NULL,
    group_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (owner, group_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_members (
    owner TEXT NOT NULL,
    contact TEXT NOT NULL,
    group_id BLOB NOT NULL,
    PRIMARY KEY (owner, contact, group_id)
) STRICT, WITHOUT ROWID;
