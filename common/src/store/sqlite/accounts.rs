//! Accounts and their settings.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::Columns;
use crate::model::{ClaimId, Passport, Properties, Property, Settings};
use crate::store::account::{add_prompt_from, strangers_from};
use crate::store::{Account, AccountSummary, Claimed, Credentials, NewAccount, Result};

/// See [`Store::create_account`](crate::store::Store::create_account).
pub(super) fn create(connection: &Connection, new: &NewAccount) -> Result<Claimed> {
    let created = new.created.cast_signed();
    connection
        .prepare_cached(
            "INSERT INTO accounts (passport, claim, credential_epoch, password_hash, sealed_password, created,
                 friendly_name, list_version, lists_changed, settings_changed)
             VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (passport) DO NOTHING",
        )?
        .execute(params![
            new.passport.as_str(),
            new.claim.0.as_bytes(),
            new.credentials.epoch.cast_signed(),
            new.credentials.password_hash,
            new.credentials.sealed_password,
            created,
            new.friendly_name,
            created,
            created,
        ])?;
    let claim: [u8; 16] = connection
        .prepare_cached("SELECT claim FROM accounts WHERE passport = ?")?
        .query_row([new.passport.as_str()], |row| row.get(0))?;
    Ok(if claim == *new.claim.0.as_bytes() { Claimed::Won } else { Claimed::Taken })
}

/// See [`Store::account`](crate::store::Store::account).
pub(super) fn read(connection: &Connection, who: &Passport) -> Result<Option<Account>> {
    read_within(&*connection.unchecked_transaction()?, who)
}

/// The same within a snapshot that the caller holds.
pub(super) fn read_within(snapshot: &Connection, who: &Passport) -> Result<Option<Account>> {
    let mut statement = snapshot.prepare_cached(
        "SELECT claim, credential_epoch, password_hash, sealed_password, created, friendly_name, strangers,
             add_prompt, list_version, lists_changed, settings_changed, reverse_digest
         FROM accounts WHERE passport = ?",
    )?;
    let account = statement.query_row([who.as_str()], |row| Ok(account(who, row))).optional()?.transpose()?;
    let Some(mut account) = account else { return Ok(None) };
    account.settings.properties = properties(snapshot, who)?;
    Ok(Some(account))
}

fn account(who: &Passport, row: &Row<'_>) -> Result<Account> {
    Ok(Account {
        passport: who.clone(),
        claim: ClaimId(row.uuid(0)?),
        credentials: Credentials {
            epoch: row.number(1)?,
            password_hash: row.get(2)?,
            sealed_password: row.get(3)?,
        },
        created: row.number(4)?,
        settings: Settings {
            friendly_name: row.get(5)?,
            strangers: row.parsed(6, |code| strangers_from(*code))?,
            add_prompt: row.parsed(7, |code| add_prompt_from(*code))?,
            properties: Properties::new(),
            list_version: row.number(8)?,
            lists_changed: row.number(9)?,
            settings_changed: row.number(10)?,
            reverse_digest: row.number(11)?,
        },
    })
}

fn properties(connection: &Connection, who: &Passport) -> Result<Properties> {
    let mut statement = connection.prepare_cached("SELECT property, value FROM properties WHERE passport = ?")?;
    let mut rows = statement.query([who.as_str()])?;
    let mut properties = Properties::new();
    while let Some(row) = rows.next()? {
        properties.insert(row.parsed(0, |code: &String| Property::from_code(code))?, row.get(1)?);
    }
    Ok(properties)
}

/// See [`Store::set_credentials`](crate::store::Store::set_credentials).
pub(super) fn set_credentials(
    connection: &Connection,
    who: &Passport,
    claim: ClaimId,
    replaced: u64,
    credentials: &Credentials,
) -> Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE accounts SET credential_epoch = ?, password_hash = ?, sealed_password = ?
             WHERE passport = ? AND claim = ? AND credential_epoch IN (?, ?)",
        )?
        .execute(params![
            credentials.epoch.cast_signed(),
            credentials.password_hash,
            credentials.sealed_password,
            who.as_str(),
            claim.0.as_bytes(),
            replaced.cast_signed(),
            // This very change was made already.
            credentials.epoch.cast_signed(),
        ])?;
    Ok(changed > 0)
}

/// Whether there is such an account. What is written late, behind its removal, must not wait for the next one of that name.
pub(super) fn is_there(connection: &Connection, who: &Passport) -> Result<bool> {
    Ok(connection.prepare_cached("SELECT 1 FROM accounts WHERE passport = ?")?.exists([who.as_str()])?)
}

/// See [`Store::remove_account`](crate::store::Store::remove_account).
pub(super) fn remove(connection: &Connection, who: &Passport, claim: ClaimId) -> Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM accounts WHERE passport = ? AND claim = ?")?
        .execute(params![who.as_str(), claim.0.as_bytes()])?;
    if removed == 0 {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM properties WHERE passport = ?",
        "DELETE FROM last_active WHERE passport = ?",
        "DELETE FROM known_networks WHERE passport = ?",
        "DELETE FROM copies_owed WHERE passport = ?",
        "DELETE FROM roster WHERE owner = ?",
        "DELETE FROM contact_properties WHERE owner = ?",
        "DELETE FROM groups WHERE owner = ?",
        "DELETE FROM group_members WHERE owner = ?",
    ] {
        connection.prepare_cached(sql)?.execute([who.as_str()])?;
    }
    Ok(true)
}

/// See [`Store::accounts`](crate::store::Store::accounts).
pub(super) fn list(
    connection: &Connection,
    after: Option<&Passport>,
    limit: usize,
) -> Result<Vec<AccountSummary>> {
    let mut statement = connection.prepare_cached(
        "SELECT a.passport, a.friendly_name, a.sealed_password IS NOT NULL, a.created, l.at
         FROM accounts a LEFT JOIN last_active l ON l.passport = a.passport
         WHERE a.passport > ? ORDER BY a.passport LIMIT ?",
    )?;
    let after = after.map_or("", Passport::as_str);
    let mut rows = statement.query(params![after, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        accounts.push(AccountSummary {
            passport: row.passport(0)?,
            friendly_name: row.get(1)?,
            md5: row.get(2)?,
            created: row.number(3)?,
            last_active: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        });
    }
    Ok(accounts)
}

/// See [`Store::touch`](crate::store::Store::touch).
pub(super) fn touch(connection: &Connection, seen: &[(Passport, u64)]) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO last_active (passport, at) SELECT passport, ?2 FROM accounts WHERE passport = ?1
         ON CONFLICT DO UPDATE SET at = excluded.at WHERE excluded.at > at",
    )?;
    for (who, at) in seen {
        statement.execute(params![who.as_str(), at.cast_signed()])?;
    }
    Ok(())
}
