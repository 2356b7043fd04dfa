//! Whom the sessions of this node watch, and what each of them was shown: what other nodes' lists are compared with.
//!
//! It lies in the same buckets as those lists. A watching takes 16 bytes, and what is common to all who watch somebody is
//! kept once. Each session notes what it hears here; nobody else changes it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use common::cluster::{BUCKETS, Mark, PassportKey, Sighting, Watcher};
use common::model::{Epoch, NodeId, Passport};

use super::lock;

/// The number of a life of a node, as watchings name it.
pub(crate) type Life = u16;

/// The number of a session among those that watch.
pub(crate) type WatcherId = u32;

/// Who is to be asked how it looks, and for whom.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Who.
    pub(crate) of: Passport,
    /// Those who may see it wrong.
    pub(crate) watchers: Vec<Watcher>,
}

/// What a session has shown of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The version; nothing: it has heard of nobody, or only that nobody is there.
    pub(crate) mark: Option<Mark>,
    /// Where the contact is, if it is to be seen.
    pub(crate) online_at: Option<NodeId>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watchings {
    buckets: Box<[Mutex<Bucket>]>,
    watchers: Mutex<Watchers>,
    lives: RwLock<Lives>,
}

#[derive(Debug, Default)]
struct Bucket {
    watched: HashMap<Passport, Watched>,
    /// Rises with every change.
    touched: u64,
}

#[derive(Debug)]
struct Watched {
    key: PassportKey,
    /// In the order of their numbers: whatever all of them are told at once must not take the square of how many they are.
    by: Vec<Watching>,
}

impl Watched {
    /// Where the watching of that session is, or belongs.
    fn place_of(&self, watcher: WatcherId) -> Result<usize, usize> {
        self.by.binary_search_by_key(&watcher, |watching| watching.watcher)
    }
}

#[derive(Debug, Clone, Copy)]
struct Watching {
    mark: Option<Mark>,
    watcher: WatcherId,
    /// Where the contact was heard to be, if it is to be seen.
    life: Life,
    online: bool,
}

#[derive(Debug, Default)]
struct Watchers {
    sessions: HashMap<WatcherId, (Passport, Epoch)>,
    last: WatcherId,
}

#[derive(Debug, Default)]
struct Lives {
    by_node: HashMap<NodeId, Life>,
    next: Life,
}

impl Default for Watchings {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| Mutex::default()).collect();
        Self { buckets, watchers: Mutex::default(), lives: RwLock::default() }
    }
}

impl Watchings {
    /// What all lives are called for whose number there is no room: nobody is ever heard to be alive there.
    pub(crate) const ELSEWHERE: Life = Life::MAX;

    /// A session that watches others from now on.
    pub(crate) fn enter(&self, who: &Passport, epoch: Epoch) -> WatcherId {
        let mut watchers = lock(&self.watchers);
        loop {
            watchers.last = watchers.last.wrapping_add(1);
            let id = watchers.last;
            if let Entry::Vacant(free) = watchers.sessions.entry(id) {
                free.insert((who.clone(), epoch));
                return id;
            }
        }
    }

    /// A session has ended. What it watched goes now, or when somebody looks at it.
    pub(crate) fn leave(&self, watcher: WatcherId) {
        lock(&self.watchers).sessions.remove(&watcher);
    }

    /// A session has a contact of which it has heard nothing.
    pub(crate) fn watch(&self, watcher: WatcherId, contact: &Passport) {
        let (key, mut bucket) = self.bucket_of(contact);
        bucket.touched += 1;
        let watched = bucket.watched.entry(contact.clone()).or_insert_with(|| Watched { key, by: Vec::new() });
        let new = Watching { mark: None, watcher, life: Self::ELSEWHERE, online: false };
        match watched.place_of(watcher) {
            Ok(known) => watched.by[known] = new,
            Err(place) => {
                if watched.by.len() == watched.by.capacity() {
                    // Most are watched by few, and nobody by many more than watch already.
                    watched.by.reserve_exact(watched.by.len() / 4 + 1);
                }
                // The last to come has the greatest number, mostly.
                watched.by.insert(place, new);
            }
        }
    }

