use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::model::{AddPrompt, ClaimId, Properties, Settings, StrangerPolicy};
use crate::store::sqlite::SqliteStore;
use crate::store::{Credentials, NewAccount};

/// A process, and accounts of which the store knows nothing yet.
struct World {
    guard: AttemptGuard,
}

impl World {
    fn new(room: usize) -> Self {
        Self { guard: AttemptGuard::with_room(&AccountsConfig::default(), NonZeroUsize::new(room).unwrap()) }
    }

    fn attempt<'a>(&self, who: &'a Passport, from: &str) -> Attempt<'a> {
        let account = (!who.as_str().starts_with("nobody")).then(|| account(who));
        self.guard.attempt(who, from.parse().unwrap(), account.as_ref(), Vec::new())
    }

    fn allows(&self, who: &Passport, from: &str) -> bool {
        self.guard.allows(&self.attempt(who, from))
    }

    fn succeeds(&self, who: &Passport, from: &str) {
        self.guard.succeeded(&self.attempt(who, from), 1);
    }

    /// So many wrong passwords. Returns how many of them were looked at.
    fn guesses(&self, who: &Passport, from: &str, count: usize) -> usize {
        let looked_at = |_: &usize| {
            let allowed = self.allows(who, from);
            if allowed {
                self.guard.failed(&self.attempt(who, from));
            }
            allowed
        };
        (0..count).filter(looked_at).count()
    }
}

fn account(who: &Passport) -> Account {
    Account {
        passport: who.clone(),
        claim: ClaimId(Uuid::from_u128(7)),
        credentials: Credentials { epoch: 1, password_hash: String::new(), sealed_password: None },
        settings: Settings {
            friendly_name: String::new(),
            strangers: StrangerPolicy::default(),
            add_prompt: AddPrompt::default(),
            properties: Properties::default(),
            list_version: 1,
            lists_changed: 0,
            settings_changed: 0,
            reverse_digest: 0,
        },
        created: 0,
    }
}

