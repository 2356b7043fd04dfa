//! The servers that scenarios are played against.

use std::net::SocketAddr;
use std::time::Duration;

use common::config::Config;
use common::msnp::verbs::Service;

use super::accounts::AccountSource;
use crate::orders::OrderDesk;
use crate::up::Running;

/// Where the servers are, and how accounts are made there.
#[derive(Debug)]
pub struct Deployment {
    /// Where clients come first.
    pub dispatch: SocketAddr,
    /// Sign-in over plain HTTP.
    pub http: SocketAddr,
    /// The notification servers: `notification` is the first, `notification 2` the second.
    pub notification: Vec<SocketAddr>,
    /// The switchboards.
    pub switchboard: Vec<SocketAddr>,
    /// Makes the accounts; without it only scenarios without accounts can be played.
    pub accounts: Option<AccountSource>,
    /// Where operators give orders; without it only scenarios without them can be played.
    pub orders: Option<OrderDesk>,
    /// How long each expectation waits, unless the scenario says otherwise.
    pub timeout: Duration,
}

impl Deployment {
    /// How long an expectation waits by default.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// The servers of the `monarch up` that runs on the configured data; if none does, one process of each tier at the addresses
    /// that the configuration names.
    #[must_use]
    pub fn configured(config: &Config) -> Self {
        let running = Running::on(&config.store.path).unwrap_or_default();
        let or = |tier, configured| match running.clients(tier) {
            none if none.is_empty() => vec![configured],
            found => found,
        };
        let first = |kind: &str| running.0.get("dispatch").and_then(|addresses| addresses.get(kind)).copied();
        Self {
            dispatch: first("clients").unwrap_or(config.dispatch.listen),
            http: first("http").unwrap_or(config.dispatch.http.listen),
            notification: or("notification", config.notification.advertise.unwrap_or(config.notification.listen)),
            switchboard: or("switchboard", config.switchboard.advertise.unwrap_or(config.switchboard.listen)),
            accounts: None,
            orders: Some(OrderDesk::configured(config)),
            timeout: Self::TIMEOUT,
        }
    }

    /// What kind of server listens for clients there.
    pub(super) fn service(&self, address: SocketAddr) -> Option<Service> {
        match address {
            address if address == self.dispatch => Some(Service::Dispatch),
            address if self.notification.contains(&address) => Some(Service::Notification),
            address if self.switchboard.contains(&address) => Some(Service::Switchboard),
            _ => None,
        }
    }

    /// The address that words such as `notification 2` mean.
    pub(super) fn address(&self, words: &str) -> Option<SocketAddr> {
        let (tier, number) = words.split_once([' ', '.']).unwrap_or((words, "1"));
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        match tier {
            "dispatch" if index == 0 => Some(self.dispatch),
            "http" if index == 0 => Some(self.http),
            "notification" => self.notification.get(index).copied(),
            "switchboard" => self.switchboard.get(index).copied(),
            _ => None,
        }
    }
}
