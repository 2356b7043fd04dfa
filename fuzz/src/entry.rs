//! What the fuzz targets do with the bytes of a client, and what must hold whatever they are.

use bytes::{Bytes, BytesMut};
use common::model::Limits;
use common::msnp::groups::GroupRequest;
use common::msnp::handshake::{self, Handshake};
use common::msnp::lists::ListRequest;
use common::msnp::mime::Head;
use common::msnp::privacy::PrivacyRequest;
use common::msnp::properties::PropertyRequest;
use common::msnp::sync::SyncRequest;
use common::msnp::verbs::{Phase, gate};
use common::msnp::{
    Command, Decoder, Dialect, ParseError, Service, invitation, miscellany, presence, switchboard,
};

/// The longest payload of a switchboard `MSG`.
const MAX_MESSAGE: usize = 1664;
/// What may wait for the rest of a command: a line, or a payload.
const MOST_WAITING: usize = 8 * 1024;

/// A client of `service` sends `input`. Its first byte says how far the connection has come, the second into what pieces the
/// rest is cut. Says what was understood, each with its verb before it.
///
/// # Panics
/// When something does not hold: the cuts make a difference, more waits than may, a command passes the gate and nobody
/// understands it, or an echo is not one line.
pub(crate) fn client(service: Service, input: &[u8]) -> Vec<String> {
    let [start, piece, bytes @ ..] = input else { return Vec::new() };
    let piece = usize::from(*piece).max(1);
    let understood = play(service, *start, bytes, piece);
    assert_eq!(understood, play(service, *start, bytes, bytes.len().max(1)));
    understood
}

/// What a connection has agreed on.
struct State {
    dialect: Option<&'static Dialect>,
    phase: Phase,
}

impl State {
    fn begin(service: Service, start: u8) -> Self {
        let (start, fresh) = (usize::from(start), Self { dialect: None, phase: Phase::Start });
        match (service, Dialect::ALL.get(start.wrapping_sub(1))) {
            (Service::Notification, Some(dialect)) => Self { dialect: Some(dialect), phase: Phase::SignedIn },
            (Service::Switchboard, _) if start % 2 == 1 => Self { dialect: None, phase: Phase::SignedIn },
            _ => fresh,
        }
    }
}

/// Plays the bytes in pieces, and says what was understood.
fn play(service: Service, start: u8, bytes: &[u8], piece: usize) -> Vec<String> {
    let mut state = State::begin(service, start);
    let mut decoder = Decoder::new(service, MAX_MESSAGE);
    let (mut input, mut seen) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            decoder.admit(state.dialect, state.phase);
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(command)) => match take(service, &mut state, &command) {
                    Ok(understood) => seen.push(understood),
                    Err(error) => {
                        seen.push(error.to_string());
                        return seen;
                    }
                },
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
        assert!(input.len() <= MOST_WAITING, "{} bytes wait", input.len());
    }
    seen
}

fn take(service: Service, state: &mut State, command: &Command) -> Result<String, ParseError> {
    gate(service, state.dialect, state.phase, command)?;
    let understood = match (service, state.phase, state.dialect) {
        (Service::Switchboard, ..) => in_conversation(state, command)?,
        (Service::Notification, Phase::SignedIn, Some(dialect)) => signed_in(dialect, command)?,
        _ => in_handshake(state, command)?,
    };
    let understood =
        understood.unwrap_or_else(|| panic!("{command:?} passes the gate, and nobody understands it"));
    Ok(format!("{} {understood}", command.verb()))
}

