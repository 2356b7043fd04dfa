//! Lists, groups, privacy and names: placeholder for the contract; the real module replaces this file.
#![allow(missing_docs, clippy::needless_pass_by_value, clippy::missing_errors_doc, unused_variables, dead_code)]

use std::sync::Arc;

use bytes::Bytes;
use common::cluster::Notice;
use common::model::{ClaimId, Limits, Passport, Property, Roster};
use common::msnp::{Command, Dialect, ErrorCode, ParseError, TrId};
use common::store::Edit;
use uuid::Uuid;

pub(crate) enum Request {}

pub(crate) fn parse(command: &Command, dialect: &Dialect) -> Result<Option<Request>, ParseError> {
    Ok(None)
}

impl Request {
    pub(crate) fn names_account(&self) -> Option<&Passport> {
        match *self {}
    }
    /// Whether it is a `SYN`, answered by [`sync_lines`].
    pub(crate) fn is_sync(&self) -> bool {
        match *self {}
    }
}

pub(crate) struct Owner<'a> {
    pub(crate) passport: &'a Passport,
    pub(crate) claim: ClaimId,
    pub(crate) dialect: &'static Dialect,
    pub(crate) limits: &'a Limits,
    pub(crate) keep_populated_groups: bool,
    pub(crate) roster: &'a Roster,
    pub(crate) now_ms: u64,
    pub(crate) new_uuid: Uuid,
}

pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) reverse_count: usize,
}

pub(crate) struct Plan {
    pub(crate) reply: Bytes,
    pub(crate) edits: Vec<Edit>,
    pub(crate) effects: Vec<Effect>,
}

pub(crate) enum Effect {
    Notify(Passport, Notice),
    ShowTo(Passport),
    HideFrom(Passport),
    Watch { who: Passport, trid: TrId },
    Unwatch(Passport),
    PrivacyChanged,
    NameChanged,
    PropertyChanged(Property, String),
}

pub(crate) enum Refused {
    Code(ErrorCode, TrId),
    Close(ParseError),
}

pub(crate) fn plan(owner: &Owner<'_>, request: &Request, target: Option<&Target>) -> Result<Plan, Refused> {
    match *request {}
}

pub(crate) fn fold(roster: &mut Roster, claim: ClaimId, edits: &[Edit]) {}

pub(crate) fn sync_lines(
    roster: Arc<Roster>,
    owner: &Passport,
    claim: ClaimId,
    dialect: &'static Dialect,
    request: &Request,
) -> Box<dyn Iterator<Item = Bytes> + Send> {
    match *request {}
}

pub(crate) fn fold_reverse(roster: &mut Roster, claim: ClaimId, by: &Passport, name: Option<&str>, on: bool) {}

pub(crate) fn reverse_added(owner: &Owner<'_>, by: &Passport, name: &str) -> Plan {
    Plan { reply: Bytes::new(), edits: Vec::new(), effects: Vec::new() }
}

pub(crate) fn reverse_removed(owner: &Owner<'_>, by: &Passport) -> Plan {
    Plan { reply: Bytes::new(), edits: Vec::new(), effects: Vec::new() }
}

pub(crate) fn fold_in(owner: &Owner<'_>) -> Vec<Edit> {
    Vec::new()
}
