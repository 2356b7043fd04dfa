//! How two nodes make sure of each other before a peer link carries anything.
//!
//! ```text
//! both     "MNRLINK" version                           in the clear: versions can be compared whatever follows
//! dialer   Hello      who I am, my store, whom I mean, a nonce, the names of my secrets
//! acceptor Challenge  who I am, my store, a nonce, the secret we share, code("acceptor")
//!          or Refusal
//! dialer   Proof      code("dialer")
//! ```
//! Each code is HMAC-SHA256(link subkey, its role | version | hello | challenge without its code), so that nodes,
//! generations, stores and nonces are under it, and none is of use in another place. The session keys come from the same
//! bytes under other roles.

use hmac::Mac;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use uuid::Uuid;

use super::ring::Place;
use super::secrets::{Hasher, KeyId, Keyring, Purpose, finish, hasher};
use super::wire::{Opener, Sealer, decode, encode, read_frame};
use crate::model::NodeId;

const MAGIC: [u8; 7] = *b"MNRLINK";
/// The version of the links' messages.
const VERSION: u8 = 4;
/// The most bytes of a frame before the other side is known.
const MAX_STRANGER_FRAME: usize = 4096;

/// Who this node is to its peers.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) me: Place,
    pub(super) store: Uuid,
    pub(super) keys: Keyring,
}

/// A link that may carry messages.
pub(super) struct Session {
    /// The other side.
    pub(super) peer: Place,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
}

/// Why no link came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it is no Monarch node")]
    Stranger,
    #[error(
        "it speaks version {0} of the peer links and this node version {VERSION}: update the older of the two"
    )]
    Version(u8),
    #[error("{0} shares no cluster secret with this node: compare the files of cluster secrets")]
    NoCommonSecret(NodeId),
    #[error("{0} uses store {1} and this node another: compare the store's settings")]
    OtherStore(NodeId, Uuid),
    #[error("it did not prove that it knows the cluster secret")]
    Unproven,
    #[error("{0} stands where another node was expected")]
    Unexpected(NodeId),
    #[error("it refuses this node: {0:?}; its log says more")]
    Refused(Refusal),
}

impl HandshakeError {
    /// Whether only an operator can help.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::Unexpected(_) | Self::Refused(Refusal::Unexpected))
    }
}

/// What the side that was dialed says instead of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    NoCommonSecret,
    OtherStore,
    Unexpected,
}

#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    me: Place,
    store: Uuid,
    /// Whom it means to reach: a link dialed to one node can't be passed on to another.
    to: NodeId,
    nonce: [u8; 32],
    keys: Vec<KeyId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Challenge {
    me: Place,
    store: Uuid,
    nonce: [u8; 32],
    key: KeyId,
}

#[derive(Debug, Serialize, Deserialize)]
enum Response {
    Challenge(Challenge, [u8; 32]),
    Refusal(Refusal),
}

/// What both sides have said.
struct Transcript {
    key: Hasher,
    said: Vec<u8>,
}

impl Transcript {
    fn new(identity: &Identity, hello: &Hello, challenge: &Challenge) -> Option<Self> {
        let key = identity.keys.subkey(challenge.key, Purpose::Link)?;
        let mut said = vec![VERSION];
        said.extend(encode(&(hello, challenge))?);
        Some(Self { key, said })
    }

    fn under(&self, role: &str) -> Hasher {
        self.key
            .clone()
            .chain_update([u8::try_from(role.len()).unwrap_or_default()])
            .chain_update(role)
            .chain_update(&self.said)
    }

    fn sealer(&self, role: &str) -> Sealer {
        Sealer::new(hasher(&finish(self.under(role))))
    }

    fn opener(&self, role: &str) -> Opener {
        Opener::new(hasher(&finish(self.under(role))))
    }
}

const ACCEPTOR: &str = "acceptor";
const DIALER: &str = "dialer";
const TO_ACCEPTOR: &str = "session, dialer to acceptor";
const TO_DIALER: &str = "session, acceptor to dialer";

