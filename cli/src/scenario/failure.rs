//! Why a scenario failed, so that a tester sees it at once.

use std::fmt;
use std::path::{Path, PathBuf};

use super::script::Script;

/// So many lines are shown before the one that failed, and behind it.
const CONTEXT: usize = 3;

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
    /// The lines of the scenario around the place, each with its number.
    pub around: Vec<(usize, String)>,
    /// What happened; several lines.
    pub text: String,
}

impl Failure {
    /// The line of the scenario itself at which it failed: where a macro was called, if that failed within.
    #[must_use]
    pub fn line(&self) -> usize {
        self.calls.last().map_or(self.place.1, |(_, _, line)| *line)
    }

    /// The first line of what happened: the same for failures of one kind.
    #[must_use]
    pub fn cause(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, line) = &self.place;
        writeln!(f, "{}:{line}", path.display())?;
        for (name, path, line) in &self.calls {
            writeln!(f, "  in {name}, at {}:{line}", path.display())?;
        }
        for (number, text) in &self.around {
            let mark = if *number == self.line() { '>' } else { ' ' };
            writeln!(f, "  {mark} {number:>4} | {text}")?;
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

    /// A failure in a playing of that script.
    pub(super) fn into_failure(self, script: &Script) -> Failure {
        let place = self.place.unwrap_or_else(|| (script.path.clone(), 0));
        let mut failure =
            Failure { kind: self.kind, place, calls: self.calls, around: Vec::new(), text: self.text };
        failure.around = around(&script.text, failure.line());
        failure
    }
}

/// The lines of a text around that one, with their numbers.
fn around(text: &str, line: usize) -> Vec<(usize, String)> {
    let first = line.saturating_sub(CONTEXT).max(1);
    let lines = text.lines().enumerate().skip(first - 1);
    lines.take_while(|(at, _)| *at < line + CONTEXT).map(|(at, text)| (at + 1, text.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_around_a_failure_are_shown() {
        let text = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        let script = Script { path: "a.txt".into(), text: text.into(), ..Script::default() };
        let shown = |line| {
            let trouble = Trouble::failed("expected  X\n     got  Y").at(Path::new("prelude.txt"), 77);
            let failure = trouble.called("greet", &script.path, line).into_failure(&script);
            assert_eq!(failure.cause(), "expected  X");
            let shown = failure.to_string();
            let numbers = shown.lines().filter_map(|line| line.split_once(" | "));
            numbers.map(|(number, _)| number.split_whitespace().collect::<String>()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(1), ">1 2 3 4");
        assert_eq!(shown(5), "2 3 4 >5 6 7 8");
        assert_eq!(shown(9), "6 7 8 >9");
    }
}
