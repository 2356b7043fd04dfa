//! What must be shown: which command goes which way in which dialect.

use std::collections::BTreeSet;

use cli::scenario::{Direction, Shown};
use common::msnp::Dialect;
use common::msnp::dialect::Number;
use common::msnp::verbs::{Phase, Row, Service, TABLE};

/// A command that servers send, in the dialects from the first to the last (protocol reference §3 to §9).
struct Sent {
    service: Service,
    verb: &'static str,
    dialects: (u8, u8),
    /// Also where `VER` has found no dialect in common.
    without_dialect: bool,
}

const fn sent(service: Service, verb: &'static str, first: u8, last: u8) -> Sent {
    Sent { service, verb, dialects: (first, last), without_dialect: false }
}

const fn ns(verb: &'static str, first: u8, last: u8) -> Sent {
    sent(Service::Notification, verb, first, last)
}

const fn sb(verb: &'static str) -> Sent {
    sent(Service::Switchboard, verb, 2, LAST)
}

/// Only where `VER` has found no dialect in common.
const fn without(service: Service, verb: &'static str) -> Sent {
    Sent { service, verb, dialects: (1, 0), without_dialect: true }
}

const LAST: u8 = 12;

/// All of them. What clients send stands in [`TABLE`].
const SENT: &[Sent] = &[
    sent(Service::Dispatch, "VER", 2, LAST),
    without(Service::Dispatch, "VER"),
    sent(Service::Dispatch, "INF", 2, 7),
    sent(Service::Dispatch, "CVR", 2, LAST),
    without(Service::Dispatch, "CVQ"),
    sent(Service::Dispatch, "XFR", 2, LAST),
    ns("VER", 2, LAST),
    without(Service::Notification, "VER"),
    ns("INF", 2, 7),
    ns("CVR", 2, LAST),
    without(Service::Notification, "CVQ"),
    ns("USR", 2, LAST),
    ns("MSG", 2, LAST),
    ns("SBS", 11, LAST),
    ns("QNG", 2, LAST),
    ns("OUT OTH", 2, LAST),
    ns("OUT SSD", 2, LAST),
    ns("OUT MIG", 10, LAST),
    ns("OUT TOU", 10, LAST),
    ns("OUT RCT", 11, LAST),
    ns("SYN", 2, LAST),
    ns("LST", 2, LAST),
    ns("LSG", 7, LAST),
    ns("GTC", 2, LAST),
    ns("BLP", 2, LAST),
    ns("PRP", 5, LAST),
    ns("BPR", 5, LAST),
    ns("ADD", 2, 9),
    ns("ADC", 10, LAST),
    ns("REM", 2, LAST),
    ns("REA", 2, 9),
    ns("SBP", 10, LAST),
    ns("ADG", 7, LAST),
    ns("REG", 7, LAST),
    ns("RMG", 7, LAST),
    ns("CHG", 2, LAST),
    ns("ILN", 2, LAST),
    ns("NLN", 2, LAST),
    ns("FLN", 2, LAST),
    ns("UUX", 11, LAST),
    ns("UBX", 11, LAST),
    ns("CHL", 6, LAST),
    ns("QRY", 6, LAST),
    ns("XFR", 2, LAST),
    ns("RNG", 2, LAST),
    ns("IMS", 3, LAST),
    ns("URL", 2, LAST),
    ns("GCF", 11, LAST),
    ns("SND", 2, LAST),
    ns("SDC", 5, LAST),
    ns("NOT", 5, LAST),
    ns("IPG", 6, LAST),
    sb("USR"),
    sb("ANS"),
    sb("IRO"),
    sb("CAL"),
    sb("JOI"),
    sb("MSG"),
    sb("ACK"),
    sb("NAK"),
    sb("BYE"),
];

/// What is answered with an error by definition, since the dialect that is named first: what is switched off, and `LST` alone
/// and `ADD`, which newer clients should not send (§6.6, §6.17, §6.19, §6.23; CLIENTS 4, 32).
const REFUSED: &[(&str, u8)] = &[("FND", 2), ("LST", 8), ("ADD", 10), ("PAG", 5), ("PGD", 9), ("LKP", 12)];

fn is_refused(service: Service, word: &str, dialect: Option<Number>) -> bool {
    let refused = |&(of, since): &(&str, u8)| of == word && dialect.is_some_and(|dialect| dialect.0 >= since);
    service == Service::Notification && REFUSED.iter().any(refused)
}

/// The dialects of the suite, the oldest first.
pub(super) fn dialects() -> Vec<Number> {
    Dialect::ALL.iter().rev().map(|dialect| dialect.number).collect()
}

/// The dialects in which a client may send it; none stands for a connection without one.
fn columns(row: &Row) -> Vec<Option<Number>> {
    let agreed = [Phase::Start, Phase::Versioned, Phase::Ready, Phase::Challenged, Phase::SignedIn];
    let mut columns = Vec::new();
    if row.dialects.0 == 0 && row.service != Service::Switchboard {
        columns.push(None);
    }
    if agreed.into_iter().any(|phase| row.phases.contains(phase)) {
        let within = |number: &Number| (Number(row.dialects.0)..=Number(row.dialects.1)).contains(number);
        columns.extend(dialects().into_iter().filter(within).map(Some));
    }
    columns
}

/// Every cell that the reference defines.
pub(super) fn all() -> BTreeSet<Shown> {
    let mut cells = BTreeSet::new();
    for row in TABLE {
        for dialect in columns(row) {
            let (service, word) = (row.service, row.verb.to_string());
            let refused = is_refused(service, &word, dialect);
            cells.insert(Shown { service, direction: Direction::ToServer, dialect, word, refused });
        }
    }
    for sent in SENT {
        let (first, last) = sent.dialects;
        let within = |number: &Number| (Number(first)..=Number(last)).contains(number);
        let mut columns: Vec<_> = dialects().into_iter().filter(within).map(Some).collect();
        if sent.without_dialect {
            columns.push(None);
        }
        for dialect in columns {
            let word = sent.verb.to_owned();
            let (service, direction) = (sent.service, Direction::ToClient);
            cells.insert(Shown { service, direction, dialect, word, refused: false });
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(service: Service, direction: Direction, word: &str, expected: &[Option<u8>]) {
        let all = all();
        let of = all.iter().filter(|cell| (cell.service, cell.direction) == (service, direction));
        let dialects: Vec<_> =
            of.filter(|cell| cell.word == word).map(|cell| cell.dialect.map(|number| number.0)).collect();
        assert_eq!(dialects, expected, "{word}");
    }

    #[test]
    fn cells_follow_the_table() {
        let ns = Service::Notification;
        check(ns, Direction::ToServer, "ADC", &[Some(10), Some(11), Some(12)]);
        check(ns, Direction::ToServer, "CVQ", &[None]);
        check(ns, Direction::ToClient, "UBX", &[Some(11), Some(12)]);
        check(Service::Dispatch, Direction::ToClient, "CVQ", &[None]);
        let every: Vec<_> = std::iter::once(None).chain((2..=12).map(Some)).collect();
        check(ns, Direction::ToServer, "VER", &every);
        check(Service::Switchboard, Direction::ToServer, "CAL", &every[1..]);
    }
}
