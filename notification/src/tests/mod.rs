//! Whole sessions against a store that is slow, or fails, at the wrong moment.

mod early;
mod house;
mod rates;
mod repair;
mod store;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::clock;
use common::cluster::{Audience, Deliver, Instruction, Notice, Order, Outcome, Question, Stamp};
use common::config::Config;
use common::model::{Edition, Epoch, List, NodeId, Passport, Presence, Property, Status};
use common::store::Edit;

use uuid::Uuid;

use house::{House, PATIENCE, looks, newest_stamp, no_properties, who};
use store::{Edits, Mood};

const CONTACTS: usize = 600;

/// Everybody tells `whom` how they look now, within a moment and together more than a mailbox takes.
async fn all_say(house: &House, all: &[Passport], whom: &Passport, looks: &Mutex<Presence>, now: Presence) {
    *looks.lock().unwrap() = now.clone();
    for some in all.chunks(16) {
        for from in some {
            let (from, presence) = (from.clone(), Some(now.clone()));
            let (stamp, properties) = (newest_stamp(), no_properties());
            let notice = Notice::Presence { from, stamp, presence, properties };
            house.services.cluster.post(vec![(whom.clone(), notice)]);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_contacts_answer_while_the_store_is_slow() {
    let house = House::open().await;
    let alice = house.account("alice").await;
    house.account("zoe").await;
    let contacts: Vec<_> = (0..CONTACTS).map(|number| who(&number.to_string())).collect();
    let all_look = Arc::new(Mutex::new(looks(4000)));
    for contact in &contacts {
        // The reverse entries are new to alice: her sign-in has something to write.
        house.list(&alice, &[List::Forward, List::Allow, List::Reverse], contact).await;
        house.puppet(contact.as_str().split('@').next().unwrap(), Arc::clone(&all_look)).await;
    }
    let slow = |ms| Mood { edit_after: Duration::from_millis(ms), ..Mood::default() };
    house.store_is(slow(1500));
    let mut client = house.knock("alice", "MSNP11").await;
    client.says("SYN 4 0 0\r\nCHG 5 NLN 0").await;
    client.hears_of("USR 3 OK").await;
    // While the store is slow, everybody has something to say, and says it once more.
    for now in [looks(500), looks(501)] {
        all_say(&house, &contacts, &alice, &all_look, now).await;
    }
    let of = |line: &str| line.split(' ').find(|token| token.contains('@')).unwrap().to_owned();
    let mut there = BTreeSet::new();
    while there.len() < CONTACTS {
        let line = client.hears().await.expect("still there");
        if line.starts_with("ILN ") || line.starts_with("NLN ") {
            there.insert(of(&line));
        }
    }
    // The same while the client's own edit waits. Who looks how at last reaches a client however much it has to read.
    house.store_is(slow(3000));
    client.says("ADC 6 FL N=zoe@example.com F=Zoe").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    all_say(&house, &contacts, &alice, &all_look, Presence { status: Status::Away, ..looks(500) }).await;
    let (mut away, mut answered) = (BTreeSet::new(), false);
    while away.len() < CONTACTS || !answered {
        let line = client.hears().await.expect("still there");
        if line.starts_with("NLN AWY ") {
            away.insert(of(&line));
        } else if line.starts_with("ADC 6 FL ") {
            assert!(!away.is_empty(), "nobody was heard while the store was slow");
            answered = true;
        }
    }
}

/// A command that waited for the store says that its client was there when it came, not when it was handled.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_for_the_store_vouches_for_nothing_later() {
    let house = House::open().await;
    let alice = house.account("alice").await;
    house.account("zoe").await;
    let mut client = house.sign_in("alice", "MSNP11").await;
    house.store_is(Mood { edit_after: Duration::from_secs(3), ..Mood::default() });
    let before = tokio::time::Instant::now();
    client.says("ADC 6 FL N=zoe@example.com F=Zoe\r\nPNG").await;
    client.hears_of("QNG").await;
    let (_, _, epoch) = house.services.hub.sessions().remove(0);
    let asked = Notice::Asked { session: epoch.sign(), question: Question::LastHeard };
    let Outcome::Heard { ms_ago } = house.services.hub.deliver(&alice, None, asked).await else { panic!() };
    let (ago, all) = (Duration::from_millis(ms_ago.into()), before.elapsed());
    assert!(
        ago <= all + Duration::from_millis(50)
            && ago + Duration::from_secs(1) > all
            && all >= Duration::from_secs(3),
        "{ago:?} of {all:?}"
    );
}

#[tokio::test]
async fn contacts_that_say_too_much_at_once_are_asked_again() {
    let house = House::open().await;
    let alice = house.account("alice").await;
    let mut asked = Vec::new();
    for number in 0..CONTACTS {
        house.list(&alice, &[List::Forward, List::Allow, List::Reverse], &who(&number.to_string())).await;
        let looks = Arc::new(Mutex::new(looks(4000)));
        asked.push(house.puppet(&number.to_string(), looks).await);
    }
    let mut client = house.sign_in("alice", "MSNP11").await;
    client.says("SYN 4 0 0\r\nCHG 5 NLN 0").await;
    for _ in 0..CONTACTS {
        client.hears_of("ILN 5 NLN").await;
    }
    // Nothing that they say is news, but it is far more than a mailbox takes: the session's task does not run before
    // the last has spoken.
    let stamp = Stamp { epoch: Epoch(0), node: NodeId::parse("elsewhere").unwrap(), count: 1, version: 1 };
    for number in 0..CONTACTS {
        let (from, stamp, presence) = (who(&number.to_string()), stamp.clone(), Some(looks(4000)));
        let said = Notice::Presence { from, stamp, presence, properties: no_properties() };
        assert_eq!(house.services.hub.deliver(&alice, None, said).await, Outcome::Accepted);
    }
    let all = || asked.iter().all(|asked| asked.load(Ordering::Relaxed) == 2);
    House::soon("all are asked once more", async || all()).await;
    client.says("PNG").await;
    client.hears_of("QNG").await;
}

/// Others speak already while a session that has just signed in waits for the store.
#[tokio::test]
async fn whoever_is_heard_of_while_the_store_is_slow_is_watched() {
    let house = House::open().await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    // The reverse entry is new to alice: her sign-in has something to write.
    house.list(&alice, &[List::Forward, List::Allow, List::Reverse], &bob).await;
    house.store_is(Mood { edit_after: Duration::from_secs(1), ..Mood::default() });
    let mut client = house.sign_in("alice", "MSNP8").await;
    let (from, stamp, presence) = (bob.clone(), newest_stamp(), Some(looks(0)));
    let life = house.services.hub.watchings.life_of(&stamp.node);
    let here = Notice::Presence { from, stamp, presence, properties: no_properties() };
    assert_eq!(house.services.hub.deliver(&alice, None, here).await, Outcome::Accepted);
    client.says("CHG 5 NLN 0").await;
    client.hears_of("ILN 5 NLN bob@example.com").await;
    // His node dies, and its list is empty.
    let bucket = common::cluster::PassportKey::of(&bob).bucket();
    let questions = house.services.hub.watchings.compare(bucket, life, &[]);
    assert_eq!(questions.len(), 1, "nobody looks for him, and she shows him for good");
}

#[tokio::test]
async fn what_others_change_and_does_not_fit_is_read_from_the_store() {
    const OTHERS: usize = 1200;
    let house = House::open().await;
    let alice = house.account("alice").await;
    let mut client = house.sign_in("alice", "MSNP8").await;
    client.says("CHG 5 NLN 0").await;
    client.hears_of("CHG 5").await;
    let other = |number: usize| who(&number.to_string());
    for number in 0..OTHERS {
        house.account(&number.to_string()).await;
    }
    for (on, line, word) in [(true, "ADD 0 RL ", 4), (false, "REM 0 RL ", 4)] {
        for number in 0..OTHERS {
            let edit = Edit::List { contact: alice.clone(), list: List::Forward, on };
            house.services.store.edit(&other(number), vec![edit]).await.unwrap();
        }
        // All at once, and more than a mailbox takes: the session's task does not run before the last is said.
        for number in 0..OTHERS {
            let by = other(number);
            let said =
                if on { Notice::Added { by, name: "x".repeat(300).into() } } else { Notice::Removed { by } };
            assert_eq!(house.services.hub.deliver(&alice, None, said).await, Outcome::Accepted);
        }
        let mut told = BTreeSet::new();
        while told.len() < OTHERS {
            let line = client.hears_of(line).await;
            assert!(told.insert(line.split(' ').nth(word).unwrap().to_owned()), "told twice: {line}");
        }
    }
    client.says("PNG").await;
    client.hears_of("QNG").await;
}

/// Word that comes late, from a node that stood still: the store knows better.
#[tokio::test]
async fn the_reverse_list_follows_the_store_whatever_comes_late() {
    let house = House::open().await;
    let alice = house.account("alice").await;
    let (bob, zoe) = (house.account("bob").await, house.account("zoe").await);
    house.list(&bob, &[List::Forward], &alice).await;
    let mut client = house.challenged("alice").await.answered("secret").await;
    client.says("SYN 4 0\r\nCHG 5 NLN").await;
    client.hears_of("CHG 5").await;
    let yan = house.account("yan").await;
    house.list(&yan, &[List::Forward], &alice).await;
    let added = |by: &Passport| Notice::Added { by: by.clone(), name: "N".into() };
    for notice in [added(&zoe), Notice::Removed { by: bob.clone() }, added(&yan)] {
        assert_eq!(house.services.hub.deliver(&alice, None, notice).await, Outcome::Accepted);
    }
    while !client.hears_of("ADD 0 RL").await.contains("yan@") {}
    // It has heard all three.
    let started = std::time::Instant::now();
    loop {
        client.says("LST 6 RL\r\nLST 7 FL").await;
        let mut there = BTreeSet::new();
        loop {
            match client.hears().await.expect("still there").split(' ').collect::<Vec<_>>()[..] {
                ["LST", "6", _, _, _, _, who, ..] => there.insert(who.to_owned()),
                ["LST", "7", ..] => break,
                _ => false,
            };
        }
        if there == [bob.to_string(), yan.to_string()].into() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "still {there:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_burst_comes_through_whole() {
    let house = House::open().await;
    let (alice, bob) = (house.account("alice").await, who("bob"));
    house.list(&alice, &[List::Forward], &bob).await;
    let mut client = house.sign_in("alice", "MSNP8").await;
    client.says("CHG 5 NLN 0").await;
    client.hears_of("CHG 5").await;
    const COUNT: usize = 250;
    let (of, property) = (&bob, Property::HomePhone);
    let (from, stamp, presence) = (bob.clone(), newest_stamp(), Some(looks(0)));
    let here = Notice::Presence { from, stamp, presence, properties: no_properties() };
    house.services.hub.deliver(&alice, None, here).await;
    for number in 0..COUNT {
        let other = house.account(&number.to_string()).await;
        house.list(&other, &[List::Forward], &alice).await;
    }
    let stamp = newest_stamp();
    let phone = |number: usize| {
        let (of, stamp, value) = (of.clone(), stamp.clone(), number.to_string().into());
        Notice::Property { of, stamp, repeated: false, property, value }
    };
    let added = |number: usize| Notice::Added { by: who(&format!("{number}")), name: number.to_string().into() };
    // All at once: the session's task does not run before the last is in its mailbox.
    let notices = (0..COUNT).flat_map(|number| [phone(number), added(number)]);
    house.services.cluster.post(notices.map(|notice| (alice.clone(), notice)).collect());
    let (mut phones, mut adders) = (Vec::new(), Vec::new());
    while phones.len() < COUNT || adders.len() < COUNT {
        let line = client.hears().await.expect("still there");
        let last = line.rsplit(' ').next().unwrap();
        match &line[..3] {
            "BPR" => phones.push(last.parse().unwrap()),
            "ADD" => adders.push(last.parse().unwrap()),
            _ => {}
        }
    }
    let all: Vec<usize> = (0..COUNT).collect();
    // Several who come at once are told of together.
    adders.sort_unstable();
    assert_eq!((phones, adders), (all.clone(), all));
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_once_are_all_counted() {
    const GUESSES: u32 = 12;
    let mut config = Config::default();
    config.accounts.wrong_passwords = GUESSES;
    let house = House::open_with(config).await;
    house.account("alice").await;
    house.account("bob").await;
    // All have passed the guard before the first is found wrong.
    house.store_is(Mood { account_after: Duration::from_millis(700), ..Mood::default() });
    let mut guesses = Vec::new();
    for _ in 0..GUESSES {
        guesses.push(house.challenged("alice").await.answered("guess").await);
    }
    // Judged after them, and let in before.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut owner = house.challenged("alice").await.answered("secret").await;
    for client in &mut guesses {
        assert_eq!(client.hears_out().await, ["911 4"]);
    }
    assert_eq!(owner.hears_out().await, ["911 4"], "a right guess among too many");
    house.store_is(Mood::default());
    let mut late = house.challenged("alice").await.answered("secret").await;
    assert_eq!(late.hears_out().await, ["911 4"], "one less counted, and this would be let in");
    let mut other = house.challenged("bob").await.answered("secret").await;
    other.hears_of("USR 4 OK bob@example.com").await;
}

/// Whoever signs in by the old password while it is changed is refused, or out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_meets_who_is_signing_in() {
    let house = House::open().await;
    let changed = async |who: &Passport| {
        let claim = house.services.store.account(who).await.unwrap().unwrap().claim;
        // The account's, as the house has made it, is 1.
        let what = Instruction::NewPassword { claim, edition: Edition(2) };
        let order = Order { id: Uuid::new_v4(), to: Audience::Principal(who.clone()), what };
        let reached = house.services.cluster.carry_out(&order, clock::wall_ms(), PATIENCE).await.unwrap();
        reached[0].told.unwrap().sessions
    };
    // The account was read before the change, which comes before the session can be found.
    let alice = house.account("alice").await;
    assert_eq!(changed(&alice).await, 0);
    let mut at_alice = house.challenged("alice").await.answered("secret").await;
    assert_eq!(at_alice.hears_out().await, ["911 4"]);
    // It can be found, and does not know yet what it is.
    let bob = house.account("bob").await;
    house.store_is(Mood { roster_after: Duration::from_millis(500), ..Mood::default() });
    let mut at_bob = house.challenged("bob").await.answered("secret").await;
    while house.services.hub.len() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(changed(&bob).await, 1);
    assert_eq!(at_bob.hears_out().await.last().map(String::as_str), Some("OUT SSD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_has_happened_after_all_is_told_and_synced() {
    for by_itself in [false, true] {
        let house = House::open().await;
        let (alice, bob) = (house.account("alice").await, house.account("bob").await);
        let mut client = house.sign_in("alice", "MSNP8").await;
        client.says("SYN 4 0").await;
        client.hears_of("LSG 0").await;
        let mut other = house.sign_in("bob", "MSNP8").await;
        other.says("CHG 5 NLN 0").await;
        house.store_is(Mood { edits: Edits::MadeInDoubt, ..Mood::default() });
        client.says("ADD 5 FL bob@example.com Bob 0").await;
        client.hears_of("501 5").await;
        house.store_is(Mood { edits: Edits::NotMade, ..Mood::default() });
        client.says("ADD 6 AL bob@example.com Bob").await;
        client.hears_of("501 6").await;
        house.store_is(Mood::default());
        if !by_itself {
            client.says("BLP 7 BL").await;
        }
        assert!(client.hears_out().await.iter().all(|line| !line.starts_with("BLP")), "it must sync first");
        other.hears_of("ADD 0 RL 2 alice@example.com alice").await;
        assert!(house.is_on(&alice, List::Forward, &bob).await);
        let mut client = house.sign_in("alice", "MSNP8").await;
        client.says("SYN 4 2").await;
        client.hears_of("LST bob@example.com Bob 1 0").await;
    }
}

#[tokio::test]
async fn an_edit_that_has_not_happened_can_be_made_again() {
    let house = House::open().await;
    house.account("alice").await;
    house.account("bob").await;
    let mut client = house.sign_in("alice", "MSNP8").await;
    house.store_is(Mood { edits: Edits::NotMade, ..Mood::default() });
    client.says("ADD 5 FL bob@example.com Bob 0").await;
    client.hears_of("501 5").await;
    client.says("ADD 6 FL bob@example.com Bob 0").await;
    client.hears_of("501 6").await;
    house.store_is(Mood::default());
    client.says("ADD 7 FL bob@example.com Bob 0").await;
    // Version 2 may have been given to the edit in doubt, and 3 is that of the question about it.
    assert_eq!(client.hears_of("ADD 7").await, "ADD 7 FL 4 bob@example.com Bob 0");
}

/// Adding the contact again would ask it again: what can't be taken back is made to happen.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_in_doubt_happens() {
    let house = House::open().await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    house.list(&alice, &[List::Forward], &bob).await;
    let mut client = house.sign_in("alice", "MSNP8").await;
    client.says("SYN 4 0").await;
    client.hears_of("LST bob@example.com").await;
    house.store_is(Mood { edits: Edits::NotMade, ..Mood::default() });
    client.says("REM 5 FL bob@example.com").await;
    client.hears_of("501 5").await;
    assert!(house.is_on(&alice, List::Forward, &bob).await);
    house.store_is(Mood::default());
    client.says("BLP 6 BL").await;
    assert!(client.hears_out().await.iter().all(|line| !line.starts_with("BLP")), "it must sync first");
    assert!(!house.is_on(&alice, List::Forward, &bob).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_takes_too_long_leaves_nothing_behind() {
    let house = House::open().await;
    house.account("alice").await;
    house.store_is(Mood { roster_after: Duration::from_secs(60), ..Mood::default() });
    let mut client = house.knock("alice", "MSNP8").await;
    House::soon("it is registered", async || house.registered() == 1).await;
    assert_eq!(client.hears_out().await, ["601 3"]);
    House::soon("it is not registered any more", async || house.registered() == 0).await;
    assert_eq!(house.services.hub.len(), 0);
    house.store_is(Mood::default());
    let client = house.sign_in("alice", "MSNP8").await;
    assert_eq!(house.registered(), 1);
    drop(client);
    House::soon("the session has ended", async || house.registered() == 0).await;
}

/// Bob's list, with what he remembers of it.
async fn list_of_bob(house: &House, version: u64) -> Vec<String> {
    let mut bob = house.sign_in("bob", "MSNP8").await;
    bob.says(&format!("SYN 4 {version}\r\nPNG")).await;
    let mut list = Vec::new();
    loop {
        match bob.hears().await.expect("still there") {
            line if line == "QNG" => return list,
            line if line.starts_with("MSG ") => {}
            line => list.push(line),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_learn_a_new_name_while_they_are_away() {
    let house = House::open().await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    house.list(&bob, &[List::Forward], &alice).await;
    let name_at_bob = async |name: &str| {
        let roster = house.services.store.roster(&bob).await.unwrap().unwrap();
        roster.contacts[&alice].name == name
    };
    let mut client = house.sign_in("alice", "MSNP8").await;
    client.says("REA 5 alice@example.com Al").await;
    client.hears_of("REA 5").await;
    assert!(name_at_bob("alice@example.com").await, "not at once");
    House::soon("Al is known to bob", async || name_at_bob("Al").await).await;
    assert!(
        list_of_bob(&house, 1).await.contains(&"LST alice@example.com Al 1 0".to_owned()),
        "a cached list is old"
    );
    assert_eq!(list_of_bob(&house, 2).await, ["SYN 4 2"], "and is good until the next change");
    // A session that ends at once leaves no copy behind.
    client.says("REA 6 alice@example.com Ali\r\nOUT").await;
    client.hears_out().await;
    House::soon("Ali is known to bob", async || name_at_bob("Ali").await).await;
    // What was changed while bob was blocked he gets with the unblocking.
    let mut client = house.sign_in("alice", "MSNP8").await;
    for line in ["ADD 7 BL bob@example.com Bob", "REA 8 alice@example.com Alice", "PRP 9 PHH 555"] {
        client.says(line).await;
        client.hears_of(&line[..5]).await;
    }
    assert!(name_at_bob("Ali").await);
    client.says("REM 10 BL bob@example.com").await;
    client.hears_of("REM 10").await;
    assert!(name_at_bob("Alice").await);
    let list = list_of_bob(&house, 2).await;
    assert_eq!(list[list.len() - 2..], ["LST alice@example.com Alice 1 0", "BPR PHH 555"]);
}

/// Also where the store is away just when the session ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_follows_though_the_store_fails_at_the_end() {
    let house = House::open().await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    house.list(&bob, &[List::Forward], &alice).await;
    let mut client = house.sign_in("alice", "MSNP8").await;
    client.says("REA 5 alice@example.com Al").await;
    client.hears_of("REA 5").await;
    let asked = house.edits();
    house.store_is(Mood { edits: Edits::NotMade, ..Mood::default() });
    client.says("OUT").await;
    client.hears_out().await;
    House::soon("the copies were tried", async || house.edits() > asked).await;
    let stored = async |who: &Passport| house.services.store.roster(who).await.unwrap().unwrap();
    assert!(stored(&alice).await.copies_owed.is_some() && stored(&bob).await.contacts[&alice].name != "Al");
    house.store_is(Mood::default());
    House::soon("they are written", async || stored(&alice).await.copies_owed.is_none()).await;
    assert_eq!(stored(&bob).await.contacts[&alice].name, "Al");
}

/// What the session of a node that has died had not written yet.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_session_writes_the_name_that_is_owed() {
    let house = House::open().await;
    let (alice, bob) = (house.account("alice").await, house.account("bob").await);
    house.list(&bob, &[List::Forward], &alice).await;
    let renamed = vec![Edit::FriendlyName("Al".into()), Edit::CopiesOwed(7)];
    house.services.store.edit(&alice, renamed).await.unwrap();
    let stored = async |who: &Passport| house.services.store.roster(who).await.unwrap().unwrap();
    let _client = house.sign_in("alice", "MSNP8").await;
    House::soon("they are written", async || stored(&alice).await.copies_owed.is_none()).await;
    assert_eq!(stored(&bob).await.contacts[&alice].name, "Al");
}

#[tokio::test]
async fn a_full_reverse_list_takes_nobody_more() {
    let mut config = Config::default();
    config.limits.reverse_list = 2;
    let house = House::open_with(config).await;
    for name in ["alice", "bob", "carol", "popular"] {
        house.account(name).await;
    }
    for name in ["alice", "bob"] {
        let mut client = house.sign_in(name, "MSNP8").await;
        client.says("ADD 5 FL popular@example.com P 0").await;
        client.hears_of("ADD 5 FL").await;
        // Those who are on it already are not held up.
        client.says("ADD 6 AL popular@example.com P").await;
        client.hears_of("ADD 6 AL").await;
    }
    let mut carol = house.sign_in("carol", "MSNP11").await;
    carol.says("ADC 5 FL N=popular@example.com F=P").await;
    carol.hears_of("210 5").await;
    carol.says("ADC 6 AL N=popular@example.com").await;
    carol.hears_of("ADC 6 AL").await;
    let mut bob = house.sign_in("bob", "MSNP8").await;
    bob.says("REM 5 FL popular@example.com").await;
    bob.hears_of("REM 5 FL").await;
    carol.says("ADC 7 FL N=popular@example.com F=P").await;
    carol.hears_of("ADC 7 FL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_needs_no_room_in_the_queue() {
    const LONG: usize = 1000;
    let house = House::open().await;
    let alice = house.account("alice").await;
    let contacts = (0..LONG).map(|number| who(&number.to_string()));
    let edits = contacts.flat_map(|contact| {
        let name = format!("{contact:x<380}");
        [Edit::List { contact: contact.clone(), list: List::Forward, on: true }, Edit::Name { contact, name }]
    });
    house.services.store.edit(&alice, edits.collect()).await.unwrap();
    let mut client = house.challenged("alice").await.answered("secret").await;
    client.says("SYN 5 0\r\nLST 6 FL\r\nLST 7 RL\r\nLST 8 FL\r\nCHG 9 NLN").await;
    for trid in ["5", "6", "8"] {
        client.hears_of(&format!("LST {trid} FL 2 {LONG} {LONG} ")).await;
    }
    client.hears_of("CHG 9 NLN").await;
}
