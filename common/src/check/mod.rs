//! How a program gets its configuration; and `--check`: whether it could start with it, all that is wrong at once.
//!
//! Nothing is written by a check: no file is made, and no table is changed.
//!
//! | file | what |
//! |---|---|
//! | `files` | secrets and keys |
//! | `addresses` | whether each can be bound |
//! | [`crate::store::look`] | whether the store is there, and of which version |

mod addresses;
mod files;

use std::io::Write;

use crate::config::{ConfigError, Loaded, Problem, Program, StoreKind, Survey, Wish, command_line};
use crate::store::{self, StoreError};

/// What a check has found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What somebody has to mend.
    pub problems: Vec<Problem>,
    /// What is in the way at this moment, and may pass by itself.
    pub passing: Vec<Problem>,
    /// What is worth knowing, a line each.
    pub remarks: Vec<String>,
}

impl Findings {
    /// Without what only seems to be wrong: what is blamed already, and, where something can't be read, what nobody has set, since
    /// that may be what was misspelt.
    fn without_echoes(mut self, survey: &Survey) -> Self {
        let is_blamed = |key: &str| survey.problems.iter().any(|problem| problem.key.as_deref() == Some(key));
        let is_genuine = |problem: &Problem| {
            let key = problem.key.as_deref().unwrap_or_default();
            let is_doubtful = survey.in_part && survey.loaded.is_default(key);
            !is_blamed(key) && !is_doubtful
        };
        self.problems.retain(is_genuine);
        self.passing.retain(is_genuine);
        self
    }

    fn append(&mut self, other: Self) {
        self.problems.extend(other.problems);
        self.passing.extend(other.passing);
        self.remarks.extend(other.remarks);
    }
}

/// The configuration of a tier's process, from its command line, its environment and its file. Ends the process with exit code 2
/// and an error that names the place if anything is wrong; serves `--help`, `--version`, `--check` and `--print-config`.
///
/// `further` is for a program that can see more than this crate. It is asked also where something else is wrong.
pub async fn configured(program: Program, further: impl FnOnce(&Loaded, Wish) -> Findings) -> Loaded {
    let line = command_line(program);
    let survey = line.survey();
    let mut found = further(&survey.loaded, line.wish);
    if line.wish == Wish::Check {
        found.append(look(program, &survey).await);
    }
    let Findings { problems, passing, remarks } = found.without_echoes(&survey);
    let Survey { loaded, problems: mut all, .. } = survey;
    all.extend(problems);
    let name = program.as_str();
    let ended = match (line.wish, all.is_empty(), passing.is_empty()) {
        (Wish::Start, true, _) => return loaded,
        (Wish::Print, true, _) => print(&loaded.to_string()),
        (_, false, _) => {
            all.extend(passing);
            complain(&format!("{name}: the configuration can't be used:\n{}", ConfigError(all)));
            2
        }
        (Wish::Check, true, false) => {
            let passing = ConfigError(passing);
            complain(&format!(
                "{name}: the configuration is valid, but something is in the way at this moment:\n{passing}"
            ));
            1
        }
        (Wish::Check, true, true) => {
            let lines = std::iter::once("configuration is valid".to_owned()).chain(remarks);
            print(&lines.map(|line| line + "\n").collect::<String>())
        }
    };
    std::process::exit(ended);
}

/// A line on standard error. Nobody may read it: the exit code says so too.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes to standard output, and says with which code to end.
fn print(text: &str) -> i32 {
    i32::from(std::io::stdout().lock().write_all(text.as_bytes()).is_err())
}

/// Whether what the configuration names is there and can be used.
async fn look(program: Program, survey: &Survey) -> Findings {
    let loaded = &survey.loaded;
    let mut found = files::look(program, loaded);
    found.remarks.extend(crate::files::exposure(&loaded.config.store.path));
    let is_of_store = |problem: &&Problem| problem.key.as_deref().is_some_and(|key| key.starts_with("store."));
    // Where it is can't be known otherwise, or how to be let in.
    if !survey.problems.iter().chain(&found.problems).any(|problem| is_of_store(&problem)) {
        found.append(look_at_store(loaded).await);
    }
    found.append(addresses::try_all(program, loaded));
    found
}

async fn look_at_store(loaded: &Loaded) -> Findings {
    let mut found = Findings::default();
    let (place, tables) = match loaded.config.store.kind {
        StoreKind::Sqlite => ("store.path", "store.path"),
        StoreKind::Scylla => ("store.scylla.contact_points", "store.scylla.keyspace"),
    };
    match store::look(&loaded.config.store).await {
        Ok(remarks) => found.remarks = remarks,
        Err(error @ StoreError::Unavailable(_)) => found.passing.push(loaded.problem(place, error.to_string())),
        Err(error) => found.problems.push(loaded.problem(tables, error.to_string())),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Given, Sources, survey};

    fn surveyed(given: &[(&str, &str)]) -> Survey {
        let given = given.iter().map(|(key, value)| Given {
            flag: "--set".into(),
            key: (*key).into(),
            value: (*value).into(),
        });
        survey(&Sources { given: given.collect(), ..Sources::default() })
    }

    fn keys(survey: &Survey) -> Vec<String> {
        let loaded = &survey.loaded;
        let blamed =
            ["cluster.secrets", "notification.listen", "store.path"].map(|key| loaded.problem(key, "bad"));
        let found = Findings { problems: blamed.into(), ..Findings::default() }.without_echoes(survey);
        found.problems.into_iter().filter_map(|problem| problem.key).collect()
    }

    #[test]
    fn what_may_have_been_misspelt_is_not_blamed() {
        assert_eq!(keys(&surveyed(&[])), ["cluster.secrets", "notification.listen", "store.path"]);
        let misspelt = surveyed(&[("cluster.secrest", "x"), ("store.path", "x")]);
        assert_eq!(keys(&misspelt), ["store.path"]);
        let bad = surveyed(&[("notification.listen", "0.0.0.0:1864")]);
        assert_eq!(keys(&bad), ["cluster.secrets", "store.path"], "it is blamed already");
    }
}
