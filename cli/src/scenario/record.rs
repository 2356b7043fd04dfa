//! What a playing has shown of the protocol.

use std::collections::{BTreeMap, BTreeSet};

use common::msnp::dialect::Number;
use common::msnp::verbs::Service;

/// Which way a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A command that a scenario sent, or expected and got. Not among them is what the prelude's macros do, which look at
/// little; what is passed over (`<*`, `ignore`); what is sent as bytes (`>>`); and a command that ended the connection,
/// but for `OUT` and `BYE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    /// What kind of server the client talked to.
    pub service: Service,
    /// Which way it went.
    pub direction: Direction,
    /// The dialect agreed on; on a switchboard the one in which its principal is signed in. None where `VER` has found
    /// none, or there was no `VER`.
    pub dialect: Option<Number>,
    /// A verb, or the number of an error; a server's `OUT` has its reason: `OUT SSD`.
    pub word: String,
    /// The server has answered it with an error.
    pub refused: bool,
}

/// One connection.
#[derive(Debug)]
struct Track {
    /// None for HTTP.
    service: Option<Service>,
    dialect: Option<Number>,
    words: Vec<Word>,
    /// The last command was the client's, and counts.
    last_is_sent: bool,
}

/// One command.
#[derive(Debug)]
struct Word {
    direction: Direction,
    word: String,
    trid: Option<String>,
    refused: bool,
}