fn passport(name: &str) -> Passport {
    Passport::parse(&format!("{name}@example.com")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn ten_wrong_ones_in_ten_minutes_shut_strangers_out_and_a_hundred_those_at_home() {
    let (world, alice) = (World::new(8), passport("alice"));
    let (home, home_too, strange) = ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1");
    world.succeeds(&alice, home);
    for from in [strange, "192.0.2.1", "192.0.2.2"] {
        world.guesses(&alice, from, 4);
    }
    assert_eq!(world.guesses(&alice, "192.0.2.3", 5), 0, "ten of all strangers together");
    assert!(world.allows(&alice, home) && world.allows(&alice, home_too), "one household, one /64");
    assert!(world.allows(&passport("bob"), strange));
    assert_eq!(world.guesses(&alice, home_too, 300), 100);
    assert!(!world.allows(&alice, home));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert!(!world.allows(&alice, strange) && !world.allows(&alice, home));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(world.allows(&alice, strange) && world.allows(&alice, home));
}

#[tokio::test(start_paused = true)]
async fn an_address_guesses_a_hundred_times_over_all_accounts() {
    let world = World::new(1000);
    let (dave, erin) = (passport("dave"), passport("erin"));
    for who in [&dave, &erin] {
        world.succeeds(who, "192.0.2.1");
    }
    let people = (0..150).map(|number| passport(&format!("u{number}")));
    assert_eq!(people.map(|who| world.guesses(&who, "192.0.2.1", 10)).sum::<usize>(), 100);
    assert!(!world.allows(&passport("nobody"), "192.0.2.1"));
    assert!(world.allows(&passport("fred"), "192.0.2.2"), "other addresses have nothing to do with it");
    assert_eq!(world.guesses(&dave, "192.0.2.1", 300), 10, "who lives there has some left");
    assert!(world.allows(&erin, "192.0.2.1"));
}

/// A household, and a server that costs next to nothing.
#[tokio::test(start_paused = true)]
async fn a_whole_ipv6_network_has_a_bound_of_its_own_and_makes_nothing_forgotten() {
    let world = World::new(1000);
    let (alice, bob) = (passport("alice"), passport("bob"));
    let subnet = |number: usize| format!("2001:db8:1:{number:x}::1");
    // Alice is at home in the same /48, bob elsewhere; an address has had its hundred guesses.
    world.succeeds(&alice, &subnet(0xffff));
    world.succeeds(&bob, "192.0.2.1");
    assert_eq!(world.guesses(&bob, "192.0.2.1", 30), 30);
    let hundred = (0..100).map(|number| world.guesses(&passport(&format!("nobody{number}")), "192.0.2.2", 1));
    assert_eq!(hundred.sum::<usize>(), 100);

    let mut people = (0..).map(|number| passport(&format!("u{number}")));
    let mut guesses = |subnets: std::ops::Range<usize>| {
        subnets.map(|number| world.guesses(&people.next().unwrap(), &subnet(number), 9)).sum::<usize>()
    };
    let of_a_56 = guesses(0..0x100);
    let of_a_48 = of_a_56 + guesses(0x100..0xfff0);
    assert_eq!((of_a_56, of_a_48), (400, 1600));
    assert!(world.allows(&passport("fred"), "2001:db8:2::1"), "the next /48");
    assert_eq!(world.guesses(&alice, &subnet(0xffff), 300), 10, "who lives there has some left");

    // Whoever has an account there and signs in from everywhere has some left too, which makes nothing forgotten either.
    for number in 0..5000 {
        world.succeeds(&alice, &subnet(number));
        world.guesses(&alice, &subnet(number), 1);
    }
    assert!(!world.allows(&passport("fred"), "192.0.2.2"), "the hundred guesses of an address are forgotten");
    assert_eq!(world.guesses(&bob, "192.0.2.1", 300), 70, "the guesses at bob are forgotten");
    let asker = world.guard.asker(&world.attempt(&passport("fred"), "192.0.2.1"));
    assert!(asker.known, "from where bob signs in is forgotten");
}

#[tokio::test(start_paused = true)]
async fn names_that_nobody_has_are_counted_alike_and_make_nothing_forgotten() {
    let world = World::new(4);
    let (alice, nobody) = (passport("alice"), passport("nobody"));
    assert_eq!((world.guesses(&alice, "192.0.2.1", 20), world.guesses(&nobody, "192.0.2.2", 20)), (10, 10));
    world.succeeds(&alice, "192.0.2.3");
    for number in 0..70_000 {
        let from = format!("10.{}.{}.{}", number / 60_000, number / 250 % 240, number % 250);
        world.guesses(&passport(&format!("nobody{number}")), &from, 1);
    }
    assert!(!world.allows(&alice, "192.0.2.4") && !world.allows(&nobody, "192.0.2.4"));
    assert!(world.allows(&alice, "192.0.2.3"));
    tokio::time::advance(Duration::from_secs(600)).await;
    assert!(
        !world.allows(&alice, "192.0.2.4") && !world.allows(&nobody, "192.0.2.4"),
        "for as long as each other"
    );
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(world.allows(&alice, "192.0.2.4") && world.allows(&nobody, "192.0.2.4"));
    assert_eq!(world.guard.lock().strange.len(), 1);
}

#[tokio::test]
async fn networks_are_kept_with_the_account() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
    let (who, claim) = (passport("alice"), ClaimId(Uuid::new_v4()));
    let credentials = Credentials { epoch: 1, password_hash: String::new(), sealed_password: None };
    let new = NewAccount { passport: who.clone(), claim, credentials, friendly_name: "Alice".into(), created: 1 };
    store.create_account(new).await.unwrap();
    let account = store.account(&who).await.unwrap().unwrap();
    let guard = || AttemptGuard::new(&AccountsConfig::default());
    let first = guard();
    let attempt =
        async |guard: &AttemptGuard, last: u8, account: &Account, then: fn(&AttemptGuard, &Attempt<'_>, u8)| {
            let stored = store.known_networks(&who).await.unwrap();
            let attempt = guard.attempt(&who, [192, 0, 2, last].into(), Some(account), stored);
            then(guard, &attempt, last);
            attempt.is_known()
        };
    let succeeds = |guard: &AttemptGuard, attempt: &Attempt<'_>, last: u8| {
        guard.succeeded(attempt, 1_700_000_000_000 + u64::from(last));
    };
    let is_known =
        async |guard: &AttemptGuard, last, account: &Account| attempt(guard, last, account, |_, _, _| ()).await;
    for last in 0..20 {
        attempt(&first, last, &account, succeeds).await;
        assert!(is_known(&first, last, &account).await, "before it is written");
        if last % 3 == 0 {
            first.flush(&*store).await;
            assert!(is_known(&first, last, &account).await, "and behind");
        }
    }
    assert!(!is_known(&guard(), 19, &account).await, "not written yet");
    first.flush(&*store).await;
    let second = guard();
    for (last, known) in [(11, false), (12, true), (19, true), (20, false)] {
        assert_eq!(is_known(&second, last, &account).await, known, "{last}");
    }

    // Two processes learn of a network each, and neither loses the other's.
    attempt(&first, 30, &account, succeeds).await;
    attempt(&second, 31, &account, succeeds).await;
    first.flush(&*store).await;
    second.flush(&*store).await;
    for last in [19, 30, 31] {
        assert!(is_known(&guard(), last, &account).await, "{last}");
    }
    // Nowhere is whoever has another password at home, until that one is shown; what is learnt of the old one comes too late.
    attempt(&first, 32, &account, succeeds).await;
    let credentials = Credentials { epoch: 2, ..account.credentials.clone() };
    assert!(store.set_credentials(&who, claim, 1, credentials.clone()).await.unwrap());
    let changed = Account { credentials, ..account };
    for last in [19, 30, 31, 32] {
        assert!(!is_known(&first, last, &changed).await && !is_known(&guard(), last, &changed).await, "{last}");
    }
    attempt(&second, 30, &changed, succeeds).await;
    second.flush(&*store).await;
    first.flush(&*store).await;
    let known = [19, 30, 31, 32].map(|last| is_known(&first, last, &changed));
    assert_eq!(futures_util::future::join_all(known).await, [false, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_tells_counts_as_if_it_had_come_here_and_is_not_passed_on() {
    let (here, there) = (World::new(2), World::new(2));
    let (alice, nobody, home, strange) = (passport("alice"), passport("nobody"), "192.0.2.1", "192.0.2.2");
    for world in [&here, &there] {
        world.guard.untold.begin();
        world.succeeds(&alice, home);
    }
    let tell = || here.guard.heard(there.guard.untold.take().0);
    assert_eq!((there.guesses(&alice, strange, 9), there.guesses(&nobody, "192.0.2.3", 9)), (9, 9));
    assert!(!here.guard.is_tried(&here.attempt(&alice, strange)), "nobody has told");
    tell();
    assert!(
        here.guard.is_tried(&here.attempt(&alice, strange)) && !here.guard.is_tried(&here.attempt(&alice, home))
    );
    assert!(here.allows(&alice, strange) && here.allows(&nobody, strange));
    assert_eq!((there.guesses(&alice, strange, 9), there.guesses(&nobody, "192.0.2.3", 9)), (1, 1));
    tell();
    assert!(!here.allows(&alice, "192.0.2.9") && !here.allows(&nobody, "192.0.2.9"));
    assert_eq!(here.guesses(&alice, home, 100), 100, "those of strangers do not count at home");
    assert_eq!(
        here.guard.untold.take().0.accounts,
        [(alice.clone(), Some(home.parse().unwrap()), 100)],
        "no echo"
    );
    assert!(
        !here.guard.lock().homes.contains(strange.parse().unwrap()) && !here.attempt(&alice, strange).is_known()
    );

    // Invented names push out no more than they would have here.
    assert_eq!(there.guesses(&alice, home, 100), 100);
    there.guard.untold.take();
    for number in 0..400 {
        there.guesses(&passport(&format!("nobody{number}")), &format!("10.0.{}.1", number % 200), 1);
    }
    tell();
    assert!(!here.allows(&alice, strange), "invented names make nothing forgotten");
    assert_eq!(here.guard.lock().strange.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_right_password_behind_wrong_ones_waits_for_the_word_of_others() {
    let (world, alice, home) = (World::new(8), passport("alice"), "192.0.2.1");
    let waits = async |from: &str| {
        let began = tokio::time::Instant::now();
        world.guard.hear_others(&world.attempt(&alice, from)).await;
        !began.elapsed().is_zero()
    };
    world.succeeds(&alice, home);
    assert_eq!(world.guesses(&alice, "192.0.2.2", 1), 1);
    assert!(!waits("192.0.2.2").await, "there are no others");
    world.guard.untold.begin();
    assert!(waits("192.0.2.2").await && waits("192.0.2.3").await, "as long as the wrong one itself");
    assert!(!waits(home).await);
    let bob = passport("bob");
    let waits = async |from: &str| {
        let began = tokio::time::Instant::now();
        world.guard.hear_others(&world.attempt(&bob, from)).await;
        !began.elapsed().is_zero()
    };
    world.succeeds(&bob, home);
    for number in 0..10 {
        assert!(!waits("192.0.2.9").await, "{number}");
        for from in [home, "192.0.2.9"] {
            world.guesses(&passport(&format!("u{number}")), from, 1);
        }
    }
    assert!(waits("192.0.2.9").await, "many accounts are tried from there");
    assert!(!waits(home).await, "that shuts nobody out at home");
}
