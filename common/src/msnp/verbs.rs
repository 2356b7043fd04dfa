//! The table of verbs: which dialects have them, when they may come, and their shape (protocol reference §2, §4,
//! §6, §9). The gate of every session works from it.

use std::fmt;

use super::ParseError;
use super::dialect::{Dialect, Number};
use super::frame::Command;

/// A verb: three upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Verb(pub [u8; 3]);

impl Verb {
    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// The most bytes a client may send to `service` as this verb's payload, and whether a longer one is passed over and answered by
    /// an error; nothing if it has no payload. `max_message` is the configured bound for switchboard messages.
    #[must_use]
    pub fn max_payload(self, service: Service, max_message: usize) -> Option<(usize, bool)> {
        match find(service, self)?.payload? {
            Payload::UpTo(most) => Some((most, true)),
            Payload::Message => Some((max_message, false)),
        }
    }
}

impl Verb {
    /// The most arguments that any dialect has. Where the last one is a payload's length, what may be left out does not count: an
    /// empty one behind it is none.
    pub(super) fn most_arguments(self, service: Service) -> usize {
        let rows = TABLE.iter().filter(|row| row.service == service && row.verb == self);
        rows.map(|row| if row.payload.is_some() { row.args.0 } else { row.args.1 }).max().unwrap_or(0)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which kind of server a connection talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Redirects to a notification server.
    Dispatch,
    /// Sign-in, roster, presence.
    Notification,
    /// One conversation.
    Switchboard,
}

impl Service {
    /// The most bytes of a line, its end not counted (§2.9).
    #[must_use]
    pub fn max_line(self) -> usize {
        match self {
            Self::Dispatch | Self::Switchboard => 2 * 1024,
            Self::Notification => 8 * 1024,
        }
    }
}

/// How far a connection has come (§4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Nothing has been agreed on.
    Start = 1,
    /// `VER` is done.
    Versioned = 2,
    /// `INF` or `CVR` is done.
    Ready = 4,
    /// The server waits for `USR … S`.
    Challenged = 8,
    /// `USR … OK`, or in a conversation.
    SignedIn = 16,
    /// `VER` has found no dialect in common, and `CVR0` was offered: the client may ask which version to get.
    Outdated = 32,
}

/// A set of phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases(u8);

impl Phases {
    const ANY: Self = Self(63);
    const SIGNED_IN: Self = Self::of(&[Phase::SignedIn]);

