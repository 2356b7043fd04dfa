//! Notices that were posted: who may go, and who waits for an earlier one to the same principal.
//!
//! Order is kept by having one group of notices a principal on its way at a time: whatever detour that takes, the next
//! group leaves when it has arrived, and takes along all that has been posted meanwhile.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::notice::{Invitation, Notice};
use super::wire::Group;
use crate::model::{Passport, Presence};

/// The groups on their way, and what waits behind each.
#[derive(Debug, Default)]
pub(super) struct Chains {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<Passport, VecDeque<Notice>>,
    bytes: usize,
}

impl Chains {
    /// About the most bytes on their way or waiting.
    const MAX_BYTES: usize = 32 * 1024 * 1024;

    /// Takes notices in and gives those that may go now; and how many were dropped, for want of room.
    pub(super) fn enter(&self, notices: Vec<(Passport, Notice)>) -> (Vec<Group>, usize) {
        let mut state = self.lock();
        let mut going: Vec<Group> = Vec::new();
        let mut indices: HashMap<Passport, usize> = HashMap::new();
        let mut dropped = 0;
        for (to, notice) in notices {
            let bytes = size(&notice);
            if state.bytes + bytes > Self::MAX_BYTES {
                dropped += 1;
                continue;
            }
            state.bytes += bytes;
            let Some(waiting) = state.waiting.get_mut(&to) else {
                state.waiting.insert(to.clone(), VecDeque::new());
                indices.insert(to.clone(), going.len());
                going.push(Group { to, notices: vec![notice] });
                continue;
            };
            match indices.get(&to).map(|index| &mut going[*index]) {
                Some(group) if waiting.is_empty() && group_size(group) + bytes <= Batches::MAX_BYTES => {
                    group.notices.push(notice);
                }
                _ => waiting.push_back(notice),
            }
        }
        (going, dropped)
    }

