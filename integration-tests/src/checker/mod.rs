//! An outside checker: from what scripted clients did and read, and nothing else, it says what each of them must see.
//!
//! | file | what |
//! |---|---|
//! | `ledger` | what clients did and read, one entry after the other |
//! | `presence` | how each contact is shown, and how it is |
//! | `messages` | what became of each message |
//! | `hearing` | in which order and how often messages are read |

mod hearing;
mod ledger;
pub mod messages;
pub mod presence;
#[cfg(test)]
mod tests;

pub use ledger::{Account, Entry, Event, Fault, Ledger, MessageId, SessionId};
pub use messages::Messages;
pub use presence::{Circle, Presence, Wrong};