/// The dialing side. `to` is whom gossip promised there.
pub(super) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
    to: &Place,
) -> Result<Session, HandshakeError> {
    exchange_versions(stream).await?;
    let hello = Hello {
        me: identity.me.clone(),
        store: identity.store,
        to: to.node.clone(),
        nonce: nonce()?,
        keys: identity.keys.ids(),
    };
    write(stream, &hello).await?;
    let (challenge, code) = match read(stream).await? {
        Response::Challenge(challenge, code) => (challenge, code),
        Response::Refusal(refusal) => return Err(HandshakeError::Refused(refusal)),
    };
    let transcript = Transcript::new(identity, &hello, &challenge)
        .ok_or_else(|| HandshakeError::NoCommonSecret(challenge.me.node.clone()))?;
    transcript.under(ACCEPTOR).verify_slice(&code).map_err(|_| HandshakeError::Unproven)?;
    if challenge.store != identity.store {
        return Err(HandshakeError::OtherStore(challenge.me.node, challenge.store));
    }
    if challenge.me != *to {
        return Err(HandshakeError::Unexpected(challenge.me.node));
    }
    write(stream, &finish(transcript.under(DIALER))).await?;
    Ok(Session {
        peer: challenge.me,
        sealer: transcript.sealer(TO_ACCEPTOR),
        opener: transcript.opener(TO_DIALER),
    })
}

/// The side that was dialed.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
) -> Result<Session, HandshakeError> {
    exchange_versions(stream).await?;
    let hello: Hello = read(stream).await?;
    // The dialer's preference counts: what it signs with is what it trusts.
    let known = identity.keys.ids();
    let Some(key) = hello.keys.iter().copied().find(|key| known.contains(key)) else {
        return refuse(stream, Refusal::NoCommonSecret, HandshakeError::NoCommonSecret(hello.me.node)).await;
    };
    if hello.store != identity.store {
        return refuse(stream, Refusal::OtherStore, HandshakeError::OtherStore(hello.me.node, hello.store)).await;
    }
    if hello.to != identity.me.node || hello.me.node == identity.me.node {
        return refuse(stream, Refusal::Unexpected, HandshakeError::Unexpected(hello.me.node)).await;
    }
    let challenge = Challenge { me: identity.me.clone(), store: identity.store, nonce: nonce()?, key };
    let transcript = Transcript::new(identity, &hello, &challenge).ok_or(HandshakeError::Stranger)?;
    let code = finish(transcript.under(ACCEPTOR));
    write(stream, &Response::Challenge(challenge, code)).await?;
    let proof: [u8; 32] = read(stream).await?;
    transcript.under(DIALER).verify_slice(&proof).map_err(|_| HandshakeError::Unproven)?;
    Ok(Session { peer: hello.me, sealer: transcript.sealer(TO_DIALER), opener: transcript.opener(TO_ACCEPTOR) })
}

async fn refuse<S: AsyncWrite + Unpin>(
    stream: &mut S,
    refusal: Refusal,
    error: HandshakeError,
) -> Result<Session, HandshakeError> {
    write(stream, &Response::Refusal(refusal)).await?;
    Err(error)
}

async fn exchange_versions<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<(), HandshakeError> {
    let mut own = [VERSION; MAGIC.len() + 1];
    own[..MAGIC.len()].copy_from_slice(&MAGIC);
    stream.write_all(&own).await?;
    let mut theirs = [0; MAGIC.len() + 1];
    stream.read_exact(&mut theirs).await?;
    match theirs.strip_prefix(&MAGIC) {
        Some([VERSION]) => Ok(()),
        Some([version]) => Err(HandshakeError::Version(*version)),
        _ => Err(HandshakeError::Stranger),
    }
}

fn nonce() -> Result<[u8; 32], HandshakeError> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| HandshakeError::Io(std::io::Error::other(error)))?;
    Ok(nonce)
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, message: &impl Serialize) -> Result<(), HandshakeError> {
    let message = encode(message).ok_or(HandshakeError::Stranger)?;
    let mut frame = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    frame.extend(message);
    Ok(stream.write_all(&frame).await?)
}

