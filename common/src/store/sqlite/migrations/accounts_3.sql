-- From where somebody has signed in to an account, and with which credentials.
CREATE TABLE known_networks (
    passport TEXT NOT NULL,
    network TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    PRIMARY KEY (passport, network)
) STRICT, WITHOUT ROWID;
