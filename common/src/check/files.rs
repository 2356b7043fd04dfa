//! Whether the files of secrets and keys can be used.

use super::Findings;
use crate::cluster::Keyring;
use crate::config::{Loaded, Program, StoreKind};
use crate::credentials::SealingKey;
use crate::store;

/// Opens each that the program would open.
pub(super) fn look(program: Program, loaded: &Loaded) -> Findings {
    let (config, mut found) = (&loaded.config, Findings::default());
    if let Err(error) = Keyring::load(&config.cluster.secrets) {
        found.problems.push(loaded.problem("cluster.secrets", error.to_string()));
    }
    if matches!(program, Program::Notification | Program::Suite) {
        let path = &config.accounts.md5_key;
        match SealingKey::load(path) {
            Ok(Some(_)) => {}
            Ok(None) => {
                found
                    .remarks
                    .push(format!("accounts.md5_key: there is no {}: nobody can sign in by MD5", path.display()));
            }
            Err(error) => found.problems.push(loaded.problem("accounts.md5_key", error.to_string())),
        }
    }
    if config.store.kind == StoreKind::Scylla {
        let unusable = store::cql::unusable_files(&config.store.scylla);
        found.problems.extend(unusable.into_iter().map(|(key, why)| loaded.problem(&key, why)));
    }
    found
}
