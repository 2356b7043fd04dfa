//! Contacts, groups and settings.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::accounts;
use super::columns::Columns;
use crate::model::{Group, GroupId, List, Lists, Passport, PhoneContact, Properties, Property, Roster};
use crate::store::account::{add_prompt_code, strangers_code};
use crate::store::roster::{Kept, RosterRow, assemble};
use crate::store::{Edit, Result};

/// See [`Store::roster`](crate::store::Store::roster). One snapshot of all tables.
pub(super) fn read(connection: &Connection, owner: &Passport) -> Result<Option<Roster>> {
    let snapshot = connection.unchecked_transaction()?;
    let Some(account) = accounts::read_within(&snapshot, owner)? else { return Ok(None) };
    let (contacts, groups) = (contacts(&snapshot, owner)?, groups(&snapshot, owner)?);
    let copies_owed = copies_owed(&snapshot, owner)?;
    Ok(Some(assemble(account.claim, account.settings, contacts, groups, copies_owed)))
}

fn copies_owed(connection: &Connection, owner: &Passport) -> Result<Option<u64>> {
    let mut statement = connection.prepare_cached("SELECT mark FROM copies_owed WHERE passport = ?")?;
    let mark = statement.query_row([owner.as_str()], |row| row.get::<_, i64>(0)).optional()?;
    Ok(mark.map(i64::cast_unsigned))
}

/// A row for each contact and group it is in, or one without a group.
fn contacts(connection: &Connection, owner: &Passport) -> Result<Vec<RosterRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT r.contact, r.forward, r.allow, r.block, r.reverse, r.pending, r.label, r.own_name, m.group_id
         FROM roster r LEFT JOIN group_members m ON m.owner = r.owner AND m.contact = r.contact
         WHERE r.owner = ? AND (r.forward OR r.allow OR r.block OR r.reverse OR r.pending)
         ORDER BY r.contact",
    )?;
    let mut properties = properties(connection, owner)?;
    let mut rows = statement.query([owner.as_str()])?;
    let mut contacts: Vec<RosterRow> = Vec::new();
    while let Some(row) = rows.next()? {
        let contact = row.parsed(0, |handle: &String| Kept::parse(handle))?;
        let group = row.maybe_uuid(8)?.map(GroupId);
        if let Some(last) = contacts.last_mut().filter(|last| last.contact == contact) {
            last.groups.extend(group);
            continue;
        }
        let mut lists = Lists::NONE;
        for (at, list) in (1..).zip(List::ALL) {
            if row.get(at)? {
                lists = lists.with(list);
            }
        }
        let (label, own_name) = (row.get(6)?, row.get(7)?);
        let properties = match &contact {
            Kept::Principal(passport) => properties.remove(passport).unwrap_or_default(),
            Kept::Phone(_) => Properties::new(),
        };
        let groups = group.into_iter().collect();
        contacts.push(RosterRow { contact, lists, label, own_name, groups, properties });
    }
    Ok(contacts)
}

/// The properties of the owner's contacts.
fn properties(connection: &Connection, owner: &Passport) -> Result<BTreeMap<Passport, Properties>> {
    let mut statement =
        connection.prepare_cached("SELECT contact, property, value FROM contact_properties WHERE owner = ?")?;
    let mut rows = statement.query([owner.as_str()])?;
    let mut properties: BTreeMap<_, Properties> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let property = row.parsed(1, |code: &String| Property::from_code(code))?;
        properties.entry(row.passport(0)?).or_default().insert(property, row.get(2)?);
    }
    Ok(properties)
}

fn groups(connection: &Connection, owner: &Passport) -> Result<Vec<Group>> {
    let mut statement = connection.prepare_cached("SELECT group_id, number, name FROM groups WHERE owner = ?")?;
    let mut rows = statement.query([owner.as_str()])?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        groups.push(Group { id: GroupId(row.uuid(0)?), number: row.get(1)?, name: row.get(2)? });
    }
    Ok(groups)
}

const SET_OWN_NAME: &str = "INSERT INTO roster (owner, contact, own_name) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET own_name = excluded.own_name";

/// See [`Store::edit`](crate::store::Store::edit). The caller undoes everything if one fails.
pub(super) fn edit(connection: &Connection, owner: &Passport, edits: &[Edit]) -> Result<()> {
    if !accounts::is_there(connection, owner)? {
        return Ok(());
    }
    edits.iter().try_for_each(|edit| apply(connection, owner, edit))
}

