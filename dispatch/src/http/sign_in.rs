//! Whether a password is right, and the ticket for it.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use common::clock;
use common::cluster::{Keyring, SignInTicket};
use common::config::{AccountsConfig, HttpConfig};
use common::credentials::{Asker, AttemptGuard, Busy, PasswordHasher, Refusal, RefusalLog, until_even};
use common::model::Passport;
use common::store::{Account, KnownNetwork, SharedStore, Store, StoreError};
use common::telemetry::Seldom;
use tokio::time::Instant;

use super::recent::Recent;

/// Who signs in, and with what. Never printed.
#[derive(PartialEq, Eq)]
pub(super) struct Attempt {
    /// Who.
    pub(super) passport: Passport,
    /// What the password may be: where clients write it in different ways, each way of reading it.
    pub(super) passwords: Vec<String>,
}

/// Who has shown the right password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Who.
    pub(super) passport: Passport,
    /// The number that the account's profile shows (§5.6).
    pub(super) member_id: u64,
    /// Milliseconds since 1970 until which tickets are good.
    pub(super) expires: u64,
    credential_epoch: u64,
}

/// All that sign-in needs of the store.
#[async_trait]
pub(crate) trait Accounts: Send + Sync + 'static {
    /// The account of that passport.
    async fn account(&self, who: &Passport) -> Result<Option<Account>, StoreError>;

    /// From where it has been signed in to.
    async fn known_networks(&self, who: &Passport) -> Result<Vec<KnownNetwork>, StoreError>;
}

#[async_trait]
impl Accounts for SharedStore {
    async fn account(&self, who: &Passport) -> Result<Option<Account>, StoreError> {
        (**self).account(who).await
    }

    async fn known_networks(&self, who: &Passport) -> Result<Vec<KnownNetwork>, StoreError> {
        (**self).known_networks(who).await
    }
}

/// All that sign-in needs of the cluster's secrets.
pub(crate) trait Sealer: Send + Sync + 'static {
    /// The text of a ticket that signs in to the notification tier.
    fn seal(&self, ticket: &SignInTicket) -> String;

    /// The text of one that the web service at `site` takes, and nobody else.
    fn seal_for(&self, site: &str, ticket: &SignInTicket) -> String;
}

impl Sealer for Keyring {
    fn seal(&self, ticket: &SignInTicket) -> String {
        self.seal_ticket(ticket)
    }

    fn seal_for(&self, site: &str, ticket: &SignInTicket) -> String {
        self.seal_site_ticket(site, ticket)
    }
}

/// What an attempt comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The password is right.
    Right(Checked),
    /// It is wrong, or there is no such account, or too many wrong ones came: all the same to the client.
    Wrong(Refusal),
    /// Too many sign-ins wait already.
    Busy,
    /// The store does not answer.
    Unavailable,
}

impl Outcome {
    /// Its name in the metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Right(_) => "ok",
            Self::Wrong(_) => "wrong",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Checks passwords and issues tickets.
pub(crate) struct SignIn {
    accounts: Arc<dyn Accounts>,
    sealer: Arc<dyn Sealer>,
    hasher: PasswordHasher,
    guard: Arc<AttemptGuard>,
    recent: Recent,
    refusals: RefusalLog,
    /// Lines of sign-ins that the store did not answer.
    failures: Seldom,
    ticket_ms: u64,
}

impl SignIn {
    /// With the configured costs and bounds.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(crate) fn new(
        config: &AccountsConfig,
        http: &HttpConfig,
        accounts: Arc<dyn Accounts>,
        sealer: Arc<dyn Sealer>,
    ) -> anyhow::Result<Self> {
        let (hasher, guard, recent) = (PasswordHasher::new(config), AttemptGuard::new(config), Recent::new()?);
        let guard = Arc::new(guard);
        let (refusals, ticket_ms) = (RefusalLog::default(), http.ticket_secs.saturating_mul(1000));
        let failures = Seldom::default();
        Ok(Self { accounts, sealer, hasher, guard, recent, refusals, failures, ticket_ms })
    }

