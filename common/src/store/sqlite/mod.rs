//! The embedded store: files on one host, shared by its processes.
