//! Three nodes, people who come, go and change, and notices that get lost: what is wrong is found and made right.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::cluster::{Mark, PassportKey};
use common::config::Config;
use common::model::{Epoch, List, Passport};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use super::house::{House, Screen, newest_stamp, who};
use crate::hub::Hub;
use crate::repair;

const PEOPLE: usize = 18;
/// The first so many never go.
const STEADY: usize = 6;
const ROUNDS: usize = 150;

/// Somebody who is signed in.
struct There {
    status: &'static str,
    screen: Arc<Mutex<Screen>>,
    writes: OwnedWriteHalf,
}

struct Town {
    houses: Vec<House>,
    people: Vec<Passport>,
    there: BTreeMap<usize, There>,
    /// Who has blocked whom.
    blocked: Vec<(usize, usize)>,
    trid: u32,
}

impl Town {
    /// Everybody has everybody else on the list.
    async fn build() -> Self {
        let config = |number: usize| {
            let mut config = Config::default();
            config.notification.node.id = format!("ns-{number}");
            (config.notification.repair_secs, config.notification.grace_secs) = (1, 1);
            config
        };
        let first = House::open_with(config(1)).await;
        let (second, third) = (first.open_beside(config(2)).await, first.open_beside(config(3)).await);
        let houses = vec![first, second, third];
        for house in &houses {
            let services = Arc::clone(&house.services);
            House::soon("they see each other", async || services.cluster.view().all().count() == 3).await;
            tokio::spawn(repair::run(services));
        }
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            people.push(houses[0].account(&number.to_string()).await);
        }
        for owner in &people {
            for contact in people.iter().filter(|contact| *contact != owner) {
                houses[0].list(owner, &[List::Forward, List::Allow, List::Reverse], contact).await;
            }
        }
        Self { houses, people, there: BTreeMap::new(), blocked: Vec::new(), trid: 10 }
    }

    async fn comes(&mut self, who: usize, at: usize) {
        let client = self.houses[at].sign_in(&who.to_string(), "MSNP8").await;
        let (screen, writes) = client.watches();
        self.there.insert(who, There { status: "", screen, writes });
        self.looks(who, "NLN").await;
    }

    async fn looks(&mut self, who: usize, status: &'static str) {
        self.says(who, &format!("CHG TRID {status} 0")).await;
        self.there.get_mut(&who).unwrap().status = status;
    }

    async fn goes(&mut self, who: usize) {
        self.says(who, "OUT").await;
        self.there.remove(&who);
    }

    async fn says(&mut self, who: usize, line: &str) {
        self.trid += 1;
        let line = format!("{}\r\n", line.replace("TRID", &self.trid.to_string()));
        self.there.get_mut(&who).unwrap().writes.write_all(line.as_bytes()).await.unwrap();
    }

    /// Blocks somebody, or takes that back.
    async fn toggles(&mut self, who: usize, whom: usize) {
        let contact = self.people[whom].clone();
        let (from, onto) = match self.blocked.iter().position(|pair| *pair == (who, whom)) {
            Some(at) => {
                self.blocked.remove(at);
                ("BL", "AL")
            }
            None => {
                self.blocked.push((who, whom));
                ("AL", "BL")
            }
        };
        self.says(who, &format!("REM TRID {from} {contact}")).await;
        self.says(who, &format!("ADD TRID {onto} {contact} {contact}")).await;
    }

    /// What is shown wrong.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (watcher, there) in &self.there {
            let screen = there.screen.lock().unwrap();
            for (who, passport) in self.people.iter().enumerate().filter(|(who, _)| who != watcher) {
                let looks = self.there.get(&who).map(|there| there.status).filter(|status| *status != "HDN");
                let looks = looks.filter(|_| !self.blocked.contains(&(who, *watcher)));
                let shown = screen.there.get(passport.as_str()).map(String::as_str);
                if shown != looks {
                    wrong.push(format!("{who} is {looks:?} and {watcher} sees {shown:?}"));
                }
            }
        }
        wrong
    }

    fn comparisons(&self) -> Vec<u64> {
        self.houses.iter().map(|house| house.services.metrics.comparisons.get()).collect()
    }

    /// One thing after the other happens, and notices are lost.
    async fn lives(&mut self, losing: u64) {
        self.houses.iter().for_each(|house| house.lose_every(losing));
        let mut dice = Dice(7);
        for _ in 0..ROUNDS {
            let who = dice.below(PEOPLE);
            match dice.below(5) {
                0 | 1 if self.there.contains_key(&who) => {
                    let status = ["NLN", "BSY", "AWY", "BRB"][dice.below(4)];
                    self.looks(who, status).await;
                }
                2 if self.there.contains_key(&who) && who >= STEADY => self.looks(who, "HDN").await,
                3 if self.there.contains_key(&who) && who >= STEADY => {
                    let whom = (who + 1 + dice.below(PEOPLE - 1)) % PEOPLE;
                    self.toggles(who, whom).await;
                }
                _ if who < STEADY => {}
                _ if self.there.contains_key(&who) => self.goes(who).await,
                _ => self.comes(who, dice.below(3)).await,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The same throws each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_fiftieth_notice_lost_each_error_is_gone_after_two_comparisons() {
    let mut town = Town::build().await;
    for who in 0..PEOPLE {
        town.comes(who, who % 3).await;
    }
    town.lives(50).await;
    let lost: u64 = town.houses.iter().map(|house| house.notices() / 50).sum();
    assert!(lost > 20, "only {lost} were lost");
    // Questions and answers are lost as before.
    let before = town.comparisons();
    House::soon("all see all as they are", async || town.wrong().is_empty()).await;
    for (before, after) in before.iter().zip(town.comparisons()) {
        // With three nodes, one that was under way when all stood still, and two more.
        assert!(after - before <= 9, "{} comparisons", after - before);
    }
    for there in town.there.values() {
        let screen = there.screen.lock().unwrap();
        let steady = town.people.iter().take(STEADY);
        let gone: Vec<_> = steady.filter(|who| screen.seen_to_go.contains(who.as_str())).collect();
        assert!(gone.is_empty(), "shown as gone and never were: {gone:?}");
    }
    // And then there is nothing more to ask, though some are blocked and some hidden.
    town.houses.iter().for_each(|house| house.lose_every(0));
    let asked = || town.houses.iter().map(|house| house.services.metrics.repair_questions.get()).sum::<u64>();
    let rounds = async |count: u64| {
        let before = town.comparisons();
        let passed = || before.iter().zip(town.comparisons()).all(|(before, after)| after - before >= 3 * count);
        House::soon("they have compared", async || passed()).await;
    };
    assert!(!town.blocked.is_empty() && asked() > 0);
    rounds(2).await;
    let before = asked();
    rounds(2).await;
    assert_eq!(asked(), before, "somebody asks for ever");
}

/// Who has lost its connection is held back for a while, also where others find that it is not as it was shown, and when it is
/// back elsewhere without having said how it looks.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_seen_to_go_while_a_goodbye_is_held_back() {
    let config = |number: usize| {
        let mut config = Config::default();
        config.notification.node.id = format!("ns-{number}");
        config.notification.repair_secs = 1;
        (config.notification.grace_secs, config.notification.close_grace_secs) = (3600, 3600);
        config
    };
    let first = House::open_with(config(1)).await;
    let second = first.open_beside(config(2)).await;
    let houses = [&first, &second];
    for house in houses {
        House::soon("they see each other", async || house.services.cluster.view().all().count() == 2).await;
        tokio::spawn(repair::run(Arc::clone(&house.services)));
    }
    let (alice, bob, carol) =
        (first.account("alice").await, first.account("bob").await, first.account("carol").await);
    let all = [List::Forward, List::Allow, List::Reverse];
    for (owner, contact) in [(&alice, &bob), (&bob, &alice), (&bob, &carol)] {
        first.list(owner, &all, contact).await;
    }
    let mut client = first.sign_in("alice", "MSNP8").await;
    client.says("CHG 5 NLN 0").await;
    client.hears_of("CHG 5").await;
    let (screen, _writes) = client.watches();
    let sees = |status: &str| screen.lock().unwrap().there.get(bob.as_str()).is_some_and(|shown| shown == status);
    let gone = || screen.lock().unwrap().seen_to_go.contains(bob.as_str());
    let comparing = async || {
        let count = |house: &House| house.services.metrics.comparisons.get();
        let before = houses.map(count);
        // With two nodes, one that was under way, and then one with each.
        let both = || before.iter().zip(houses.map(count)).all(|(before, after)| after - before >= 5);
        House::soon("they have compared", async || both()).await;
    };
    for back_at in houses {
        let mut client = second.sign_in("bob", "MSNP8").await;
        client.says("CHG 5 NLN 0").await;
        client.hears_of("CHG 5").await;
        House::soon("alice sees bob", async || sees("NLN")).await;
        // To her he looks as before, in a new version of which she is not told.
        client.says("REM 6 AL carol@example.com\r\nADD 7 BL carol@example.com Carol").await;
        client.hears_of("ADD 7").await;
        client.says("REM 8 BL carol@example.com\r\nADD 9 AL carol@example.com Carol").await;
        client.hears_of("ADD 9").await;
        drop(client);
        comparing().await;
        assert!(sees("NLN") && !gone(), "while his goodbye is held back");
        let mut client = back_at.sign_in("bob", "MSNP8").await;
        comparing().await;
        assert!(sees("NLN") && !gone(), "before his first CHG");
        client.says("CHG 5 BSY 0").await;
        House::soon("alice sees how bob is", async || sees("BSY")).await;
        assert!(!gone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_many_to_ask_stops_at_once() {
    const MANY: usize = 60_000;
    let mut config = Config::default();
    config.notification.repair_secs = 1;
    let house = House::open_with(config).await;
    let Hub { watchings, visible, .. } = &*house.services.hub;
    let alice = watchings.enter(&who("alice"), Epoch(1));
    for contact in (0..MANY).map(|number| who(&number.to_string())) {
        watchings.watch(alice, &contact);
        visible.show(PassportKey::of(&contact), Epoch(1), Mark::of(&newest_stamp()));
    }
    let repair = tokio::spawn(repair::run(Arc::clone(&house.services)));
    House::soon("it asks", async || house.services.metrics.repair_questions.get() > 0).await;
    house.services.shutdown.begin();
    assert!(tokio::time::timeout(Duration::from_secs(2), repair).await.is_ok(), "all are asked first");
    assert!(house.services.metrics.repair_questions.get() < MANY as u64);
}

/// Links have a clock of their own, and a pause that no other node has noticed leaves no gap in them.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_pause_of_the_process_all_is_compared() {
    let mut config = Config::default();
    config.notification.repair_secs = 3600;
    let house = House::open_with(config).await;
    let paused = Arc::new(AtomicU64::new(0));
    let jumps = Arc::clone(&paused);
    let clock = move || common::clock::since_boot() + Duration::from_millis(jumps.load(Ordering::Relaxed));
    tokio::spawn(repair::run_by(Arc::clone(&house.services), clock));
    let comparisons = || house.services.metrics.comparisons.get();
    House::soon("it has compared what it found at its start", async || comparisons() > 0).await;
    for _ in 0..2 {
        let before = comparisons();
        paused.fetch_add(2000, Ordering::Relaxed);
        House::soon("it has compared", async || comparisons() > before).await;
    }
}
