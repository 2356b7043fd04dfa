//! Where the servers of a running `monarch up` listen, noted in the data directory for the commands that work on the same data.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use common::telemetry::parse_announcement;
use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::data::LOCK;
use super::tier::Addresses;

const FILE: &str = "up.addresses";

/// The servers of a running `monarch up`, by name: `dispatch`, `notification`, `notification-2` and so on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Running(pub(crate) BTreeMap<String, Addresses>);

impl Running {
    /// Notes them: a line for each server, its name before the line by which it has announced itself.
    pub(super) fn note(&self, data: &Path) -> std::io::Result<()> {
        let mut file = NamedTempFile::new_in(data)?;
        for (name, addresses) in &self.0 {
            write!(file, "{name} listening")?;
            for (kind, address) in addresses {
                write!(file, " {kind}={address}")?;
            }
            writeln!(file)?;
        }
        file.persist(place(data))?;
        Ok(())
    }

    /// The servers that run on that data; `None` if no `monarch up` holds it.
    pub(crate) fn on(data: &Path) -> Option<Self> {
        let lock = File::open(data.join(LOCK)).ok()?;
        // Only who runs keeps others from the lock. Shared, so that two who ask don't take each other for it.
        if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let text = fs::read_to_string(place(data)).ok()?;
        let server = |line: &str| {
            let (name, announcement) = line.split_once(' ')?;
            Some((name.to_owned(), parse_announcement(announcement)?))
        };
        Some(Self(text.lines().filter_map(server).collect()))
    }

    /// The admin addresses of all, notification servers first.
    pub(crate) fn admins(&self) -> Vec<std::net::SocketAddr> {
        let (first, rest): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|(name, _)| name.starts_with("notification"));
        first.into_iter().chain(rest).filter_map(|(_, addresses)| addresses.get("admin").copied()).collect()
    }

    /// The client addresses of a tier, the first node first.
    pub(crate) fn clients(&self, tier: &str) -> Vec<std::net::SocketAddr> {
        let of_tier =
            |name: &str| name == tier || name.strip_prefix(tier).is_some_and(|rest| rest.starts_with('-'));
        let found = self.0.iter().filter(|(name, _)| of_tier(name));
        found.filter_map(|(_, addresses)| addresses.get("clients").copied()).collect()
    }
}

/// Takes the note away: nobody listens there any more.
pub(super) fn forget(data: &Path) {
    let _ = fs::remove_file(place(data));
}

fn place(data: &Path) -> PathBuf {
    data.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::super::data::DataDir;
    use super::*;

    #[test]
    fn servers_are_found_while_they_run() {
        let root = tempfile::tempdir().unwrap();
        let addresses = |port: u16| {
            let kinds = [("clients", port), ("admin", port + 100)];
            Addresses::from(kinds.map(|(kind, port)| (kind.to_owned(), ([127, 0, 0, 1], port).into())))
        };
        let named = |(name, port): (&str, u16)| (name.to_owned(), addresses(port));
        let all = [("dispatch", 1), ("notification", 2), ("notification-2", 3), ("switchboard", 4)];
        let running = Running(all.map(named).into());
        assert_eq!(Running::on(root.path()), None);
        let data = DataDir::take(root.path()).unwrap();
        running.note(root.path()).unwrap();
        let found = Running::on(root.path()).unwrap();
        assert_eq!(found, running);
        let ports = |tier| found.clients(tier).iter().map(std::net::SocketAddr::port).collect::<Vec<_>>();
        assert_eq!((ports("notification"), ports("dispatch")), (vec![2, 3], vec![1]));
        let admins: Vec<_> = found.admins().iter().map(std::net::SocketAddr::port).collect();
        assert_eq!(admins, [102, 103, 101, 104]);
        // What a killed one has left says nothing.
        drop(data);
        assert_eq!(Running::on(root.path()), None);
    }
}
