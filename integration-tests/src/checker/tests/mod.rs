//! The checker, with ledgers that are made up: it must see each fault that is planted, and nothing in what is right.

use std::time::Duration;

use common::model::Status;

use super::*;

mod messages;
mod presence;

const ALICE: Account = 0;
const BOB: Account = 1;
const CAROL: Account = 2;

/// All three have each other as contacts; carol blocks bob.
fn circle() -> Circle {
    let contacts = vec![vec![BOB, CAROL], vec![ALICE, CAROL], vec![ALICE, BOB]];
    Circle { contacts, blocks: [(CAROL, BOB)].into() }
}

/// Sessions are named by their number. Something happens every second.
#[derive(Default)]
struct Story(Vec<Entry>, Duration);

impl Story {
    fn then(mut self, account: Account, session: u32, event: Event) -> Self {
        self.0.push(Entry { at: self.1, account, session: SessionId(session), event });
        self.after(1_000)
    }

    /// What comes next does so much later, in milliseconds.
    fn after(mut self, millis: u64) -> Self {
        self.1 += Duration::from_millis(millis);
        self
    }

    fn begins(self, account: Account, session: u32, looks: Status) -> Self {
        let began = Event::Began { node: format!("notification-{session}").into() };
        self.then(account, session, began).then(account, session, Event::Looks(looks))
    }

    fn sees(self, account: Account, session: u32, contact: Account, how: Option<Status>) -> Self {
        self.then(account, session, Event::Shown { contact, how })
    }

    /// All three signed in, and shown to each other as they are.
    fn calm() -> Self {
        let (alice, bob, carol) = (Status::Online, Status::Busy, Status::Away);
        Self::default()
            .begins(ALICE, 1, alice)
            .begins(BOB, 2, bob)
            .begins(CAROL, 3, carol)
            .sees(ALICE, 1, BOB, Some(bob))
            .sees(ALICE, 1, CAROL, Some(carol))
            .sees(BOB, 2, ALICE, Some(alice))
            .sees(CAROL, 3, ALICE, Some(alice))
            .sees(CAROL, 3, BOB, Some(bob))
    }

    #[track_caller]
    fn shows(self, expected: &[&str]) {
        let presence = Presence::after(&self.0);
        let wrong: Vec<String> = presence.wrong(&circle()).iter().map(ToString::to_string).collect();
        assert_eq!(wrong, expected);
    }
}
