//! The accounts of a run, created through the store that the deployment uses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use common::config::Config;
use common::credentials::{PasswordHasher, SealingKey};
use common::model::{ClaimId, Group, GroupId, List, Passport, Properties, Property};
use common::net::network_of;
use common::store::{Claimed, Credentials, Edit, KnownNetwork, NewAccount, SharedStore};
use futures_util::stream::{self, StreamExt};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::script::{AccountsStep, Fact};

/// The password of every account for which a scenario gives none.
pub(super) const PASSWORD: &str = "wonderland";
/// Where the accounts of scenarios live: nobody's, by RFC 2606.
pub(super) const DOMAIN: &str = "example.com";

/// Makes accounts in a deployment's store.
pub struct AccountSource {
    store: SharedStore,
    hasher: PasswordHasher,
    key: Option<SealingKey>,
    /// A hash costs tens of milliseconds, and nearly all accounts have the same password.
    hashes: Mutex<BTreeMap<String, String>>,
    /// Those that it has made. Nothing: no more are made.
    made: Mutex<Option<Vec<(Passport, ClaimId)>>>,
    /// The network that scenarios come from.
    home: Option<IpAddr>,
}

/// Accounts removed at once.
pub(super) const REMOVED_AT_ONCE: usize = 16;

impl AccountSource {
    /// With a store that is open already.
    #[must_use]
    pub fn new(store: SharedStore, hasher: PasswordHasher, key: Option<SealingKey>) -> Self {
        Self { store, hasher, key, hashes: Mutex::default(), made: Mutex::new(Some(Vec::new())), home: None }
    }

    /// Gives each account the network as known from which connections to a server come: scenarios type wrong passwords, and some runs
    /// within minutes would close that network to accounts that nobody has signed in to from there.
    pub(super) fn at_home_towards(&mut self, server: SocketAddr) {
        let unspecified = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        // Nothing is sent: the system says from where it would be.
        let source = UdpSocket::bind(unspecified).and_then(|socket| {
            socket.connect(server)?;
            socket.local_addr()
        });
        self.home = source.ok().map(|source| network_of(source.ip()));
    }

