//! Contacts, groups and settings: a cell for everything that can change by itself, and no read before a write.
//!
//! The owner's own rows are in one partition of each table, so that edits of them are one mutation; with rows of others
//! they are a logged batch, which the servers finish once they have begun it.

use std::collections::{BTreeMap, BTreeSet};

use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::bound::BoundStatement;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlValue;
use uuid::Uuid;

use super::db::{Db, bind};
use super::errors::strange;
use super::settings::known;
use super::statements::Statements;
use super::{accounts, settings};
use crate::model::{Group, GroupId, List, Lists, Passport, Property, Roster};
use crate::store::account::{add_prompt_code, strangers_code};
use crate::store::roster::{Kept, RosterRow, assemble};
use crate::store::{Edit, Result};

/// The most bytes of values in one batch. Cassandra refuses batches above 50 KiB unless configured otherwise
/// (`batch_size_fail_threshold`), and counts about as much again around the values.
const BATCH_BYTES: usize = 20 * 1024;
/// What a row counts besides its values.
const AROUND: usize = 48;

/// See [`Store::roster`](crate::store::Store::roster).
pub(super) async fn read(db: &Db, owner: &Passport) -> Result<Option<Roster>> {
    let account = async { tokio::join!(accounts::find(db, owner), settings::read(db, owner)) };
    let lists = async { tokio::join!(contacts(db, owner), groups(db, owner)) };
    let ((kept, settings), (contacts, groups), copies) = tokio::join!(account, lists, copies_owed(db, owner));
    let (Some(kept), settings, contacts, groups) = (kept?, settings?, contacts?, groups?) else { return Ok(None) };
    Ok(Some(assemble(kept.claim, settings.over(&kept), contacts, groups, copies?)))
}

async fn copies_owed(db: &Db, owner: &Passport) -> Result<Option<u64>> {
    let row = db.row::<(Option<i64>, Option<i64>, Option<i64>)>(&db.statements.copies, (owner.as_str(),)).await?;
    let Some((owed, written, stamp)) = row else { return Ok(None) };
    // What this owner writes next holds, also where the clock of whoever wrote this is ahead.
    db.stamps.seen(owner, stamp);
    Ok(owed.filter(|_| owed != written).map(i64::cast_unsigned))
}

