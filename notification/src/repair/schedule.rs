//! When whose list is compared, and which lives of nodes are over. No clock: time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::cluster::{BUCKETS, Role, View};
use common::model::{Generation, NodeId};

use super::watchings::{Life, Watchings};

/// What was compared of each bucket and found right: the sum of the other side's list and the state of the own index.
pub(super) type Compared = Vec<Option<(u64, u64)>>;

/// See the module.
pub(super) struct Schedule {
    /// Between two comparisons with one node at most.
    period: Duration,
    /// And at least, however many gaps there are.
    pause: Duration,
    /// How long a node must have been away until its users are asked for.
    grace: Duration,
    peers: BTreeMap<NodeId, Peer>,
    /// The users of lives that are over are looked for at that time.
    orphans: Instant,
    /// When each node was last alive.
    alive: BTreeMap<NodeId, (Option<Generation>, Instant)>,
    /// Lives that ended a moment ago.
    ended: BTreeMap<Life, Instant>,
    over: BTreeSet<Life>,
}

/// A notification node, this one included.
struct Peer {
    generation: Generation,
    due: Instant,
    last: Option<Instant>,
    compared: Compared,
}

impl Schedule {
    /// Nothing is known yet.
    pub(super) fn new(period: Duration, grace: Duration, now: Instant) -> Self {
        let pause = Duration::from_secs(2).min(period / 4);
        let (peers, alive, ended, over) = Default::default();
        Self { period, pause, grace, peers, orphans: now + period, alive, ended, over }
    }

    /// Takes note of which nodes there are. `random`: from 0 to 1, another one each time.
    pub(super) fn follow(&mut self, view: &View, watchings: &Watchings, now: Instant, random: f64) {
        self.peers.retain(|node, peer| view.has(node, peer.generation));
        for node in view.of(Role::Notification) {
            let new = || Peer {
                generation: node.generation,
                // A gap tells of it if that is urgent: not all begin at once.
                due: now + self.period.mul_f64(random),
                last: None,
                compared: vec![None; BUCKETS],
            };
            self.peers.entry(node.id.clone()).or_insert_with(new);
            let known = self.alive.insert(node.id.clone(), (Some(node.generation), now));
            let lived = known.and_then(|(generation, _)| generation);
            if lived.is_some_and(|lived| lived != node.generation)
                && let Some(life) = watchings.end_life(&node.id)
            {
                self.ended.insert(life, now);
            }
        }
        for node in watchings.nodes() {
            self.alive.entry(node).or_insert((None, now));
        }
        let (grace, before) = (self.grace, self.over.len());
        let is_over = |since: Instant| now.saturating_duration_since(since) >= grace;
        let (over, ended, alive) = (&mut self.over, &mut self.ended, &mut self.alive);
        ended.retain(|life, since| {
            let now_over = is_over(*since);
            if now_over {
                over.insert(*life);
            }
            !now_over
        });
        alive.retain(|node, (_, last)| {
            let now_over = is_over(*last) && view.node(node).is_none();
            if now_over {
                over.extend(watchings.end_life(node));
            }
            !now_over
        });
        if self.over.len() > before {
            self.orphans = now;
        }
    }

    /// Notices of that node may be lost: its list is compared soon.
    pub(super) fn hurry(&mut self, node: &NodeId, now: Instant) {
        let pause = self.pause;
        if let Some(peer) = self.peers.get_mut(node) {
            let soon = peer.last.map_or(now, |last| now.max(last + pause));
            peer.due = peer.due.min(soon);
        }
    }

    /// The same for all, this node included.
    pub(super) fn hurry_all(&mut self, from: Instant) {
        let nodes: Vec<NodeId> = self.peers.keys().cloned().collect();
        nodes.iter().for_each(|node| self.hurry(node, from));
        self.orphans = self.orphans.min(from);
    }

    /// Whose list is to be compared now: the one that waits longest. It is due again a period later.
    pub(super) fn due(&mut self, now: Instant, random: f64) -> Option<(NodeId, Compared)> {
        let first = self.peers.iter_mut().filter(|(_, peer)| peer.due <= now).min_by_key(|(_, peer)| peer.due);
        let (node, peer) = first?;
        peer.last = Some(now);
        peer.due = now + spread(self.period, random);
        Some((node.clone(), std::mem::take(&mut peer.compared)))
    }

    /// What came of comparing. Nothing: no answer, so it is tried again soon.
    pub(super) fn done(&mut self, node: &NodeId, compared: Option<Compared>, now: Instant) {
        let pause = self.pause;
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.last = Some(now);
        if compared.is_none() {
            peer.due = peer.due.min(now + pause);
        }
        peer.compared = compared.unwrap_or_else(|| vec![None; BUCKETS]);
    }

    /// The lives whose users are to be looked for now, if it is time and there are any.
    pub(super) fn orphans_due(&mut self, now: Instant, random: f64) -> Option<BTreeSet<Life>> {
        if now < self.orphans {
            return None;
        }
        self.orphans = now + spread(self.period, random);
        (!self.over.is_empty()).then(|| self.over.clone())
    }