    /// A session has not that contact any more.
    pub(crate) fn unwatch(&self, watcher: WatcherId, contact: &Passport) {
        let (_, mut bucket) = self.bucket_of(contact);
        let Some(watched) = bucket.watched.get_mut(contact) else { return };
        let Ok(known) = watched.place_of(watcher) else { return };
        watched.by.remove(known);
        if watched.by.is_empty() {
            bucket.watched.remove(contact);
        }
    }

    /// A session shows a contact so from now on.
    pub(crate) fn shown(&self, watcher: WatcherId, contact: &Passport, shown: &Shown) {
        let life = shown.online_at.as_ref().map_or(Self::ELSEWHERE, |node| self.life_of(node));
        let (_, mut bucket) = self.bucket_of(contact);
        let Some(watched) = bucket.watched.get_mut(contact) else { return };
        let Ok(known) = watched.place_of(watcher) else { return };
        watched.by[known] = Watching { mark: shown.mark, watcher, life, online: shown.online_at.is_some() };
        bucket.touched += 1;
    }

    /// How often something in a bucket has changed; nothing: nobody in it is watched.
    pub(crate) fn touched(&self, bucket: u8) -> Option<u64> {
        let bucket = self.bucket(bucket);
        (!bucket.watched.is_empty()).then_some(bucket.touched)
    }

    /// Compares a bucket with who is to be seen at `life`: who is there in another version than was shown, or was shown as
    /// being there and is not, is to be asked.
    ///
    /// Only of the latter may it come out that they are gone. Who is on the list and can't be found has lost its connection a moment
    /// ago and may be back before its node says goodbye for it.
    pub(crate) fn compare(&self, bucket: u8, life: Life, there: &[Sighting]) -> Vec<Question> {
        let there: HashMap<PassportKey, Mark> =
            there.iter().map(|sighting| (sighting.who, sighting.mark)).collect();
        self.question(bucket, |key, watching| match there.get(&key) {
            Some(mark) => (watching.mark != Some(*mark)).then_some(None),
            None => (watching.online && watching.life == life).then_some(watching.mark),
        })
    }

    /// Those who were shown as being in one of these lives, which are over.
    pub(crate) fn orphans(&self, bucket: u8, over: &BTreeSet<Life>) -> Vec<Question> {
        let is_over = |life: Life| life == Self::ELSEWHERE || over.contains(&life);
        self.question(bucket, |_, watching| (watching.online && is_over(watching.life)).then_some(watching.mark))
    }

    /// Those whom somebody may see wrong, and what whoever hears that they are gone must have been shown. Watchings of sessions that
    /// have ended are dropped.
    fn question(
        &self,
        bucket: u8,
        wrong: impl Fn(PassportKey, &Watching) -> Option<Option<Mark>>,
    ) -> Vec<Question> {
        let mut suspects = Vec::new();
        for (of, watched) in &self.bucket(bucket).watched {
            let by = watched.by.iter();
            let by = by.filter_map(|watching| Some((watching.watcher, wrong(watched.key, watching)?)));
            let by: Vec<_> = by.collect();
            if !by.is_empty() {
                suspects.push((of.clone(), by));
            }
        }
        let mut ended = Vec::new();
        let mut questions = Vec::with_capacity(suspects.len());
        {
            let watchers = lock(&self.watchers);
            for (of, by) in suspects {
                let mut asking = Vec::with_capacity(by.len());
                for (id, shown) in by {
                    match watchers.sessions.get(&id) {
                        Some((who, epoch)) => {
                            asking.push(Watcher { who: who.clone(), epoch: *epoch, shown, properties: false });
                        }
                        None => ended.push((id, of.clone())),
                    }
                }
                if !asking.is_empty() {
                    questions.push(Question { of, watchers: asking });
                }
            }
        }
        ended.iter().for_each(|(id, contact)| self.unwatch(*id, contact));
        questions
    }

    /// The number of a node's present life.
    pub(crate) fn life_of(&self, node: &NodeId) -> Life {
        let lives = self.lives.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(life) = lives.by_node.get(node) {
            return *life;
        }
        drop(lives);
        let mut lives = self.lives.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(life) = lives.by_node.get(node) {
            return *life;
        }
        let life = lives.next;
        if life != Self::ELSEWHERE {
            lives.next += 1;
            lives.by_node.insert(node.clone(), life);
        }
        life
    }