    /// Notes that groups have arrived, or never will, and gives those that may go next.
    pub(super) fn leave(&self, arrived: impl IntoIterator<Item = (Passport, usize)>) -> Vec<Group> {
        let mut state = self.lock();
        let mut going = Vec::new();
        for (to, bytes) in arrived {
            state.bytes = state.bytes.saturating_sub(bytes);
            match state.waiting.get_mut(&to) {
                Some(waiting) if !waiting.is_empty() => {
                    let (mut notices, mut bytes) = (Vec::new(), 0);
                    while let Some(next) = waiting.front().map(size)
                        && (notices.is_empty() || bytes + next <= Batches::MAX_BYTES)
                    {
                        bytes += next;
                        notices.extend(waiting.pop_front());
                    }
                    going.push(Group { to, notices });
                }
                _ => {
                    state.waiting.remove(&to);
                }
            }
        }
        going
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Groups that go to the same place, in batches that fit into a frame.
#[derive(Debug, Default)]
pub(super) struct Batches {
    done: Vec<Vec<Group>>,
    open: Vec<Group>,
    bytes: usize,
}

impl Batches {
    /// A batch takes no more groups beyond so many bytes: with the largest notice it still fits into a frame.
    const MAX_BYTES: usize = 256 * 1024;
    const MAX_GROUPS: usize = 500;

    pub(super) fn push(&mut self, group: Group) {
        let bytes = group_size(&group);
        if self.open.len() >= Self::MAX_GROUPS || (self.bytes + bytes > Self::MAX_BYTES && !self.open.is_empty()) {
            self.close();
        }
        self.bytes += bytes;
        self.open.push(group);
    }

    fn close(&mut self) {
        self.done.push(std::mem::take(&mut self.open));
        self.bytes = 0;
    }

    pub(super) fn finish(mut self) -> Vec<Vec<Group>> {
        if !self.open.is_empty() {
            self.close();
        }
        self.done
    }
}

/// About what a group takes.
pub(super) fn group_size(group: &Group) -> usize {
    group.notices.iter().map(size).sum()
}

/// About what a notice takes, in memory and in a frame: its texts, and generously for the rest.
fn size(notice: &Notice) -> usize {
    const REST: usize = 400;
    let optional = |text: &Option<std::sync::Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    let texts = match notice {
        Notice::Presence { presence: Some(Presence { name, object, personal_message, .. }), .. }
        | Notice::ProbeAnswer { presence: Some(Presence { name, object, personal_message, .. }), .. } => {
            name.len() + optional(object) + optional(personal_message)
        }
        Notice::Added { name, .. } => name.len(),
        Notice::Property { value, .. } => value.len(),
        Notice::Invite(Invitation { caller_name, kept, .. }) => {
            caller_name.len() + kept.as_ref().map_or(0, |kept| size_of_val(&*kept.messages))
        }
        Notice::Delivered { messages, .. } => size_of_val(&**messages),
        Notice::PickUp { unanswered, .. } | Notice::PickedUp { unanswered, .. } => {
            // Each with its length.
            unanswered.iter().map(|who| who.as_str().len() + 8).sum()
        }
        // Each with its length, epoch and mark.
        Notice::Probe { watchers, .. } => watchers.iter().map(|watcher| watcher.who.as_str().len() + 32).sum(),
        Notice::Presence { presence: None, .. }
        | Notice::ProbeAnswer { presence: None, .. }
        | Notice::Absent { .. }
        | Notice::Removed { .. }
        | Notice::Outstanding { .. }
        | Notice::Holds
        | Notice::Asked { .. }
        | Notice::RingOver { .. } => 0,
    };
    REST + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(number: usize) -> Notice {
        Notice::Added { by: "bob@example.com".parse().unwrap(), name: number.to_string().into() }
    }

    fn passport(name: &str) -> Passport {
        Passport::parse(&format!("{name}@example.com")).unwrap()
    }

    fn numbers(groups: &[Group]) -> Vec<(String, Vec<usize>)> {
        let number = |notice: &Notice| match notice {
            Notice::Added { name, .. } => name.parse().unwrap(),
            other => panic!("{other:?}"),
        };
        groups.iter().map(|g| (g.to.to_string(), g.notices.iter().map(number).collect())).collect()
    }

    #[test]
    fn one_group_of_a_principal_is_on_its_way_at_a_time() {
        let (chains, a, b) = (Chains::default(), passport("a"), passport("b"));
        let (first, _) =
            chains.enter(vec![(a.clone(), notice(1)), (b.clone(), notice(2)), (a.clone(), notice(3))]);
        assert_eq!(numbers(&first), [(a.to_string(), vec![1, 3]), (b.to_string(), vec![2])]);
        assert!(chains.enter(vec![(a.clone(), notice(4))]).0.is_empty());
        assert!(chains.enter(vec![(a.clone(), notice(5))]).0.is_empty());
        let sizes: Vec<_> = first.iter().map(|group| (group.to.clone(), group_size(group))).collect();
        let next = chains.leave(sizes);
        assert_eq!(numbers(&next), [(a.to_string(), vec![4, 5])]);
        assert_eq!(numbers(&chains.enter(vec![(b, notice(6))]).0).len(), 1, "b's way is free");
        assert!(chains.leave([(a, group_size(&next[0]))]).is_empty());
        assert_eq!(chains.lock().waiting.len(), 1);
    }

    #[test]
    fn what_waits_is_bounded_and_freed() {
        let (chains, a) = (Chains::default(), passport("a"));
        let much = (0..200_000).map(|n| (a.clone(), notice(n))).collect();
        let (going, dropped) = chains.enter(much);
        assert!(dropped > 0 && chains.lock().bytes <= Chains::MAX_BYTES);
        let (mut arrived, mut groups) = (0, going);
        while let Some(group) = groups.pop() {
            assert_eq!(numbers(std::slice::from_ref(&group))[0].1[0], arrived, "in order");
            assert!(super::super::wire::encode(&group).is_some(), "fits into a frame");
            arrived += group.notices.len();
            groups = chains.leave([(a.clone(), group_size(&group))]);
        }
        assert_eq!(arrived + dropped, 200_000);
        assert_eq!(chains.lock().bytes, 0);
        assert!(chains.lock().waiting.is_empty());
    }

    #[test]
    fn batches_fit_into_frames() {
        let mut batches = Batches::default();
        for number in 0..1200 {
            batches.push(Group { to: passport(&number.to_string()), notices: vec![notice(number)] });
        }
        let big = Notice::Added { by: passport("b"), name: "x".repeat(200_000).into() };
        for _ in 0..3 {
            batches.push(Group { to: passport("a"), notices: vec![big.clone()] });
        }
        let done = batches.finish();
        assert_eq!(done.iter().map(Vec::len).sum::<usize>(), 1203);
        assert!(done.iter().all(|batch| super::super::wire::encode(batch).is_some()));
        assert!(done.len() >= 5);
    }
}