async fn read<S: AsyncRead + Unpin, T: serde::de::DeserializeOwned>(stream: &mut S) -> Result<T, HandshakeError> {
    let mut frame = Vec::new();
    read_frame(stream, MAX_STRANGER_FRAME, &mut frame).await?;
    decode(&frame).ok_or(HandshakeError::Stranger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Generation;

    fn identity(name: &str, secrets: &[u8], store: u128) -> Identity {
        Identity {
            me: Place { node: NodeId::parse(name).unwrap(), generation: Generation(7) },
            store: Uuid::from_u128(store),
            keys: Keyring::from_secrets(secrets.iter().map(|byte| [*byte; 32])).unwrap(),
        }
    }

    type Both = (Result<Session, HandshakeError>, Result<Session, HandshakeError>);

    async fn meet(dialer: &Identity, acceptor: &Identity, to: &Place) -> Both {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        let dialing = async {
            let dialed = dial(&mut near, dialer, to).await;
            drop(near);
            dialed
        };
        let accepting = async {
            let accepted = accept(&mut far, acceptor).await;
            drop(far);
            accepted
        };
        tokio::join!(dialing, accepting)
    }

    fn error(result: Result<Session, HandshakeError>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[tokio::test]
    async fn nodes_with_a_common_secret_meet_and_both_directions_differ() {
        let (a, b) = (identity("a", &[1, 2], 5), identity("b", &[2, 3], 5));
        let (near, far) = meet(&a, &b, &b.me).await;
        let (Ok(mut near), Ok(mut far)) = (near, far) else { panic!("they share secret 2") };
        assert_eq!((&near.peer, &far.peer), (&b.me, &a.me));
        let (mut there, mut back) = (Vec::new(), Vec::new());
        near.sealer.seal(b"hello", &mut there);
        far.sealer.seal(b"hello", &mut back);
        assert_ne!(there, back);
        assert_eq!(far.opener.open(&there[4..]), Some(&b"hello"[..]));
        assert_eq!(near.opener.open(&back[4..]), Some(&b"hello"[..]));
    }

    #[tokio::test]
    async fn strangers_are_refused_and_it_says_why() {
        let (a, b) = (identity("a", &[1], 5), identity("b", &[2], 5));
        let (near, far) = meet(&a, &b, &b.me).await;
        assert!(error(near).contains("NoCommonSecret"));
        assert!(error(far).contains("a shares no cluster secret"));

        let elsewhere = identity("b", &[1], 6);
        let (near, far) = meet(&a, &elsewhere, &elsewhere.me).await;
        assert!(error(near).contains("OtherStore"));
        assert!(error(far).contains("another: compare the store's settings"));

        let b = identity("b", &[1], 5);
        let (near, far) = meet(&a, &b, &Place { node: NodeId::parse("c").unwrap(), ..b.me.clone() }).await;
        assert!(near.is_err() && far.is_err(), "another node than was meant");
        let (near, _) = meet(&a, &b, &Place { generation: Generation(8), ..b.me.clone() }).await;
        assert!(matches!(near, Err(HandshakeError::Unexpected(_))), "another life than was meant");
    }

    #[tokio::test]
    async fn another_version_is_refused_by_name() {
        let (mut near, mut far) = tokio::io::duplex(1024);
        far.write_all(b"MNRLINK\x01").await.unwrap();
        let a = identity("a", &[1], 5);
        let told = error(dial(&mut near, &a, &identity("b", &[1], 5).me).await);
        assert!(told.contains(&format!("version {VERSION}")) && told.contains("version 1"), "{told}");
        let (mut near, mut far) = tokio::io::duplex(1024);
        far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(matches!(accept(&mut near, &a).await, Err(HandshakeError::Stranger)));
    }

    #[tokio::test]
    async fn a_replayed_or_invented_proof_opens_nothing() {
        let (a, b) = (identity("a", &[1], 5), identity("b", &[1], 5));
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        let forging = async {
            exchange_versions(&mut near).await?;
            let (me, store) = (a.me.clone(), a.store);
            let hello = Hello { me, store, to: b.me.node.clone(), nonce: [0; 32], keys: a.keys.ids() };
            write(&mut near, &hello).await?;
            let Response::Challenge(_, code) = read(&mut near).await? else { panic!("refused") };
            // The acceptor's own code, turned around.
            write(&mut near, &code).await
        };
        let (forged, accepted) = tokio::join!(forging, accept(&mut far, &b));
        assert!(forged.is_ok());
        assert!(matches!(accepted, Err(HandshakeError::Unproven)));
    }
}