    /// The nodes that somebody was heard of at.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.lives.read().unwrap_or_else(PoisonError::into_inner).by_node.keys().cloned().collect()
    }

    /// That life of a node is over: who is heard to be there from now on is in another one. Returns the number of the one
    /// that is over, if anybody was heard to be there.
    pub(crate) fn end_life(&self, node: &NodeId) -> Option<Life> {
        self.lives.write().unwrap_or_else(PoisonError::into_inner).by_node.remove(node)
    }

    fn bucket_of(&self, contact: &Passport) -> (PassportKey, MutexGuard<'_, Bucket>) {
        let key = PassportKey::of(contact);
        (key, self.bucket(key.bucket()))
    }

    fn bucket(&self, bucket: u8) -> MutexGuard<'_, Bucket> {
        lock(&self.buckets[usize::from(bucket)])
    }
}

#[cfg(test)]
mod tests {
    use common::cluster::Stamp;

    use super::*;

    fn who(name: &str) -> Passport {
        Passport::parse(&format!("{name}@example.com")).unwrap()
    }

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn mark(version: u32) -> Mark {
        Mark::of(&Stamp { epoch: Epoch(1), node: node("ns-2"), count: 1, version })
    }

    /// Bob, watched by alice and carol.
    struct World {
        watchings: Watchings,
        alice: WatcherId,
        carol: WatcherId,
        there: Life,
    }

    impl World {
        fn new() -> Self {
            let watchings = Watchings::default();
            let (alice, carol) =
                (watchings.enter(&who("alice"), Epoch(5)), watchings.enter(&who("carol"), Epoch(6)));
            watchings.watch(alice, &who("bob"));
            watchings.watch(carol, &who("bob"));
            let there = watchings.life_of(&node("ns-2"));
            Self { watchings, alice, carol, there }
        }

        fn shown(&self, watcher: WatcherId, version: Option<u32>, at: Option<&str>) {
            let shown = Shown { mark: version.map(mark), online_at: at.map(node) };
            self.watchings.shown(watcher, &who("bob"), &shown);
        }

        /// Who asks for bob, when he is in that version at a life.
        fn asking(&self, life: Life, version: Option<u32>) -> Vec<(String, Option<Mark>)> {
            let key = PassportKey::of(&who("bob"));
            let there: Vec<_> =
                version.map(|version| Sighting { who: key, mark: mark(version) }).into_iter().collect();
            names(self.watchings.compare(key.bucket(), life, &there))
        }
    }

    fn names(questions: Vec<Question>) -> Vec<(String, Option<Mark>)> {
        let all = questions.into_iter().flat_map(|question| {
            assert_eq!(question.of, who("bob"));
            question.watchers
        });
        let mut all: Vec<_> = all.map(|watcher| (watcher.who.to_string(), watcher.shown)).collect();
        all.sort();
        all
    }

    #[test]
    fn a_watching_takes_sixteen_bytes() {
        assert_eq!(size_of::<Watching>(), 16);
    }

    #[test]
    fn who_is_there_and_was_not_shown_or_in_another_version_is_asked_in_one_question() {
        let world = World::new();
        let (alice, carol) = ("alice@example.com".to_owned(), "carol@example.com".to_owned());
        assert_eq!(world.asking(world.there, None), []);
        assert_eq!(world.asking(world.there, Some(1)), [(alice.clone(), None), (carol.clone(), None)]);
        world.shown(world.alice, Some(1), Some("ns-2"));
        assert_eq!(world.asking(world.there, Some(1)), [(carol.clone(), None)]);
        // "Nothing for you in this version": whoever is blocked does not ask for ever.
        world.shown(world.carol, Some(1), None);
        assert_eq!(world.asking(world.there, Some(1)), []);
        // He may have lost his connection: "nowhere" is no answer before his node says so.
        assert_eq!(world.asking(world.there, Some(2)), [(alice, None), (carol, None)]);
    }