    /// What counts wrong passwords.
    pub(crate) fn guard(&self) -> &Arc<AttemptGuard> {
        &self.guard
    }

    /// Checks an attempt that came from an address by HTTP or SOAP. Without such an account it takes as long as with a
    /// wrong password, and both are refused at even times.
    pub(super) async fn check(&self, attempt: Attempt, from: IpAddr, by: &'static str) -> Outcome {
        let Attempt { passport, passwords } = attempt;
        let came = Instant::now();
        let outcome = self.outcome(&passport, passwords, from).await;
        if let Outcome::Wrong(why) = &outcome {
            self.refusals.tell(by, &passport, from, *why);
            until_even(came).await;
        }
        outcome
    }

    async fn outcome(&self, who: &Passport, passwords: Vec<String>, from: IpAddr) -> Outcome {
        // Both are asked for whoever it is: it takes as long without an account.
        let asked = tokio::join!(self.accounts.account(who), self.accounts.known_networks(who));
        let (account, networks) = match asked {
            (Ok(account), Ok(networks)) => (account, networks),
            (Err(error), _) | (_, Err(error)) => {
                if let Some(left_out) = self.failures.permits() {
                    tracing::error!(%who, %error, left_out, "no sign-in: the account can't be read");
                }
                return Outcome::Unavailable;
            }
        };
        let tried = self.guard.attempt(who, from, account.as_ref(), networks);
        if !self.guard.allows(&tried) {
            return Outcome::Wrong(Refusal::TooMany);
        }
        let right = match self.is_right(account.as_ref(), who, passwords, self.guard.asker(&tried)).await {
            Ok(right) => right,
            Err(Busy) => return Outcome::Busy,
        };
        let account = match account {
            Some(account) if right => account,
            found => {
                self.guard.failed(&tried);
                self.guard.hear_others(&tried).await;
                return Outcome::Wrong(found.map_or(Refusal::NoAccount, |_| Refusal::WrongPassword));
            }
        };
        // Asked again: a thousand guesses sent at once were all let in before the first was found wrong.
        self.guard.hear_others(&tried).await;
        if !self.guard.allows(&tried) {
            return Outcome::Wrong(Refusal::TooMany);
        }
        let now = clock::wall_ms();
        self.guard.succeeded(&tried, now);
        let expires = now.saturating_add(self.ticket_ms);
        let (member_id, credential_epoch) = (account.claim.0.as_u64_pair().0, account.credentials.epoch);
        Outcome::Right(Checked { passport: account.passport, member_id, expires, credential_epoch })
    }

    /// Writes what was learnt since the last time. To be called every few seconds, and at the end.
    pub(crate) async fn flush(&self, store: &dyn Store) {
        self.guard.flush(store).await;
    }

    /// The ticket that signs in to the notification tier.
    pub(super) fn ticket(&self, who: &Checked) -> String {
        self.sealer.seal(&who.ticket())
    }

    /// A ticket for the web service at `site`, an address of at most 255 bytes.
    pub(super) fn site_ticket(&self, who: &Checked, site: &str) -> String {
        self.sealer.seal_for(site, &who.ticket())
    }

    async fn is_right(
        &self,
        account: Option<&Account>,
        who: &Passport,
        passwords: Vec<String>,
        asker: Asker,
    ) -> Result<bool, Busy> {
        // Marks are made, and looked for, without an account too: it costs the same.
        let epoch = account.map_or(0, |account| account.credentials.epoch);
        let marks: Vec<_> = passwords.iter().map(|password| self.recent.mark(who, epoch, password)).collect();
        if marks.iter().any(|mark| self.recent.holds(mark)) {
            return Ok(account.is_some());
        }
        for (password, mark) in passwords.into_iter().zip(marks) {
            let hash = account.map(|account| account.credentials.password_hash.clone());
            if self.hasher.verify(hash, password, asker).await? {
                self.recent.remember(mark);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Checked {
    fn ticket(&self) -> SignInTicket {
        let Self { credential_epoch, expires, .. } = *self;
        SignInTicket { passport: self.passport.clone(), credential_epoch, expires }
    }
}
