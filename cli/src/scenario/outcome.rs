//! What is known once a scenario has been played.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::failure::Failure;
use super::record::Shown;

/// How one playing of one file ended.
#[derive(Debug)]
pub struct Outcome {
    /// The file.
    pub path: PathBuf,
    /// In which dialect, if the file is played in several.
    pub dialect: Option<String>,
    /// Part of the names of its accounts.
    pub run: String,
    /// How long it took.
    pub took: Duration,
    /// What it has shown of the protocol, up to a failure if there was one.
    pub shown: BTreeSet<Shown>,
    /// What went wrong.
    pub result: Result<(), Box<Failure>>,
    /// The files that go on from this one, which has failed: they are not played.
    pub left_out: Vec<PathBuf>,
}

/// Why they are not.
pub(super) const WITHOUT_ITS_START: &str = "goes on from a file that failed";

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.result.is_ok() { "ok    " } else { "FAILED" };
        write!(f, "{mark}  {}", self.path.display())?;
        if let Some(dialect) = &self.dialect {
            write!(f, " [{dialect}]")?;
        }
        write!(f, "  {:.1} s", self.took.as_secs_f64())?;
        match &self.result {
            Ok(()) => Ok(()),
            Err(failure) => write!(f, "  (run id {})\n{failure}", self.run),
        }?;
        let dialect = self.dialect.as_ref().map(|dialect| format!(" [{dialect}]")).unwrap_or_default();
        self.left_out
            .iter()
            .try_for_each(|path| write!(f, "\nleft out  {}{dialect}  {WITHOUT_ITS_START}", path.display()))
    }
}