    /// With the store and the key that the configuration names.
    ///
    /// # Errors
    /// When one of them can't be opened.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let store = common::store::open(&config.store).await?;
        let key = SealingKey::load(&config.accounts.md5_key)?;
        Ok(Self::new(store, PasswordHasher::new(&config.accounts), key))
    }

    async fn hash(&self, password: &str) -> anyhow::Result<String> {
        let mut hashes = self.hashes.lock().await;
        if let Some(hash) = hashes.get(password) {
            return Ok(hash.clone());
        }
        let hash = self.hasher.hash(password.to_owned()).await?;
        hashes.insert(password.to_owned(), hash.clone());
        Ok(hash)
    }

    async fn create(&self, account: &RunAccount, step: &AccountsStep) -> anyhow::Result<()> {
        let claim = account.claim;
        let sealed_password = match (&self.key, step.md5) {
            (_, false) => None,
            (Some(key), true) => Some(key.seal(&account.passport, claim, &account.password)),
            (None, true) => anyhow::bail!("md5: the deployment has no key for MD5 passwords"),
        };
        let epoch = getrandom::u64()?;
        let credentials =
            Credentials { epoch, password_hash: self.hash(&account.password).await?, sealed_password };
        let new = NewAccount {
            passport: account.passport.clone(),
            claim,
            credentials,
            friendly_name: account.name.clone(),
            created: common::clock::wall_ms(),
        };
        match &mut *self.made.lock().await {
            Some(made) => made.push((account.passport.clone(), claim)),
            None => anyhow::bail!("the run has ended"),
        }
        match self.store.create_account(new).await? {
            Claimed::Won => self.know_home(account, epoch).await,
            Claimed::Taken => {
                anyhow::bail!("{} is there already: take it over with `accounts same`", account.passport)
            }
        }
    }

    async fn know_home(&self, account: &RunAccount, epoch: u64) -> anyhow::Result<()> {
        let Some(network) = self.home else { return Ok(()) };
        let known = KnownNetwork { network, epoch, seen: common::clock::wall_ms() };
        Ok(self.store.add_known_networks(vec![(account.passport.clone(), known)]).await?)
    }

    /// How many it has made.
    pub(super) async fn made(&self) -> usize {
        self.made.lock().await.as_ref().map_or(0, Vec::len)
    }

    /// Removes all accounts that it has made, so that none with a known password is left behind, and makes no more. Returns how many
    /// there were.
    ///
    /// # Errors
    /// The first error of the store. The others are removed all the same.
    pub(super) async fn remove_all(&self) -> anyhow::Result<usize> {
        let made = self.made.lock().await.take().unwrap_or_default();
        let mut removals = stream::iter(&made)
            .map(|(who, claim)| self.store.remove_account(who, *claim))
            .buffer_unordered(REMOVED_AT_ONCE);
        let (mut removed, mut outcome) = (0, Ok(()));
        while let Some(one) = removals.next().await {
            match one {
                Ok(was_there) => removed += usize::from(was_there),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome?;
        Ok(removed)
    }

    /// Fills in what the store knows of an account that an earlier file has made.
    async fn load(&self, account: &mut RunAccount) -> anyhow::Result<()> {
        let who = &account.passport;
        let found = self.store.account(who).await?;
        let found =
            found.ok_or_else(|| anyhow::anyhow!("{who} is not there: play the file that makes it first"))?;
        account.claim = found.claim;
        account.name = found.settings.friendly_name;
        account.properties = found.settings.properties;
        if let Some(roster) = self.store.roster(who).await? {
            account.groups = roster.groups.into_values().map(|group| (group.number, group.id)).collect();
        }
        Ok(())
    }
}

impl std::fmt::Debug for AccountSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccountSource")
    }
}

/// An account as a scenario knows it.
#[derive(Debug, Clone)]
pub(super) struct RunAccount {
    pub(super) passport: Passport,
    pub(super) password: String,
    /// What contacts see, decoded.
    pub(super) name: String,
    claim: ClaimId,
    groups: BTreeMap<u16, GroupId>,
    /// What it has set, decoded.
    properties: Properties,
}

impl RunAccount {
    fn new(name: &str, run: &str, password: Option<&str>) -> anyhow::Result<Self> {
        let mut shown = name.to_owned();
        shown[..1].make_ascii_uppercase();
        Ok(Self {
            passport: Passport::parse(&format!("{name}-{run}@{DOMAIN}"))?,
            password: password.unwrap_or(PASSWORD).to_owned(),
            name: shown,
            claim: ClaimId(Uuid::new_v4()),
            groups: BTreeMap::new(),
            properties: Properties::new(),
        })
    }

    /// What `{alice.…}` says; the passport for `{alice}`.
    pub(super) fn attribute(&self, attribute: Option<&str>) -> Option<String> {
        match attribute {
            None => Some(self.passport.to_string()),
            Some("password") => Some(self.password.clone()),
            Some("name") => Some(common::msnp::value::encode(&self.name).to_string()),
            Some(group) => {
                let number = group.strip_prefix("group.")?.parse().ok()?;
                self.groups.get(&number).map(ToString::to_string)
            }
        }
    }
}

/// The accounts of one scenario.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_name: BTreeMap<String, RunAccount>,
}

impl Accounts {
    pub(super) fn get(&self, name: &str) -> Option<&RunAccount> {
        self.by_name.get(name)
    }

    pub(super) fn by_passport(&self, passport: &str) -> Option<&RunAccount> {
        self.by_name.values().find(|account| account.passport.as_str() == passport)
    }

