//! Reading what history holds for one participation that is over.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::{made_ms, wall_ms};
use common::model::MessageId;
use common::store::{Cursor, Participation, Result, SETTLED_AFTER};
use uuid::Uuid;

use super::ledger::{Line, Reading};
use super::plan::{Letter, Plan};
use super::shelf::{Budget, Shelf};

/// What was found for a participation, in its channels taken together: the oldest that there is room for.
struct Found {
    /// By id; nothing in place of what was handed over already.
    letters: BTreeMap<Uuid, Option<Letter>>,
    count: usize,
    bytes: usize,
    /// The messages and bytes that there is room for. One letter is kept whatever its size.
    room: (usize, usize),
    /// All up to here is looked at, and nothing behind it is kept; nothing: all there is.
    end: Option<Uuid>,
}

impl Found {
    fn new(room: (usize, usize)) -> Self {
        Self { letters: BTreeMap::new(), count: 0, bytes: 0, room, end: None }
    }

    /// Whether nothing behind that id is wanted.
    fn ends_before(&self, id: Uuid) -> bool {
        self.end.is_some_and(|end| end <= id)
    }

    fn put(&mut self, id: Uuid, letter: Option<Letter>) {
        if self.end.is_some_and(|end| id > end) {
            return;
        }
        if let Some(letter) = &letter {
            (self.count, self.bytes) = (self.count + 1, self.bytes + letter.cost());
        }
        self.letters.insert(id, letter);
        while self.count > 1 && (self.count > self.room.0 || self.bytes > self.room.1) {
            self.drop_last();
        }
    }

    fn drop_last(&mut self) {
        if let Some((_, Some(letter))) = self.letters.pop_last() {
            (self.count, self.bytes) = (self.count - 1, self.bytes - letter.cost());
        }
        // Never empty: it is asked for with two letters at least.
        self.end = self.letters.last_key_value().map(|(id, _)| *id);
    }

    /// A channel was read only up to here.
    fn end_at(&mut self, id: Uuid) {
        self.end = Some(self.end.map_or(id, |end| end.min(id)));
        let beyond = self.letters.split_off(&id);
        for (other, letter) in beyond {
            if other == id {
                self.letters.insert(other, letter);
            } else if let Some(letter) = letter {
                (self.count, self.bytes) = (self.count - 1, self.bytes - letter.cost());
            }
        }
    }
}

/// Reads the row's part of history into the plan. `goes`: the row goes when all is delivered; `settled_only`: what is
/// younger than [`SETTLED_AFTER`] waits.
///
/// # Errors
/// When the store can't be read.
pub(super) async fn read(
    shelf: &Shelf<'_>,
    row: &Participation,
    (goes, settled_only): (bool, bool),
    budget: &mut Budget,
    is_known: &impl Fn(Uuid) -> bool,
    plan: &mut Plan,
) -> Result<()> {
    // Ids of one switchboard rise: nothing that was said in the participation is older than its own.
    let cursors = [row.live_cursor, row.offline_cursor].into_iter().flatten();
    let start = cursors.fold(row.id.0, |start, cursor| start.max(cursor.0));
    let mut found = Found::new(budget.room());
    for channel in &row.channels {
        let (mut cursor, mut last) = (Cursor::behind(MessageId(start)), start);
        // Each channel is read a little: otherwise a row with a full one would stay where it is for ever.
        let mut is_begun = false;
        'channel: while !found.ends_before(last) {
            if is_begun && !budget.has_pages() {
                found.end_at(last);
                break;
            }
            let held = shelf.history(*channel, &cursor, budget).await?;
            let page = held.page;
            is_begun = true;
            for message in page.messages {
                if settled_only && let Some(left) = settles_in(message.id) {
                    plan.wait_for(left);
                    found.end_at(last);
                    break 'channel;
                }
                let id = message.id.0;
                last = last.max(id);
                if message.conversation == row.conversation && message.meant_for.contains(&row.id) {
                    let made_ms = made_ms(message.id);
                    let letter = || Letter { id, made_ms, sender: message.sender, payload: message.payload };
                    found.put(id, (!is_known(id)).then(letter));
                }
            }
            if !page.more {
                break;
            }
            cursor = page.cursor;
        }
    }
    budget.take(found.count, found.bytes);
    plan.more |= found.end.is_some();
    if found.end == Some(start) {
        return Ok(());
    }
    let waiting = found.letters.keys().copied().collect();
    plan.lines.push(Reading { line: Line::Participation(row.id), waiting, seen: found.end, goes });
    plan.letters.extend(found.letters.into_values().flatten());
    Ok(())
}

/// How long something older than the message may still appear; nothing: it can't.
fn settles_in(id: MessageId) -> Option<Duration> {
    let age = Duration::from_millis(wall_ms().saturating_sub(made_ms(id)));
    (age <= SETTLED_AFTER).then(|| SETTLED_AFTER.saturating_sub(age) + Duration::from_millis(1))
}
