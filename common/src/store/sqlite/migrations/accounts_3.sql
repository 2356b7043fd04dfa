-- From where somebody has signed in to an account, in the form of store/networks.rs.
CREATE TABLE known_networks (
    passport TEXT PRIMARY KEY,
    claim BLOB NOT NULL,
    networks BLOB NOT NULL
) STRICT, WITHOUT ROWID;
