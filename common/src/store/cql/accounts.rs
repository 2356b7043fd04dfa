//! Accounts: who has a passport, and its password. Only lightweight transactions change their table.

use std::time::Duration;

use futures_util::future::try_join_all;
use scylla::statement::bound::BoundStatement;
use scylla::statement::prepared::PreparedStatement;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::db::{Attempt, Db, bind};
use super::errors::{strange, unavailable};
use super::names::Names;
use super::settings;
use super::stamps::of_ms;
use super::turns::Turn;
use crate::model::{ClaimId, Passport};
use crate::store::{Account, AccountSummary, Claimed, Credentials, NewAccount, Result, StoreError};

/// Between two attempts at a lightweight transaction.
const PAUSE: Duration = Duration::from_millis(60);
/// Within which the outcome of a claim must be certain: what is left of its call tells what went wrong.
const DECIDED: Duration = Duration::from_millis(3_500);
/// Accounts looked up at once for a listing.
const LOOKED_UP: usize = 64;

type AccountRow = (Option<Uuid>, Option<i64>, Option<String>, Option<Vec<u8>>, Option<i64>, Option<String>);

/// What the table of accounts holds.
pub(super) struct Kept {
    pub(super) claim: ClaimId,
    pub(super) credentials: Credentials,
    pub(super) created: u64,
    /// The friendly name until the owner sets another.
    pub(super) first_name: String,
}

async fn kept(db: &Db, statement: &PreparedStatement, who: &Passport) -> Result<Option<Kept>> {
    let Some(row) = db.row::<AccountRow>(statement, (who.as_str(),)).await? else { return Ok(None) };
    let (Some(claim), Some(epoch), Some(password_hash), sealed_password, Some(created), Some(first_name)) = row
    else {
        return Err(strange("accounts"));
    };
    let credentials = Credentials { epoch: epoch.cast_unsigned(), password_hash, sealed_password };
    Ok(Some(Kept { claim: ClaimId(claim), credentials, created: created.cast_unsigned(), first_name }))
}

/// The account as a majority knows it.
pub(super) async fn find(db: &Db, who: &Passport) -> Result<Option<Kept>> {
    kept(db, &db.statements.account, who).await
}

/// See [`Store::account`](crate::store::Store::account).
pub(super) async fn read(db: &Db, who: &Passport) -> Result<Option<Account>> {
    let (kept, settings) = tokio::join!(find(db, who), settings::read(db, who));
    let (Some(kept), settings) = (kept?, settings?) else { return Ok(None) };
    Ok(Some(Account {
        passport: who.clone(),
        claim: kept.claim,
        created: kept.created,
        settings: settings.over(&kept),
        credentials: kept.credentials,
    }))
}

/// See [`Store::create_account`](crate::store::Store::create_account).
pub(super) async fn create(db: &Db, new: &NewAccount, turn: &mut Turn, stamp: i64) -> Result<Claimed> {
    let deadline = Instant::now() + DECIDED;
    turn.begins().await;
    // First, so that no account is missing in listings; those without an account are passed over there.
    db.write(&Names::entry(db, &new.passport, stamp)?).await?;
    let claim = bind(
        &db.statements.claim_account,
        &(
            new.passport.as_str(),
            new.claim.0,
            new.credentials.epoch.cast_signed(),
            &new.credentials.password_hash,
            &new.credentials.sealed_password,
            new.created.cast_signed(),
            &new.friendly_name,
        ),
    )?;
    won(db, &claim, new, deadline).await
}

/// Tries the claim until its outcome is certain. Where it was not applied, or nobody knows, a serial read, which ends
/// whatever is under way, tells who holds the passport; where that is nobody the claim is tried again: it may be, since
/// it carries its own id.
async fn won(db: &Db, claim: &BoundStatement, new: &NewAccount, deadline: Instant) -> Result<Claimed> {
    let attempt = || async {
        let attempt = db.try_claim(claim).await?;
        if matches!(attempt, Attempt::Applied) {
            return Ok(Outcome::Certain(Claimed::Won));
        }
        Ok(match kept(db, &db.statements.serial_account, &new.passport).await? {
            Some(holder) if holder.claim == new.claim => Outcome::Certain(Claimed::Won),
            Some(_) => Outcome::Certain(Claimed::Taken),
            None => Outcome::Unknown(attempt.error()),
        })
    };
    decide(deadline, attempt).await
}

/// What one attempt has told.
enum Outcome<T> {
    Certain(T),
    /// Nothing; with what went wrong, if something did.
    Unknown(Option<StoreError>),
}

