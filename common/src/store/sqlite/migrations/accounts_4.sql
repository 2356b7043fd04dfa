-- Those that were known before are of no credentials: they are learnt anew.
DROP TABLE known_networks;

-- From where somebody has signed in to an account, and with which credentials.
CREATE TABLE known_networks (
    passport TEXT NOT NULL,
    network TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    PRIMARY KEY (passport, network)
) STRICT, WITHOUT ROWID;

-- Whose name or properties have changed, and are not yet copied to all contacts.
CREATE TABLE copies_owed (
    passport TEXT PRIMARY KEY,
    mark INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