fn in_handshake(state: &mut State, command: &Command) -> Result<Option<String>, ParseError> {
    let Some(request) = Handshake::parse(command)? else { return errand(command) };
    let said = format!("{request:?}");
    let reply = match request {
        Handshake::Version { trid, chosen, cvr0 } => {
            state.dialect = chosen;
            state.phase = match (chosen, cvr0) {
                (Some(_), _) => Phase::Versioned,
                (None, true) => Phase::Outdated,
                (None, false) => return Err(ParseError::OutOfOrder),
            };
            Some(handshake::version(trid, chosen, cvr0))
        }
        Handshake::Policy { .. } => {
            state.phase = Phase::Ready;
            None
        }
        Handshake::ClientVersion { trid, version } => {
            state.phase = Phase::Ready;
            Some(handshake::client_version(trid, version.as_ref(), "http://a/", "http://b/"))
        }
        Handshake::VersionQuery { trid, version } => {
            Some(handshake::version_query(trid, version.as_ref(), "http://a/", "http://b/"))
        }
        Handshake::Identify { .. } => {
            state.phase = Phase::Challenged;
            None
        }
        Handshake::Prove { .. } => {
            state.phase = Phase::SignedIn;
            None
        }
    };
    reply.iter().for_each(is_one_line);
    Ok(Some(said))
}

fn errand(command: &Command) -> Result<Option<String>, ParseError> {
    let request = miscellany::Request::parse(command)?;
    if let Some(miscellany::Request::Policy(trid, name)) = &request {
        let reply = miscellany::policy(*trid, name);
        let line = reply.iter().position(|b| *b == b'\n').expect("a line before the payload");
        is_one_line(&reply.slice(..=line));
    }
    Ok(request.map(|request| format!("{request:?}")))
}

/// In the order in which a session asks.
fn signed_in(dialect: &'static Dialect, command: &Command) -> Result<Option<String>, ParseError> {
    if let Some(request) = presence::Request::parse(command, dialect, &Limits::default())? {
        if let presence::Request::Change(change) = &request {
            is_one_line(&change.echo);
        }
        return Ok(Some(format!("{request:?}")));
    }
    let roster = [
        SyncRequest::parse(command, dialect)?.map(|request| format!("{request:?}")),
        ListRequest::parse(command, dialect)?.map(|request| format!("{request:?}")),
        GroupRequest::parse(command)?.map(|request| format!("{request:?}")),
        PropertyRequest::parse(command, dialect)?.map(|request| format!("{request:?}")),
        PrivacyRequest::parse(command)?.map(|request| format!("{request:?}")),
    ];
    assert!(roster.iter().flatten().count() <= 1, "{command:?} is understood twice");
    if let Some(understood) = roster.into_iter().flatten().next() {
        return Ok(Some(understood));
    }
    if let Some(request) = invitation::Request::parse(command)? {
        return Ok(Some(format!("{request:?}")));
    }
    match errand(command)? {
        Some(understood) => Ok(Some(understood)),
        None => Ok(Handshake::parse(command)?.map(|request| format!("{request:?}"))),
    }
}

fn in_conversation(state: &mut State, command: &Command) -> Result<Option<String>, ParseError> {
    let request = switchboard::Request::parse(command)?;
    match &request {
        switchboard::Request::Open(knock) | switchboard::Request::Answer { knock, .. } => {
            is_one_line(&switchboard::opened(knock.trid, &knock.handle, "Alice"));
            state.phase = Phase::SignedIn;
        }
        switchboard::Request::Message { payload, .. } => {
            let (head, body) = Head::split(payload);
            assert!(body.len() <= payload.len() && payload.len() <= MAX_MESSAGE);
            for name in ["Message-ID", "Chunks", "Chunk"] {
                let _ = head.header(name);
            }
            return Ok(Some(format!("MSG {:?} {}", head.content_type(), payload.len())));
        }
        switchboard::Request::Call { .. } | switchboard::Request::Leave => {}
    }
    Ok(Some(format!("{request:?}")))
}

/// Nothing that a client has sent may end a line early, or make it two.
fn is_one_line(line: &Bytes) {
    let text = line.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("no line: {line:?}"));
    assert!(!text.iter().any(u8::is_ascii_control), "more than a line: {line:?}");
}
