//! `ADC`, `REM` and `SBP` of phone contacts (§6.10, §10). They are on the owner's own lists and nobody is behind them: no
//! account is looked up, nobody is told, asked, shown or hidden from.

use common::model::{ContactId, GroupId, List, Lists, PhoneContact, PhoneNumber};
use common::msnp::groups::GroupRef;
use common::msnp::lists::{self as wire, Add, Remove, Who};
use common::msnp::{ErrorCode, Token};
use common::store::Edit;

use super::lists::{SERVERS_OWN, given_name, group};
use super::{Owner, Plan, Refused, Touches};

/// The phone that a request means, by its handle or by the GUID of one that is kept; nothing if it means somebody else, or
/// if the client can't know of phones.
pub(super) fn meant<'a>(owner: &'a Owner<'_>, who: &'a Who) -> Option<&'a PhoneNumber> {
    match who {
        Who::Handle { .. } => None,
        Who::Phone { number, .. } => Some(number),
        Who::Contact { id, .. } => by_id(owner, (*id)?).map(|phone| &phone.number),
    }
}

/// The phone contact of that id, if the client can know of it.
pub(super) fn by_id<'a>(owner: &Owner<'a>, id: ContactId) -> Option<&'a PhoneContact> {
    owner.roster.phone_by_id(id).filter(|_| owner.dialect.phone_contacts)
}

/// `ADC`. A phone can't be blocked, since nothing comes from it, and it has added nobody.
pub(super) fn add(owner: &Owner<'_>, add: &Add, number: &PhoneNumber) -> Result<Plan, Refused> {
    let planned = match (add.list, &add.group) {
        (List::Pending, _) => return Err(SERVERS_OWN),
        (List::Forward, Some(token)) => put_in_group(owner, number, token),
        (List::Forward | List::Allow, _) => put_on_list(owner, add, number),
        (List::Block, _) => Err(ErrorCode::InvalidParameter),
        (List::Reverse, _) => Err(ErrorCode::NotOnList),
    };
    let phone = planned.map_err(|code| Refused::Code(code, add.trid))?;
    let new = (add.list == List::Forward && add.group.is_none()).then_some(phone.id);
    let reply = wire::added(owner.dialect, add, owner.next_version(), new);
    Ok(owner.accept(Touches::Lists, reply, vec![Edit::PutPhone(phone)], Vec::new()))
}

fn put_on_list(owner: &Owner<'_>, add: &Add, number: &PhoneNumber) -> Result<PhoneContact, ErrorCode> {
    let limit = match add.list {
        List::Forward => owner.limits.forward_list,
        _ => owner.limits.allow_list,
    };
    let known = owner.roster.phones.get(number);
    if known.is_some_and(|phone| phone.lists.contains(add.list)) {
        return Err(ErrorCode::AlreadyThere);
    }
    let name = given_name(owner, add, number.as_str())?;
    if owner.roster.count_on(add.list) >= limit {
        return Err(ErrorCode::ListFull);
    }
    let mut phone = known.cloned().unwrap_or_else(|| PhoneContact {
        number: number.clone(),
        id: ContactId::of_phone(owner.claim, number),
        lists: Lists::NONE,
        name: String::new(),
        groups: [].into(),
    });
    phone.lists = phone.lists.with(add.list);
    // The name of a contact is given with the forward entry; one for the allow list is for want of another.
    if let Some(name) = name.filter(|_| add.list == List::Forward || known.is_none()) {
        phone.name = name;
    }
    Ok(phone)
}

fn put_in_group(owner: &Owner<'_>, number: &PhoneNumber, token: &Token) -> Result<PhoneContact, ErrorCode> {
    let mut phone = on_list(owner, number, List::Forward)?.clone();
    let joined = phone.groups.insert(group_id(owner, token)?);
    if joined { Ok(phone) } else { Err(ErrorCode::AlreadyThere) }
}

/// `REM`.
pub(super) fn remove(owner: &Owner<'_>, remove: &Remove, number: &PhoneNumber) -> Result<Plan, Refused> {
    if remove.list == List::Reverse {
        return Err(SERVERS_OWN);
    }
    let refuse = |code| Refused::Code(code, remove.trid);
    let mut phone = on_list(owner, number, remove.list).map_err(refuse)?.clone();
    if let Some(token) = &remove.group {
        let left = phone.groups.remove(&group_id(owner, token).map_err(refuse)?);
        if !left {
            return Err(refuse(ErrorCode::NotInGroup));
        }
    } else {
        phone.lists = phone.lists.without(remove.list);
        if remove.list == List::Forward {
            phone.groups.clear();
        }
    }
    let edit = if phone.lists.is_empty() { Edit::RemovePhone(phone.number) } else { Edit::PutPhone(phone) };
    let reply = wire::removed(owner.dialect, remove, owner.next_version());
    Ok(owner.accept(Touches::Lists, reply, vec![edit], Vec::new()))
}

/// What takes the phones of a group out of it. They stay contacts.
pub(super) fn out_of_group(owner: &Owner<'_>, group: GroupId) -> Vec<Edit> {
    let inside = owner.roster.phones.values().filter(|phone| phone.groups.contains(&group));
    let leave = |phone: &PhoneContact| {
        let mut phone = phone.clone();
        phone.groups.remove(&group);
        Edit::PutPhone(phone)
    };
    inside.map(leave).collect()
}

fn on_list<'a>(owner: &Owner<'a>, number: &PhoneNumber, list: List) -> Result<&'a PhoneContact, ErrorCode> {
    let known = owner.roster.phones.get(number).filter(|phone| phone.lists.contains(list));
    known.ok_or(ErrorCode::NotOnList)
}

/// Dialects that know phones know no group 0.
fn group_id(owner: &Owner<'_>, token: &Token) -> Result<GroupId, ErrorCode> {
    match group(owner, token)? {
        GroupRef::Group(group) => Ok(group.id),
        GroupRef::Zero => Err(ErrorCode::InvalidGroup),
    }
}
