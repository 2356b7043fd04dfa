//! What the battery can't ask of a CQL store: claims whose answers get lost, and how tables come about. On a real
//! server, which `MONARCH_CQL` names.

mod cql;
#[path = "cql/proxy.rs"]
mod proxy;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::clock::{self, HybridClock};
use common::config::ScyllaConfig;
use common::model::{ChannelId, ClaimId, ConversationId, Epoch, List, MessageId, Passport, Property};
use common::store::cql::{CqlStore, Tuning};
use common::store::{
    Claimed, Credentials, Edit, HistoryWrite, MessageKind, NewAccount, SharedStore, Store, StoreError,
    StoredMessage,
};
use proxy::{Loss, Proxy};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// The version of the tables that this program makes.
const NEWEST: i32 = 6;

fn config(points: &[String]) -> &'static ScyllaConfig {
    static CONFIG: OnceLock<ScyllaConfig> = OnceLock::new();
    CONFIG.get_or_init(|| cql::migrated(points))
}

/// A store all of whose requests go through `proxy`.
async fn through(proxy: &Proxy, config: &ScyllaConfig) -> SharedStore {
    let config = ScyllaConfig { contact_points: vec![proxy.addr.to_string()], ..config.clone() };
    let tuning = Tuning { only_contact_points: true, ..Tuning::default() };
    Arc::new(CqlStore::open_with(&config, tuning, Arc::default()).await.expect("the server answers"))
}

fn claim(who: &Passport) -> NewAccount {
    NewAccount {
        passport: who.clone(),
        claim: ClaimId(Uuid::new_v4()),
        credentials: Credentials { epoch: 1, password_hash: "hash".into(), sealed_password: None },
        friendly_name: "Somebody".into(),
        created: clock::wall_ms(),
    }
}

fn somebody() -> Passport {
    Passport::parse(&format!("{}@example.com", Uuid::new_v4().simple())).unwrap()
}

