//! Reading what was kept for a principal: a bounded part of it at a time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{made_ms, wall_ms};
use common::model::{InboxId, MessageId, ParticipationId, Passport, Roster};
use common::store::{InboxMessage, KEPT_FOR, Participation, Result, SETTLED_AFTER};
use uuid::Uuid;

use super::ledger::{Line, Reading};
use super::lives::Left;
use super::row;
use super::shelf::{Budget, Shelf};

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) id: Uuid,
    /// When it was said, in milliseconds since 1970.
    pub(super) made_ms: u64,
    pub(super) sender: Passport,
    pub(super) payload: Bytes,
}

impl Letter {
    /// What a letter takes up besides its payload, at most about: its place here, its sender's name, the line with its time,
    /// and what is written before it.
    const OVERHEAD: usize = 512;

    /// What it takes up, in bytes.
    pub(super) fn cost(&self) -> usize {
        Self::OVERHEAD + self.payload.len()
    }
}

/// A part of what was kept.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) lines: Vec<Reading>,
    /// What is to be brought, in order.
    pub(super) letters: Vec<Letter>,
    /// What is not: too old, or of somebody whom the recipient does not allow.
    pub(super) passed_over: Vec<Uuid>,
    /// There is more that can be read so much later.
    pub(super) wait: Option<Duration>,
    /// There is more.
    pub(super) more: bool,
    /// There are participations of a switchboard that is cut off: nobody will tell when it comes back or dies.
    pub(super) is_cut_off: bool,
    /// The last participation that was looked at, where there are others behind it, or the inbox was not looked at.
    pub(super) cut: Option<ParticipationId>,
}

impl Plan {
    /// The letters by sender, in the order of each one's first.
    pub(super) fn by_sender(&mut self) -> Vec<(Passport, Vec<Letter>)> {
        let mut senders: Vec<(Passport, Vec<Letter>)> = Vec::new();
        for letter in std::mem::take(&mut self.letters) {
            match senders.iter_mut().find(|(sender, _)| *sender == letter.sender) {
                Some((_, letters)) => letters.push(letter),
                None => senders.push((letter.sender.clone(), vec![letter])),
            }
        }
        senders
    }

    pub(super) fn wait_for(&mut self, time: Duration) {
        self.wait = Some(self.wait.map_or(time, |wait| wait.min(time)));
    }
}

/// What is left of a switchboard that gossip and store have merely lost goes so long after the participation began: by then
/// nothing in it is delivered any more.
const FORGOTTEN: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// Reads what waits for `who`, in participations behind `after` and then in the inbox. `left` says whether a participation
/// that is not closed may be picked up, and `is_known` whether a message was handed over already.
///
/// # Errors
/// When the store can't be read.
pub(super) async fn read(
    shelf: &Shelf<'_>,
    who: &Passport,
    after: Option<ParticipationId>,
    left: impl Fn(&Participation) -> Left,
    is_known: impl Fn(Uuid) -> bool,
) -> Result<Plan> {
    let (mut plan, mut budget) = (Plan::default(), Budget::default());
    let mut rows = shelf.store.participations(who).await?;
    rows.sort_by_key(|row| row.id);
    let mut looked_at = None;
    for row in rows.into_iter().filter(|row| Some(row.id) > after) {
        let left = if row.closed { Left::ForGood } else { left(&row) };
        let goes = match left {
            Left::No => continue,
            Left::CutOff => {
                plan.is_cut_off = true;
                continue;
            }
            Left::NotYet(time) => {
                plan.wait_for(time);
                continue;
            }
            Left::ForGood => true,
            Left::Probably => is_older(row.id.0, FORGOTTEN),
        };
        if budget.is_used_up() {
            break;
        }
        looked_at = Some(row.id);
        // It may be alive, and still write what is older than this moment.
        let settled_only = left == Left::Probably;
        row::read(shelf, &row, (goes, settled_only), &mut budget, &is_known, &mut plan).await?;
    }
    if budget.is_used_up() {
        (plan.more, plan.cut) = (true, looked_at);
    } else {
        read_inbox(shelf, who, &mut budget, &is_known, &mut plan).await?;
    }
    if !plan.letters.is_empty() {
        // It has one, since somebody is signed in.
        if let Some(roster) = shelf.store.roster(who).await? {
            plan.sort_out(who, &roster);
        } else {
            plan.letters.clear();
        }
    }
    Ok(plan)
}

