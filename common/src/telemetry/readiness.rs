//! What a process still waits for before it serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A set of named conditions, all of which must hold before `/readyz` answers 200.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    missing: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

/// One condition of a [`Readiness`]. It does not hold until told so.
#[derive(Debug, Clone)]
pub struct Condition {
    of: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Adds a condition that does not hold yet; `why` says what is waited for.
    #[must_use]
    pub fn require(&self, name: &'static str, why: impl Into<String>) -> Condition {
        let condition = Condition { of: self.clone(), name };
        condition.missing(why);
        condition
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The conditions that do not hold, with their reasons.
    #[must_use]
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.iter().map(|(name, why)| (*name, why.clone())).collect()
    }
}

impl Condition {
    /// It holds.
    pub fn met(&self) {
        self.of.missing.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
    }

    /// It does not hold (any more).
    pub fn missing(&self, why: impl Into<String>) {
        self.of.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name, why.into());
    }
}
