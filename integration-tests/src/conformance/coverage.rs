//! What a playing of the suite has shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cli::scenario::{Outcome, Shown};
use common::msnp::dialect::Number;

/// Which scenarios have shown what.
#[derive(Debug, Default)]
pub struct Coverage {
    cells: BTreeMap<Shown, BTreeSet<String>>,
    /// In which dialects each scenario was played.
    played: BTreeMap<String, BTreeSet<Number>>,
}

impl Coverage {
    /// Adds what a playing has shown; one that failed has shown nothing.
    pub fn add(&mut self, outcome: &Outcome) {
        if outcome.result.is_err() {
            return;
        }
        let name = scenario_name(&outcome.path);
        for shown in &outcome.shown {
            self.cells.entry(shown.clone()).or_default().insert(name.clone());
        }
        let own = outcome.dialect.as_deref().and_then(|dialect| dialect.strip_prefix("MSNP")?.parse().ok());
        let spoken = outcome.shown.iter().filter_map(|shown| shown.dialect);
        let dialects = self.played.entry(name).or_default();
        match own {
            // Others may be there too, in another dialect, but it is this one that is looked at.
            Some(dialect) => _ = dialects.insert(Number(dialect)),
            None => dialects.extend(spoken),
        }
    }

    /// The scenarios that show it.
    pub(super) fn of(&self, cell: &Shown) -> Option<&BTreeSet<String>> {
        self.cells.get(cell)
    }

    /// All that is shown, whether the reference defines it or not.
    pub(super) fn cells(&self) -> impl Iterator<Item = (&Shown, &BTreeSet<String>)> {
        self.cells.iter()
    }

    /// The names of all scenarios that were played as written.
    pub(super) fn played(&self) -> impl Iterator<Item = &str> {
        self.played.keys().map(String::as_str)
    }

    /// The dialects in which a scenario was played as written; nothing if it was not.
    pub(super) fn dialects(&self, scenario: &str) -> Option<&BTreeSet<Number>> {
        self.played.get(scenario)
    }
}

/// A scenario's file name without its end.
fn scenario_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
