//! What peer links carry.
//!
//! A frame is a length (u32, big-endian, at most [`MAX_FRAME`]), a message as `postcard` writes it, and a code: the
//! first 16 bytes of HMAC-SHA256(session key of that direction, sequence number | message). A frame that was changed,
//! repeated, left out or turned around ends the link.

use hmac::Mac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::carrying_out::CarriedOut;
use super::guesses::Guesses;
use super::notice::{Notice, Outcome};
use super::order::Order;
use super::secrets::{Hasher, finish};
use super::sighting::{Sighting, Tally};
use super::voids::Void;
use crate::model::{Endpoint, Epoch, NodeId, Passport};

/// The most bytes of a frame after its length.
pub(super) const MAX_FRAME: usize = 1024 * 1024;
/// Bytes of a frame's code.
const CODE: usize = 16;

/// A session of the sending node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) who: Passport,
    pub(super) endpoint: Endpoint,
    pub(super) epoch: Epoch,
}

/// Notices to one principal, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) to: Passport,
    pub(super) notices: Vec<Notice>,
}

/// Notices to one principal's session at the receiving node: that of `epoch`, or any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parcel {
    pub(super) epoch: Option<Epoch>,
    pub(super) group: Group,
}

/// From the side that dialed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// To an owner: these sessions are here. Answered by as many [`Claimed`].
    Register { id: u64, announcement: u64, claims: Vec<Claim> },
    /// To an owner: these have ended. Not answered.
    Unregister { claims: Vec<Claim> },
    /// To an owner: all sessions that it owns in the view of that hash have been named. With `sweep`, those not
    /// named since that announcement began have ended.
    Done { view: u64, sweep: Option<u64> },
    /// To an owner: bring these to wherever the principals are. Answered by as many [`Answer`]s.
    Ask { id: u64, view: u64, patience_ms: u32, groups: Vec<Group> },
    /// To a holder: deliver these. Answered by as many [`Outcome`]s, unless `id` is 0.
    Hand { id: u64, patience_ms: u32, parcels: Vec<Parcel> },
    /// To a holder: a later sign-in of this principal has registered elsewhere.
    Displaced { who: Passport, endpoint: Endpoint, by: Epoch, node: NodeId },
    /// Answered by [`Reply::Pong`].
    Ping,
    /// To a notification node: what operators want of its sessions. Done once for each order, which was `sealed` at that time, in
    /// milliseconds since 1970.
    Order { id: u64, sealed: u64, order: Order },
    /// To a notification node: who is to be seen there, in short.
    Tallies { id: u64 },
    /// To a notification node: who is to be seen there, of these buckets.
    Sightings { id: u64, buckets: Vec<u8> },
    /// To a notification node: notices of the sending node may be lost. Not answered.
    Gap,
    /// To a notification node or a switchboard: what is void since accounts have other passwords. Answered when it is.
    Void { id: u64, voids: Vec<Void> },
    /// To a dispatch or notification node: wrong passwords that the sending node has counted. Not answered.
    Guesses(Guesses),
}

/// From the side that was dialed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// To [`Request::Register`].
    Registered { id: u64, verdicts: Vec<Claimed> },
    /// To [`Request::Ask`].
    Asked { id: u64, answers: Vec<Answer> },
    /// To [`Request::Hand`].
    Handed { id: u64, outcomes: Vec<Outcome> },
    /// To [`Request::Ping`].
    Pong,
    /// To [`Request::Order`]. Nothing: it was not carried out.
    CarriedOut { id: u64, done: Option<CarriedOut> },
    /// To [`Request::Tallies`]: one of each bucket.
    Tallies { id: u64, tallies: Vec<Tally> },
    /// To [`Request::Sightings`]: of as many of the buckets as fit into a frame.
    Sightings { id: u64, buckets: Vec<Vec<Sighting>> },
    /// To [`Request::Void`].
    Voided { id: u64 },
}

impl Reply {
    /// Which request it answers.
    pub(super) fn id(&self) -> Option<u64> {
        match self {
            Self::Registered { id, .. }
            | Self::Asked { id, .. }
            | Self::Handed { id, .. }
            | Self::CarriedOut { id, .. }
            | Self::Tallies { id, .. }
            | Self::Sightings { id, .. }
            | Self::Voided { id } => Some(*id),
            Self::Pong => None,
        }
    }
}

/// What an owner says to a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Claimed {
    /// It holds; `fresh`: it was not known before.
    Held { fresh: bool },
    /// A later sign-in stands there.
    Beaten { by: Epoch, node: NodeId },
    /// Its epoch is too far ahead of the owner's clock.
    Ahead,
}

/// What an owner says to an [`Request::Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is known where the principal is, and this is what came of it.
    Found(Outcome),
    /// It is not known. `sure`: because it is signed in nowhere.
    Missing { sure: bool },
}

/// Writes a message as it goes into a frame; nothing if it is too long for one.
pub(super) fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    let bytes = postcard::to_stdvec(message).ok()?;
    (bytes.len() + CODE <= MAX_FRAME).then_some(bytes)
}

