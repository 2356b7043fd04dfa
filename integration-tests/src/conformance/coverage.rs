//! What a playing of the suite has shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cli::scenario::{Outcome, Shown};

/// Which scenarios have shown what.
#[derive(Debug, Default)]
pub struct Coverage {
    cells: BTreeMap<Shown, BTreeSet<String>>,
    played: BTreeSet<String>,
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
        self.played.insert(name);
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
    pub(super) fn played(&self) -> &BTreeSet<String> {
        &self.played
    }
}

/// A scenario's file name without its end.
fn scenario_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