/// Attempts something until its outcome is certain or it is too late; then it tells what went wrong last.
async fn decide<T, F>(deadline: Instant, attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<Outcome<T>>>,
{
    let mut last = None;
    let decided = timeout_at(deadline, async {
        loop {
            match attempt().await? {
                Outcome::Certain(outcome) => return Ok(outcome),
                Outcome::Unknown(error) => last = error.or(last.take()),
            }
            sleep(PAUSE).await;
        }
    });
    match decided.await {
        Ok(decided) => decided,
        Err(_) => Err(last.unwrap_or_else(|| unavailable("no answer within 4 s"))),
    }
}

/// See [`Store::set_credentials`](crate::store::Store::set_credentials).
///
/// Each attempt names the epoch that it replaces: one that is late and comes after another change changes nothing.
pub(super) async fn set_credentials(
    db: &Db,
    who: &Passport,
    claim: ClaimId,
    replaced: u64,
    credentials: &Credentials,
    turn: &mut Turn,
) -> Result<bool> {
    let deadline = Instant::now() + DECIDED;
    turn.begins().await;
    let attempt = || async {
        let found = match kept(db, &db.statements.serial_account, who).await? {
            Some(found) if found.claim == claim => found.credentials,
            _ => return Ok(Outcome::Certain(false)),
        };
        if found == *credentials {
            return Ok(Outcome::Certain(true));
        }
        if found.epoch != replaced {
            return Ok(Outcome::Certain(false));
        }
        let values = (
            credentials.epoch.cast_signed(),
            &credentials.password_hash,
            &credentials.sealed_password,
            who.as_str(),
            claim.0,
            replaced.cast_signed(),
        );
        Ok(match db.try_claim(&bind(&db.statements.set_credentials, &values)?).await? {
            Attempt::Applied => Outcome::Certain(true),
            attempt => Outcome::Unknown(attempt.error()),
        })
    };
    decide(deadline, attempt).await
}

/// See [`Store::remove_account`](crate::store::Store::remove_account).
///
/// The claim goes last: what is cut short leaves an account with less, which can be removed again, and never lists that a later
/// account of the same passport would inherit.
pub(super) async fn remove(db: &Db, who: &Passport, claim: ClaimId, turn: &mut Turn, stamp: i64) -> Result<bool> {
    let deadline = Instant::now() + DECIDED;
    turn.begins().await;
    match kept(db, &db.statements.serial_account, who).await? {
        Some(found) if found.claim == claim => {}
        _ => return Ok(false),
    }
    let all = &db.statements;
    let lists = [&all.remove_settings, &all.remove_roster, &all.remove_groups, &all.remove_copies];
    let tables = lists.into_iter().chain([&all.remove_known_networks]);
    let owned = tables.map(|table| bind(table, &(stamp, who.as_str())));
    let mut writes = owned.collect::<Result<Vec<_>>>()?;
    // Its timestamps are the times seen, and none is later than now.
    writes.push(bind(&all.remove_last_active, &(of_ms(crate::clock::wall_ms()), who.as_str()))?);
    writes.push(Names::removal(db, who, stamp)?);
    db.write_all(&writes).await?;
    let attempt = || async {
        Ok(match db.try_claim(&bind(&all.remove_account, &(who.as_str(), claim.0))?).await? {
            Attempt::Applied => Outcome::Certain(true),
            // Found above, and not there any more: an attempt whose answer was lost has removed it.
            Attempt::NotApplied => Outcome::Certain(true),
            Attempt::Unknown(error) => Outcome::Unknown(Some(error)),
        })
    };
    decide(deadline, attempt).await
}

/// See [`Store::accounts`](crate::store::Store::accounts).
pub(super) async fn list(db: &Db, after: Option<&Passport>, limit: usize) -> Result<Vec<AccountSummary>> {
    let mut names = Names::after(after);
    let mut listed = Vec::new();
    while listed.len() < limit {
        let some = names.next(db, (limit - listed.len()).min(LOOKED_UP)).await?;
        if some.is_empty() {
            break;
        }
        let summaries = try_join_all(some.iter().map(|who| summary(db, who))).await?;
        listed.extend(summaries.into_iter().flatten());
    }
    Ok(listed)
}

async fn summary(db: &Db, who: &Passport) -> Result<Option<AccountSummary>> {
    let last_active = db.row::<(Option<i64>,)>(&db.statements.last_active, (who.as_str(),));
    let (account, last_active) = tokio::join!(read(db, who), last_active);
    let (Some(account), last_active) = (account?, last_active?) else { return Ok(None) };
    Ok(Some(AccountSummary {
        passport: account.passport,
        friendly_name: account.settings.friendly_name,
        md5: account.credentials.sealed_password.is_some(),
        created: account.created,
        last_active: last_active.and_then(|(at,)| at).map(i64::cast_unsigned),
    }))
}

/// See [`Store::touch`](crate::store::Store::touch). The time seen is the timestamp too, so that the latest holds.
pub(super) fn touch(db: &Db, seen: &[(Passport, u64)]) -> Result<Vec<BoundStatement>> {
    let one =
        |(who, at): &(Passport, u64)| bind(&db.statements.touch, &(of_ms(*at), at.cast_signed(), who.as_str()));
    seen.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn at_the_bound_it_says_what_went_wrong_last() {
        let decided = |attempts: Vec<Result<Outcome<u8>>>| {
            let attempts = std::sync::Mutex::new(attempts.into_iter());
            let attempt = move || {
                let next = attempts.lock().unwrap().next();
                std::future::ready(next.unwrap_or(Ok(Outcome::Unknown(None))))
            };
            decide(Instant::now() + DECIDED, attempt)
        };
        let unknown = |text: &str| Ok(Outcome::Unknown(Some(unavailable(text))));
        let start = Instant::now();
        assert_eq!(decided(vec![unknown("a"), unknown("b"), Ok(Outcome::Certain(7))]).await.unwrap(), 7);
        let refused = decided(vec![unknown("a"), Err(unavailable("no permission"))]).await.unwrap_err();
        assert!(refused.to_string().contains("no permission") && start.elapsed() < Duration::from_secs(1));
        let late = decided(vec![unknown("a"), unknown("overloaded")]).await.unwrap_err();
        assert!(late.to_string().contains("overloaded") && start.elapsed() > DECIDED, "{late}");
        assert!(decided(vec![]).await.unwrap_err().to_string().contains("no answer"));
    }
}