/// Reads a message; nothing if it is none.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// Makes the frames of one direction.
#[derive(Clone)]
pub(super) struct Sealer {
    key: Hasher,
    sequence: u64,
}

/// Checks the frames of one direction.
pub(super) struct Opener(Sealer);

impl Sealer {
    pub(super) fn new(key: Hasher) -> Self {
        Self { key, sequence: 0 }
    }

    fn next(&mut self, message: &[u8]) -> Hasher {
        let hasher = self.key.clone().chain_update(self.sequence.to_be_bytes()).chain_update(message);
        self.sequence += 1;
        hasher
    }

    /// Appends the frame of a message.
    pub(super) fn seal(&mut self, message: &[u8], frames: &mut Vec<u8>) {
        let code = finish(self.next(message));
        let len = u32::try_from(message.len() + CODE).unwrap_or(u32::MAX);
        frames.extend_from_slice(&len.to_be_bytes());
        frames.extend_from_slice(message);
        frames.extend_from_slice(&code[..CODE]);
    }
}

impl Opener {
    pub(super) fn new(key: Hasher) -> Self {
        Self(Sealer::new(key))
    }

    /// The message of the next frame, if the code is right.
    pub(super) fn open<'a>(&mut self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let (message, code) = frame.split_last_chunk::<CODE>()?;
        self.0.next(message).verify_truncated_left(code).ok()?;
        Some(message)
    }
}

/// Reads a frame of at most `max` bytes after its length into `buffer`, without its length. Not safe to cancel.
///
/// # Errors
/// [`std::io::ErrorKind::InvalidData`] if it is longer; nothing of it is stored then.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
    buffer: &mut Vec<u8>,
) -> std::io::Result<()> {
    let len = stream.read_u32().await? as usize;
    if len > max {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a frame that is too long"));
    }
    buffer.clear();
    // Memory follows what has arrived, and not what was announced.
    let read = stream.take(len as u64).read_to_end(buffer).await?;
    if read == len { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Stamp;
    use crate::cluster::secrets::hasher;
    use crate::model::Property;

    fn frames(messages: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut sealer = Sealer::new(hasher(b"key"));
        let seal = |message: &&[u8]| {
            let mut frame = Vec::new();
            sealer.seal(message, &mut frame);
            frame.split_off(4)
        };
        messages.iter().map(seal).collect()
    }

    #[test]
    fn messages_round_trip() {
        let group = Group {
            to: "alice@example.com".parse().unwrap(),
            notices: vec![Notice::Property {
                of: "bob@example.com".parse().unwrap(),
                stamp: Stamp { epoch: Epoch(5), node: NodeId::parse("ns-1").unwrap(), count: 2, version: 1 },
                repeated: true,
                property: Property::HomePhone,
                value: "1 23".into(),
            }],
        };
        let ask = Request::Ask { id: 7, view: u64::MAX, patience_ms: 2000, groups: vec![group] };
        assert_eq!(decode::<Request>(&encode(&ask).unwrap()), Some(ask));
        let reply = Reply::Asked { id: 7, answers: vec![Answer::Missing { sure: true }] };
        assert_eq!(decode::<Reply>(&encode(&reply).unwrap()), Some(reply));
        assert_eq!(decode::<Request>(&[0xff; 40]), None);
        assert_eq!(encode(&vec![0xffu8; MAX_FRAME]), None);
    }

    #[test]
    fn frames_changed_repeated_left_out_or_turned_around_are_found() {
        let sent = frames(&[b"one", b"two"]);
        let mut opener = Opener::new(hasher(b"key"));
        assert_eq!(opener.open(&sent[0]), Some(&b"one"[..]));
        assert_eq!(opener.open(&sent[1]), Some(&b"two"[..]));
        for wrong in [&sent[1][..], &sent[0][..sent[0].len() - 1], &[], &[0; 15]] {
            assert_eq!(Opener::new(hasher(b"key")).open(wrong), None);
        }
        for place in 0..sent[0].len() {
            let mut changed = sent[0].clone();
            changed[place] ^= 1;
            assert_eq!(Opener::new(hasher(b"key")).open(&changed), None);
        }
        let mut opener = Opener::new(hasher(b"key"));
        assert!(opener.open(&sent[0]).is_some());
        assert!(opener.open(&sent[0]).is_none(), "repeated");
        assert_eq!(Opener::new(hasher(b"other direction")).open(&sent[0]), None);
    }

    #[tokio::test]
    async fn a_length_that_lies_costs_nothing() {
        let mut buffer = Vec::new();
        let mut long = &[0x7f, 0xff, 0xff, 0xff, 1, 2][..];
        let error = read_frame(&mut long, MAX_FRAME, &mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        let mut short = &[0, 8, 0, 0, 1, 2][..];
        let error = read_frame(&mut short, MAX_FRAME, &mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(buffer.capacity() < 64 * 1024);
    }
}