/// Two sessions, on servers of their own where there are several, claim one passport at once; the answer to one of
/// them, or to both, gets lost.
async fn races(count: usize) {
    let Some(points) = cql::contact_points() else { return };
    let config = config(&points);
    let proxies = [Proxy::before(&points[0]).await, Proxy::before(&points[points.len() - 1]).await];
    let stores = [through(&proxies[0], config).await, through(&proxies[1], config).await];
    let (mut won, mut lost) = ([0, 0], 0);
    for race in 0..count {
        let who = somebody();
        let claims = [claim(&who), claim(&who)];
        for (at, claim) in claims.iter().enumerate() {
            if race % 3 == at || race % 3 == 2 {
                let loss = if race % 8 == 7 { Loss::Swallowed } else { Loss::Breaks };
                proxies[at].lose_answer(claim.claim.0.as_bytes(), loss);
                lost += 1;
            }
        }
        let [a, b] = claims.clone();
        let outcome = tokio::join!(stores[0].create_account(a), stores[1].create_account(b));
        let outcome = [outcome.0, outcome.1].map(|outcome| outcome.expect("the outcome is found out"));
        let winners: Vec<_> = (0..2).filter(|at| outcome[*at] == Claimed::Won).collect();
        assert_eq!(winners.len(), 1, "race {race}: {outcome:?}");
        won[winners[0]] += 1;
        for store in &stores {
            let account = store.account(&who).await.unwrap().unwrap();
            assert_eq!(account.claim, claims[winners[0]].claim, "race {race}");
        }
        if (race + 1) % 10 == 0 {
            // Who watches kills a node meanwhile.
            println!("{} races so far", race + 1);
        }
    }
    assert_eq!(proxies[0].left() + proxies[1].left(), 0, "answers were lost as planned");
    println!("{count} races, {lost} answers lost, won {won:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_have_one_winner_though_answers_get_lost() {
    races(24).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: scripts/kill-cql runs it, and kills a node meanwhile"]
async fn two_hundred_claims_have_one_winner_each() {
    races(200).await;
}

/// A change of credentials whose answer gets lost is still told apart from one that was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_change_of_password_is_found_out() {
    let Some(points) = cql::contact_points() else { return };
    let proxy = Proxy::before(&points[0]).await;
    let store = through(&proxy, config(&points)).await;
    let new = claim(&somebody());
    assert_eq!(store.create_account(new.clone()).await.unwrap(), Claimed::Won);
    for (n, loss) in [Loss::Breaks, Loss::Swallowed, Loss::Breaks].into_iter().enumerate() {
        let hash = format!("hash-{}", Uuid::new_v4());
        proxy.lose_answer(hash.as_bytes(), loss);
        let (before, epoch) = (n as u64 + 1, n as u64 + 2);
        let credentials = Credentials { epoch, password_hash: hash, sealed_password: None };
        let (who, own, stranger) = (&new.passport, new.claim, ClaimId(Uuid::new_v4()));
        assert!(store.set_credentials(who, own, before, credentials.clone()).await.unwrap());
        assert!(store.account(who).await.unwrap().unwrap().credentials == credentials);
        assert!(!store.set_credentials(who, stranger, epoch, credentials).await.unwrap());
    }
    assert_eq!(proxy.left(), 0);
}

fn text(channel: ChannelId) -> HistoryWrite {
    let message = StoredMessage {
        channel,
        id: MessageId(Uuid::now_v7()),
        conversation: ConversationId(Uuid::nil()),
        sender: Passport::parse("sender@example.com").unwrap(),
        kind: MessageKind::Text,
        payload: "hello".into(),
        meant_for: Vec::new(),
    };
    HistoryWrite { message, participations: Vec::new(), members: Vec::new() }
}

/// While the server says nothing every call ends, as an error, within its 4 s; afterwards all is as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_end_in_time_though_the_server_is_silent() {
    let Some(points) = cql::contact_points() else { return };
    let proxy = Proxy::before(&points[0]).await;
    let store = through(&proxy, config(&points)).await;
    let (who, channel) = (somebody(), ChannelId(Uuid::new_v4()));
    store.append(text(channel)).await.unwrap();

    proxy.silence(true);
    let start = Instant::now();
    let edits = vec![Edit::FriendlyName("Me".into())];
    let (a, b, c, d, e, f, g) = tokio::join!(
        store.append(text(channel)),
        store.create_account(claim(&who)),
        store.edit(&who, edits),
        store.check(),
        async { store.roster(&who).await.map(drop) },
        async { store.read(channel, None, 10).await.map(drop) },
        async { tokio::join!(store.read_back(channel, None, 10), store.read_back(channel, None, 10)).1.map(drop) },
    );
    for outcome in [a, b.map(drop), c, d, e, f, g] {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    }
    assert!(start.elapsed() < Duration::from_millis(4_500), "{:?}", start.elapsed());

    proxy.silence(false);
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = store.check().await {
        assert!(Instant::now() < deadline, "{error}");
    }
    store.append(text(channel)).await.unwrap();
    assert!(store.read(channel, None, 10).await.unwrap().messages.len() >= 2);
}

/// Whoever flushes before the process ends loses nothing that was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_waits_for_what_nobody_waits_for() {
    let Some(points) = cql::contact_points() else { return };
    let config = config(&points);
    let [store, other] = [CqlStore::open(config).await.unwrap(), CqlStore::open(config).await.unwrap()];
    let channel = ChannelId(Uuid::new_v4());
    for _ in 0..300 {
        let _ = timeout(Duration::ZERO, store.append(text(channel))).await;
    }
    store.flush().await;
    assert_eq!(other.read(channel, None, 1000).await.unwrap().messages.len(), 300);
}

