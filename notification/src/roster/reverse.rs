//! What others do to the owner's roster, while it is signed in and while it is away.

use std::sync::Arc;

use common::model::{List, Lists, Passport, Roster};
use common::msnp::lists;
use common::store::Edit;
use md5::{Digest, Md5};

use super::{Owner, Plan, Touches};

/// What others have changed about one of them, as far as the client does not know it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The part of the lists that others write, as the client was told.
    pub(crate) told: Lists,
    /// What that person calls itself, if it has added the owner.
    pub(crate) name: Arc<str>,
}

/// What others write of a principal's lists: the reverse and the pending list.
pub(crate) fn others_part(lists: Lists) -> Lists {
    [List::Reverse, List::Pending].into_iter().filter(|list| lists.contains(*list)).collect()
}

/// The lines that tell the client what others have changed, and one stamp for all. The roster has it already: the pending entry
/// must be in memory when the client reads the line, since it may answer with `REM PL` at once (`CLIENTS` 25).
///
/// Each line has a version of its own. Who is on the list as before is not told of.
pub(crate) fn reverse_changed(owner: &Owner<'_>, turns: &[(Passport, Turn)]) -> Plan {
    let (mut version, mut reply) = (owner.version(), Vec::new());
    for (by, turn) in turns {
        let (told, now) = (turn.told, owner.roster.lists_of(by));
        let next = version.saturating_add(1);
        let asks = now.contains(List::Pending) && !told.contains(List::Pending);
        let line = match (told.contains(List::Reverse), now.contains(List::Reverse)) {
            (known, true) if !known || asks => lists::reverse_added(owner.dialect, next, by, &turn.name),
            (true, false) => lists::reverse_removed(owner.dialect, next, by),
            _ => continue,
        };
        version = next;
        reply.extend_from_slice(&line);
    }
    if reply.is_empty() {
        return Plan::default();
    }
    let stamp = owner.stamp_as(version, Touches::Lists, owner.roster);
    Plan { reply: reply.into(), edits: vec![stamp], effects: Vec::new() }
}

/// What others have changed is noted, and the client not told: it is about to get its lists.
pub(crate) fn reverse_noted(owner: &Owner<'_>) -> Plan {
    Plan { edits: vec![owner.stamp(Touches::Lists, owner.roster)], ..Plan::default() }
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
/// of contacts. 0 when there are none, as in a new account. Names that the owner chose count too: they hide what the contact calls
/// itself. So every stamp has the digest of the roster that it leaves.
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
