//! Which notification node a client is sent to.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use common::cluster::{Node, Role, View};
use common::model::{Generation, NodeId};
use common::telemetry::Seldom;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

/// Nodes publish how many sign-ins they admit in so long.
const INTERVAL: Duration = Duration::from_secs(1);

/// An assignment whose client has not come after so long is forgotten: it has given up, or its password was wrong.
const UNDERWAY: Duration = Duration::from_secs(15);

/// What this dispatcher has assigned to whom. Holds live notification nodes only.
#[derive(Debug)]
pub(crate) struct Balance {
    /// When the present interval began.
    interval: Instant,
    assigned: HashMap<NodeId, Assigned>,
    passed_over: PassedOver,
}

/// Sign-ins for which the least-loaded node was passed over: counted, and said in the log from time to time.
#[derive(Debug, Default)]
struct PassedOver {
    counter: Counter,
    lines: Seldom,
}

#[derive(Debug, Default)]
struct Assigned {
    generation: Generation,
    /// How many sessions had come to it by its last report.
    arrived: u64,
    /// Arrivals that are not a whole one of this dispatcher's yet, where there are several.
    shared: u64,
    underway: Underway,
    in_interval: u64,
}

/// Own assignments whose clients have not come yet, as far as the node has reported: when, rounded, and how many.
#[derive(Debug, Default)]
struct Underway {
    batches: VecDeque<(Instant, u64)>,
    count: u64,
}

impl Underway {
    fn add(&mut self, now: Instant) {
        self.count += 1;
        match self.batches.back_mut() {
            Some((begun, count)) if now.saturating_duration_since(*begun) < INTERVAL => *count += 1,
            _ => self.batches.push_back((now, 1)),
        }
    }

    /// So many have come: the oldest, most likely.
    fn arrive(&mut self, mut arrived: u64) {
        while let Some((_, count)) = self.batches.front_mut() {
            let taken = arrived.min(*count);
            (*count, self.count, arrived) = (*count - taken, self.count - taken, arrived - taken);
            if *count > 0 {
                return;
            }
            self.batches.pop_front();
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((begun, count)) = self.batches.front()
            && now.saturating_duration_since(*begun) >= UNDERWAY
        {
            self.count -= count;
            self.batches.pop_front();
        }
    }
}

impl PassedOver {
    fn note(&self, node: &Node) {
        self.counter.inc();
        if let Some(left_out) = self.lines.permits() {
            let admits = node.load.admits_per_second;
            tracing::warn!(node = %node.id, admits, left_out, "it has had the sign-ins that it admits in this second");
        }
    }
}

impl Balance {
    /// Nothing has been assigned.
    pub(crate) fn new(now: Instant) -> Self {
        Self { interval: now, assigned: HashMap::new(), passed_over: PassedOver::default() }
    }

    /// Counts in that counter the sign-ins for which a node was passed over.
    pub(crate) fn counting(mut self, passed_over: Counter) -> Self {
        self.passed_over.counter = passed_over;
        self
    }

    /// Assigns one sign-in to the least-loaded notification node that is ready and not draining; nothing if there
    /// is none. `random` decides between equals.
    ///
    /// A node's load is estimated: what it reported, and the own assignments that were not in it yet as often as there are
    /// dispatchers, by its capacity. A report counts the sessions that have come, so an assignment counts until its client has:
    /// a report on its way says nothing about those who are still signing in. Nodes that have had what they admit in an interval are passed over, so that a
    /// fresh one isn't flooded. If all have, the least loaded gets it nevertheless: it is the node that decides
    /// whom it admits, and a client told 601 here would only come back sooner.
    pub(crate) fn assign<'v>(&mut self, view: &'v View, now: Instant, random: u64) -> Option<&'v Node> {
        let dispatchers = view.of(Role::Dispatch).count().max(1) as u64;
        self.catch_up(view, dispatchers, now);
        let fit = || view.open(Role::Notification);
        let admits = |node: &&Node| {
            let most = node.load.admits_per_second;
            let had = self.assigned.get(&node.id).map_or(0, |assigned| assigned.in_interval);
            most == 0 || had.saturating_mul(dispatchers) < most
        };
        let estimate = |node: &Node| {
            let underway = self.assigned.get(&node.id).map_or(0, |assigned| assigned.underway.count);
            let since = underway.saturating_mul(dispatchers);
            Estimate { load: node.load.load.saturating_add(since), capacity: node.load.capacity.max(1) }
        };
        let best = least(fit(), estimate, random)?;
        let chosen =
            if admits(&best) { best } else { least(fit().filter(admits), estimate, random).unwrap_or(best) };
        if !admits(&best) {
            self.passed_over.note(best);
        }
        let assigned = self.assigned.get_mut(&chosen.id)?;
        assigned.underway.add(now);
        assigned.in_interval += 1;
        Some(chosen)
    }

    /// Takes in what has changed since the last assignment.
    fn catch_up(&mut self, view: &View, dispatchers: u64, now: Instant) {
        if now.saturating_duration_since(self.interval) >= INTERVAL {
            self.interval = now;
            self.assigned.values_mut().for_each(|assigned| assigned.in_interval = 0);
        }
        self.assigned.retain(|id, assigned| view.has(id, assigned.generation));
        for node in view.of(Role::Notification) {
            let (generation, arrived) = (node.generation, node.load.arrived);
            let new = || Assigned { generation, arrived, ..Assigned::default() };
            let assigned = self.assigned.entry(node.id.clone()).or_insert_with(new);
            assigned.underway.forget(now);
            assigned.shared += arrived.saturating_sub(assigned.arrived);
            assigned.arrived = assigned.arrived.max(arrived);
            assigned.underway.arrive(assigned.shared / dispatchers);
            assigned.shared %= dispatchers;
        }
    }
}