    /// Nobody is shown as being in these lives any more.
    pub(super) fn forget(&mut self, over: &BTreeSet<Life>) {
        self.over.retain(|life| !over.contains(life));
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        self.peers.values().map(|peer| peer.due).fold(self.orphans, Instant::min)
    }
}

/// Three quarters of a period to a whole one.
fn spread(period: Duration, random: f64) -> Duration {
    period.mul_f64(0.75 + random / 4.0)
}

#[cfg(test)]
mod tests {
    use common::cluster::Node;
    use common::model::Epoch;

    use super::super::watchings::Shown;
    use super::*;
    use crate::session::transcript::switchboard;

    const PERIOD: Duration = Duration::from_secs(30);
    const GRACE: Duration = Duration::from_secs(10);

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn view(nodes: &[(&str, u64)]) -> View {
        View::new(nodes.iter().map(|(name, generation)| Node {
            generation: Generation(*generation),
            role: Role::Notification,
            ..switchboard(name, 0, 1)
        }))
    }

    fn due(schedule: &mut Schedule, now: Instant) -> Option<String> {
        let (node, compared) = schedule.due(now, 1.0)?;
        schedule.done(&node, Some(compared), now);
        Some(node.to_string())
    }

    #[test]
    fn each_is_due_once_in_a_period_and_soon_after_a_gap() {
        let (watchings, now) = (Watchings::default(), Instant::now());
        let mut schedule = Schedule::new(PERIOD, GRACE, now);
        let secs = |secs| now + Duration::from_secs(secs);
        schedule.follow(&view(&[("a", 1), ("b", 1)]), &watchings, now, 0.5);
        assert_eq!((due(&mut schedule, now), schedule.next()), (None, secs(15)));
        schedule.hurry(&id("b"), now);
        schedule.hurry(&id("unknown"), now);
        assert_eq!(due(&mut schedule, now).as_deref(), Some("b"));
        // More gaps at once make one more comparison, a moment later.
        schedule.hurry(&id("b"), now);
        schedule.hurry(&id("b"), secs(1));
        assert_eq!(due(&mut schedule, secs(1)), None);
        assert_eq!(due(&mut schedule, secs(2)).as_deref(), Some("b"));
        assert_eq!(due(&mut schedule, secs(3)), None);
        assert_eq!(due(&mut schedule, secs(15)).as_deref(), Some("a"));
        assert_eq!(due(&mut schedule, secs(32)).as_deref(), Some("b"));
        schedule.hurry_all(secs(33));
        assert_eq!([due(&mut schedule, secs(34)), due(&mut schedule, secs(34))].iter().flatten().count(), 2);
        // Without an answer it is tried again soon.
        let (node, _) = schedule.due(secs(64), 1.0).unwrap();
        schedule.done(&node, None, secs(64));
        assert!(schedule.due(secs(64), 1.0).is_some_and(|(other, _)| other != node));
        assert!(schedule.due(secs(66), 1.0).is_some_and(|(again, _)| again == node));
    }

    #[test]
    fn a_life_is_over_once_its_node_was_away_for_the_grace() {
        let (watchings, now) = (Watchings::default(), Instant::now());
        let mut schedule = Schedule::new(PERIOD, GRACE, now);
        let secs = |secs| now + Duration::from_secs(secs);
        let (first, unseen) = (watchings.life_of(&id("b")), watchings.life_of(&id("c")));
        schedule.follow(&view(&[("a", 1), ("b", 1)]), &watchings, now, 0.0);
        // Away for less than the grace: nothing is over but the life of one that never was in the view.
        schedule.follow(&view(&[("a", 1)]), &watchings, secs(9), 0.0);
        assert_eq!(schedule.orphans_due(secs(9), 0.0), None);
        schedule.follow(&view(&[("a", 1), ("b", 1)]), &watchings, secs(11), 0.0);
        assert_eq!(schedule.orphans_due(secs(11), 0.0), Some([unseen].into()));
        schedule.forget(&[unseen].into());
        // It lives again: its users of before were somewhere else from then on.
        schedule.follow(&view(&[("a", 1), ("b", 2)]), &watchings, secs(12), 0.0);
        let second = watchings.life_of(&id("b"));
        schedule.follow(&view(&[("a", 1), ("b", 2)]), &watchings, secs(22), 0.0);
        assert_eq!(schedule.orphans_due(secs(22), 0.0), Some([first].into()));
        schedule.forget(&[first].into());
        schedule.follow(&view(&[("a", 1)]), &watchings, secs(32), 0.0);
        assert_eq!(schedule.orphans_due(secs(32), 0.0), Some([second].into()));
        let (who, heard) = (watchings.enter(&"x@y".parse().unwrap(), Epoch(1)), "z@y".parse().unwrap());
        watchings.watch(who, &heard);
        watchings.shown(who, &heard, &Shown { mark: None, online_at: Some(id("b")) });
        assert_ne!(watchings.life_of(&id("b")), second, "who is heard of late is looked for once more");
    }
}