fn apply(connection: &Connection, owner: &Passport, edit: &Edit) -> Result<()> {
    let run = |sql: &str, values: &[&dyn ToSql]| -> Result<()> {
        connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    };
    let me = owner.as_str();
    match edit {
        Edit::List { contact, list: List::Forward, on } => forward(connection, owner, contact, *on),
        Edit::List { contact, list, on } => run(set_list(*list), params![me, contact.as_str(), on]),
        Edit::Name { contact, name } => run(
            "INSERT INTO roster (owner, contact, label) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET label = excluded.label",
            params![me, contact.as_str(), name],
        ),
        Edit::ContactName { contact, name } => run(SET_OWN_NAME, params![me, contact.as_str(), name]),
        Edit::NameAtContact { contact, .. } | Edit::PropertyAtContact { contact, .. }
            if !accounts::is_there(connection, contact)? =>
        {
            Ok(())
        }
        Edit::NameAtContact { contact, name } => run(SET_OWN_NAME, params![contact.as_str(), me, name]),
        Edit::ContactProperty { contact, property, value } => {
            contact_property(connection, owner, contact, *property, value.as_deref())
        }
        Edit::PropertyAtContact { contact, property, value } => {
            contact_property(connection, contact, owner, *property, value.as_deref())
        }
        Edit::Membership { contact, group, on: true } => run(
            "INSERT INTO group_members (owner, contact, group_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            params![me, contact.as_str(), group.0.as_bytes()],
        ),
        Edit::Membership { contact, group, on: false } => run(
            "DELETE FROM group_members WHERE owner = ? AND contact = ? AND group_id = ?",
            params![me, contact.as_str(), group.0.as_bytes()],
        ),
        Edit::PutPhone(phone) => put_phone(connection, owner, phone),
        Edit::RemovePhone(number) => {
            run("DELETE FROM roster WHERE owner = ? AND contact = ?", params![me, number.as_str()])?;
            leave_groups(connection, owner, number.as_str())
        }
        Edit::PutGroup(group) => run(
            "INSERT INTO groups (owner, group_id, number, name) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET number = excluded.number, name = excluded.name",
            params![me, group.id.0.as_bytes(), group.number, group.name],
        ),
        Edit::RemoveGroup(group) => {
            run("DELETE FROM groups WHERE owner = ? AND group_id = ?", params![me, group.0.as_bytes()])?;
            run("DELETE FROM group_members WHERE owner = ? AND group_id = ?", params![me, group.0.as_bytes()])
        }
        Edit::FriendlyName(name) => {
            run("UPDATE accounts SET friendly_name = ? WHERE passport = ?", params![name, me])
        }
        Edit::Strangers(policy) => {
            run("UPDATE accounts SET strangers = ? WHERE passport = ?", params![strangers_code(*policy), me])
        }
        Edit::AddPrompt(prompt) => {
            run("UPDATE accounts SET add_prompt = ? WHERE passport = ?", params![add_prompt_code(*prompt), me])
        }
        Edit::Property(property, Some(value)) => run(
            "INSERT INTO properties (passport, property, value) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET value = excluded.value",
            params![me, property.code(), value],
        ),
        Edit::Property(property, None) => {
            run("DELETE FROM properties WHERE passport = ? AND property = ?", params![me, property.code()])
        }
        Edit::CopiesOwed(mark) => run(
            "INSERT INTO copies_owed (passport, mark) VALUES (?, ?) ON CONFLICT DO UPDATE SET mark = excluded.mark",
            params![me, mark.cast_signed()],
        ),
        Edit::CopiesWritten(mark) => {
            run("DELETE FROM copies_owed WHERE passport = ? AND mark = ?", params![me, mark.cast_signed()])
        }
        Edit::Stamp { version, lists_changed, settings_changed, reverse_digest } => {
            let [version, lists_changed, settings_changed, reverse_digest] =
                [version, lists_changed, settings_changed, reverse_digest].map(|number| number.cast_signed());
            run(
                "UPDATE accounts SET list_version = ?, lists_changed = ?, settings_changed = ?, reverse_digest = ?
                 WHERE passport = ?",
                params![version, lists_changed, settings_changed, reverse_digest, me],
            )
        }
    }
}

