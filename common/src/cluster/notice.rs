//! What happened to one principal that another should hear of.
//!
//! Never an encoded line: the recipient's session writes it in its own dialect, if its roster and privacy let it.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::carrying_out::Told;
use super::order::{Audience, Instruction};
use super::sighting::{Mark, Sighting, Tally};
use super::voids::Void;
use crate::model::{
    ConversationId, Endpoint, Epoch, Generation, NodeId, ParticipationId, Passport, Presence, Property,
};

/// The place of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The notification node that holds it.
    pub node: NodeId,
    /// In which of its lives.
    pub generation: Generation,
    /// When it signed in.
    pub epoch: Epoch,
    /// Which place of its principal it is.
    pub endpoint: Endpoint,
}

/// The age of what a session says of itself: greater is newer, first by sign-in, then by count.
///
/// `node` decides between equal epochs, which two nodes may make in the same microsecond.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// The session's epoch.
    pub epoch: Epoch,
    /// The session's node.
    pub node: NodeId,
    /// Rises with everything the session says.
    pub count: u64,
    /// Rises with what somebody may see differently, and only then: what is compared to find lost notices.
    pub version: u32,
}

/// Somebody who wants to know how a principal looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watcher {
    /// Who.
    pub who: Passport,
    /// Its session.
    pub epoch: Epoch,
    /// If the principal is surely signed in nowhere, the session is told so, unless it was shown something else than this by then.
    /// Nothing: it is not told.
    pub shown: Option<Mark>,
    /// It wants to know the properties, and nothing else.
    pub properties: bool,
}

/// An invitation to a conversation (`RNG`). The invited session makes the cookie itself: it alone knows its dialect
/// and capabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The conversation.
    pub conversation: ConversationId,
    /// The number by which clients know it: decimal, from 100,000 to below 2³¹.
    pub session: u32,
    /// The switchboard.
    pub switchboard: NodeId,
    /// In which of its lives.
    pub generation: Generation,
    /// Its client address.
    pub addr: SocketAddr,
    /// Who invites.
    pub caller: Passport,
    /// The caller's friendly name, decoded.
    pub caller_name: Arc<str>,
    /// The switchboard believes that the invited one is rung already: a session that is says so, and is not rung twice.
    pub again: bool,
    /// The number of the ring in its conversation: the session that takes it names it when it ends.
    pub ring: u64,
    /// The caller is away, and the switchboard speaks in its name.
    pub kept: Option<Kept>,
}

/// What a switchboard brings in the name of somebody who is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The session that has asked for it, which alone is rung.
    pub session: Epoch,
    /// The messages, each by its own number: the session counts how often each was brought.
    pub messages: Arc<[Uuid]>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// `from` looks like this now; nothing: signed out, or hidden from the recipient.
    Presence {
        /// Whose presence.
        from: Passport,
        /// How old this is.
        stamp: Stamp,
        /// What may be seen.
        presence: Option<Presence>,
        /// The digest of its properties: see [`crate::model::digest`].
        properties: u32,
    },
    /// These ask how the recipient looks, at most [`Notice::MOST_WATCHERS`]. Each is sent a [`Notice::ProbeAnswer`], also one who may
    /// see nothing; if the recipient is surely signed in nowhere, each that is to hear that gets a [`Notice::Absent`].
    Probe {
        /// Who asks.
        watchers: Vec<Watcher>,
        /// The node of their sessions.
        node: NodeId,
        /// In which of its lives.
        generation: Generation,
    },
    /// In answer to a probe: `of` is signed in nowhere.
    Absent {
        /// Who.
        of: Passport,
        /// What the recipient was shown when it asked. What it was shown since then counts more.
        shown: Mark,
    },
    /// `by` has put the recipient on its forward list.
    Added {
        /// Who.
        by: Passport,
        /// Its friendly name, decoded.
        name: Arc<str>,
    },
    /// `by` has taken the recipient off its forward list.
    Removed {
        /// Who.
        by: Passport,
    },
    /// A property of `of` has changed, or is repeated.
    Property {
        /// Whose.
        of: Passport,
        /// How old this is.
        stamp: Stamp,
        /// It is said once more, to somebody who may lack it: nothing has changed, and of what else there is in this version it says
        /// nothing.
        repeated: bool,
        /// Which.
        property: Property,
        /// Its value, decoded; empty when cleared.
        value: Arc<str>,
    },
    /// The recipient is invited to a conversation. Answered: [`Outcome::Refused`] if it is hidden, takes no
    /// invitations, or does not allow the caller; [`Outcome::AlreadyRung`], [`Outcome::TooOften`].
    Invite(Invitation),
    /// A participation of the recipient has been closed with something outstanding.
    Outstanding {
        /// Which.
        participation: ParticipationId,
    },
    /// `from` answers the recipient's probe. Told apart from [`Notice::Presence`], since old clients show the two
    /// differently: `ILN`, somebody was here already, or `NLN`, somebody has just come.
    ProbeAnswer {
        /// Whose presence.
        from: Passport,
        /// How old this is.
        stamp: Stamp,
        /// What may be seen: nothing, if it is hidden from the recipient.
        presence: Option<Presence>,
        /// The digest of its properties.
        properties: u32,
    },
    /// To a switchboard: bring the recipient what was kept for it. [`Outcome::Accepted`]: a [`Notice::PickedUp`] follows.
    PickUp {
        /// The session that asks.
        epoch: Epoch,
        /// In whose names its client was rung in vain: it is not rung for them again.
        unanswered: Vec<Passport>,
        /// It has heard of nothing new, and only wonders: what is under way goes on as it is.
        reminder: bool,
    },
    /// The end of what [`Notice::PickUp`] began.
    PickedUp {
        /// The session that has asked.
        epoch: Epoch,
        /// Nothing is left but what was not answered. Otherwise it is worth asking again, a little later.
        complete: bool,
        /// In whose names the client of that session was rung in vain, now and before.
        unanswered: Vec<Passport>,
    },
    /// Messages that a session was brought have been delivered without doubt. May be lost: they are counted for longer then.
    Delivered {
        /// The session.
        epoch: Epoch,
        /// The messages, as in [`Kept`].
        messages: Arc<[Uuid]>,
    },
    /// To a switchboard: is something of what was kept for the recipient on its way here, or not certain yet? [`Outcome::Accepted`]: it
    /// is, and whoever asks for the rest asks here.
    Holds,
    /// A switchboard asks the session whose cookie has let its client in. Answered at once.
    Asked {
        /// The [sign](Epoch::sign) of the session that is meant.
        session: u32,
        /// What is asked.
        question: Question,
    },
    /// To a switchboard: the session of the recipient that has taken that ring has ended, and will not come. May be lost: the
    /// switchboard asks as well.
    RingOver {
        /// Where it was rung to.
        conversation: ConversationId,
        /// The number of the ring.
        ring: u64,
    },
}

