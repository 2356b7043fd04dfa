//! Sockets, queues and the way out. Sessions see a [`Connection`]: commands in, bytes out, and how many bytes the
//! other side has confirmed.

mod buffers;
mod connection;
mod crowds;
mod entrance;
mod foreigners;
mod grains;
mod limiter;
mod listener;
mod listening;
mod mailbox;
mod open_files;
mod outbox;
mod places;
mod proxies;
mod proxy_header;
mod shutdown;
mod stranger;
mod tcp;
mod transport;
mod turned_away;

pub use buffers::BufferPool;
pub use connection::{Connection, Ended, Event, Unread};
pub(crate) use crowds::Crowds;
pub use entrance::{Arrival, Entrance};
pub use grains::{Grain, grains_of, network_of};
pub use limiter::{AddressLimiter, Admission};
pub use listener::{Accepted, Listener};
pub use listening::listen;
pub use mailbox::{Full, Mailbox, Sender, mailbox};
pub use open_files::{fitting, make_room_for, strangers};
pub use outbox::{Outbox, Overflow};
pub use places::{Place, Places};
pub use proxies::{NetworkError, Proxies};
pub use shutdown::Shutdown;
pub use stranger::Stranger;
pub use tcp::TcpTransport;
pub use transport::{HangUp, Ready, Transport};
pub use turned_away::TurnedAway;
