//! Scripted people of all dialects, who sign in, look this way or that, talk, and write down what they do and read.
//!
//! | file | what |
//! |---|---|
//! | `person` | one client, as those see it who tell it what to do |
//! | `life` | what it does: as it is wished to, and it comes back when its connection is lost |
//! | `sign_in` | from dispatch to `USR OK`, by MD5 or with a ticket |
//! | `talk` | one end of a conversation |

mod life;
mod person;
mod sign_in;
mod talk;

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use common::model::Passport;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::checker::{Account, Ledger};
use crate::hosts::{Gate, Hosts};
pub use person::{Door, Leave, Person, Wish};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// What all clients share: where the servers are, and where they write down what they see.
#[derive(Debug)]
pub struct Outside {
    gate: Gate,
    /// Clients' and HTTP addresses of the dispatch nodes.
    dispatch: Vec<(SocketAddr, SocketAddr)>,
    /// The nodes by the address at which clients find them.
    nodes: BTreeMap<SocketAddr, Arc<str>>,
    /// Where everything is written down.
    pub ledger: Ledger,
    /// Everybody's passport, by account.
    passports: Vec<Passport>,
    /// The number of each account's last message, whichever of its clients said it.
    numbers: Vec<AtomicU32>,
    /// Conversations in which people talk; others only bring what was kept.
    rooms: Mutex<HashSet<Arc<str>>>,
    /// Whether people go on saying things.
    talking: watch::Sender<bool>,
    /// Whose clients hang.
    hung: watch::Sender<HashSet<Account>>,
}

impl Outside {
    /// Those outside of a deployment, with these accounts.
    ///
    /// # Errors
    /// When the deployment has no addresses for clients.
    pub fn new(hosts: &Hosts, passports: Vec<Passport>) -> Result<Arc<Self>> {
        let dispatch = hosts.nodes("dispatch");
        let dispatch = dispatch.iter().map(|name| Ok((hosts.clients(name)?, hosts.http(name)?)));
        let nodes = hosts.nodes("notification").into_iter().map(|name| Ok((hosts.clients(&name)?, name.into())));
        Ok(Arc::new(Self {
            gate: hosts.outside(),
            dispatch: dispatch.collect::<Result<_>>()?,
            nodes: nodes.collect::<Result<_>>()?,
            ledger: Ledger::default(),
            numbers: passports.iter().map(|_| AtomicU32::new(0)).collect(),
            passports,
            rooms: Mutex::default(),
            talking: watch::Sender::new(true),
            hung: watch::Sender::default(),
        }))
    }

    /// Nobody says anything any more; what was said may still be answered and read.
    pub fn hush(&self) {
        self.talking.send_replace(false);
    }

    /// Somebody's client hangs from now on: it reads nothing and says nothing, on any of its connections.
    pub fn hang(&self, account: Account) {
        self.hung.send_modify(|hung| _ = hung.insert(account));
    }

    /// It crashes: what it has not read is gone, and its connections are reset.
    pub fn crash(&self, account: Account) {
        self.hung.send_modify(|hung| _ = hung.remove(&account));
    }

    /// Waits until a client hangs.
    async fn hangs(&self, account: Account) {
        // It ends with this, which those who wait hold.
        _ = self.hung.subscribe().wait_for(|hung| hung.contains(&account)).await;
    }

    /// Waits until a client that hangs has crashed.
    async fn crashes(&self, account: Account) {
        _ = self.hung.subscribe().wait_for(|hung| !hung.contains(&account)).await;
    }

    fn is_talking(&self) -> bool {
        *self.talking.borrow()
    }

    fn passport(&self, account: Account) -> &str {
        self.passports[account].as_str()
    }

    /// The number of somebody's next message.
    fn number(&self, account: Account) -> u32 {
        self.numbers[account].fetch_add(1, Ordering::Relaxed) + 1
    }

    fn account(&self, passport: &str) -> Option<Account> {
        self.passports.iter().position(|known| known.as_str() == passport)
    }

    /// The node that clients find there.
    fn node(&self, address: SocketAddr) -> Arc<str> {
        self.nodes.get(&address).cloned().unwrap_or_else(|| address.to_string().into())
    }

    async fn connect(&self, from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
        let connecting = async {
            let socket = self.gate.socket().await?;
            socket.bind((from, 0).into())?;
            anyhow::Ok(socket.connect(to).await?)
        };
        timeout(CONNECT, connecting).await.with_context(|| format!("{to} is silent"))?
    }

    /// People talk in this conversation.
    fn open(&self, room: &Arc<str>) {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(room));
    }

    fn is_open(&self, room: &Arc<str>) -> bool {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).contains(room)
    }
}
