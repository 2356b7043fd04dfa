//! What others do to the owner's reverse list, while it is signed in and while it is away.

use common::model::{List, Lists, Passport, Roster};
use common::msnp::lists;
use common::store::Edit;
use md5::{Digest, Md5};

use super::{Owner, Plan, Touches};

/// Somebody has put the owner on its forward list: the line that says so, and the stamp. An entry that is known,
/// because the roster was loaded after the other side had written it, says nothing.
///
/// Call it before [`super::fold_reverse`]; the pending entry must be in memory when the client reads the line,
/// since it may answer with `REM PL` at once (`CLIENTS` 25).
pub(crate) fn reverse_added(owner: &Owner<'_>, by: &Passport, name: &str) -> Plan {
    let before = owner.roster.lists_of(by);
    let after = before.with(List::Reverse).with(List::Pending);
    if before == after {
        return Plan::default();
    }
    let reply = lists::reverse_added(owner.dialect, owner.next_version(), by, name);
    changed(owner, by, after, reply)
}

/// Somebody has taken the owner off its forward list: the line that says so, and the stamp.
pub(crate) fn reverse_removed(owner: &Owner<'_>, by: &Passport) -> Plan {
    let before = owner.roster.lists_of(by);
    if !before.contains(List::Reverse) {
        return Plan::default();
    }
    let reply = lists::reverse_removed(owner.dialect, owner.next_version(), by);
    changed(owner, by, before.without(List::Reverse), reply)
}

fn changed(owner: &Owner<'_>, by: &Passport, after: Lists, reply: bytes::Bytes) -> Plan {
    let digest = digest_with(owner.roster, by, after);
    Plan { reply, edits: vec![owner.stamp(Touches::Lists, Some(digest))], effects: Vec::new() }
}

/// At sign-in, before SYN: what happened to the reverse list while the owner was away raises the version. Also
/// settles who was left on both the allow and the block list by a client that went away between two commands:
/// blocking wins.
pub(crate) fn fold_in(owner: &Owner<'_>) -> Vec<Edit> {
    let both = |lists: Lists| lists.contains(List::Allow) && lists.contains(List::Block);
    let torn = owner.roster.contacts.values().filter(|contact| both(contact.lists));
    let settle =
        torn.map(|contact| Edit::List { contact: contact.passport.clone(), list: List::Allow, on: false });
    let mut edits: Vec<_> = settle.collect();
    let digest = digest(owner.roster.contacts.values().map(|contact| (&contact.passport, contact.lists)));
    if digest != owner.roster.settings.reverse_digest || !edits.is_empty() {
        edits.push(owner.stamp(Touches::Lists, Some(digest)));
    }
    edits
}

/// The digest of the reverse list, as it will be when `who` is on `lists`.
pub(super) fn digest_with(roster: &Roster, who: &Passport, lists: Lists) -> u64 {
    let contacts = roster.contacts.values().map(|contact| (&contact.passport, contact.lists));
    let below = contacts.clone().take_while(|(passport, _)| *passport < who);
    let above = contacts.skip_while(|(passport, _)| *passport <= who);
    digest(below.chain([(who, lists)]).chain(above))
}

/// 64 bits over who is on the reverse and pending lists; 0 when nobody is, as in a new account. `contacts` come in
/// the order of their passports.
fn digest<'a>(contacts: impl Iterator<Item = (&'a Passport, Lists)>) -> u64 {
    let mut hash = Md5::new();
    let mut any = false;
    for (passport, lists) in contacts {
        let bits = lists.bits() & (List::Reverse as u8 | List::Pending as u8);
        if bits != 0 {
            any = true;
            hash.update(passport.as_str());
            hash.update([0, bits]);
        }
    }
    let hash = hash.finalize();
    let half = hash.first_chunk().copied().unwrap_or_default();
    if any { u64::from_be_bytes(half) } else { 0 }
}
