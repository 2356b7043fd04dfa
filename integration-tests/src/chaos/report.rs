//! What a round has shown.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::Kind;
use crate::checker::{Account, MessageId, Messages, Wrong};

/// How many of a kind of fault are shown.
const SHOWN: usize = 12;

/// What a round has shown.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its kind.
    pub kind: Kind,
    /// Its seed.
    pub seed: u64,
    /// What happened.
    pub what: String,
    /// What people did meanwhile.
    pub changes: usize,
    /// Of those who knocked at a server's port until it opened, how many were let in there, and how many elsewhere.
    pub let_in: (usize, usize),
    /// How long it took until everybody had what they wanted, counted from the same moment.
    pub settled: Duration,
    /// Who had not, at last.
    pub late: Option<String>,
    /// How many watchings there were at the end.
    pub watchings: usize,
    /// Those that were wrong 5, 15 and 30 s after the last fault and the last thing that anybody was told to do.
    pub wrong: Vec<Vec<Wrong>>,
    /// Those that were wrong after 65 s, where any were after 30 s.
    pub lasting: Vec<Wrong>,
    /// Who had more than one session at the end.
    pub double: Vec<Account>,
    /// Who wanted to be signed in and was not.
    pub absent: Vec<Account>,
    /// What became of the messages.
    pub messages: Messages,
    /// The longest pause of the machine itself.
    pub stalled: Duration,
}

impl Report {
    /// Whether everything was as it must be, 30 s after the last fault.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.still_wrong().is_empty() && self.ends_well()
    }

    /// Whether nothing was lost and nothing is wrong for good, however long it took.
    #[must_use]
    pub fn ends_well(&self) -> bool {
        let Messages { lost, repeated, out_of_order, unanswered, late, astray, .. } = &self.messages;
        let bad = [lost, repeated, out_of_order, unanswered, late, astray];
        self.lasting.is_empty()
            && self.double.is_empty()
            && self.absent.is_empty()
            && self.late.is_none()
            && bad.iter().all(|messages| messages.is_empty())
    }

    fn still_wrong(&self) -> &[Wrong] {
        self.wrong.last().map_or(&[], Vec::as_slice)
    }

    /// What was wrong at the end, one by one.
    #[must_use]
    pub fn details(&self) -> String {
        let mut details = String::new();
        list(&mut details, "wrong", self.still_wrong());
        list(&mut details, "wrong for good", &self.lasting);
        for (name, who) in [("double", &self.double), ("absent", &self.absent)] {
            list(&mut details, name, &who.iter().map(|who| format!("user {who}")).collect::<Vec<_>>());
        }
        let Messages { lost, repeated, out_of_order, unanswered, late, astray, .. } = &self.messages;
        for (name, messages) in [
            ("lost", lost),
            ("repeated", repeated),
            ("out of order", out_of_order),
            ("unanswered", unanswered),
            ("answered late", late),
            ("astray", astray),
        ] {
            list(&mut details, name, &messages.iter().map(MessageId::text).collect::<Vec<_>>());
        }
        details.extend(self.late.iter().map(|late| format!("  {late}\n")));
        details
    }
}

fn list(details: &mut String, name: &str, items: &[impl fmt::Display]) {
    for item in items.iter().take(SHOWN) {
        _ = writeln!(details, "  {name}: {item}");
    }
    if items.len() > SHOWN {
        _ = writeln!(details, "  and {} more", items.len() - SHOWN);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong: Vec<String> = self.wrong.iter().map(|wrong| wrong.len().to_string()).collect();
        let Messages {
            sent,
            acknowledged,
            received,
            again,
            lost,
            repeated,
            out_of_order,
            unanswered,
            late,
            astray,
        } = &self.messages;
        let (there, elsewhere) = self.let_in;
        let knocked = format!("{there} of those who knocked were let in there, {elsewhere} elsewhere; ");
        write!(
            f,
            "{} seed {}: {}; {}{} changes; settled after {:.1} s; of {} watchings wrong after 5, 15, 30 s: {}, for good: {}; double {}, \
             absent {}; messages: {sent} sent, {acknowledged} acknowledged, {received} received, {again} of them again as they may, {} lost, {} repeated, \
             {} out of order, {} unanswered, {} answered late, {} astray; the machine stood still for {} ms at most",
            self.kind,
            self.seed,
            self.what,
            if there + elsewhere > 0 { &*knocked } else { "" },
            self.changes,
            self.settled.as_secs_f64(),
            self.watchings,
            wrong.join(", "),
            self.lasting.len(),
            self.double.len(),
            self.absent.len(),
            lost.len(),
            repeated.len(),
            out_of_order.len(),
            unanswered.len(),
            late.len(),
            astray.len(),
            self.stalled.as_millis(),
        )
    }
}

/// A line for each kind that was played.
#[must_use]
pub fn summary(reports: &[Report]) -> String {
    let mut lines = String::new();
    for kind in Kind::ALL {
        let of: Vec<&Report> = reports.iter().filter(|report| report.kind == kind).collect();
        if of.is_empty() {
            continue;
        }
        let sum = |count: fn(&Report) -> usize| of.iter().map(|report| count(report)).sum::<usize>();
        let good = of.iter().filter(|report| report.is_good()).count();
        _ = writeln!(
            lines,
            "{kind}: {good} of {} rounds good; wrong after 5, 15, 30 s: {}, {}, {} of {}, for good: {}; double {}, absent {}; messages: {} \
             sent, {} acknowledged, {} again as they may, {} lost, {} repeated, {} out of order, {} unanswered, {} answered late",
            of.len(),
            sum(|report| report.wrong.first().map_or(0, Vec::len)),
            sum(|report| report.wrong.get(1).map_or(0, Vec::len)),
            sum(|report| report.wrong.get(2).map_or(0, Vec::len)),
            sum(|report| report.watchings),
            sum(|report| report.lasting.len()),
            sum(|report| report.double.len()),
            sum(|report| report.absent.len()),
            sum(|report| report.messages.sent),
            sum(|report| report.messages.acknowledged),
            sum(|report| report.messages.again),
            sum(|report| report.messages.lost.len()),
            sum(|report| report.messages.repeated.len()),
            sum(|report| report.messages.out_of_order.len()),
            sum(|report| report.messages.unanswered.len()),
            sum(|report| report.messages.late.len()),
        );
    }
    lines
}