impl Word {
    fn new(direction: Direction, words: &[&str]) -> Self {
        let trid = words.get(1).filter(|word| is_number(word)).map(|trid| (*trid).to_owned());
        let verb = words.first().copied().unwrap_or_default();
        let word = match (direction, verb, words.get(1)) {
            (Direction::ToClient, "OUT", Some(reason)) => format!("OUT {reason}"),
            _ => verb.to_owned(),
        };
        Self { direction, word, trid, refused: false }
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Keeps what a playing shows.
#[derive(Debug, Default)]
pub(super) struct Record {
    open: BTreeMap<String, Track>,
    /// The dialect in which a principal has signed in last.
    spoken: BTreeMap<String, Number>,
    shown: BTreeSet<Shown>,
}

impl Record {
    /// A connection of that name begins; an earlier one has ended.
    pub(super) fn opened(&mut self, connection: &str, service: Option<Service>) {
        let track = Track { service, dialect: None, words: Vec::new(), last_is_sent: false };
        if let Some(ended) = self.open.insert(connection.to_owned(), track) {
            self.end(ended);
        }
    }

    /// The client has sent a line. Whether it `counts` says its place.
    pub(super) fn sent(&mut self, connection: &str, line: &[u8], counts: bool) {
        let Some(track) = self.open.get_mut(connection) else { return };
        let line = String::from_utf8_lossy(line);
        let words: Vec<&str> = line.split(' ').collect();
        if let (Some(Service::Switchboard), ["USR" | "ANS", _, who, ..]) = (track.service, words.as_slice()) {
            track.dialect = self.spoken.get(&who.to_ascii_lowercase()).copied();
        }
        track.last_is_sent = counts;
        if counts {
            track.words.push(Word::new(Direction::ToServer, &words));
        }
    }

    /// The client has got a line that it expected.
    pub(super) fn got(&mut self, connection: &str, line: &[u8], counts: bool) {
        let Some(track) = self.open.get_mut(connection) else { return };
        let line = String::from_utf8_lossy(line);
        let words: Vec<&str> = line.split(' ').collect();
        match (words.as_slice(), track.dialect) {
            (["VER", _, agreed, ..], _) => {
                track.dialect = agreed.strip_prefix("MSNP").and_then(|number| number.parse().ok()).map(Number);
            }
            (["USR", _, "OK", who, ..], Some(dialect)) => {
                self.spoken.insert(who.to_ascii_lowercase(), dialect);
            }
            _ => {}
        }
        track.last_is_sent = false;
        let word = Word::new(Direction::ToClient, &words);
        if is_number(&word.word) {
            let asked = |asked: &&mut Word| asked.direction == Direction::ToServer && asked.trid == word.trid;
            track.words.iter_mut().rfind(asked).into_iter().for_each(|asked| asked.refused = true);
        }
        if counts {
            track.words.push(word);
        }
    }

    /// The server has closed the connection: what was sent last was refused.
    pub(super) fn closed(&mut self, connection: &str) {
        let Some(track) = self.open.get_mut(connection) else { return };
        if track.last_is_sent
            && track.words.last().is_some_and(|last| !matches!(last.word.as_str(), "OUT" | "BYE"))
        {
            track.words.pop();
        }
        track.last_is_sent = false;
    }

    fn end(&mut self, track: Track) {
        let (Some(service), dialect) = (track.service, track.dialect) else { return };
        let shown = |Word { direction, word, refused, .. }| Shown { service, direction, dialect, word, refused };
        self.shown.extend(track.words.into_iter().map(shown));
    }

    /// All of it.
    pub(super) fn finish(mut self) -> BTreeSet<Shown> {
        std::mem::take(&mut self.open).into_values().for_each(|track| self.end(track));
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(record: Record) -> Vec<String> {
        let way = |direction| if direction == Direction::ToServer { '>' } else { '<' };
        let dialect = |shown: &Shown| shown.dialect.map_or_else(|| "none".to_owned(), |number| number.to_string());
        let shown = record.finish();
        shown
            .iter()
            .map(|one| {
                let refused = if one.refused { " refused" } else { "" };
                format!("{:?} {} {}{}{refused}", one.service, dialect(one), way(one.direction), one.word)
            })
            .collect()
    }

    #[test]
    fn commands_belong_to_the_dialect_agreed_on() {
        let mut record = Record::default();
        record.opened("A", Some(Service::Notification));
        record.sent("A", b"VER 1 MSNP9 MSNP8 CVR0", true);
        record.got("A", b"VER 1 MSNP9 CVR0", true);
        record.got("A", b"USR 2 OK alice@example.com Alice 1 0", false);
        record.opened("S", Some(Service::Switchboard));
        record.sent("S", b"USR 1 ALICE@example.com cookie", true);
        record.got("S", b"911 1", true);
        assert_eq!(
            words(record),
            [
                "Notification MSNP9 >VER",
                "Notification MSNP9 <VER",
                "Switchboard MSNP9 >USR refused",
                "Switchboard MSNP9 <911"
            ]
        );
    }

    #[test]
    fn the_reasons_of_a_server_are_told_apart() {
        let mut record = Record::default();
        record.opened("A", Some(Service::Notification));
        record.sent("A", b"OUT", true);
        record.got("A", b"OUT OTH", true);
        record.got("A", b"OUT RCT 5", true);
        assert_eq!(
            words(record),
            ["OUT", "OUT OTH", "OUT RCT"]
                .map(|word| { format!("Notification none {}{word}", if word == "OUT" { '>' } else { '<' }) })
        );
    }

    #[test]
    fn an_error_refuses_what_has_its_transaction_id() {
        let mut record = Record::default();
        record.opened("A", Some(Service::Notification));
        for line in [&b"PRP 1 PHH 5"[..], b"ADD 2 FL a@b c", b"PNG"] {
            record.sent("A", line, true);
        }
        record.got("A", b"205 2", true);
        let none = "Notification none";
        assert_eq!(
            words(record),
            ["ADD refused", "PNG", "PRP"]
                .map(|word| format!("{none} >{word}"))
                .into_iter()
                .chain([format!("{none} <205")])
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_command_that_ends_the_connection_is_not_shown() {
        let mut record = Record::default();
        for line in [&b"VER 1 MSNP99"[..], b"OUT"] {
            record.opened("A", Some(Service::Dispatch));
            record.sent("A", line, true);
            record.closed("A");
        }
        record.opened("A", None);
        record.sent("A", b"GET / HTTP/1.1", true);
        assert_eq!(words(record), ["Dispatch none >OUT"]);
    }
}
