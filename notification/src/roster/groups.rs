//! `ADG`, `REG` and `RMG` (§6.13).

use common::model::{Group, GroupId};
use common::msnp::dialect::RosterIds;
use common::msnp::groups::{self, GroupRef, GroupRequest};
use common::msnp::{ErrorCode, Token};
use common::store::Edit;

use super::{Owner, Plan, Refused, Touches, phones, texts};

pub(super) fn plan(owner: &Owner<'_>, request: &GroupRequest) -> Result<Plan, Refused> {
    let (dialect, version) = (owner.dialect, owner.next_version());
    let (trid, planned) = match request {
        GroupRequest::Add { trid, name } => (
            *trid,
            add(owner, name)
                .map(|group| (groups::added(dialect, *trid, version, name, &group), vec![Edit::PutGroup(group)])),
        ),
        GroupRequest::Rename { trid, group, name } => (
            *trid,
            rename(owner, group, name).map(|renamed| {
                (groups::renamed(dialect, *trid, version, group, name), vec![Edit::PutGroup(renamed)])
            }),
        ),
        GroupRequest::Remove { trid, group } => {
            (*trid, remove(owner, group).map(|edits| (groups::removed(dialect, *trid, version, group), edits)))
        }
    };
    let (reply, edits) = planned.map_err(|code| Refused::Code(code, trid))?;
    Ok(owner.accept(Touches::Lists, reply, edits, Vec::new()))
}

fn add(owner: &Owner<'_>, name: &Token) -> Result<Group, ErrorCode> {
    let name = texts::group_name(name, owner.limits)?;
    if owner.roster.groups.len() >= owner.limits.groups {
        return Err(ErrorCode::TooManyGroups);
    }
    check_unique(owner, &name, None)?;
    let number = owner.roster.free_group_number().ok_or(ErrorCode::TooManyGroups)?;
    Ok(Group { id: GroupId(owner.new_uuid), number, name })
}

fn rename(owner: &Owner<'_>, group: &Token, name: &Token) -> Result<Group, ErrorCode> {
    let group = group_of(groups::find(owner.dialect, owner.roster, group))?;
    let name = texts::group_name(name, owner.limits)?;
    check_unique(owner, &name, Some(group.id))?;
    Ok(Group { name, ..group.clone() })
}

fn remove(owner: &Owner<'_>, group: &Token) -> Result<Vec<Edit>, ErrorCode> {
    let group = group_of(groups::find_to_remove(owner.dialect, owner.roster, group))?;
    let inside = owner.roster.contacts.values().filter(|contact| contact.groups.contains(&group.id));
    let leave = |contact: &common::model::Contact| Edit::Membership {
        contact: contact.passport.clone(),
        group: group.id,
        on: false,
    };
    let mut edits: Vec<_> = inside.map(leave).collect();
    let phones = phones::out_of_group(owner, group.id);
    // A client that knows no phones can't empty a group of them.
    let populated = !edits.is_empty() || (owner.dialect.phone_contacts && !phones.is_empty());
    if owner.keep_populated_groups && populated {
        return Err(ErrorCode::GroupNotEmpty);
    }
    edits.extend(phones);
    edits.push(Edit::RemoveGroup(group.id));
    Ok(edits)
}

/// Group 0 is no group: it can be neither renamed nor removed.
fn group_of(found: Option<GroupRef<'_>>) -> Result<&Group, ErrorCode> {
    match found.ok_or(ErrorCode::InvalidGroup)? {
        GroupRef::Zero => Err(ErrorCode::GroupZero),
        GroupRef::Group(group) => Ok(group),
    }
}

/// Dialects that name groups by GUID want names that differ (228); older ones don't care.
fn check_unique(owner: &Owner<'_>, name: &str, except: Option<GroupId>) -> Result<(), ErrorCode> {
    let taken = owner.roster.groups.values().any(|group| group.name == name && Some(group.id) != except);
    let matters = owner.dialect.roster_ids == RosterIds::Guids;
    if taken && matters { Err(ErrorCode::GroupNameTaken) } else { Ok(()) }
}
