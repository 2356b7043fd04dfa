//! What the scenarios show of the protocol: `integration-tests/CONFORMANCE.md`, generated from a playing of the whole
//! suite, and what is still missing.
//!
//! | file | what |
//! |---|---|
//! | `cells` | which command goes which way in which dialect: what must be shown |
//! | `open` | the cells that nothing shows yet, and why |
//! | `coverage` | what a playing has shown |
//! | `checklist` | the points of the protocol reference's §15, and its transcripts |
//! | `clients` | the facts of `docs/protocol/CLIENTS.md` |
//! | `sources` | the names of all Rust tests |
//! | `errors` | the numeric errors |
//! | `page` | the page |

mod cells;
mod checklist;
mod clients;
mod coverage;
mod errors;
mod open;
mod page;
mod sources;

use std::path::{Path, PathBuf};

pub use coverage::Coverage;

/// The environment variable that has the page written instead of compared.
pub const WRITE: &str = "MONARCH_CONFORMANCE";

/// Where the page is.
#[must_use]
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFORMANCE.md")
}

/// Makes the page of what was shown, and compares it with the one that is there, or writes it if [`WRITE`] says
/// `write`. Returns what is wrong: cells, points and facts without a test, and a page that is not current.
///
/// # Errors
/// When sources, documents or the page can't be read or written.
pub fn check(coverage: &Coverage) -> anyhow::Result<Vec<String>> {
    let known = sources::tests()?;
    let facts = clients::facts()?;
    let (page, mut problems) = page::render(coverage, &known, &facts, open::OPEN);
    if std::env::var(WRITE).is_ok_and(|what| what == "write") {
        std::fs::write(path(), page)?;
    } else if std::fs::read_to_string(path()).unwrap_or_default() != page {
        problems.push(format!(
            "integration-tests/CONFORMANCE.md is not current: {WRITE}=write cargo test --workspace --test scenarios"
        ));
    }
    Ok(problems)
}
