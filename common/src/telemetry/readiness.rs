//! What a process still waits for: the lines of `/readyz`, and whether clients may come.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use tokio::sync::watch;

/// What stands between a condition's name and what it waits for.
const WAITING: &str = ": waiting: ";
/// The same for what nobody waits for, and operators should know.
const WARNING: &str = ": warning: ";

/// A set of named conditions. Those *required* must hold before clients may come, and before `/readyz` answers 200;
/// those only *wanted* are lines there, for whoever waits until everything works; *notes* are lines for operators, for which nobody
/// waits. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<watch::Sender<BTreeMap<&'static str, State>>>,
}

/// One condition of a [`Readiness`]. It does not hold until told so.
#[derive(Debug, Clone)]
pub struct Condition {
    of: Readiness,
    name: &'static str,
}

/// What a condition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Required,
    /// Required, and follows from what the others were told.
    Told,
    Wanted,
    Note,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    kind: Kind,
    /// Nothing: it holds.
    waits_for: Option<String>,
}

impl Readiness {
    /// Adds a condition without which clients must not come. It does not hold yet; `why` says what is waited for.
    #[must_use]
    pub fn require(&self, name: &'static str, why: impl Into<String>) -> Condition {
        self.add(name, Kind::Required, Some(&why.into()))
    }

    /// Adds a required condition that only comes to hold some time after the others were told that everything else does.
    #[must_use]
    pub fn require_told(&self, name: &'static str, why: impl Into<String>) -> Condition {
        self.add(name, Kind::Told, Some(&why.into()))
    }

    /// Adds a condition without which some of the service is missing. It does not hold yet; `why` says what is waited
    /// for, and what clients miss meanwhile.
    #[must_use]
    pub fn want(&self, name: &'static str, why: impl Into<String>) -> Condition {
        self.add(name, Kind::Wanted, Some(&why.into()))
    }

    /// Adds a line for operators, in order as long as nothing is said. Nobody waits for it.
    #[must_use]
    pub fn note(&self, name: &'static str) -> Condition {
        self.add(name, Kind::Note, None)
    }

    fn add(&self, name: &'static str, kind: Kind, why: Option<&str>) -> Condition {
        // A line of `/readyz` is a line.
        let state = State { kind, waits_for: why.map(|why| why.replace(['\r', '\n'], " ")) };
        self.conditions.send_modify(|all| _ = all.insert(name, state));
        Condition { of: self.clone(), name }
    }

    /// Whether all required conditions hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.all(&[Kind::Required, Kind::Told])
    }

    /// Whether all holds that the others need to know of.
    #[must_use]
    pub(crate) fn is_all_but_told(&self) -> bool {
        self.all(&[Kind::Required])
    }

    fn all(&self, kinds: &[Kind]) -> bool {
        self.conditions.borrow().values().all(|state| !kinds.contains(&state.kind) || state.waits_for.is_none())
    }

    /// All conditions, a line each: `NAME: ok`, `NAME: waiting: WHY` or `NAME: warning: WHAT`.
    #[must_use]
    pub fn report(&self) -> String {
        let mut report = String::new();
        for (name, state) in &*self.conditions.borrow() {
            let _ = match &state.waits_for {
                None => writeln!(report, "{name}: ok"),
                Some(what) if state.kind == Kind::Note => writeln!(report, "{name}{WARNING}{what}"),
                Some(why) => writeln!(report, "{name}{WAITING}{why}"),
            };
        }
        report
    }

    /// Wakes at changes, those that change nothing in [`Readiness::is_ready`] too.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.conditions.subscribe())
    }
}

/// Changes of a [`Readiness`].
pub(crate) struct Changes(watch::Receiver<BTreeMap<&'static str, State>>);

impl Changes {
    /// Waits for one since the last call. Safe to cancel.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The set is gone, and nobody can change it any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Condition {
    /// It holds.
    pub fn met(&self) {
        self.set(None);
    }

    /// It does not hold (any more).
    pub fn missing(&self, why: impl Into<String>) {
        self.set(Some(why.into().replace(['\r', '\n'], " ")));
    }

    fn set(&self, waits_for: Option<String>) {
        self.of.conditions.send_if_modified(|all| {
            let Some(state) = all.get_mut(self.name).filter(|state| state.waits_for != waits_for) else {
                return false;
            };
            state.waits_for = waits_for;
            true
        });
    }
}

/// What a [`Readiness::report`] waits for, as `NAME: WHY`; nothing if everything works.
#[must_use]
pub fn parse_waiting(report: &str) -> Vec<String> {
    let waiting = report.lines().filter_map(|line| line.split_once(WAITING));
    waiting.map(|(name, why)| format!("{name}: {why}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_told_and_what_is_required_decides() {
        let readiness = Readiness::default();
        let store = readiness.require("store", "opening\nit");
        let neighbour = readiness.want("neighbour", "nobody is there");
        assert!(!readiness.is_ready());
        assert_eq!(readiness.report(), "neighbour: waiting: nobody is there\nstore: waiting: opening it\n");
        assert_eq!(parse_waiting(&readiness.report()), ["neighbour: nobody is there", "store: opening it"]);
        store.met();
        assert!(readiness.is_ready());
        assert_eq!(readiness.report(), "neighbour: waiting: nobody is there\nstore: ok\n");
        neighbour.met();
        assert!(parse_waiting(&readiness.report()).is_empty());
        store.missing("gone");
        assert!(!readiness.is_ready());
        assert_eq!(parse_waiting(&readiness.report()), ["store: gone"]);
        store.met();
        let note = readiness.note("certificate");
        assert!(readiness.report().starts_with("certificate: ok\n"));
        note.missing("expires in 3 days");
        assert!(readiness.report().starts_with("certificate: warning: expires in 3 days\n"));
        assert!(readiness.is_ready() && parse_waiting(&readiness.report()).is_empty());
    }

    #[test]
    fn the_others_are_told_before_it_is_ready() {
        let readiness = Readiness::default();
        let (store, cluster) =
            (readiness.require("store", "opening"), readiness.require_told("cluster", "joining"));
        assert_eq!((readiness.is_all_but_told(), readiness.is_ready()), (false, false));
        store.met();
        assert_eq!((readiness.is_all_but_told(), readiness.is_ready()), (true, false));
        cluster.met();
        assert_eq!((readiness.is_all_but_told(), readiness.is_ready()), (true, true));
    }
}