/// What `owner` knows of a property of `contact`.
fn contact_property(
    connection: &Connection,
    owner: &Passport,
    contact: &Passport,
    property: Property,
    value: Option<&str>,
) -> Result<()> {
    let cell = [owner.as_str(), contact.as_str(), property.code()];
    match value {
        Some(value) => connection
            .prepare_cached(
                "INSERT INTO contact_properties (owner, contact, property, value) VALUES (?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET value = excluded.value",
            )?
            .execute(params![cell[0], cell[1], cell[2], value])?,
        None => connection
            .prepare_cached("DELETE FROM contact_properties WHERE owner = ? AND contact = ? AND property = ?")?
            .execute(cell)?,
    };
    Ok(())
}

/// The owner's cell and those of the other side.
fn forward(connection: &Connection, owner: &Passport, contact: &Passport, on: bool) -> Result<()> {
    connection.prepare_cached(set_list(List::Forward))?.execute(params![owner.as_str(), contact.as_str(), on])?;
    connection
        .prepare_cached(
            "INSERT INTO roster (owner, contact, reverse, pending) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT DO UPDATE SET reverse = excluded.reverse, pending = excluded.pending",
        )?
        .execute(params![contact.as_str(), owner.as_str(), on])?;
    if !on {
        leave_groups(connection, owner, contact.as_str())?;
        connection
            .prepare_cached("DELETE FROM contact_properties WHERE owner = ? AND contact = ?")?
            .execute(params![owner.as_str(), contact.as_str()])?;
    }
    Ok(())
}

/// `contact` is the handle of a principal or of a phone.
fn leave_groups(connection: &Connection, owner: &Passport, contact: &str) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM group_members WHERE owner = ? AND contact = ?")?
        .execute(params![owner.as_str(), contact])?;
    Ok(())
}

fn put_phone(connection: &Connection, owner: &Passport, phone: &PhoneContact) -> Result<()> {
    let (me, number) = (owner.as_str(), phone.number.as_str());
    let [forward, allow] = [List::Forward, List::Allow].map(|list| phone.lists.contains(list));
    connection
        .prepare_cached(
            "INSERT INTO roster (owner, contact, forward, allow, label) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET forward = excluded.forward, allow = excluded.allow, label = excluded.label",
        )?
        .execute(params![me, number, forward, allow, phone.name])?;
    leave_groups(connection, owner, number)?;
    let mut join =
        connection.prepare_cached("INSERT INTO group_members (owner, contact, group_id) VALUES (?, ?, ?)")?;
    for group in &phone.groups {
        join.execute(params![me, number, group.0.as_bytes()])?;
    }
    Ok(())
}

fn set_list(list: List) -> &'static str {
    macro_rules! set {
        ($cell:literal) => {
            concat!(
                "INSERT INTO roster (owner, contact, ",
                $cell,
                ") VALUES (?, ?, ?) ",
                "ON CONFLICT DO UPDATE SET ",
                $cell,
                " = excluded.",
                $cell
            )
        };
    }
    match list {
        List::Forward => set!("forward"),
        List::Allow => set!("allow"),
        List::Block => set!("block"),
        List::Reverse => set!("reverse"),
        List::Pending => set!("pending"),
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Passport;
    use crate::store::sqlite::tests::{Files, account};
    use crate::store::{Edit, Store, StoreError};

    #[tokio::test]
    async fn an_edit_that_fails_takes_the_others_with_it() {
        let files = Files::new();
        let store = files.open();
        let (me, you) = (account(&store, "me").await, Passport::parse("you@example.com").unwrap());
        files.sql(
            "accounts.db",
            "CREATE TRIGGER poison BEFORE INSERT ON properties BEGIN SELECT raise(ABORT, 'on purpose'); END",
        );
        let before = store.roster(&me).await.unwrap();
        let poison = Edit::Property(crate::model::Property::HomePhone, Some("1".into()));
        let list = Edit::List { contact: you, list: crate::model::List::Forward, on: true };
        let edits = vec![Edit::FriendlyName("new".into()), list, poison];
        assert!(matches!(store.edit(&me, edits).await, Err(StoreError::Unavailable(_))));
        assert_eq!(store.roster(&me).await.unwrap(), before);
        files.sql("accounts.db", "DROP TRIGGER poison");
    }
}