/// A fraction, compared exactly.
#[derive(Clone, Copy)]
struct Estimate {
    load: u64,
    /// Never 0.
    capacity: u64,
}

impl Estimate {
    fn compare(self, other: Self) -> std::cmp::Ordering {
        let (mine, others) = (u128::from(self.load), u128::from(other.load));
        (mine * u128::from(other.capacity)).cmp(&(others * u128::from(self.capacity)))
    }
}

/// The node of the smallest estimate; of several, the one that `random` falls on.
fn least<'v>(
    nodes: impl Iterator<Item = &'v Node>,
    estimate: impl Fn(&Node) -> Estimate,
    random: u64,
) -> Option<&'v Node> {
    let mut least: Vec<(&Node, Estimate)> = Vec::new();
    for node in nodes {
        let candidate = estimate(node);
        match least.first().map(|(_, known)| candidate.compare(*known)) {
            Some(std::cmp::Ordering::Greater) => continue,
            Some(std::cmp::Ordering::Less) => least.clear(),
            Some(std::cmp::Ordering::Equal) | None => {}
        }
        least.push((node, candidate));
    }
    let at = usize::try_from(random % least.len().max(1) as u64).unwrap_or_default();
    least.get(at).map(|(node, _)| *node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{dispatcher, notifier};
    use proptest::prelude::*;

    /// Assigns `count` sign-ins in one interval and says how many each node got.
    fn assign(balance: &mut Balance, view: &View, now: Instant, count: usize) -> HashMap<String, usize> {
        let mut got = HashMap::new();
        for random in 0..count {
            if let Some(node) = balance.assign(view, now, random as u64) {
                *got.entry(node.id.to_string()).or_default() += 1;
            }
        }
        got
    }

    fn counts<const N: usize>(counts: [(&str, usize); N]) -> HashMap<String, usize> {
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    #[test]
    fn nobody_is_there() {
        let now = Instant::now();
        let mut unready = notifier("a", 0, 10);
        unready.ready = false;
        let mut draining = notifier("b", 0, 10);
        draining.load.draining = true;
        let view = View::new([unready, draining, dispatcher("d", "192.0.2.1:1863")]);
        assert!(Balance::new(now).assign(&view, now, 0).is_none());
    }

    #[test]
    fn load_counts_by_capacity() {
        let now = Instant::now();
        let view = View::new([notifier("big", 50, 100), notifier("small", 6, 10)]);
        // 50/100 and 6/10: ten more and the big one is at 60/100, then they take turns ten to one.
        assert_eq!(assign(&mut Balance::new(now), &view, now, 10), counts([("big", 10)]));
        assert_eq!(assign(&mut Balance::new(now), &view, now, 21)["small"], 1);
    }

    #[test]
    fn ties_go_by_chance() {
        let now = Instant::now();
        let view = View::new([notifier("a", 1, 10), notifier("b", 1, 10), notifier("c", 2, 20)]);
        for (random, name) in [(0, "a"), (1, "b"), (2, "c"), (3, "a")] {
            assert_eq!(Balance::new(now).assign(&view, now, random).unwrap().id.as_str(), name);
        }
    }

    #[test]
    fn an_assignment_counts_for_all_dispatchers_until_its_client_has_come() {
        let now = Instant::now();
        let (mut a, b) = (notifier("a", 0, 10), notifier("b", 4, 10));
        let others = [dispatcher("d1", "192.0.2.1:1863"), dispatcher("d2", "192.0.2.2:1863")];
        let view = |a: &Node, b: &Node| View::new([a.clone(), b.clone()].into_iter().chain(others.clone()));
        let mut balance = Balance::new(now);
        // Two of mine are likely four of ours: a is at 4 then, as b.
        assert_eq!(assign(&mut balance, &view(&a, &b), now, 2), counts([("a", 2)]));
        assert_eq!(assign(&mut balance, &view(&a, &b), now, 2), counts([("a", 1), ("b", 1)]));
        // It reports, and nobody has come yet: both are at 6.
        a.load.load = 0;
        assert_eq!(assign(&mut balance, &view(&a, &b), now, 2), counts([("a", 1), ("b", 1)]));
        // All eight of ours have come, and seven of them have gone again: it is at 1, and b at 8.
        (a.load.load, a.load.arrived) = (1, 8);
        assert_eq!(assign(&mut balance, &view(&a, &b), now, 3), counts([("a", 3)]));
        // Those who never come are forgotten.
        assert_eq!(assign(&mut balance, &view(&a, &b), now + UNDERWAY, 1), counts([("a", 1)]));
        assert_eq!(balance.assigned.values().map(|assigned| assigned.underway.count).sum::<u64>(), 1);
    }

    #[test]
    fn a_burst_is_shared_evenly_whenever_reports_come() {
        let (mut balance, mut now) = (Balance::new(Instant::now()), Instant::now());
        let mut nodes = ["a", "b", "c"].map(|name| notifier(name, 0, 10_000));
        // Clients come a second and more after they were sent; each node reports at another time, some of them late.
        let mut underway: Vec<(usize, String)> = Vec::new();
        let mut come: HashMap<String, u64> = HashMap::new();
        let mut got: HashMap<String, usize> = HashMap::new();
        for turn in 0..1200_usize {
            now += Duration::from_millis(5);
            let view = View::new(nodes.clone());
            let name = balance.assign(&view, now, turn as u64).unwrap().id.to_string();
            *got.entry(name.clone()).or_default() += 1;
            underway.push((turn + 200 + turn * 7 % 150, name));
            underway.retain(|(due, name)| {
                let is_due = *due <= turn;
                *come.entry(name.clone()).or_default() += u64::from(is_due);
                !is_due
            });
            for (place, node) in nodes.iter_mut().enumerate() {
                if turn % 200 == 60 * place {
                    let here = come.get(node.id.as_str()).copied().unwrap_or_default();
                    (node.load.load, node.load.arrived) = (here, here);
                }
            }
            if turn == 59 {
                assert!(got.values().all(|count| (15..=25).contains(count)), "{got:?}");
            }
        }
        assert!(got.values().all(|count| (390..=410).contains(count)), "{got:?}");
    }

    #[test]
    fn a_fresh_node_is_not_flooded() {
        let now = Instant::now();
        let mut fresh = notifier("fresh", 0, 1000);
        fresh.load.admits_per_second = 10;
        let view = View::new([fresh, notifier("old", 900, 1000)]);
        let mut balance = Balance::new(now);
        assert_eq!(assign(&mut balance, &view, now, 25), counts([("fresh", 10), ("old", 15)]));
        let next = now + INTERVAL;
        assert_eq!(assign(&mut balance, &view, next, 11), counts([("fresh", 10), ("old", 1)]));
        assert_eq!(balance.passed_over.counter.get(), 16);
    }

    #[test]
    fn when_all_have_had_enough_the_least_loaded_gets_more() {
        let now = Instant::now();
        let (mut a, mut b) = (notifier("a", 0, 10), notifier("b", 5, 10));
        (a.load.admits_per_second, b.load.admits_per_second) = (1, 1);
        let view = View::new([a, b]);
        assert_eq!(assign(&mut Balance::new(now), &view, now, 4), counts([("a", 3), ("b", 1)]));
    }

    #[test]
    fn a_new_life_of_a_node_starts_from_nothing_and_the_dead_are_forgotten() {
        let now = Instant::now();
        let mut a = notifier("a", 0, 10);
        let mut balance = Balance::new(now);
        assign(&mut balance, &View::new([a.clone(), notifier("b", 10, 10)]), now, 5);
        a.generation.0 += 1;
        balance.assign(&View::new([a]), now, 0).unwrap();
        let known: Vec<_> =
            balance.assigned.iter().map(|(id, assigned)| (id.as_str(), assigned.underway.count)).collect();
        assert_eq!(known, [("a", 1)]);
    }

    proptest! {
        #[test]
        fn no_live_node_starves(
            nodes in prop::collection::vec((0..40u64, 1..10u64, 0..5u64), 1..6),
            dispatchers in 1..4usize,
            seed: u64,
        ) {
            let mut now = Instant::now();
            let live = nodes.iter().enumerate().map(|(at, &(load, capacity, admits))| {
                let mut node = notifier(&format!("n{at}"), load, capacity);
                node.load.admits_per_second = admits;
                node
            });
            let fronts = (0..dispatchers).map(|at| dispatcher(&format!("d{at}"), "192.0.2.1:1863"));
            let view = View::new(live.chain(fronts));
            // The fullest is at 40/1 at most: by then each of the others has taken 40 times its capacity.
            let enough = nodes.iter().map(|(_, capacity, _)| 41 * capacity).sum::<u64>() + nodes.len() as u64;
            let mut balance = Balance::new(now);
            let mut got = HashMap::new();
            for turn in 0..enough {
                let node = balance.assign(&view, now, seed.wrapping_add(turn)).unwrap();
                *got.entry(node.id.to_string()).or_insert(0) += 1;
                // So fast that nobody can have come.
                now += INTERVAL / 700;
            }
            prop_assert_eq!(got.len(), nodes.len(), "{:?}", got);
        }
    }
}
