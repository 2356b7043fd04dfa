//! Checking the proof, and becoming a session (protocol reference §5.4–5.6).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::clock;
use common::cluster::{Location, TicketError};
use common::credentials::{Refusal, until_even};
use common::model::{Endpoint, Epoch, Passport};
use common::msnp::challenge::md5_answer;
use common::msnp::{ErrorCode, handshake, hotmail, miscellany, value};
use common::store::{Account, StoreError};
use common::telemetry::Seldom;
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout_at};

use super::handshake::{Evidence, Proof};
use super::inbox::Inbox;
use super::out::Out;
use super::{Closing, Session, Surroundings};
use crate::hub::{Access, Place};
use crate::metrics::Limited;
use crate::repair::Watch;
use crate::services::Services;

/// The store may take so long, together with the directory in between; then the client is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who comes before this node may take clients waits so long for that, and is then told to come back.
const SETTLING: Duration = Duration::from_secs(5);

/// Lines of sign-ins that the store or the directory did not answer.
static FAILURES: Seldom = Seldom::one_in(Duration::from_secs(1));

/// A session that has signed in.
pub(super) struct SignedIn {
    pub(super) session: Session,
    pub(super) inbox: Inbox,
    pub(super) place: Place,
    pub(super) registration: Registration,
    pub(super) watch: Watch,
}

/// A session's entry in the directory; dropping it takes the entry back, if it is still this session's.
pub(super) struct Registration {
    services: Arc<Services>,
    who: Passport,
    epoch: Epoch,
}

impl Registration {
    /// Makes the entry, within 4 s. Not to be cut short: an owner may have taken it in by then.
    async fn make(services: Arc<Services>, who: Passport) -> Self {
        let epoch = services.cluster.register(&who, Endpoint::SOLE).await;
        Self { services, who, epoch }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.services.cluster.unregister(&self.who, Endpoint::SOLE, self.epoch);
    }
}

/// Why somebody is not signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// No such account, wrong password or ticket: from outside all the same.
    Wrong(Refusal),
    /// The store or the directory did not answer.
    Unavailable,
    /// This node has not yet heard who is signed in elsewhere.
    Busy,
    /// The account has signed in too often of late.
    TooOften,
}

impl Denied {
    fn too_slow() -> Self {
        Self::unavailable(&"store or directory too slow")
    }

    /// As often as sign-ins fail while the store is down is not for the log.
    fn unavailable(why: &dyn std::fmt::Display) -> Self {
        if let Some(left_out) = FAILURES.permits() {
            tracing::error!(%why, left_out, "sign-in: the store failed");
        }
        Self::Unavailable
    }

    /// What the client is told before the connection is closed.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::Wrong(_) => ErrorCode::AuthenticationFailed,
            Self::Unavailable => ErrorCode::ServerUnavailable,
            // Clients try again after a while.
            Self::Busy | Self::TooOften => ErrorCode::ServerBusy,
        }
    }

    /// Why the connection is closed.
    pub(super) fn closing(self) -> Closing {
        match self {
            Self::Wrong(_) => Closing::Authentication,
            Self::Unavailable => Closing::Fault,
            Self::Busy => Closing::TooEarly,
            Self::TooOften => Closing::TooOften,
        }
    }

    /// The word in metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Wrong(_) => "wrong",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::TooOften => "too_often",
        }
    }
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::unavailable(&error)
    }
}

/// Checks the proof and makes the session: in the hub, in the directory, then with its roster. Notices that are
/// routed to it meanwhile wait in its mailbox.
pub(super) async fn sign_in(
    services: &Arc<Services>,
    proof: &Proof,
    peer: SocketAddr,
) -> Result<SignedIn, Denied> {
    let outcome = admit(services, proof, peer).await;
    services.metrics.sign_in(outcome.as_ref().map_or_else(|denied| denied.label(), |_| "ok"));
    if let Err(Denied::TooOften) = &outcome {
        services.metrics.rate_refusal(Limited::SignIn);
    }
    if let Err(Denied::Wrong(why)) = &outcome {
        let by = proof.evidence.label();
        services.metrics.refused_sign_in(by, *why);
        services.refusals.tell(by, &proof.passport, peer.ip().to_canonical(), *why);
    }
    outcome
}

