//! Who is alive, who is where, and how the tiers trust each other.
//!
//! | file | what |
//! |---|---|
//! | `membership` | gossip (chitchat inside an HMAC): the [`View`] of live nodes |
//! | `secrets` | the cluster secrets; the first signs, all verify |
//! | `ticket` | sign-in tickets and switchboard cookies: signed, bound, cookies single-use |
//! | `notice` | what is routed between sessions |
//! | `directory` | passport → session, without I/O: epochs, tombstones, two ranked owners |
//! | `link` | authenticated, versioned peer links |
//! | `router` | `route(passport, Notice)` on top of all of them |

mod cookie;
mod handle;
mod node;
mod notice;
mod secrets;
mod ticket;

pub use cookie::{Admittance, Cookie, CookieRole, Nonces};
pub use handle::{Cluster, ClusterError, Me};
pub use node::{Load, Node, Role, View};
pub use notice::{Deliver, Invitation, Location, Notice, Outcome, Stamp};
pub use secrets::{Keyring, SecretsError};
pub use ticket::{SignInTicket, TicketError};
