//! Who is alive, who is where, and how the tiers trust each other.
//!
//! | file | what |
//! |---|---|
//! | `membership`, `gossip`, `announcement` | gossip (chitchat inside an HMAC): the [`View`] of live nodes |
//! | `datagram` | what a datagram of gossip looks like, and which are taken |
//! | `company` | whether a node that hears of no other is alone |
//! | `clocks` | whether this node's clock is off |
//! | `inquiry` | who has a name: two living nodes must not have one |
//! | `generation` | which of its lives a node is in |
//! | `secrets` | the cluster secrets; the first signs, all verify |
//! | `ticket`, `cookie` | sign-in tickets and switchboard cookies: signed, bound, cookies single-use |
//! | `notice` | what is routed between sessions |
//! | `ring` | which two notification nodes own a passport |
//! | `directory` | passport → session, without I/O: epochs, tombstones |
//! | `standing` | readiness: what the others are told, what is needed of them |
//! | `settling` | whether an owner has heard of every session |
//! | `link`, `outgoing`, `handshake`, `wire`, `queue` | authenticated, versioned peer links |
//! | `router` | joins them; the answering side of `route(passport, Notice)` |
//! | `asking`, `posting` | its asking side, and the order of what is posted |
//! | `registering`, `registrations`, `announcing` | how sessions get into the directory |
//! | `delivery` | how notices get into sessions |
//! | `sighting`, `comparing`, `gaps` | how lost notices are found: whom nodes show, compared; when that is urgent |
//! | `guesses` | wrong passwords, told to all that count them |
//! | `voids` | what is void since an account has another password |
//! | `order`, `order_desk`, `carrying_out` | what operators order, sealed; where it is taken; what becomes of it |

mod announcement;
mod announcing;
mod asking;
mod carrying_out;
mod clocks;
mod company;
mod comparing;
mod cookie;
mod datagram;
mod delivery;
mod directory;
mod gaps;
mod generation;
mod gossip;
mod guesses;
mod handle;
mod handshake;
mod inquiry;
mod link;
mod lost;
mod membership;
mod metrics;
mod node;
mod notice;
mod order;
mod order_desk;
mod outgoing;
mod posting;
mod queue;
mod registering;
mod registrations;
mod ring;
mod router;
mod secrets;
mod settling;
mod sighting;
mod source;
mod standing;
mod ticket;
mod voids;
mod wire;

pub use carrying_out::{Confirmations, Reached, Told};
pub use company::Company;
pub use cookie::{Admittance, Cookie, CookieRole, Nonces};
pub use gaps::Gap;
pub use guesses::Guesses;
pub use handle::{Cluster, ClusterError, Me};
pub use node::{Load, Node, Role, View};
pub use notice::{Deliver, Invitation, Kept, Location, Notice, Outcome, Question, Stamp, Watcher};
pub use order::{Audience, Instruction, ORDERS, Order, OrderError};
pub use order_desk::OrderDesk;
pub use secrets::{Keyring, SecretsError};
pub use sighting::{BUCKETS, Mark, PassportKey, Sighting, Tally};
pub use ticket::{SignInTicket, TicketError};
pub use voids::Void;

#[cfg(test)]
mod tests;
