//! Three accounts to try the suite with, each the others' contact.

use std::net::Ipv4Addr;

use common::config::Config;
use common::credentials::{Asker, PasswordHasher, SealingKey};
use common::model::{List, Passport};
use common::store::{Edit, KnownNetwork, Store};

use crate::account::Passwords;
use crate::terminal::say;
use crate::{Again, Failure};

/// Passport and name of each.
pub(super) const ACCOUNTS: [(&str, &str); 3] =
    [("alice@example.com", "Alice"), ("bob@example.com", "Bob"), ("carol@example.com", "Carol")];

/// The password of all of them.
pub(super) const PASSWORD: &str = "wonderland";

/// Whether a first start makes the demo accounts, and a later one may leave them as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demo {
    /// It does.
    Made,
    /// Nobody wants them.
    Unwanted,
    /// Others than this machine can reach the servers, and everybody knows the password: none with it may be there.
    Exposed {
        /// Nobody wants them either.
        declined: bool,
    },
}

impl Demo {
    /// What the flags `--demo` and `--no-demo` and the addresses say.
    pub(super) fn wanted(asked: bool, declined: bool, config: &Config) -> Self {
        let Config { dispatch, notification, switchboard, .. } = config;
        let https = dispatch.https.enabled.then_some(dispatch.https.listen);
        let listened = [dispatch.listen, dispatch.http.listen, notification.listen, switchboard.listen];
        // What is told to clients says that they come by it, whoever hands them on to where is listened.
        let told = [dispatch.advertise, notification.advertise, switchboard.advertise];
        let mut for_clients = listened.into_iter().chain(https).chain(told.into_iter().flatten());
        if asked {
            Self::Made
        } else if !for_clients.all(|addr| addr.ip().to_canonical().is_loopback()) {
            Self::Exposed { declined }
        } else if declined {
            Self::Unwanted
        } else {
            Self::Made
        }
    }
}

/// Who is there to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum People {
    /// The demo accounts, which were made at this start.
    Made,
    /// The demo accounts, from before.
    There,
    /// Whoever else.
    Others,
}

/// Whether the demo accounts are there from before.
pub(super) async fn people(store: &dyn Store) -> Result<People, Failure> {
    for (passport, _) in ACCOUNTS {
        let who = Passport::parse(passport).map_err(Failure::failed)?;
        if store.account(&who).await?.is_none() {
            return Ok(People::Others);
        }
    }
    Ok(People::There)
}

/// Refuses to go on while one of them has the password that everybody knows.
pub(super) async fn refuse_known_password(
    store: &dyn Store,
    config: &Config,
    monarch: &Again,
) -> Result<(), Failure> {
    let hasher = PasswordHasher::new(&config.accounts);
    let mut open = Vec::new();
    for (passport, _) in ACCOUNTS {
        let who = Passport::parse(passport).map_err(Failure::failed)?;
        let Some(account) = store.account(&who).await? else { continue };
        let hash = Some(account.credentials.password_hash);
        if hasher.verify(hash, PASSWORD.to_owned(), Asker::HERE).await.map_err(Failure::failed)? {
            open.push(passport);
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let mut why = format!(
        "not started: others than this machine can reach these addresses, and could sign in as {} with the demo \
         accounts' password, which everybody knows. `--demo` starts all the same; otherwise give each another one:",
        open.join(", ")
    );
    for passport in open {
        why.push_str("\n  ");
        why.push_str(&monarch.command(&format!("user password {passport}")));
    }
    Err(Failure::failed(why))
}

/// Creates them; those that are there stay as they are. May be repeated after it was cut short.
pub(super) async fn create(store: &dyn Store, config: &Config) -> Result<(), Failure> {
    let passwords = Passwords::new(&config.accounts);
    let key = SealingKey::load(&config.accounts.md5_key).map_err(Failure::failed)?;
    let mut all = Vec::new();
    for (passport, name) in ACCOUNTS {
        let who = Passport::parse(passport).map_err(Failure::failed)?;
        passwords.create(store, &who, name, PASSWORD, key.as_ref()).await?;
        know_this_machine(store, &who).await?;
        all.push((who, name));
    }
    for (owner, _) in &all {
        let others = all.iter().filter(|(contact, _)| contact != owner);
        store.edit(owner, others.flat_map(|(contact, name)| befriend(contact, name)).collect()).await?;
    }
    // Each has answered what the others' additions asked.
    for (owner, _) in &all {
        let others = all.iter().filter(|(contact, _)| contact != owner);
        let answered = |(contact, _): &(Passport, &str)| put(contact, List::Pending, false);
        store.edit(owner, others.map(answered).collect()).await?;
    }
    say("monarch: created the demo accounts");
    Ok(())
}

/// Whoever tries things out here may type wrong passwords, or have scenarios do so: that closes this machine to accounts that nobody has
/// signed in to from it, and these are not among them.
async fn know_this_machine(store: &dyn Store, who: &Passport) -> Result<(), Failure> {
    let Some(account) = store.account(who).await? else { return Ok(()) };
    let (epoch, seen) = (account.credentials.epoch, common::clock::wall_ms());
    let here = KnownNetwork { network: Ipv4Addr::LOCALHOST.into(), epoch, seen };
    Ok(store.add_known_networks(vec![(who.clone(), here)]).await?)
}

fn befriend(contact: &Passport, name: &str) -> [Edit; 3] {
    [
        put(contact, List::Forward, true),
        put(contact, List::Allow, true),
        Edit::ContactName { contact: contact.clone(), name: name.to_owned() },
    ]
}

fn put(contact: &Passport, list: List, on: bool) -> Edit {
    Edit::List { contact: contact.clone(), list, on }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_others_come_demo_accounts_are_asked_for() {
        let mut config = Config::default();
        assert_eq!(Demo::wanted(false, false, &config), Demo::Made);
        assert_eq!(Demo::wanted(false, true, &config), Demo::Unwanted);
        config.dispatch.http.listen = ([192, 0, 2, 1], 8080).into();
        assert_eq!(Demo::wanted(false, false, &config), Demo::Exposed { declined: false });
        assert_eq!(Demo::wanted(true, false, &config), Demo::Made);
        assert_eq!(Demo::wanted(false, true, &config), Demo::Exposed { declined: true });
        // Through a balancer or a router, others come to an address that nobody listens on here.
        let mut config = Config::default();
        config.notification.advertise = Some(([192, 0, 2, 1], 1864).into());
        assert_eq!(Demo::wanted(false, false, &config), Demo::Exposed { declined: false });
        // Nobody listens there.
        let mut config = Config::default();
        config.dispatch.https.listen = ([192, 0, 2, 1], 8443).into();
        assert_eq!(Demo::wanted(false, false, &config), Demo::Exposed { declined: false });
        config.dispatch.https.enabled = false;
        assert_eq!(Demo::wanted(false, false, &config), Demo::Made);
    }
}
