//! Numeric error replies (protocol reference §10).

use std::fmt;

/// A three-digit error reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ErrorCode {
    /// Unknown status, malformed handle, bad value.
    InvalidParameter = 201,
    /// `ADD` of a well-formed but unknown account, dialects up to 9.
    InvalidUser = 205,
    /// `USR` with a handle that has no domain.
    DomainMissing = 206,
    /// `USR` after a successful `USR`.
    AlreadySignedIn = 207,
    /// `CAL` with a malformed handle; `ADC` of an unknown account.
    InvalidUserName = 208,
    /// A friendly name that is not allowed. (One that is too long is 201.)
    InvalidFriendlyName = 209,
    /// The list is full.
    ListFull = 210,
    /// The name of a phone contact can't be changed.
    InvalidRename = 213,
    /// Already on the list, in the group, or in the conversation.
    AlreadyThere = 215,
    /// Not on the list.
    NotOnList = 216,
    /// `CAL` of somebody who can't be reached.
    NotOnline = 217,
    /// `GTC` or `BLP` without a change, dialects up to 9.
    AlreadyInMode = 218,
    /// On the opposite list.
    OnOppositeList = 219,
    /// No more groups.
    TooManyGroups = 223,
    /// No such group.
    InvalidGroup = 224,
    /// The contact is not in that group.
    NotInGroup = 225,
    /// The group holds contacts, and a setting keeps it.
    GroupNotEmpty = 226,
    /// A group of that name exists.
    GroupNameTaken = 228,
    /// The group's name is too long.
    GroupNameTooLong = 229,
    /// Group 0 can't be renamed or removed.
    GroupZero = 230,
    /// No switchboard can be had.
    SwitchboardFailed = 280,
    /// Something unexpected inside the server.
    Internal = 500,
    /// The store failed.
    StoreFailed = 501,
    /// A command that is switched off.
    CommandDisabled = 502,
    /// Bad `SND` arguments.
    ServiceUnavailable = 503,
    /// Wrong answer to a challenge.
    ChallengeFailed = 540,
    /// The server can't take the client yet: it comes back in a moment.
    ServerBusy = 600,
    /// No server that could take the client.
    ServerUnavailable = 601,
    /// The server is being drained.
    GoingDown = 604,
    /// No paging.
    PagingUnavailable = 606,
    /// Bad `CVR` parameters.
    BadCvr = 710,
    /// The conversation is full.
    SessionOverload = 712,
    /// Too many `CAL` or `XFR SB`.
    TooActive = 713,
    /// A command out of order.
    NotExpected = 715,
    /// Status, personal message or names change too rapidly.
    TooRapid = 800,
    /// Wrong password, ticket or cookie.
    AuthenticationFailed = 911,
    /// Not while hidden or before the first `CHG`.
    NotWhileHidden = 913,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", *self as u16)
    }
}