/// Store and directory have until a deadline to answer. A registration that is late is taken back when it is made.
async fn admit(services: &Arc<Services>, proof: &Proof, peer: SocketAddr) -> Result<SignedIn, Denied> {
    // What comes after this may leave two sessions of one principal on, which don't see the others, unless this node knows
    // them all.
    let until = services.shutdown.begun();
    let serves = tokio::select! {
        serves = services.cluster.serves_within(SETTLING) => serves,
        () = until => false,
    };
    if !serves {
        return Err(Denied::Busy);
    }
    let (who, deadline) = (&proof.passport, Instant::now() + PATIENCE);
    let account = timeout_at(deadline, check(services, proof, peer)).await.map_err(|_| Denied::too_slow())??;
    let edition = account.credentials.edition();
    // The account's own, now that it is known to be its owner: nobody else uses it up.
    let now = Instant::now().into_std();
    let allowance = services.allowances.open(who, now);
    if !allowance.take(|of| &mut of.sign_in, services.rates.sign_in(), now) {
        return Err(Denied::TooOften);
    }
    let (place, mailbox) = services.hub.enter(who, Endpoint::SOLE, Access { claim: account.claim, edition });
    // The account was read before: a change of the password meanwhile has missed this session, but is known here.
    if services.cluster.is_void(account.claim, edition) {
        return Err(Denied::Wrong(Refusal::WrongPassword));
    }
    let mut inbox = Inbox::new(mailbox);
    let making = tokio::spawn(Registration::make(Arc::clone(services), who.clone()));
    let made = inbox.before_asking(timeout_at(deadline, making)).await.map_err(|_| Denied::too_slow())?;
    let registration = made.map_err(|_| Denied::Unavailable)?;
    let epoch = registration.epoch;
    place.settle(epoch);
    let loading = timeout_at(deadline, services.store.roster(who));
    let loaded = inbox.before_asking(loading).await.map_err(|_| Denied::too_slow())??;
    // Nothing: the account was erased this very moment.
    let roster = loaded.ok_or(Denied::Wrong(Refusal::NoAccount))?;
    let (node, generation) = (services.cluster.id().clone(), services.cluster.generation());
    let here = Location { node, generation, epoch, endpoint: Endpoint::SOLE };
    let now = Instant::now().into_std();
    let mut session = Session::new(who.clone(), account.claim, edition, proof.dialect, here, roster, now);
    session.allowance = allowance;
    let watch = Watch::begin(services, who, epoch);
    Ok(SignedIn { session, inbox, place, registration, watch })
}

async fn check(services: &Services, proof: &Proof, peer: SocketAddr) -> Result<Account, Denied> {
    let came = Instant::now();
    let checked = match &proof.evidence {
        Evidence::Md5 { salt, answer } => {
            by_password(services, &proof.passport, |password| answers(salt, password, answer), peer).await
        }
        Evidence::Password(sent) => {
            by_password(services, &proof.passport, |password| is_password(password, sent), peer).await
        }
        Evidence::Ticket(ticket) => return by_ticket(services, &proof.passport, ticket).await,
    };
    if matches!(checked, Err(Denied::Wrong(_))) {
        until_even(came).await;
    }
    checked
}

/// Sign-in by MD5 or in the clear. An unknown account, one without MD5, and a wrong password take the same steps.
async fn by_password(
    services: &Services,
    who: &Passport,
    fits: impl FnOnce(Option<&str>) -> bool,
    peer: SocketAddr,
) -> Result<Account, Denied> {
    let (account, networks) = tokio::join!(services.store.account(who), services.store.known_networks(who));
    let (account, networks) = (account?, networks?);
    let attempt = services.guard.attempt(who, peer.ip(), account.as_ref(), networks);
    if !services.guard.allows(&attempt) {
        return Err(Denied::Wrong(Refusal::TooMany));
    }
    let password = services.md5.open(who, account.as_ref());
    let is_right = fits(password.as_deref().ok());
    match account {
        Some(account) if is_right => {
            // Asked again: guesses sent at once were all let in before the first was found wrong.
            services.guard.hear_others(&attempt).await;
            if !services.guard.allows(&attempt) {
                return Err(Denied::Wrong(Refusal::TooMany));
            }
            services.guard.succeeded(&attempt, clock::wall_ms());
            Ok(account)
        }
        _ => {
            services.guard.failed(&attempt);
            services.guard.hear_others(&attempt).await;
            Err(Denied::Wrong(password.err().unwrap_or(Refusal::WrongPassword)))
        }
    }
}

