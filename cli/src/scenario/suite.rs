//! Many scenarios: reading them, and playing those that belong together.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tokio::time::Instant;

use super::deployment::Deployment;
use super::needs::{Lack, Needs};
use super::outcome::Outcome;
use super::parse::{MAX_SCRIPT, SyntaxError, parse};
use super::play::Player;
use super::script::Script;

/// The statements written in the language itself.
static PRELUDE: LazyLock<Script> = LazyLock::new(|| {
    let text = include_str!("prelude.txt");
    // A test reads it; with a mistake in it no scenario finds its macros, and each says so.
    parse(Path::new("cli/src/scenario/prelude.txt"), text, &[]).unwrap_or_default()
});

/// The prelude's macros.
pub(super) fn prelude() -> &'static Script {
    &PRELUDE
}

/// Files that share their accounts: a first one, and those behind it that say `accounts same`.
#[derive(Debug)]
pub struct Chain {
    scripts: Vec<Script>,
}

/// What distinguishes the accounts of one run from those of another: letters, digits and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunId(String);

impl RunId {
    const MAX_LEN: usize = 24;

    /// A random one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> anyhow::Result<Self> {
        let random = getrandom::u64()?;
        Ok(Self(format!("{:08x}", random >> 32)))
    }

    /// Whether a text is like one that [`Self::random`] makes.
    pub(super) fn is_random(text: &str) -> bool {
        text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn for_dialect(&self, dialect: Option<&str>) -> String {
        match dialect {
            Some(dialect) => format!("{}-{}", self.0, dialect.to_ascii_lowercase()),
            None => self.0.clone(),
        }
    }
}

impl std::str::FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(legal) {
            return Err(format!("a run id has up to {} lower-case letters, digits and hyphens", Self::MAX_LEN));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A file that can't be taken into a suite.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It can't be read.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A mistake in it.
    #[error(transparent)]
    Syntax(SyntaxError),
    /// `accounts same` without a file before it.
    #[error("{0}: `accounts same`, and no file before it")]
    NothingBefore(PathBuf),
}

/// Reads scenarios, in this order.
///
/// # Errors
/// All that is wrong with any of them.
pub fn load(files: &[PathBuf]) -> Result<Vec<Chain>, Vec<LoadError>> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut errors = Vec::new();
    for path in files {
        match read(path) {
            Ok(script) if !script.continues => chains.push(Chain { scripts: vec![script] }),
            Ok(script) => match chains.last_mut() {
                Some(chain) => chain.scripts.push(script),
                None => errors.push(LoadError::NothingBefore(path.clone())),
            },
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(chains) } else { Err(errors) }
}

fn read(path: &Path) -> Result<Script, Vec<LoadError>> {
    let file = |error| vec![LoadError::File(path.to_owned(), error)];
    if std::fs::metadata(path).map_err(file)?.len() > MAX_SCRIPT {
        return Err(file(std::io::Error::other("longer than a mebibyte")));
    }
    let text = std::fs::read_to_string(path).map_err(file)?;
    parse(path, &text, &prelude().macros).map_err(|mistakes| mistakes.into_iter().map(LoadError::Syntax).collect())
}

impl Chain {
    /// Whether any of its files has `text` in its name.
    #[must_use]
    pub fn is_named_like(&self, text: &str) -> bool {
        self.scripts.iter().any(|script| script.path.to_string_lossy().contains(text))
    }

    /// Its files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.scripts.iter().map(|script| script.path.as_path())
    }

    /// The servers that it needs and a deployment does not have; `None` if it can be played there.
    pub(super) fn lacking(&self, deployment: &Deployment) -> Option<Lack> {
        self.needs().lacking(deployment)
    }

    /// All servers that it needs.
    pub(super) fn needs(&self) -> Needs {
        self.scripts.iter().map(|script| script.needs).fold(Needs::default(), Needs::and)
    }

    /// The dialects in which it is played, those that its first file names; once without one if there is none.
    pub(super) fn dialects(&self) -> Vec<Option<String>> {
        match self.scripts.first().map(|script| script.dialects.as_slice()).unwrap_or_default() {
            [] => vec![None],
            dialects => dialects.iter().cloned().map(Some).collect(),
        }
    }

    /// Plays its files one after another, up to the first that fails: what follows asserts what that one should have left.
    pub(super) async fn play(&self, deployment: &Deployment, run: &RunId, dialect: Option<&str>) -> Vec<Outcome> {
        let run = run.for_dialect(dialect);
        let mut outcomes = Vec::new();
        for (at, script) in self.scripts.iter().enumerate() {
            let mut outcome = play(script, deployment, &run, dialect).await;
            let goes_on = outcome.result.is_ok();
            if !goes_on {
                outcome.left_out = self.paths().skip(at + 1).map(Path::to_owned).collect();
            }
            outcomes.push(outcome);
            if !goes_on {
                break;
            }
        }
        outcomes
    }
}

async fn play(script: &Script, deployment: &Deployment, run: &str, dialect: Option<&str>) -> Outcome {
    let start = Instant::now();
    let mut player = Player::new(script, prelude(), deployment, run, dialect);
    let result = player.play().await;
    Outcome {
        path: script.path.clone(),
        dialect: dialect.map(str::to_owned),
        run: run.to_owned(),
        took: start.elapsed(),
        shown: player.shown(),
        result: result.map_err(Box::new),
        left_out: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prelude_can_be_read() {
        parse(Path::new("prelude.txt"), include_str!("prelude.txt"), &[]).unwrap();
        assert!(prelude().macros.iter().any(|known| known.name == "sign-in"));
    }

    #[test]
    fn files_that_continue_share_a_chain() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = [
            write("a.txt", "accounts alice"),
            write("b.txt", "accounts same alice"),
            write("c.txt", "connect A dispatch"),
        ];
        let chains = load(&files).unwrap();
        assert_eq!(chains.iter().map(|chain| chain.scripts.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(matches!(load(&files[1..]).unwrap_err()[0], LoadError::NothingBefore(_)));
        assert!(matches!(load(&["/nowhere".into()]).unwrap_err()[0], LoadError::File(..)));
    }

    #[test]
    fn run_ids_are_plain() {
        assert!("a-1".parse::<RunId>().is_ok());
        for bad in ["", "A", "a@b", &"x".repeat(25)] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
        assert_ne!(RunId::random().unwrap(), RunId::random().unwrap());
    }
}