async fn read_inbox(
    shelf: &Shelf<'_>,
    who: &Passport,
    budget: &mut Budget,
    is_known: &impl Fn(Uuid) -> bool,
    plan: &mut Plan,
) -> Result<()> {
    let (mut waiting, mut after, mut together, now) = (VecDeque::new(), None, None, wall_ms());
    let age = |message: &InboxMessage| Duration::from_millis(now.saturating_sub(message.id.made_ms()));
    let mut is_first = true;
    'pages: loop {
        let held = shelf.inbox(who, after, budget).await?;
        let page = held.page;
        if after.is_none() {
            // What was sent in one go is brought in one go.
            let is_under_way = page.messages.first().is_some_and(|first| age(first) <= 2 * SETTLED_AFTER);
            together = page.messages.last().map(age).filter(|age| is_under_way && *age <= SETTLED_AFTER);
        }
        for message in page.messages {
            let age = together.unwrap_or_else(|| age(&message));
            if age <= SETTLED_AFTER {
                // The watermark must not pass it yet, since another may still be put in before it.
                plan.wait_for(SETTLED_AFTER.saturating_sub(age) + Duration::from_millis(1));
                break 'pages;
            }
            let InboxId(id) = message.id;
            if !is_known(id) {
                let made_ms = made_ms(message.message);
                let letter = Letter { id, made_ms, sender: message.sender, payload: message.payload };
                // Of what can be read at all, one is taken: whatever its size.
                if !is_first && !budget.has_room_for(letter.cost()) {
                    plan.more = true;
                    break 'pages;
                }
                is_first = false;
                budget.take(1, letter.cost());
                plan.letters.push(letter);
            }
            waiting.push_back(id);
            after = Some(message.id);
        }
        if !page.more {
            break;
        }
        if budget.is_used_up() {
            plan.more = true;
            break;
        }
    }
    if !waiting.is_empty() {
        plan.lines.push(Reading { line: Line::Inbox, waiting, seen: None, goes: false });
    }
    Ok(())
}

impl Plan {
    /// Passes over what is not to be brought, and puts the rest in the order of saying.
    fn sort_out(&mut self, who: &Passport, roster: &Roster) {
        let is_wanted = |letter: &Letter| {
            roster.allows(&letter.sender)
                && letter.sender != *who
                && !letter.payload.is_empty()
                && !is_older_ms(letter.made_ms, KEPT_FOR)
        };
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.letters).into_iter().partition(is_wanted);
        self.letters = wanted;
        self.letters.sort_by_key(|letter| (letter.made_ms, letter.id));
        self.passed_over = unwanted.into_iter().map(|letter| letter.id).collect();
    }
}

fn is_older(id: Uuid, age: Duration) -> bool {
    is_older_ms(made_ms(MessageId(id)), age)
}

fn is_older_ms(made_ms: u64, age: Duration) -> bool {
    Duration::from_millis(wall_ms().saturating_sub(made_ms)) > age
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: u128, sender: &str) -> Letter {
        let sender = Passport::parse(&format!("{sender}@example.com")).unwrap();
        Letter { id: Uuid::from_u128(id), made_ms: wall_ms(), sender, payload: "x".into() }
    }

    #[test]
    fn senders_come_one_after_the_other() {
        let letters = vec![letter(1, "alice"), letter(2, "bob"), letter(3, "alice")];
        let mut plan = Plan { letters: letters.clone(), ..Plan::default() };
        let senders = plan.by_sender();
        let alice = [letters[0].clone(), letters[2].clone()];
        assert_eq!(senders.len(), 2);
        assert_eq!((&senders[0].1[..], &senders[1].1[..]), (&alice[..], &letters[1..2]));
    }
}