    const fn of(phases: &[Phase]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < phases.len() {
            bits |= phases[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether `phase` is among them.
    #[must_use]
    pub fn contains(self, phase: Phase) -> bool {
        self.0 & phase as u8 != 0
    }
}

/// How long a payload may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// So many bytes. A longer one is refused with an error line.
    UpTo(usize),
    /// As configured for switchboard messages. A longer one ends the connection (§9).
    Message,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The verb.
    pub verb: Verb,
    /// At which server.
    pub service: Service,
    /// The first and the last dialect that has it; the last is 255 where none has dropped it.
    pub dialects: (u8, u8),
    /// Whether its first argument is a transaction id.
    pub trid: bool,
    /// The fewest and the most arguments; transaction id and payload length count.
    pub args: (usize, usize),
    /// Its payload.
    pub payload: Option<Payload>,
    /// When it may come.
    pub phases: Phases,
}

/// The longest payload of `UUX` that is read (§11); configuration may allow less.
pub const PERSONAL_MESSAGE: usize = 4096;
const MANY: usize = 64;
const LAST: u8 = u8::MAX;

const fn row(service: Service, verb: [u8; 3], dialects: (u8, u8), args: (usize, usize), phases: Phases) -> Row {
    Row { verb: Verb(verb), service, dialects, trid: true, args, payload: None, phases }
}

const fn ns(verb: [u8; 3], dialects: (u8, u8), args: (usize, usize)) -> Row {
    row(Service::Notification, verb, dialects, args, Phases::SIGNED_IN)
}

const fn sb(verb: [u8; 3], args: (usize, usize), phases: Phases) -> Row {
    row(Service::Switchboard, verb, (0, LAST), args, phases)
}

impl Row {
    const fn bare(mut self) -> Self {
        self.trid = false;
        self
    }

    const fn with(mut self, payload: Payload) -> Self {
        self.payload = Some(payload);
        self
    }
}

const START: Phases = Phases::of(&[Phase::Start]);
/// Official clients send `INF` or `CVR` once, in this phase; others leave it out or repeat it (§6.2: be lenient).
const BEFORE_USR: Phases = Phases::of(&[Phase::Versioned, Phase::Ready]);
const OUTDATED: Phases = Phases::of(&[Phase::Outdated]);
const BEFORE_OK: Phases = Phases::of(&[Phase::Versioned, Phase::Ready, Phase::Challenged, Phase::SignedIn]);
const ANY_VERSION: Phases = Phases::of(&[Phase::Versioned, Phase::Ready, Phase::Challenged, Phase::SignedIn]);

/// Every verb that a client may send.
pub const TABLE: &[Row] = &[
    row(Service::Dispatch, *b"VER", (0, LAST), (2, MANY), START),
    row(Service::Dispatch, *b"INF", (2, 7), (1, 1), BEFORE_USR),
    row(Service::Dispatch, *b"CVR", (2, LAST), (1, 12), BEFORE_USR),
    row(Service::Dispatch, *b"CVQ", (0, LAST), (1, 12), OUTDATED),
    row(Service::Dispatch, *b"USR", (2, LAST), (4, 5), BEFORE_USR),
    row(Service::Dispatch, *b"OUT", (0, LAST), (0, MANY), Phases::ANY).bare(),
    // Sign-in.
    row(Service::Notification, *b"VER", (0, LAST), (2, MANY), START),
    row(Service::Notification, *b"INF", (2, 7), (1, 1), BEFORE_USR),
    row(Service::Notification, *b"CVR", (2, LAST), (1, 12), ANY_VERSION),
    row(Service::Notification, *b"CVQ", (0, LAST), (1, 12), OUTDATED),
    row(Service::Notification, *b"USR", (2, LAST), (4, 5), BEFORE_OK),
    row(Service::Notification, *b"OUT", (0, LAST), (0, MANY), Phases::ANY).bare(),
    row(Service::Notification, *b"PNG", (2, LAST), (0, 0), ANY_VERSION).bare(),
    // Lists.
    ns(*b"SYN", (2, 9), (2, 2)),
    ns(*b"SYN", (10, 12), (2, 3)),
    ns(*b"LST", (2, LAST), (2, 2)),
    ns(*b"LSG", (7, 7), (1, 1)),
    ns(*b"GTC", (2, 12), (2, 2)),
    ns(*b"BLP", (2, LAST), (2, 2)),
    // From MSNP10 on answered by an error: some clients send it there all the same (CLIENTS 32).
    ns(*b"ADD", (2, LAST), (4, 5)),
    ns(*b"ADC", (10, 12), (3, 5)),
    ns(*b"REM", (2, 12), (3, 4)),
    ns(*b"REA", (2, 9), (3, 3)),
    ns(*b"SBP", (10, 12), (3, 5)),
    ns(*b"PRP", (5, LAST), (2, 3)),
    ns(*b"ADG", (7, 9), (2, 3)),
    ns(*b"ADG", (10, 12), (2, 3)),
    ns(*b"REG", (7, 9), (3, 4)),
    ns(*b"REG", (10, 12), (3, 4)),
    ns(*b"RMG", (7, 12), (2, 2)),
    // Presence.
    ns(*b"CHG", (2, 7), (2, 2)),
    ns(*b"CHG", (8, 8), (2, 3)),
    ns(*b"CHG", (9, LAST), (2, 4)),
    ns(*b"UUX", (11, LAST), (2, 2)).with(Payload::UpTo(PERSONAL_MESSAGE)),
    ns(*b"QRY", (6, LAST), (3, 3)).with(Payload::UpTo(1024)),
    // Chats, and the rest.
    ns(*b"XFR", (2, LAST), (2, 2)),
    ns(*b"IMS", (3, LAST), (2, 2)),
    ns(*b"URL", (2, LAST), (2, 3)),
    ns(*b"GCF", (11, 12), (2, 2)),
    // Each has grown by some arguments, and newer clients may leave them out.
    ns(*b"SND", (2, 2), (2, 2)),
    ns(*b"SND", (3, 3), (2, 4)),
    ns(*b"SND", (4, LAST), (2, 5)),
    ns(*b"SDC", (5, LAST), (8, 9)).with(Payload::UpTo(4096)),
    ns(*b"FND", (2, LAST), (1, MANY)),
    ns(*b"PAG", (5, LAST), (3, 3)).with(Payload::UpTo(4096)),
    ns(*b"PGD", (9, LAST), (4, 4)).with(Payload::UpTo(4096)),
    ns(*b"LKP", (12, 12), (1, MANY)),
    // One conversation. Its dialect is known only after USR or ANS, from the cookie. No PNG: it is not used on
    // switchboards (§6.4), so it is an unknown verb like any other.
    sb(*b"USR", (3, 3), START),
    sb(*b"ANS", (4, 4), START),
    sb(*b"CAL", (2, 2), Phases::SIGNED_IN),
    sb(*b"MSG", (3, 3), Phases::SIGNED_IN).with(Payload::Message),
    sb(*b"OUT", (0, MANY), Phases::ANY).bare(),
    // Some clients take leave with the word that tells the others of it (CLIENTS 27).
    sb(*b"BYE", (0, MANY), Phases::ANY).bare(),
];

fn find(service: Service, verb: Verb) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.service == service && row.verb == verb)
}

/// Whether a command may come now: its verb is known in this dialect, in this phase, with so many arguments, and
/// its transaction id can be read. `dialect` is absent before `VER` and on switchboards.
///
/// # Errors
/// [`ParseError`]; official servers close the connection for it (§2.7).
pub fn gate(
    service: Service,
    dialect: Option<&Dialect>,
    phase: Phase,
    command: &Command,
) -> Result<&'static Row, ParseError> {
    let speaks = |row: &Row| {
        let (first, last) = row.dialects;
        dialect.is_none_or(|dialect| (Number(first)..=Number(last)).contains(&dialect.number))
    };
    let verb = command.verb();
    let row = TABLE
        .iter()
        .find(|row| row.service == service && row.verb == verb && speaks(row))
        .ok_or(ParseError::UnknownVerb)?;
    if !row.phases.contains(phase) {
        return Err(ParseError::OutOfOrder);
    }
    let (fewest, most) = row.args;
    if !(fewest..=most).contains(&command.len_up_to(most)) {
        return Err(ParseError::ArgumentCount);
    }
    if row.trid {
        command.trid()?;
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_verb_share_no_dialect() {
        for (at, row) in TABLE.iter().enumerate() {
            for other in &TABLE[at + 1..] {
                let same = row.service == other.service && row.verb == other.verb;
                let apart = row.dialects.1 < other.dialects.0 || other.dialects.1 < row.dialects.0;
                assert!(!same || apart, "{} {:?} {:?}", row.verb, row.dialects, other.dialects);
                assert!(!same || row.payload == other.payload, "{}: framing must not need the dialect", row.verb);
            }
            assert!(row.args.0 <= row.args.1 && (!row.trid || row.args.0 > 0), "{}", row.verb);
        }
    }
}
