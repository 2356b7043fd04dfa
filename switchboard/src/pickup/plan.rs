//! Reading what was kept for a principal: a bounded part of it at a time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use common::clock::{made_ms, wall_ms};
use common::model::{InboxId, MessageId, ParticipationId, Passport, Roster};
use common::store::{Cursor, InboxMessage, KEPT_FOR, Participation, Result, SETTLED_AFTER, Store};
use uuid::Uuid;

use super::ledger::{Line, Reading};
use super::lives::Left;

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) id: Uuid,
    /// When it was said, in milliseconds since 1970.
    pub(super) made_ms: u64,
    pub(super) sender: Passport,
    pub(super) payload: Bytes,
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
    /// The last participation that was looked at, where there are others behind it.
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

    fn wait_for(&mut self, time: Duration) {
        self.wait = Some(self.wait.map_or(time, |wait| wait.min(time)));
    }
}

/// What one reading may take.
struct Budget {
    messages: usize,
    bytes: usize,
    pages: usize,
}

impl Budget {
    fn is_used_up(&self) -> bool {
        self.messages == 0 || self.bytes == 0 || self.pages == 0
    }

    fn take(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { messages: 512, bytes: 256 * 1024, pages: 64 }
    }
}

/// Messages of a channel that are read at a time.
const PAGE: usize = 64;
/// Messages of the inbox that are read at a time.
const INBOX: usize = 128;
/// What is left of a switchboard that gossip has merely lost goes so long after the participation began: by then nothing
/// in it is delivered any more.
const FORGOTTEN: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// Reads what waits for `who`, in participations behind `after`. `left` says whether a participation that is not closed may
/// be picked up, and `is_known` whether a message was handed over already.
///
/// # Errors
/// When the store can't be read.
pub(super) async fn read(
    store: &dyn Store,
    who: &Passport,
    after: Option<ParticipationId>,
    left: impl Fn(&Participation) -> Left,
    is_known: impl Fn(Uuid) -> bool,
) -> Result<Plan> {
    let (mut plan, mut budget) = (Plan::default(), Budget::default());
    let mut rows = store.participations(who).await?;
    rows.sort_by_key(|row| row.id);
    let mut looked_at = None;
    for row in rows.into_iter().filter(|row| Some(row.id) > after) {
        let left = if row.closed { Left::ForGood } else { left(&row) };
        let goes = match left {
            Left::No => continue,
            Left::NotYet(time) => {
                plan.wait_for(time);
                continue;
            }
            Left::ForGood => true,
            Left::Probably => is_older(row.id.0, FORGOTTEN),
        };
        if budget.is_used_up() {
            (plan.more, plan.cut) = (true, looked_at);
            break;
        }
        looked_at = Some(row.id);
        // It may be alive, and still write what is older than this moment.
        let settled_only = left == Left::Probably;
        read_row(store, &row, goes, settled_only, &mut budget, &is_known, &mut plan).await?;
    }
    read_inbox(store, who, &is_known, &mut plan).await?;
    if !plan.letters.is_empty() {
        // It has one, since somebody is signed in.
        if let Some(roster) = store.roster(who).await? {
            plan.sort_out(who, &roster);
        } else {
            plan.letters.clear();
        }
    }
    Ok(plan)
}

async fn read_row(
    store: &dyn Store,
    row: &Participation,
    goes: bool,
    settled_only: bool,
    budget: &mut Budget,
    is_known: &impl Fn(Uuid) -> bool,
    plan: &mut Plan,
) -> Result<()> {
    // Ids of one switchboard rise: nothing that was said in the participation is older than its own.
    let cursors = [row.live_cursor, row.offline_cursor].into_iter().flatten();
    let start = cursors.fold(row.id.0, |start, cursor| start.max(cursor.0));
    let (mut found, mut seen) = (BTreeMap::new(), None::<Uuid>);
    for channel in &row.channels {
        let (mut cursor, mut last) = (Cursor::behind(MessageId(start)), start);
        // Each channel is read a little: otherwise a row with a full one would stay where it is for ever.
        let mut is_begun = false;
        let whole = 'channel: loop {
            if is_begun && budget.is_used_up() {
                break false;
            }
            let page = store.read(*channel, Some(&cursor), PAGE).await?;
            (is_begun, budget.pages) = (true, budget.pages.saturating_sub(1));
            for message in page.messages {
                if settled_only && let Some(left) = settles_in(message.id) {
                    plan.wait_for(left);
                    break 'channel false;
                }
                last = last.max(message.id.0);
                if message.conversation != row.conversation || !message.meant_for.contains(&row.id) {
                    continue;
                }
                let id = message.id.0;
                let letter = (!is_known(id)).then(|| {
                    budget.take(message.payload.len());
                    Letter { id, made_ms: made_ms(message.id), sender: message.sender, payload: message.payload }
                });
                found.insert(id, letter);
            }
            if !page.more {
                break true;
            }
            cursor = page.cursor;
        };
        if !whole {
            seen = Some(seen.map_or(last, |seen| seen.min(last)));
        }
    }
    plan.more |= seen.is_some();
    if seen == Some(start) {
        return Ok(());
    }
    // Of several channels only what is below the place where the shortest reading ended is whole.
    if let Some(seen) = seen {
        found.retain(|id, _| *id <= seen);
    }
    let waiting = found.keys().copied().collect();
    plan.lines.push(Reading { line: Line::Participation(row.id), waiting, seen, goes });
    plan.letters.extend(found.into_values().flatten());
    Ok(())
}

async fn read_inbox(
    store: &dyn Store,
    who: &Passport,
    is_known: &impl Fn(Uuid) -> bool,
    plan: &mut Plan,
) -> Result<()> {
    let inbox = store.inbox(who, INBOX).await?;
    plan.more |= inbox.len() == INBOX;
    let (mut waiting, now) = (VecDeque::new(), wall_ms());
    let age = |message: &InboxMessage| Duration::from_millis(now.saturating_sub(message.id.made_ms()));
    // What was sent in one go is brought in one go.
    let is_under_way = inbox.first().is_some_and(|first| age(first) <= 2 * SETTLED_AFTER);
    let youngest = inbox.last().map(age).filter(|age| is_under_way && *age <= SETTLED_AFTER);
    for message in inbox {
        let age = youngest.unwrap_or_else(|| age(&message));
        if age <= SETTLED_AFTER {
            // The watermark must not pass it yet, since another may still be put in before it.
            plan.wait_for(SETTLED_AFTER.saturating_sub(age) + Duration::from_millis(1));
            break;
        }
        let InboxId(id) = message.id;
        waiting.push_back(id);
        if !is_known(id) {
            let made_ms = made_ms(message.message);
            plan.letters.push(Letter { id, made_ms, sender: message.sender, payload: message.payload });
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

/// How long something older than the message may still appear; nothing: it can't.
fn settles_in(id: MessageId) -> Option<Duration> {
    let age = Duration::from_millis(wall_ms().saturating_sub(made_ms(id)));
    (age <= SETTLED_AFTER).then(|| SETTLED_AFTER.saturating_sub(age) + Duration::from_millis(1))
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