    /// Does what an `accounts` statement says.
    pub(super) async fn declare(
        &mut self,
        step: &AccountsStep,
        run: &str,
        source: Option<&AccountSource>,
    ) -> anyhow::Result<()> {
        for name in &step.names {
            if self.by_name.contains_key(name) {
                anyhow::bail!("{name} is declared twice");
            }
            let mut account = RunAccount::new(name, run, step.password.as_deref())?;
            if !step.nobody {
                let source = source.ok_or_else(|| anyhow::anyhow!("no store to make accounts in"))?;
                if step.same {
                    source.load(&mut account).await?;
                } else {
                    source.create(&account, step).await?;
                }
            }
            self.by_name.insert(name.clone(), account);
        }
        if step.friends && !step.same {
            for one in &step.names {
                for other in step.names.iter().filter(|other| *other != one) {
                    let source = source.ok_or_else(|| anyhow::anyhow!("no store to make friends in"))?;
                    let edits = self.friend_edits(one, other)?;
                    source.store.edit(&self.named(one)?.passport, edits).await?;
                }
            }
            self.accept_all(&step.names, source).await?;
        }
        Ok(())
    }

    /// Makes something so before the scenario begins.
    pub(super) async fn establish(
        &mut self,
        who: &str,
        fact: &Fact,
        source: Option<&AccountSource>,
    ) -> anyhow::Result<()> {
        let source = source.ok_or_else(|| anyhow::anyhow!("no store to edit"))?;
        let owner = self.named(who)?.passport.clone();
        let edits = match fact {
            Fact::Listed { list, whom, groups, alias } => {
                let mut edits = self.list_edits(who, *list, whom, alias.as_deref())?;
                for number in groups {
                    let group = self.named(who)?.groups.get(number);
                    let group = *group.ok_or_else(|| anyhow::anyhow!("{who} has no group {number}"))?;
                    let contact = self.named(whom)?.passport.clone();
                    edits.push(Edit::Membership { contact, group, on: true });
                }
                edits
            }
            Fact::Answered { whom } => {
                let edits = self.list_edits(whom, List::Forward, who, None)?;
                source.store.edit(&self.named(whom)?.passport, edits).await?;
                vec![Edit::List { contact: self.named(whom)?.passport.clone(), list: List::Pending, on: false }]
            }
            Fact::Group(name) => vec![self.new_group(who, name)?],
            Fact::Name(name) => {
                self.by_name.get_mut(who).into_iter().for_each(|account| account.name.clone_from(name));
                vec![Edit::FriendlyName(name.clone())]
            }
            Fact::Property(property, value) => {
                let account = self.by_name.get_mut(who);
                account.into_iter().for_each(|account| drop(account.properties.insert(*property, value.clone())));
                property_edits(source, &owner, *property, value).await?
            }
            Fact::Strangers(policy) => vec![Edit::Strangers(*policy)],
            Fact::AddPrompt(prompt) => vec![Edit::AddPrompt(*prompt)],
        };
        Ok(source.store.edit(&owner, edits).await?)
    }

    fn named(&self, name: &str) -> anyhow::Result<&RunAccount> {
        self.by_name.get(name).ok_or_else(|| anyhow::anyhow!("there is no account {name}"))
    }

    fn friend_edits(&self, one: &str, other: &str) -> anyhow::Result<Vec<Edit>> {
        let mut edits = self.list_edits(one, List::Forward, other, None)?;
        edits.push(Edit::List { contact: self.named(other)?.passport.clone(), list: List::Allow, on: true });
        Ok(edits)
    }

    /// Friends have answered each other.
    async fn accept_all(&self, names: &[String], source: Option<&AccountSource>) -> anyhow::Result<()> {
        let Some(source) = source else { return Ok(()) };
        for one in names {
            let others = names.iter().filter(|other| *other != one);
            let edits: Result<Vec<_>, _> = others
                .map(|other| {
                    let contact = self.named(other)?.passport.clone();
                    anyhow::Ok(Edit::List { contact, list: List::Pending, on: false })
                })
                .collect();
            source.store.edit(&self.named(one)?.passport, edits?).await?;
        }
        Ok(())
    }