type ContactRow = (
    String,
    Option<bool>,
    Option<bool>,
    Option<bool>,
    Option<bool>,
    Option<bool>,
    Option<String>,
    Option<String>,
    Option<BTreeSet<Uuid>>,
    Option<BTreeMap<String, String>>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

async fn contacts(db: &Db, owner: &Passport) -> Result<Vec<RosterRow>> {
    let rows: Vec<ContactRow> = db.rows(&db.statements.roster, (owner.as_str(),)).await?;
    rows.into_iter().map(|row| contact(db, owner, row)).collect()
}

fn contact(db: &Db, owner: &Passport, row: ContactRow) -> Result<RosterRow> {
    let (contact, forward, allow, block, reverse, pending, label, own_name, groups, properties, a, b, c) = row;
    // The cells that others write: an answer to them must hold, also where the other's clock is ahead.
    db.stamps.seen(owner, a.max(b).max(c));
    let bits = [forward, allow, block, reverse, pending];
    let on = |(list, bit): (List, Option<bool>)| bit.unwrap_or(false).then_some(list);
    Ok(RosterRow {
        contact: Kept::parse(&contact).ok_or_else(|| strange("roster.contact"))?,
        lists: List::ALL.into_iter().zip(bits).filter_map(on).collect::<Lists>(),
        label,
        own_name,
        groups: groups.unwrap_or_default().into_iter().map(GroupId).collect(),
        properties: known(properties.unwrap_or_default(), "roster.properties")?,
    })
}

async fn groups(db: &Db, owner: &Passport) -> Result<Vec<Group>> {
    let rows: Vec<(Uuid, Option<i32>, Option<String>)> = db.rows(&db.statements.groups, (owner.as_str(),)).await?;
    let group = |(id, number, name): (Uuid, Option<i32>, Option<String>)| {
        let number =
            number.and_then(|number| u16::try_from(number).ok()).ok_or_else(|| strange("groups.number"))?;
        Ok(Group { id: GroupId(id), number, name: name.ok_or_else(|| strange("groups.name"))? })
    };
    rows.into_iter().map(group).collect()
}

/// See [`Store::edit`](crate::store::Store::edit).
pub(super) async fn edit(db: &Db, planned: &Planned) -> Result<()> {
    match planned {
        Planned::Together(parts) => {
            for part in parts {
                db.write_batch(&part.batch, &part.values).await?;
            }
            Ok(())
        }
        Planned::Each(writes) => db.write_all(writes).await,
    }
}

/// How edits are written.
pub(super) enum Planned {
    /// In one batch, or, where they are too large for one, as where a property changes at hundreds of contacts, in
    /// several, one after the other: a failure in between leaves the first of them.
    Together(Vec<Part>),
    /// Each by itself. Copies at contacts mean nothing to one another, and a batch over so many partitions would cost
    /// the servers more than its parts.
    Each(Vec<BoundStatement>),
}

/// What is written at once.
pub(super) struct Part {
    batch: Batch,
    values: Vec<Vec<CqlValue>>,
    bytes: usize,
}

impl Part {
    /// An empty one, asked as that statement is.
    fn new(like: &PreparedStatement) -> Self {
        let mut batch = Batch::new(BatchType::Logged);
        batch.set_is_idempotent(true);
        batch.set_execution_profile_handle(like.get_execution_profile_handle().cloned());
        Self { batch, values: Vec::new(), bytes: 0 }
    }
}

/// What those edits write, each with a timestamp of its own, in their order.
pub(super) fn plan(db: &Db, owner: &Passport, edits: &[Edit]) -> Result<Planned> {
    let mut plan = Plan { statements: &db.statements, owner: owner.as_str(), writes: Vec::new() };
    for edit in edits {
        plan.edit(edit, db.stamps.next_of(owner));
    }
    let copy = |edit: &Edit| matches!(edit, Edit::NameAtContact { .. } | Edit::PropertyAtContact { .. });
    if edits.iter().all(copy) {
        return plan
            .writes
            .iter()
            .map(|(write, values)| bind(write, values))
            .collect::<Result<_>>()
            .map(Planned::Each);
    }
    Ok(Planned::Together(together(plan.writes)))
}

fn together(writes: Vec<Write>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (statement, values) in writes {
        let bytes = AROUND + values.iter().map(size).sum::<usize>();
        if parts.last().is_none_or(|part| part.bytes + bytes > BATCH_BYTES) {
            parts.push(Part::new(&statement));
        }
        if let Some(part) = parts.last_mut() {
            part.batch.append_statement(statement);
            part.values.push(values);
            part.bytes += bytes;
        }
    }
    parts
}

type Write = (PreparedStatement, Vec<CqlValue>);

struct Plan<'a> {
    statements: &'a Statements,
    owner: &'a str,
    writes: Vec<Write>,
}

impl<'a> Plan<'a> {
    fn write<const N: usize>(&mut self, statement: &PreparedStatement, values: [CqlValue; N]) {
        self.writes.push((statement.clone(), values.into()));
    }

