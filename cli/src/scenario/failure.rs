//! Why a scenario failed, so that a tester sees it at once.

use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The servers did not do what was expected.
    Failed,
    /// The scenario is wrong.
    Usage,
    /// A server or the store could not be reached.
    Unreachable,
}

/// Why a scenario failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// The file and the line.
    pub place: (PathBuf, usize),
    /// The macros that led there, the innermost first: name, and the place of the call.
    pub calls: Vec<(String, PathBuf, usize)>,
    /// What happened; several lines.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, line) = &self.place;
        writeln!(f, "{}:{line}", path.display())?;
        for (name, path, line) in &self.calls {
            writeln!(f, "  in {name}, at {}:{line}", path.display())?;
        }
        self.text.lines().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// A failure before its place is known.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) kind: FailureKind,
    pub(super) text: String,
    place: Option<(PathBuf, usize)>,
    calls: Vec<(String, PathBuf, usize)>,
}

impl Trouble {
    fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), place: None, calls: Vec::new() }
    }

    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, text)
    }

    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, text)
    }

    pub(super) fn unreachable(text: impl Into<String>) -> Self {
        Self::new(FailureKind::Unreachable, text)
    }

    /// An error of the store or of HTTP: whatever is at its bottom says which kind it is.
    pub(super) fn from_error(error: &anyhow::Error) -> Self {
        let text = format!("{error:#}");
        let store = error.downcast_ref::<common::store::StoreError>();
        let io = error.chain().any(<dyn std::error::Error>::is::<std::io::Error>);
        if io || matches!(store, Some(common::store::StoreError::Unavailable(_))) {
            Self::unreachable(text)
        } else {
            Self::failed(text)
        }
    }

    /// The innermost place stays.
    pub(super) fn at(mut self, path: &Path, line: usize) -> Self {
        self.place.get_or_insert_with(|| (path.into(), line));
        self
    }

    pub(super) fn called(mut self, name: &str, path: &Path, line: usize) -> Self {
        self.calls.push((name.to_owned(), path.into(), line));
        self
    }

    pub(super) fn into_failure(self, path: &Path) -> Failure {
        let place = self.place.unwrap_or_else(|| (path.into(), 0));
        Failure { kind: self.kind, place, calls: self.calls, text: self.text }
    }
}
