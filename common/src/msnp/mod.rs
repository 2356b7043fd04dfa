//! The wire: MSNP text commands (protocol reference §2–§11), without sockets, clock, store or randomness.
//!
//! Three types in order: a [`Command`] is a framed line with its payload; a *request* enum of one kind of server is
//! a command that makes sense there; what it does is the business of that server. Reading is lenient, writing
//! exact. Dialects are compared nowhere but in [`dialect`] and [`verbs`]: elsewhere ask the [`Dialect`].

pub mod challenge;
pub mod dialect;
mod error_code;
mod frame;
pub mod groups;
pub mod handshake;
pub mod hotmail;
pub mod invitation;
mod line;
pub mod lists;
pub mod mime;
pub mod miscellany;
pub mod presence;
pub mod privacy;
pub mod properties;
pub mod switchboard;
pub mod sync;
mod token;
pub mod value;
pub mod verbs;

pub use dialect::Dialect;
pub use error_code::ErrorCode;
pub use frame::{Command, Decoder, Foreign, FrameError, TrId};
pub use line::Line;
pub use token::Token;
pub use verbs::{Service, Verb};

/// Why a command does not make sense. Official servers close the connection for it (protocol reference §2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No server of this kind knows the verb, or not in this dialect.
    #[error("unknown verb")]
    UnknownVerb,
    /// The verb is not allowed in this state of the connection.
    #[error("verb out of order")]
    OutOfOrder,
    /// Too few or too many arguments.
    #[error("wrong number of arguments")]
    ArgumentCount,
    /// The transaction id is no decimal number below 2³².
    #[error("bad transaction id")]
    BadTrId,
    /// An argument that can't be read, where the reference names no error code for it.
    #[error("bad argument: {0}")]
    BadArgument(&'static str),
}