/// Whether the answer fits. Without a password one is hashed all the same, and nothing fits.
fn answers(salt: &str, password: Option<&str>, answer: &[u8]) -> bool {
    let right = md5_answer(salt, password.unwrap_or("no such password"));
    // Upper-case digits would be no less right; nobody has seen a client that sends them.
    let fits: bool = right.as_bytes().ct_eq(&answer.to_ascii_lowercase()).into();
    fits & password.is_some()
}

/// Whether that is the password, as it was sent or decoded: nobody has said which of them clients send (§5.3).
fn is_password(password: Option<&str>, sent: &[u8]) -> bool {
    let right = password.unwrap_or("no such password").as_bytes();
    let decoded = std::str::from_utf8(sent).ok().and_then(value::decode);
    let raw: bool = right.ct_eq(sent).into();
    let decoded: bool = right.ct_eq(decoded.as_deref().unwrap_or_default().as_bytes()).into();
    (raw | decoded) & password.is_some()
}

/// Sign-in by ticket: genuine, fresh, of this principal, and of its present password.
async fn by_ticket(services: &Services, who: &Passport, ticket: &[u8]) -> Result<Account, Denied> {
    let not_genuine = Denied::Wrong(Refusal::TicketNotGenuine);
    let text = std::str::from_utf8(ticket).map_err(|_| not_genuine)?;
    let ticket = services.keys.open_ticket(text, clock::wall_ms()).map_err(|error| match error {
        TicketError::Expired if services.cluster.clock_is_off() => Denied::Wrong(Refusal::Clock),
        TicketError::Expired => Denied::Wrong(Refusal::TicketExpired),
        TicketError::NotGenuine | TicketError::Used => not_genuine,
    })?;
    if ticket.passport != *who {
        return Err(not_genuine);
    }
    let account = services.store.account(who).await?;
    match account {
        Some(account) if account.credentials.epoch == ticket.credential_epoch => Ok(account),
        found => Err(Denied::Wrong(found.map_or(Refusal::NoAccount, |_| Refusal::TicketOutdated))),
    }
}

/// What a client gets right after its proof was accepted (§5.6).
pub(super) fn welcome(session: &Session, proof: &Proof, peer: SocketAddr, services: &Services, out: &mut Out) {
    let dialect = session.dialect;
    let name = &session.roster.settings.friendly_name;
    out.line(handshake::accepted(proof.trid, dialect, &session.passport, name));
    if dialect.personal_message {
        out.line(miscellany::service_start());
    }
    let profile = hotmail::Profile {
        login_time: services.wall_ms() / 1000,
        member_id: session.member_id(),
        passport: &session.passport,
        name,
        client: peer,
    };
    out.line(hotmail::profile(dialect, &profile));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_a_known_account_answers() {
        let (salt, right) = ("1013928519.693957190", b"ca119f98ef5b826b095287c249ca8e87");
        assert!(answers(salt, Some("correct horse"), right));
        assert!(!answers(salt, Some("correct horses"), right));
        assert!(!answers("1013928519.693957191", Some("correct horse"), right));
        assert!(!answers(salt, Some("correct horse"), &right[..31]));
        assert!(!answers(salt, None, right));
        assert!(!answers(salt, None, md5_answer(salt, "no such password").as_bytes()));
    }
    #[test]
    fn a_password_in_the_clear_fits_raw_or_decoded() {
        assert!(is_password(Some("secret"), b"secret"));
        assert!(is_password(Some("my secret"), b"my%20secret"));
        assert!(is_password(Some("100%25"), b"100%25"));
        assert!(!is_password(Some("secret"), b"secrets"));
        assert!(!is_password(Some("secret"), b""));
        assert!(!is_password(Some("secret"), b"\xff"));
        assert!(!is_password(None, b"no such password"));
    }
}
