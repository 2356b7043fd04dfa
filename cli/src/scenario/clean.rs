//! `monarch scenario clean`: removes the accounts that runs have left.

use common::model::Passport;
use common::store::Store;
use futures_util::stream::{self, StreamExt};

use super::accounts::{DOMAIN, REMOVED_AT_ONCE};
use super::suite::RunId;
use super::template::is_name;
use crate::account::for_each_account;
use crate::terminal::print;

/// `monarch scenario clean …`
#[derive(Debug, clap::Args)]
pub struct CleanArgs {
    /// The accounts of runs with this id, instead of those of all runs with a random one.
    #[arg(long, value_name = "ID")]
    pub run_id: Option<RunId>,
    /// Say which accounts these are, and leave them.
    #[arg(long)]
    pub dry_run: bool,
}

/// Removes the accounts of runs, by their names: `alice-3f9a01c2@example.com`, `alice-3f9a01c2-msnp8@example.com`.
///
/// # Errors
/// Those of the store.
pub(super) async fn clean(args: &CleanArgs, store: &dyn Store) -> anyhow::Result<()> {
    let of_runs = found(args.run_id.as_ref(), store).await?;
    if args.dry_run {
        of_runs.iter().for_each(|who| print(&format!("{who}\n")));
        print(&format!("{} of runs, left as they are\n", counted(of_runs.len())));
        return Ok(());
    }
    let remove = async |who: &Passport| match store.account(who).await? {
        Some(account) => store.remove_account(who, account.claim).await,
        None => Ok(false),
    };
    let mut removals = stream::iter(&of_runs).map(remove).buffer_unordered(REMOVED_AT_ONCE);
    let mut removed = 0;
    while let Some(was_there) = removals.next().await {
        removed += usize::from(was_there?);
    }
    print(&format!("{} of runs removed\n", counted(removed)));
    Ok(())
}

/// `1 account`, `2 accounts`
pub(super) fn counted(accounts: usize) -> String {
    format!("{accounts} account{}", if accounts == 1 { "" } else { "s" })
}

async fn found(run: Option<&RunId>, store: &dyn Store) -> anyhow::Result<Vec<Passport>> {
    let mut of_runs = Vec::new();
    for_each_account(store, |account| {
        of_runs.extend(Some(&account.passport).filter(|who| is_of_run(who.as_str(), run)).cloned());
        anyhow::Ok(())
    })
    .await?;
    Ok(of_runs)
}

/// Whether a run of that id, or one with a random id, has made this account.
fn is_of_run(passport: &str, run: Option<&RunId>) -> bool {
    let Some((local, DOMAIN)) = passport.rsplit_once('@') else { return false };
    let is_dialect = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let without_dialect =
        local.rsplit_once("-msnp").filter(|(_, number)| is_dialect(number)).map(|(rest, _)| rest);
    [Some(local), without_dialect].into_iter().flatten().any(|local| {
        let name = match run {
            Some(run) => local.strip_suffix(run.as_str()).and_then(|rest| rest.strip_suffix('-')),
            None => local.rsplit_once('-').filter(|(_, id)| RunId::is_random(id)).map(|(name, _)| name),
        };
        name.is_some_and(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_runs_are_known_by_their_names() {
        let mine: RunId = "mine-2".parse().unwrap();
        for (passport, random, of_mine) in [
            ("alice-3f9a01c2@example.com", true, false),
            ("alice-3f9a01c2-msnp12@example.com", true, false),
            ("the-cat-3f9a01c2@example.com", true, false),
            ("alice-mine-2@example.com", false, true),
            ("alice-mine-2-msnp8@example.com", false, true),
            ("alice@example.com", false, false),
            ("alice-smith@example.com", false, false),
            ("alice-3F9A01C2@example.com", false, false),
            ("alice-3f9a01c2@example.org", false, false),
            ("-3f9a01c2@example.com", false, false),
            ("mine-2@example.com", false, false),
            ("alice-3f9a01c2-msnp@example.com", false, false),
        ] {
            assert_eq!(
                (is_of_run(passport, None), is_of_run(passport, Some(&mine))),
                (random, of_mine),
                "{passport}"
            );
        }
        assert!(RunId::is_random(RunId::random().unwrap().as_str()));
    }
}
