//! Where the binaries under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Context;

/// Names a directory with binaries that are built already; they are then taken as they are.
const DIRECTORY: &str = "MONARCH_BIN_DIR";
/// The directory of the binaries, brought up to date once in each test process: `cargo test -p integration-tests`
/// alone builds none of them, or would start old ones.
///
/// # Errors
/// When they can't be built.
pub fn directory() -> anyhow::Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// The path of one of the programs under test, `monarch` for example.
///
/// # Errors
/// When they can't be built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    Ok(directory()?.join(name))
}

fn find() -> anyhow::Result<PathBuf> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return Ok(directory.into());
    }
    // This is target/PROFILE/deps/NAME-HASH.
    let executable = std::env::current_exe()?;
    let directory = executable.ancestors().nth(2).context("no target directory above the test")?;
    build(directory)?;
    Ok(directory.to_owned())
}

/// In the profile in which the test itself was built.
fn build(directory: &Path) -> anyhow::Result<()> {
    let profile = directory.file_name().and_then(|name| name.to_str()).context("no profile above the test")?;
    let profile = if profile == "debug" { "dev" } else { profile };
    let target = directory.parent().context("no target directory above the test")?;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("Cargo.toml");
    let mut cargo = Command::new(env!("CARGO"));
    // One test among the targets: with it the dependencies have the same features as in `cargo test --workspace`,
    // and nothing that has been built for that is built a second time.
    cargo.args(["build", "--quiet", "--workspace", "--bins", "--test", "scenarios", "--profile", profile]);
    cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
    // What `cargo test` tells a test about its package; build scripts that look at it (ring's) would run again.
    let of_package = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        cargo.env_remove(name);
    }
    let status = cargo.status().context("cargo can't be started")?;
    anyhow::ensure!(status.success(), "the binaries can't be built");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binaries_are_built_on_demand() {
        for name in ["dispatch", "notification", "switchboard", "monarch"] {
            let program = program(name).unwrap();
            assert!(program.is_file(), "there is no {}", program.display());
        }
    }
}
