//! Why a connection ends.

use std::time::Duration;

use common::config::NotificationConfig;
use common::model::SignOut;
use common::msnp::{FrameError, ParseError};
use common::net::Ended;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The client said `OUT`.
    Out,
    /// The client closed without it.
    Closed,
    /// Reset, timed out by TCP, or failed otherwise.
    Broken,
    /// The client sent what is no command.
    Malformed(FrameError),
    /// The client sent a command that makes no sense here.
    Refused(ParseError),
    /// Wrong password or ticket.
    Authentication,
    /// Came before this node could take clients.
    TooEarly,
    /// Has signed in too often of late.
    TooOften,
    /// Did not sign in in time.
    TooLate,
    /// Had not signed in, and another connection needed its place.
    GaveWay,
    /// Sent nothing for too long.
    Silent,
    /// Failed a challenge, or did not answer it.
    Challenge,
    /// Signed in elsewhere.
    Displaced,
    /// Operators have ended the session.
    Ordered(SignOut),
    /// This node shuts down.
    ShuttingDown,
    /// The client, or its session, could not keep up.
    TooSlow,
    /// A reply after which the reference closes.
    Final,
    /// The store or a peer failed.
    Fault,
}

impl Closing {
    /// The word in metrics and logs.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Malformed(_) => "malformed",
            Self::Refused(_) => "refused",
            Self::Authentication => "authentication",
            Self::TooEarly => "too_early",
            Self::TooOften => "too_often",
            Self::TooLate => "too_late",
            Self::GaveWay => "gave_way",
            Self::Silent => "silent",
            Self::Challenge => "challenge",
            Self::Displaced => "displaced",
            Self::Ordered(order) => order.label(),
            Self::ShuttingDown => "shutting_down",
            Self::TooSlow => "too_slow",
            Self::Final => "final",
            Self::Fault => "fault",
        }
    }

    /// How long contacts do not see that the principal has gone. It may well be back before the grace is over, and
    /// they need not see it go and come. After a clean goodbye they see it at once, and soon if the client has closed in order:
    /// some sign off so (`CLIENTS` 31). A session that was replaced is followed by another, whose client mostly shows itself in a
    /// moment (before it does, it is invisible: §4.2). Behind a proxy any end looks like a client's that has closed, also that of
    /// the proxy with all its connections: it has no grace of its own there.
    pub(crate) fn held_for(self, config: &NotificationConfig, by_proxy: bool) -> Duration {
        const NEXT_CHG: Duration = Duration::from_secs(2);
        let grace = Duration::from_secs(config.grace_secs);
        match self {
            Self::Out => Duration::ZERO,
            Self::Closed if !by_proxy => Duration::from_secs(config.close_grace_secs),
            Self::Displaced => grace.min(NEXT_CHG),
            _ => grace,
        }
    }
}

impl Closing {
    /// The longest time that a principal may still be seen although its session has ended.
    pub(crate) fn longest_hold(config: &NotificationConfig) -> Duration {
        Duration::from_secs(config.grace_secs.max(config.close_grace_secs))
    }
}

impl From<Ended> for Closing {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed => Self::Closed,
            Ended::Broken(_) => Self::Broken,
            Ended::Malformed(FrameError::Refused(error)) => Self::Refused(error),
            Ended::Malformed(error) => Self::Malformed(error),
        }
    }
}

impl From<ParseError> for Closing {
    fn from(error: ParseError) -> Self {
        Self::Refused(error)
    }
}
