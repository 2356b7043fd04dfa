//! A deployment on three hosts and sixty people who know each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use common::model::Status;
use tokio::time::{Instant, sleep};

use super::dice::Dice;
use super::stall::Stalls;
use crate::accounts;
use crate::checker::{Account, Circle, Entry, Event, Presence};
use crate::hosts::{Hosts, HostsPlan, guest};
use crate::people::{Door, Leave, Outside, Person, Wish};

/// People.
pub(super) const PEOPLE: usize = 60;
/// Of whom so many are signed in at first.
const AT_FIRST: usize = 45;
/// Contacts of each, about.
const CONTACTS: usize = 12;
/// Of a hundred friends so many are blocked by the other.
const BLOCKS: usize = 4;
/// The oldest and the newest dialect.
const DIALECTS: (u8, u8) = (2, 12);
/// How people look; some are hidden.
const LOOKS: [Status; 8] = [
    Status::Online,
    Status::Busy,
    Status::Idle,
    Status::BeRightBack,
    Status::Away,
    Status::OnThePhone,
    Status::OutToLunch,
    Status::Hidden,
];
/// How often it is looked whether something is so.
const LOOK: Duration = Duration::from_millis(50);

/// All that a round is played with.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) hosts: Hosts,
    pub(super) outside: Arc<Outside>,
    pub(super) circle: Circle,
    /// The client of each account.
    pub(super) people: Vec<Person>,
    /// Further clients of some accounts.
    pub(super) doubles: Vec<Person>,
    pub(super) dice: Dice,
    pub(super) stalls: Stalls,
    /// What people were told to do.
    pub(super) changes: usize,
    /// Who knocked at which server's port, and after how many entries of the ledger.
    pub(super) knocks: Vec<(Account, String, usize)>,
}

impl Stage {
    /// Everything up, and most people signed in and shown to each other rightly.
    pub(super) async fn set(seed: u64) -> Result<Self> {
        let mut dice = Dice::new(seed);
        let hosts = Hosts::start(HostsPlan::default()).await?;
        let circle = befriend(&mut dice);
        let names: Vec<String> = (0..PEOPLE).map(|number| format!("user{number}")).collect();
        let pairs = circle.contacts.iter().enumerate();
        let pairs: Vec<_> = pairs.flat_map(|(of, all)| all.iter().map(move |contact| (of, *contact))).collect();
        let passports = accounts::create(hosts.config(), &names, &pairs).await?;
        let blocks: Vec<_> = circle.blocks.iter().copied().collect();
        accounts::block(hosts.config(), &passports, &blocks).await?;
        let outside = Outside::new(&hosts, passports)?;
        let people = (0..PEOPLE).map(|account| person(&outside, account, account)).collect();
        let stalls = Stalls::watch();
        let mut stage = Self {
            hosts,
            outside,
            circle,
            people,
            doubles: Vec::new(),
            dice,
            stalls,
            changes: 0,
            knocks: Vec::new(),
        };
        stage.assemble().await?;
        Ok(stage)
    }

    async fn assemble(&mut self) -> Result<()> {
        let mut first: Vec<Account> = (0..PEOPLE).collect();
        self.dice.shuffle(&mut first);
        for account in first.into_iter().take(AT_FIRST) {
            self.come(account);
            sleep(self.dice.millis(10, 60)).await;
        }
        self.settled(Duration::from_secs(30)).await?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.presence().wrong(&self.circle).is_empty() {
            let wrong = self.presence().wrong(&self.circle);
            ensure!(Instant::now() < deadline, "wrong before anything happened, of {}: {}", wrong.len(), wrong[0]);
            sleep(LOOK).await;
        }
        self.changes = 0;
        Ok(())
    }

    /// How everything is now.
    pub(super) fn presence(&self) -> Presence {
        Presence::after(&self.outside.ledger.entries())
    }