    fn edit(&mut self, edit: &Edit, stamp: i64) {
        let (s, at, me) = (self.statements, CqlValue::BigInt(stamp), text(self.owner));
        match edit {
            Edit::List { contact, list: List::Forward, on } => self.forward(contact, *on, stamp),
            Edit::List { contact, list, on } => {
                self.write(self.cell(*list), [at, bit(*on), me, text(contact.as_str())]);
            }
            Edit::Name { contact, name } => self.write(&s.set_label, [at, text(name), me, text(contact.as_str())]),
            Edit::ContactName { contact, name } => {
                self.write(&s.set_own_name, [at, text(name), me, text(contact.as_str())]);
            }
            Edit::NameAtContact { contact, name } => {
                self.write(&s.set_own_name, [at, text(name), text(contact.as_str()), me]);
            }
            Edit::ContactProperty { contact, property, value } => {
                self.property([me, text(contact.as_str())], *property, value.as_deref(), at);
            }
            Edit::PropertyAtContact { contact, property, value } => {
                self.property([text(contact.as_str()), me], *property, value.as_deref(), at);
            }
            Edit::Membership { contact, group, on } => {
                let statement = if *on { &s.join_group } else { &s.leave_group };
                let one = CqlValue::Set(vec![CqlValue::Uuid(group.0)]);
                self.write(statement, [at, one, me, text(contact.as_str())]);
            }
            Edit::PutPhone(phone) => {
                let [forward, allow] = [List::Forward, List::Allow].map(|list| bit(phone.lists.contains(list)));
                let groups = CqlValue::Set(phone.groups.iter().map(|group| CqlValue::Uuid(group.0)).collect());
                let number = text(phone.number.as_str());
                self.write(&s.put_phone, [at, forward, allow, text(&phone.name), groups, me, number]);
            }
            Edit::RemovePhone(number) => self.write(&s.remove_phone, [at, me, text(number.as_str())]),
            Edit::PutGroup(group) => {
                let (id, number) = (CqlValue::Uuid(group.id.0), CqlValue::Int(group.number.into()));
                self.write(&s.put_group, [at, number, text(&group.name), me, id]);
            }
            Edit::RemoveGroup(group) => self.write(&s.remove_group, [at, me, CqlValue::Uuid(group.0)]),
            Edit::FriendlyName(name) => self.write(&s.set_friendly_name, [at, text(name), me]),
            Edit::Strangers(policy) => self.write(&s.set_strangers, [at, code(strangers_code(*policy)), me]),
            Edit::AddPrompt(prompt) => self.write(&s.set_add_prompt, [at, code(add_prompt_code(*prompt)), me]),
            Edit::Property(property, Some(value)) => {
                self.write(&s.put_property, [at, text(property.code()), text(value), me]);
            }
            Edit::Property(property, None) => self.write(&s.drop_property, [text(property.code()), at, me]),
            Edit::CopiesOwed(mark) => self.write(&s.copies_owed, [at, number(*mark), me]),
            Edit::CopiesWritten(mark) => self.write(&s.copies_written, [at, number(*mark), me]),
            Edit::Stamp { version, lists_changed, settings_changed, reverse_digest } => {
                let [a, b, c, d] =
                    [version, lists_changed, settings_changed, reverse_digest].map(|value| number(*value));
                self.write(&s.set_stamp, [at, a, b, c, d, me]);
            }
        }
    }

    /// The owner's cell and those of the other side.
    fn forward(&mut self, contact: &Passport, on: bool, stamp: i64) {
        let (s, at) = (self.statements, || CqlValue::BigInt(stamp));
        let (me, you) = (|| text(self.owner), || text(contact.as_str()));
        let (mine, yours) = ([at(), bit(on), me(), you()], [at(), bit(on), you(), me()]);
        let leave = (!on).then(|| [at(), me(), you()]);
        self.write(&s.set_forward, mine);
        if let Some(leave) = leave {
            self.write(&s.leave_all, leave);
        }
        self.write(&s.set_reverse, yours.clone());
        self.write(&s.set_pending, yours);
    }

    /// What the first of `row` knows of a property of the second.
    fn property(&mut self, row: [CqlValue; 2], property: Property, value: Option<&str>, at: CqlValue) {
        let (s, [owner, contact]) = (self.statements, row);
        let name = text(property.code());
        match value {
            Some(value) => self.write(&s.put_contact_property, [at, name, text(value), owner, contact]),
            None => self.write(&s.drop_contact_property, [name, at, owner, contact]),
        }
    }

    fn cell(&self, list: List) -> &'a PreparedStatement {
        match list {
            List::Forward => &self.statements.set_forward,
            List::Allow => &self.statements.set_allow,
            List::Block => &self.statements.set_block,
            List::Reverse => &self.statements.set_reverse,
            List::Pending => &self.statements.set_pending,
        }
    }
}

fn text(text: &str) -> CqlValue {
    CqlValue::Text(text.to_owned())
}

fn number(number: u64) -> CqlValue {
    CqlValue::BigInt(number.cast_signed())
}

fn bit(on: bool) -> CqlValue {
    CqlValue::Boolean(on)
}

fn code(code: u8) -> CqlValue {
    CqlValue::TinyInt(code.cast_signed())
}

fn size(value: &CqlValue) -> usize {
    match value {
        CqlValue::Text(text) => text.len(),
        CqlValue::Set(values) => values.iter().map(size).sum(),
        _ => 16,
    }
}