/// Tables are made once, by however many at once, and whoever finds others says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_by_one_of_many() {
    let Some(points) = cql::contact_points() else { return };
    let config = cql::fresh(&points);
    let refused = |opened: Result<CqlStore, StoreError>, what: &str| match opened.map(drop) {
        Err(StoreError::Refused(text)) => assert!(text.contains(what), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(CqlStore::open(&config).await, "`monarch store migrate`");

    let many = (0..4).map(|_| {
        let config = config.clone();
        tokio::spawn(async move {
            let mut steps = Vec::new();
            let versions = CqlStore::migrate(&config, &mut |step| steps.push(step)).await;
            (versions, steps)
        })
    });
    let mut made = 0;
    for migration in many.collect::<Vec<_>>() {
        let (versions, steps) = migration.await.unwrap();
        let (_, after) = versions.unwrap();
        assert_eq!(after, NEWEST);
        made += steps.iter().filter(|step| step.contains(&format!("have version {NEWEST}"))).count();
    }
    assert_eq!(made, 1, "the steps were taken once");
    let id = CqlStore::open(&config).await.unwrap().id().await.unwrap();
    assert_eq!(CqlStore::migrate(&config, &mut |_| ()).await.unwrap(), (NEWEST, NEWEST));
    assert_eq!(CqlStore::open(&config).await.unwrap().id().await.unwrap(), id);

    assert_eq!(CqlStore::look(&config).await.unwrap(), NEWEST);

    let session = cql::session(&config).await;
    let set = |version| {
        format!(
            "UPDATE {}.migrations SET version = {version} WHERE name = 'schema' IF EXISTS",
            config.accounts_keyspace()
        )
    };
    session.query_unpaged(set(99), ()).await.unwrap();
    refused(CqlStore::open(&config).await, "newer Monarch");
    let error = CqlStore::look(&config).await.unwrap_err().to_string();
    assert!(error.contains("newer Monarch"), "{error}");
    assert!(matches!(CqlStore::migrate(&config, &mut |_| ()).await, Err(StoreError::Refused(_))));
    session.query_unpaged(set(0), ()).await.unwrap();
    refused(CqlStore::open(&config).await, "`monarch store migrate`");
    assert_eq!(
        CqlStore::migrate(&config, &mut |_| ()).await.unwrap(),
        (0, NEWEST),
        "what is there is left as it is"
    );
    assert_eq!(CqlStore::open(&config).await.unwrap().id().await.unwrap(), id);
}

/// Names under which contacts were added, of which version 3 did not know whether they were chosen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_contacts_were_added_under_become_their_own() {
    let Some(points) = cql::contact_points() else { return };
    let config = cql::fresh(&points);
    CqlStore::migrate(&config, &mut |_| ()).await.unwrap();
    let store = CqlStore::open(&config).await.unwrap();
    let [me, same, seen, renamed, chosen] = std::array::from_fn(|_| claim(&somebody()));
    for new in [&me, &same, &seen, &renamed, &chosen] {
        store.create_account(new.clone()).await.unwrap();
    }
    let me = me.passport;
    let add = async |who: &Passport, label: &str| {
        let (list, on) = (List::Forward, true);
        let edits = [
            Edit::List { contact: who.clone(), list, on },
            Edit::Name { contact: who.clone(), name: label.into() },
        ];
        store.edit(&me, edits.into()).await.unwrap();
    };
    for (who, label) in [(&same, "Somebody"), (&seen, "Seen"), (&renamed, "New name"), (&chosen, "My friend")] {
        add(&who.passport, label).await;
    }
    let calls_itself = |name: &str| vec![Edit::NameAtContact { contact: me.clone(), name: name.into() }];
    store.edit(&seen.passport, calls_itself("Seen")).await.unwrap();
    store.edit(&renamed.passport, vec![Edit::FriendlyName("New name".into())]).await.unwrap();
    let back = format!(
        "UPDATE {}.migrations SET version = 3 WHERE name = 'schema' IF EXISTS",
        config.accounts_keyspace()
    );
    cql::session(&config).await.query_unpaged(back, ()).await.unwrap();
    for _ in 0..2 {
        let mut said = Vec::new();
        CqlStore::migrate(&config, &mut |step| said.push(step)).await.unwrap();
        let roster = store.roster(&me).await.unwrap().unwrap();
        let names = [&same, &seen, &renamed, &chosen].map(|who| {
            let contact = &roster.contacts[&who.passport];
            (contact.name.as_str(), contact.is_named)
        });
        assert_eq!(
            names,
            [("Somebody", false), ("Seen", false), ("New name", false), ("My friend", true)],
            "{said:?}"
        );
        store.edit(&same.passport, calls_itself("Somebody")).await.unwrap();
    }
}

/// A store whose clock is 5 s ahead, and one whose clock is right.
async fn unequal_clocks(config: &ScyllaConfig) -> ([CqlStore; 2], [Arc<HybridClock>; 2]) {
    let clocks = [Arc::new(HybridClock::default()), Arc::default()];
    let ahead = clock::wall() + Duration::from_secs(5);
    clocks[0].observe(Epoch(u64::try_from(ahead.as_micros()).unwrap())).unwrap();
    let open = |clock: &Arc<HybridClock>| CqlStore::open_with(config, Tuning::default(), Arc::clone(clock));
    ([open(&clocks[0]).await.unwrap(), open(&clocks[1]).await.unwrap()], clocks)
}

