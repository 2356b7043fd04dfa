//! What the `monarch` command and the integration tests share.

#![warn(missing_docs)]

pub mod scenario;