    #[test]
    fn who_was_shown_as_being_there_and_is_not_is_asked() {
        let world = World::new();
        world.shown(world.alice, Some(1), Some("ns-2"));
        world.shown(world.carol, Some(1), None);
        let alice = [("alice@example.com".to_owned(), Some(mark(1)))];
        assert_eq!(world.asking(world.there, None), alice);
        assert_eq!(world.asking(world.watchings.life_of(&node("ns-3")), None), [], "he was not shown there");
        // He has gone, for sure; were he there after all, he would be asked in whatever version he is.
        world.shown(world.alice, None, None);
        assert_eq!(world.asking(world.there, None), []);
        assert!(world.asking(world.there, Some(1)).contains(&("alice@example.com".to_owned(), None)));
    }

    #[test]
    fn those_of_a_life_that_is_over_are_orphans() {
        let world = World::new();
        world.shown(world.alice, Some(1), Some("ns-2"));
        assert_eq!(world.watchings.end_life(&node("ns-2")), Some(world.there));
        world.shown(world.carol, Some(2), Some("ns-2"));
        let bucket = PassportKey::of(&who("bob")).bucket();
        let orphans = names(world.watchings.orphans(bucket, &[world.there].into()));
        assert_eq!(orphans, [("alice@example.com".to_owned(), Some(mark(1)))]);
        assert!(world.watchings.orphans(bucket, &BTreeSet::new()).is_empty());
        assert_ne!(world.watchings.life_of(&node("ns-2")), world.there, "the next life is another one");
    }

    #[test]
    fn what_sessions_leave_behind_goes() {
        let world = World::new();
        let bucket = PassportKey::of(&who("bob")).bucket();
        let before = world.watchings.touched(bucket).unwrap();
        world.shown(world.alice, Some(1), None);
        assert!(world.watchings.touched(bucket).unwrap() > before);
        world.watchings.unwatch(world.carol, &who("bob"));
        world.shown(world.carol, Some(1), None);
        // Alice's session ends without having said whom it watched.
        world.watchings.leave(world.alice);
        assert_eq!(world.asking(world.there, Some(2)), []);
        assert_eq!(world.watchings.touched(bucket), None, "nobody is watched any more");
    }

    #[test]
    fn whatever_order_watchers_come_and_go_in_each_is_found() {
        let (watchings, bob) = (Watchings::default(), who("bob"));
        let bucket = PassportKey::of(&bob).bucket();
        let ids: Vec<_> = (0..50).map(|n| watchings.enter(&who(&n.to_string()), Epoch(n))).collect();
        let asked = |watchings: &Watchings| {
            let questions = watchings.compare(
                bucket,
                Watchings::ELSEWHERE,
                &[Sighting { who: PassportKey::of(&bob), mark: mark(1) }],
            );
            let watchers = questions.into_iter().flat_map(|question| question.watchers);
            watchers.map(|watcher| watcher.epoch.0).collect::<BTreeSet<_>>()
        };
        // 7 and 50 have no divisor in common: all of them, in no order.
        let scattered = || (0..50).map(|n| ids[n * 7 % 50]);
        scattered().chain(scattered()).for_each(|id| watchings.watch(id, &bob));
        assert_eq!(asked(&watchings), (0..50).collect());
        for id in scattered().take(20) {
            watchings.shown(id, &bob, &Shown { mark: Some(mark(1)), online_at: None });
        }
        scattered().skip(40).for_each(|id| watchings.unwatch(id, &bob));
        let wrong = (20..40).map(|n| n * 7 % 50).collect();
        assert_eq!(asked(&watchings), wrong);
    }

    #[test]
    fn who_is_watched_by_very_many_costs_no_square_of_them() {
        const MANY: u32 = 60_000;
        let (watchings, bob) = (Watchings::default(), who("bob"));
        let started = std::time::Instant::now();
        (1..=MANY).for_each(|id| watchings.watch(id, &bob));
        let shown = Shown { mark: Some(mark(1)), online_at: None };
        (1..=MANY).for_each(|id| watchings.shown(id, &bob, &shown));
        (1..=MANY).rev().for_each(|id| watchings.unwatch(id, &bob));
        // The square took 8 s and more in a debug build.
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(watchings.touched(PassportKey::of(&bob).bucket()), None);
    }
}
