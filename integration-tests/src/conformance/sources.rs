//! The Rust tests of the project, by name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

/// The crates, beside each other.
const CRATES: [&str; 6] = ["common", "cli", "dispatch", "notification", "switchboard", "integration-tests"];

/// The names of all test functions that are run, each with its file: those that are ignored show nothing. Of several with one
/// name the first file's.
pub(super) fn tests() -> anyhow::Result<BTreeMap<String, String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let mut found = BTreeMap::new();
    for name in CRATES {
        walk(root, &root.join(name), &mut found)?;
    }
    Ok(found)
}

fn walk(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            let text = std::fs::read_to_string(&path)?;
            for name in names(&text) {
                let file = found.entry(name.to_owned()).or_insert_with(|| shown.clone());
                // Directories are read in any order.
                if shown < *file {
                    file.clone_from(&shown);
                }
            }
        }
    }
    Ok(())
}

/// The functions that an attribute such as `#[test]` or `#[tokio::test(…)]` makes tests, within a macro of proptest too.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let (mut is_test, mut is_ignored) = (false, false);
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(attribute) = line.strip_prefix("#[") {
            is_test |= attribute.starts_with("test]") || attribute.starts_with("tokio::test");
            is_ignored |= attribute.starts_with("ignore");
            return None;
        }
        let is_ignored = std::mem::take(&mut is_ignored);
        if !std::mem::take(&mut is_test) || is_ignored {
            return None;
        }
        let name = line.trim_start_matches("async ").strip_prefix("fn ")?;
        name.split(['(', '<']).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tests_that_are_run_are_found() {
        let text = "fn a() {}\n#[test]\nfn b() {}\n    #[tokio::test(flavor = \"x\")]\n    #[ignore = \"slow\"]\n    async fn c() {}\nfn d() {}\n    #[test]\n    fn e() {}\n";
        assert_eq!(names(text).collect::<Vec<_>>(), ["b", "e"]);
        assert!(tests().unwrap().contains_key("only_tests_that_are_run_are_found"));
    }
}
