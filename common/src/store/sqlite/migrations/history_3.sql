-- What a node says beside its heartbeat: the fingerprints of its cluster secrets, one after the other.
ALTER TABLE heartbeats ADD COLUMN secrets BLOB NOT NULL DEFAULT x'';
