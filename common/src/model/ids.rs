//! Identifiers. Each is a type of its own, so that a channel never stands where a message belongs.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

uuid_id! {
    /// A line of history: the pair's own (v5 of the two sorted claim ids) while exactly two are present,
    /// otherwise the conversation's (v7).
    ChannelId;
    /// One message: a UUID v7 from the switchboard's hybrid clock, strictly rising within a conversation.
    MessageId;
    /// One switchboard session, from its first participant to its last.
    ConversationId;
    /// One admission of a principal to a conversation; a rejoin is a new one.
    ParticipationId;
    /// A message in the inbox of somebody who was away: a UUID v7, made when it is put there.
    InboxId;
    /// The random id of the claim that won a passport; a passport registered anew has another.
    ClaimId;
    /// A contact in its owner's list, as dialects from MSNP10 name it.
    ContactId;
    /// A group in its owner's list, as dialects from MSNP10 name it.
    GroupId;
    /// One place of a principal. Dialects before MSNP16 share [`Endpoint::SOLE`].
    Endpoint;
}

impl Endpoint {
    /// The one place of dialects that know only one.
    pub const SOLE: Self = Self(Uuid::nil());
}

impl ChannelId {
    /// The channel of two principals, whichever of them is named first.
    #[must_use]
    pub fn of_pair(a: ClaimId, b: ClaimId) -> Self {
        let (low, high) = if a.0 <= b.0 { (a, b) } else { (b, a) };
        let mut name = [0; 32];
        name[..16].copy_from_slice(low.0.as_bytes());
        name[16..].copy_from_slice(high.0.as_bytes());
        Self(Uuid::new_v5(&PAIR_NAMESPACE, &name))
    }
}

impl ContactId {
    /// The id of `contact` in the list of the account that `owner` claimed: derived, so that nobody must store or
    /// look it up, and unlike for two owners.
    #[must_use]
    pub fn of(owner: ClaimId, contact: &super::Passport) -> Self {
        Self(Uuid::new_v5(&owner.0, contact.as_str().as_bytes()))
    }

    /// The same for a phone contact.
    #[must_use]
    pub fn of_phone(owner: ClaimId, number: &super::PhoneNumber) -> Self {
        Self(Uuid::new_v5(&owner.0, number.as_str().as_bytes()))
    }
}

/// Random, made once for this purpose; changing it would orphan every history of two.
const PAIR_NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_3c52_5b1e_4a8e_9d2c_7be4_16f0_a3d1);

/// The name of a process in the cluster, unique among those alive: letters, digits, `-`, at most 32 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(pub std::sync::Arc<str>);

impl NodeId {
    /// The most bytes a node's name may have.
    pub const MAX_LEN: usize = 32;

    /// Takes a name that follows the rules, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_LEN;
        let legal = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (fits && legal).then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeId {
    type Error = &'static str;

    /// What comes from a peer follows the rules, or is no name: it may stand in a log.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a node's name is letters, digits and hyphens, at most 32")
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which start of a node: milliseconds since 1970, rising at every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// When a session signed in, by the hybrid clock: microseconds since 1970, unique with the node's name.
///
/// Among sign-ins of one principal the greater (epoch, node) wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// What tells the sessions of one principal apart where there is room for no more: it comes back after 71 minutes.
    #[must_use]
    pub fn sign(self) -> u32 {
        (self.0 & u64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_has_one_channel_whoever_speaks_first() {
        let (a, b) = (ClaimId(Uuid::from_u128(7)), ClaimId(Uuid::from_u128(9)));
        assert_eq!(ChannelId::of_pair(a, b), ChannelId::of_pair(b, a));
        assert_ne!(ChannelId::of_pair(a, b), ChannelId::of_pair(a, a));
    }

    #[test]
    fn node_names_are_plain() {
        assert!(NodeId::parse("ns-1").is_some());
        for bad in ["", "a b", "ä", &"x".repeat(33)] {
            assert!(NodeId::parse(bad).is_none(), "{bad:?}");
        }
    }
}
