//! What the three tiers of Monarch share.
//!
//! Dependencies run one way, top to bottom:
//!
//! | module | job | knows |
//! |---|---|---|
//! | [`model`] | passports, rosters, presence, ids, limits | nothing but `std` |
//! | [`msnp`] | the wire: frames, dialects, one file per verb family | `model` |
//! | [`store`] | durable data: accounts, rosters, history, participations | `model` |
//! | [`cluster`] | who is alive, who is where, tickets, peer links | `model` |
//! | [`net`] | sockets, queues, shutdown | `msnp` frames |
//! | [`config`], [`telemetry`], [`reload`], [`process`], [`files`], [`clock`], [`credentials`] | what every process needs at start | `model` |
//! | [`heart`] | whether other nodes live, by their hearts in the store | `cluster`, `store` |
//! | [`check`] | how a program gets its configuration, and `--check` | all of these |

#![warn(missing_docs)]

pub mod model;
pub mod msnp;

#[cfg(feature = "full")]
pub mod check;
#[cfg(feature = "full")]
pub mod clock;
#[cfg(feature = "full")]
pub mod cluster;
#[cfg(feature = "full")]
pub mod config;
#[cfg(feature = "full")]
pub mod credentials;
#[cfg(feature = "full")]
pub mod files;
#[cfg(feature = "full")]
pub mod heart;
#[cfg(feature = "full")]
pub mod net;
#[cfg(feature = "full")]
pub mod process;
#[cfg(feature = "full")]
pub mod reload;
#[cfg(feature = "full")]
pub mod store;
#[cfg(feature = "full")]
pub mod telemetry;
