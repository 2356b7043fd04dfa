//! Three accounts to try the suite with, each the others' contact.

use common::config::Config;
use common::credentials::SealingKey;
use common::model::{List, Passport};
use common::store::{Edit, Store};

use crate::Failure;
use crate::account::Passwords;
use crate::terminal::say;

/// Passport and name of each.
pub(super) const ACCOUNTS: [(&str, &str); 3] =
    [("alice@example.com", "Alice"), ("bob@example.com", "Bob"), ("carol@example.com", "Carol")];

/// The password of all of them.
pub(super) const PASSWORD: &str = "wonderland";

/// Creates them; those that are there stay as they are. May be repeated after it was cut short.
pub(super) async fn create(store: &dyn Store, config: &Config) -> Result<(), Failure> {
    let passwords = Passwords::new(&config.accounts);
    let key = SealingKey::load(&config.accounts.md5_key).map_err(Failure::failed)?;
    let mut all = Vec::new();
    for (passport, name) in ACCOUNTS {
        let who = Passport::parse(passport).map_err(Failure::failed)?;
        passwords.create(store, &who, name, PASSWORD, key.as_ref()).await?;
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

fn befriend(contact: &Passport, name: &str) -> [Edit; 3] {
    [
        put(contact, List::Forward, true),
        put(contact, List::Allow, true),
        Edit::Name { contact: contact.clone(), name: name.to_owned() },
    ]
}

fn put(contact: &Passport, list: List, on: bool) -> Edit {
    Edit::List { contact: contact.clone(), list, on }
}