/// Whoever is put on a list by a process whose clock is ahead can answer: after reading it, or after hearing of the
/// other process's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_holds_though_the_other_clock_is_ahead() {
    let Some(points) = cql::contact_points() else { return };
    let config = config(&points);
    let list = |contact: &Passport, list, on| vec![Edit::List { contact: contact.clone(), list, on }];
    for reads in [true, false] {
        let ([ahead, right], clocks) = unequal_clocks(config).await;
        let (me, you) = (claim(&somebody()), claim(&somebody()));
        for new in [&me, &you] {
            assert_eq!(ahead.create_account(new.clone()).await.unwrap(), Claimed::Won);
        }
        let (me, you) = (me.passport, you.passport);
        ahead.edit(&me, list(&you, List::Forward, true)).await.unwrap();
        if reads {
            assert!(right.roster(&you).await.unwrap().unwrap().contacts[&me].lists.contains(List::Pending));
        } else {
            clocks[1].observe(clocks[0].highest()).unwrap();
        }
        right.edit(&you, list(&me, List::Pending, false)).await.unwrap();
        let lists = ahead.roster(&you).await.unwrap().unwrap().contacts[&me].lists;
        assert!(lists.contains(List::Reverse) && !lists.contains(List::Pending), "{reads}: {lists:?}");
    }
}

/// What a clock an hour ahead has written can be answered and removed, and shadows nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_far_ahead_can_be_removed() {
    let Some(points) = cql::contact_points() else { return };
    let config = config(&points);
    let store = CqlStore::open(config).await.unwrap();
    let hour = Duration::from_secs(60 * 60);
    let stamp = (clock::wall() + hour).as_micros();
    let mut new = claim(&somebody());
    new.created += u64::try_from(hour.as_millis()).unwrap();
    assert_eq!(store.create_account(new.clone()).await.unwrap(), Claimed::Won);
    let (who, other) = (new.passport, somebody());
    store.edit(&who, vec![Edit::FriendlyName("Me".into())]).await.unwrap();
    assert_eq!(store.account(&who).await.unwrap().unwrap().settings.friendly_name, "Me");

    let (session, keyspace) = (cql::session(config).await, &config.keyspace);
    let (participation, conversation) = (Uuid::new_v4(), Uuid::new_v4());
    for write in [
        format!(
            "UPDATE {keyspace}.participations USING TIMESTAMP {stamp} SET conversation = {conversation}, \
             switchboard = 'switchboard-1', generation = 1 WHERE passport = '{who}' AND participation = {participation}"
        ),
        format!(
            "UPDATE {keyspace}.roster USING TIMESTAMP {stamp} SET on_pending = true WHERE owner = '{who}' AND \
             contact = '{other}'"
        ),
    ] {
        session.query_unpaged(write, ()).await.unwrap();
    }
    let [row] = <[_; 1]>::try_from(store.participations(&who).await.unwrap()).unwrap();
    store.remove_participation(&who, row.id).await.unwrap();
    assert_eq!(store.participations(&who).await.unwrap(), []);
    assert!(store.roster(&who).await.unwrap().unwrap().contacts.contains_key(&other));
    let off = Edit::List { contact: other.clone(), list: List::Pending, on: false };
    store.edit(&who, vec![off]).await.unwrap();
    assert!(!store.roster(&who).await.unwrap().unwrap().contacts.contains_key(&other));
}

/// A server as it comes takes what hundreds of contacts are told at once, by itself and with a setting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_number_changes_at_hundreds_of_contacts() {
    let Some(points) = cql::contact_points() else { return };
    let store = CqlStore::open(config(&points)).await.unwrap();
    let (me, last) = (claim(&somebody()), claim(&somebody()));
    for new in [&me, &last] {
        assert_eq!(store.create_account(new.clone()).await.unwrap(), Claimed::Won);
    }
    let (me, last) = (me.passport, last.passport);
    let add = Edit::List { contact: me.clone(), list: List::Forward, on: true };
    store.edit(&last, vec![add]).await.unwrap();
    for (number, with_setting) in [("+43 1 234 567 89 ext. 1", true), ("+43 1 234 567 89 ext. 2", false)] {
        let contacts = (0..319).map(|_| somebody()).chain([last.clone()]);
        let value = Some(number.to_owned());
        let copy =
            |contact| Edit::PropertyAtContact { contact, property: Property::HomePhone, value: value.clone() };
        let mut edits: Vec<_> = contacts.map(copy).collect();
        if with_setting {
            edits.insert(0, Edit::Property(Property::HomePhone, value.clone()));
        }
        store.edit(&me, edits).await.unwrap();
        let roster = store.roster(&last).await.unwrap().unwrap();
        assert_eq!(roster.contacts[&me].properties.get(&Property::HomePhone), value.as_ref());
    }
}