/// What a switchboard asks a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// When it has last heard its client: [`Outcome::Heard`]; another session [refuses](Outcome::Refused).
    LastHeard,
    /// Whether nothing is being brought of what was kept: [`Outcome::Accepted`]; otherwise [`Outcome::Refused`].
    Brought,
    /// Whether its client is rung to that conversation and may still come: [`Outcome::Accepted`]; otherwise
    /// [`Outcome::Refused`]. Asked of whichever session there is: a ring names none.
    Rung(ConversationId),
}

impl Notice {
    /// The most watchers that one probe names.
    pub const MOST_WATCHERS: usize = 128;
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// A session has taken it.
    Accepted,
    /// A session has declined it.
    Refused,
    /// A session that is rung is invited to the same conversation again.
    AlreadyRung,
    /// A session has declined it, since its sender sends too many.
    TooOften,
    /// The principal is signed in nowhere.
    NotHere,
    /// Nobody could say in time.
    Unknown,
    /// The session has heard its client so many milliseconds ago.
    Heard {
        /// By the session's own clock.
        ms_ago: u32,
    },
}

/// Whoever takes in notices at this node, as the router sees it: the sessions, implemented by the notification tier's hub;
/// at a switchboard whoever brings what was kept, which has no sessions.
#[async_trait::async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Hands a notice to the principal's sessions here; only to that of `epoch`, if one is named.
    ///
    /// Returns [`Outcome::NotHere`] if there is none, [`Outcome::Accepted`] once it is in the session's queue, or left out of a
    /// full one: the session then finds out by itself what it has missed; for [`Notice::Invite`] the session's own answer,
    /// [`Outcome::Unknown`] if its queue is full.
    async fn deliver(&self, to: &Passport, epoch: Option<Epoch>, notice: Notice) -> Outcome;

    /// A greater epoch of the same principal and endpoint has registered at another node: tell the sessions here whose
    /// epoch is at most `by` `OUT OTH` and end them. May be said more than once, and must not block.
    ///
    /// A session that is being registered, and does not know its epoch yet, is among those meant: a displacement that
    /// its registration has outdone is not passed on. Two sessions at one node are the hub's own affair.
    fn displaced(&self, who: &Passport, endpoint: Endpoint, by: Epoch);

    /// All sessions of this node: what the directory is rebuilt from when owners change.
    fn sessions(&self) -> Vec<(Passport, Endpoint, Epoch)>;

    /// The directory had lost this session and has it again: it should announce itself anew.
    fn reannounce(&self, who: &Passport, epoch: Epoch);

    /// Hands what operators want to the sessions here that it is for, a few at a time: so many at once would feel it. Those that
    /// come meanwhile are not meant.
    async fn carry_out(&self, to: &Audience, what: &Instruction) -> Told;

    /// Ends the sessions that were signed in by credentials that are void, or the participations that were joined by their
    /// cookies, and says how many. Must not block, nor ask the cluster.
    fn void(&self, void: &Void) -> u64;

    /// The principals who are to be seen here, in short: a tally for each bucket.
    fn tallies(&self) -> Vec<Tally> {
        Vec::new()
    }

    /// The principals of one bucket who are to be seen here.
    fn sightings(&self, _bucket: u8) -> Vec<Sighting> {
        Vec::new()
    }
}