    /// Waits until everybody has done what they were told to.
    pub(super) async fn settled(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let all = self.people.iter().chain(&self.doubles);
            let late: Vec<Account> = all.filter(|who| !who.is_settled()).map(|who| who.account).collect();
            if late.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "after {patience:?} these have not what they want: {late:?}");
            sleep(LOOK).await;
        }
    }

    /// Those who want to be signed in, or do not.
    pub(super) fn those(&self, signed_in: bool) -> Vec<Account> {
        let those = self.people.iter().filter(|person| person.wished().is_some() == signed_in);
        those.map(|person| person.account).collect()
    }

    /// Signs somebody in, or changes how they look.
    pub(super) fn come(&mut self, account: Account) {
        let now = self.people[account].wished();
        let other: Vec<Status> = LOOKS.into_iter().filter(|status| Some(*status) != now).collect();
        let status = self.dice.pick(&other).unwrap_or(Status::Online);
        let door = if self.dice.percent(30) { Door::Last } else { Door::Dispatch };
        self.tell(account, Wish { door, ..Wish::look(status) });
    }

    /// Signs somebody in at that server, as soon as anybody listens there.
    pub(super) fn come_to(&mut self, account: Account, node: &str) -> Result<()> {
        let door = Door::At(self.hosts.clients(node)?);
        self.knocks.push((account, node.to_owned(), self.outside.ledger.entries().len()));
        self.tell(account, Wish { door, ..Wish::look(Status::Online) });
        Ok(())
    }

    /// Of those who knocked, how many were first let in there, and how many elsewhere.
    pub(super) fn let_in(&self) -> (usize, usize) {
        let entries = self.outside.ledger.entries();
        let first = |(who, node, before): &(Account, String, usize)| {
            let began = |entry: &Entry| match &entry.event {
                Event::Began { node } if entry.account == *who => Some(Arc::clone(node)),
                _ => None,
            };
            entries.iter().skip(*before).find_map(began).map(|there| *there == **node)
        };
        let (there, elsewhere): (Vec<bool>, _) = self.knocks.iter().filter_map(first).partition(|there| *there);
        (there.len(), elsewhere.len())
    }

    /// The client that hangs crashes, and is not started again.
    pub(super) fn crash(&mut self, account: Account) {
        self.tell(account, Wish::away(Leave::Reset));
        self.outside.crash(account);
    }

    /// Signs somebody in, so that others see it.
    pub(super) fn come_visibly(&mut self, account: Account) {
        self.tell(account, Wish::look(Status::Online));
    }

    /// A node is killed, or stands still: nobody there answers.
    pub(super) async fn fell(&mut self, node: &str, still: bool) -> Result<()> {
        self.outside.ledger.begins(self.hosts.clients(node)?, !still);
        if still { self.hosts.process(node)?.pause() } else { self.hosts.kill(node).await }
    }

    /// It goes on, or is started again.
    pub(super) async fn raise(&mut self, node: &str, still: bool) -> Result<()> {
        if still {
            self.hosts.process(node)?.resume()?;
        } else {
            self.hosts.restart(node).await?;
        }
        self.outside.ledger.is_over(self.hosts.clients(node)?);
        Ok(())
    }

    /// Signs somebody out, in one way or another.
    pub(super) fn go(&mut self, account: Account) {
        let leave = match self.dice.below(10) {
            0..6 => Leave::Out,
            6..8 => Leave::Close,
            _ => Leave::Reset,
        };
        self.tell(account, Wish::away(leave));
    }

    fn tell(&mut self, account: Account, wish: Wish) {
        self.changes += 1;
        self.people[account].wish(wish);
    }

    /// One of these signs in, out, or changes how they look.
    pub(super) fn stir(&mut self, among: &[Account]) {
        let Some(account) = self.dice.pick(among) else { return };
        let signed_in = self.people[account].wished().is_some();
        if signed_in && self.dice.percent(35) { self.go(account) } else { self.come(account) }
    }

    /// A second client of the same account signs in.
    pub(super) fn double(&mut self, account: Account) {
        let address = PEOPLE + self.doubles.len();
        let second = person(&self.outside, account, address);
        second.wish(Wish::look(self.dice.pick(&LOOKS).unwrap_or(Status::Online)));
        self.changes += 1;
        self.doubles.push(second);
    }

    /// Pairs of friends who are signed in and visible begin to talk. Nobody talks with two.
    pub(super) fn begin_talks(&mut self, pairs: usize) -> Vec<(Account, Account)> {
        let presence = self.presence();
        let visible = |stage: &Self, who: Account| {
            let looks = stage.people[who].wished();
            looks.is_some_and(|status| status != Status::Hidden) && presence.present().contains(&who)
        };
        let mut free: Vec<Account> = (0..PEOPLE).filter(|who| visible(self, *who)).collect();
        self.dice.shuffle(&mut free);
        let (mut talks, mut busy) = (Vec::new(), BTreeSet::new());
        for &caller in &free {
            let callee = self.circle.contacts[caller].iter().copied().find(|callee| {
                let blocks = &self.circle.blocks;
                let blocked = blocks.contains(&(*callee, caller)) || blocks.contains(&(caller, *callee));
                !busy.contains(callee) && free.contains(callee) && !blocked
            });
            let Some(callee) = callee.filter(|_| !busy.contains(&caller) && talks.len() < pairs) else { continue };
            busy.extend([caller, callee]);
            self.people[caller].call(callee);
            talks.push((caller, callee));
        }
        talks
    }
}

fn person(outside: &Arc<Outside>, account: Account, address: usize) -> Person {
    let (oldest, newest) = DIALECTS;
    let dialects = usize::from(newest - oldest) + 1;
    let dialect = oldest + (address % dialects) as u8;
    Person::new(outside, account, dialect, guest(address as u16 + 1))
}

/// Friends by lot, each on the other's forward and allow list.
fn befriend(dice: &mut Dice) -> Circle {
    let mut circle = Circle { contacts: vec![Vec::new(); PEOPLE], blocks: BTreeSet::new() };
    for one in 0..PEOPLE {
        for _ in 0..CONTACTS / 2 {
            let other = dice.below(PEOPLE);
            if other == one || circle.contacts[one].contains(&other) {
                continue;
            }
            circle.contacts[one].push(other);
            circle.contacts[other].push(one);
            if dice.percent(BLOCKS) {
                circle.blocks.insert((one, other));
            }
        }
    }
    circle
}
