//! What others do to the owner's roster, while it is signed in and while it is away.

use common::model::{List, Lists, Passport, Roster};
use common::msnp::lists;
use common::store::Edit;
use md5::{Digest, Md5};

use super::{Owner, Plan, Touches, fold_reverse};

/// Somebody has put the owner on its forward list: the line that says so, and the stamp. An entry that is known,
/// because the roster was loaded after the other side had written it, says nothing.
///
/// Call it before [`fold_reverse`]; the pending entry must be in memory when the client reads the line, since it may
/// answer with `REM PL` at once (`CLIENTS` 25).
pub(crate) fn reverse_added(owner: &Owner<'_>, by: &Passport, name: &str) -> Plan {
    let before = owner.roster.lists_of(by);
    if before.contains(List::Reverse) && before.contains(List::Pending) {
        return Plan::default();
    }
    let reply = lists::reverse_added(owner.dialect, owner.next_version(), by, name);
    changed(owner, by, Some(name), reply)
}

/// Somebody has taken the owner off its forward list: the line that says so, and the stamp.
pub(crate) fn reverse_removed(owner: &Owner<'_>, by: &Passport) -> Plan {
    if !owner.roster.is_on(List::Reverse, by) {
        return Plan::default();
    }
    let reply = lists::reverse_removed(owner.dialect, owner.next_version(), by);
    changed(owner, by, None, reply)
}

/// With the name that the other calls itself: added; without: removed.
fn changed(owner: &Owner<'_>, by: &Passport, name: Option<&str>, reply: bytes::Bytes) -> Plan {
    let mut after = owner.roster.clone();
    fold_reverse(&mut after, owner.claim, by, name);
    Plan { reply, edits: vec![owner.stamp(Touches::Lists, &after)], effects: Vec::new() }
}

/// At sign-in, before SYN: what others changed while the owner was away raises the version. Also settles who was left
/// on both the allow and the block list by a client that went away between two commands: blocking wins.
pub(crate) fn fold_in(owner: &Owner<'_>) -> Vec<Edit> {
    let both = |lists: Lists| lists.contains(List::Allow) && lists.contains(List::Block);
    let torn = owner.roster.contacts.values().filter(|contact| both(contact.lists));
    let settle =
        torn.map(|contact| Edit::List { contact: contact.passport.clone(), list: List::Allow, on: false });
    let edits: Vec<_> = settle.collect();
    if edits.is_empty() && digest(owner.roster) != owner.roster.settings.reverse_digest {
        return vec![owner.stamp(Touches::Lists, owner.roster)];
    }
    owner.accept(Touches::Lists, bytes::Bytes::new(), edits, Vec::new()).edits
}

/// 64 bits over what others write into a roster: who is on the reverse and pending lists, and the names and properties
/// of contacts. 0 when there are none, as in a new account. Names that the owner gave count too, since a roster does
/// not tell them apart: hence every stamp has the digest of the roster that it leaves.
pub(super) fn digest(roster: &Roster) -> u64 {
    let mut hash = Md5::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    for contact in roster.contacts.values() {
        text(contact.passport.as_str());
        text(if contact.lists.contains(List::Reverse) { "RL" } else { "" });
        text(if contact.lists.contains(List::Pending) { "PL" } else { "" });
        text(&contact.name);
        for (property, value) in &contact.properties {
            text(property.code());
            text(value);
        }
    }
    let hash = hash.finalize();
    let half = hash.first_chunk().copied().unwrap_or_default();
    if roster.contacts.is_empty() { 0 } else { u64::from_be_bytes(half) }
}