    /// Puts `whom` on a list of `who`, under the name that it has, or one that `who` has chosen.
    fn list_edits(&self, who: &str, list: List, whom: &str, alias: Option<&str>) -> anyhow::Result<Vec<Edit>> {
        let (owner, contact) = (self.named(who)?, self.named(whom)?);
        let passport = contact.passport.clone();
        let name = match alias {
            Some(alias) => Edit::Name { contact: passport.clone(), name: alias.to_owned() },
            None => Edit::ContactName { contact: passport.clone(), name: contact.name.clone() },
        };
        let mut edits = vec![Edit::List { contact: passport.clone(), list, on: true }, name];
        if list == List::Forward {
            let set = contact.properties.iter().filter(|(property, _)| property.is_kept_by_contacts());
            edits.extend(set.map(|(property, value)| Edit::ContactProperty {
                contact: passport.clone(),
                property: *property,
                value: Some(value.clone()),
            }));
            edits.push(Edit::NameAtContact { contact: passport, name: owner.name.clone() });
        }
        Ok(edits)
    }

    fn new_group(&mut self, who: &str, name: &str) -> anyhow::Result<Edit> {
        let account = self.by_name.get_mut(who).ok_or_else(|| anyhow::anyhow!("there is no account {who}"))?;
        let number = account.groups.keys().next_back().map_or(1, |last| last + 1);
        let id = GroupId(Uuid::new_v4());
        account.groups.insert(number, id);
        Ok(Edit::PutGroup(Group { id, number, name: name.to_owned() }))
    }
}

/// The owner's property, and the copies of those who have it on their lists and may see it.
async fn property_edits(
    source: &AccountSource,
    owner: &Passport,
    property: Property,
    value: &str,
) -> anyhow::Result<Vec<Edit>> {
    let value = Some(value.to_owned());
    let mut edits = vec![Edit::Property(property, value.clone())];
    if let (Some(roster), true) = (source.store.roster(owner).await?, property.is_kept_by_contacts()) {
        let copy = |watcher: &Passport| Edit::PropertyAtContact {
            contact: watcher.clone(),
            property,
            value: value.clone(),
        };
        edits.extend(roster.watchers(owner).map(copy));
    }
    Ok(edits)
}

#[cfg(test)]
impl Accounts {
    /// Accounts that no store knows.
    pub(super) fn invented(names: &[&str]) -> Self {
        let accounts = names.iter().map(|name| ((*name).to_owned(), RunAccount::new(name, "t", None).unwrap()));
        Self { by_name: accounts.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes() {
        let mut accounts = Accounts::invented(&["alice", "bob"]);
        assert!(
            matches!(accounts.new_group("alice", "Friends").unwrap(), Edit::PutGroup(group) if group.number == 1)
        );
        let alice = accounts.get("alice").unwrap();
        assert_eq!(alice.attribute(None).as_deref(), Some("alice-t@example.com"));
        assert_eq!(alice.attribute(Some("password")).as_deref(), Some(PASSWORD));
        assert_eq!(alice.attribute(Some("name")).as_deref(), Some("Alice"));
        assert_eq!(alice.attribute(Some("group.1")).unwrap().len(), 36);
        assert_eq!(alice.attribute(Some("group.2")), None);
        assert_eq!(alice.attribute(Some("shoes")), None);
    }

    #[test]
    fn a_friend_is_seen_and_allowed() {
        let accounts = Accounts::invented(&["alice", "bob"]);
        let edits = accounts.friend_edits("alice", "bob").unwrap();
        let lists: Vec<_> = edits
            .iter()
            .filter_map(|edit| match edit {
                Edit::List { list, on: true, .. } => Some(*list),
                _ => None,
            })
            .collect();
        assert_eq!(lists, [List::Forward, List::Allow]);
    }
}
