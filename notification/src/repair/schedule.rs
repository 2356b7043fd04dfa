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
    /// And at least, when there are gaps. If they go on it becomes longer.
    pause: Duration,
    /// How long a node must have been away until its users are asked for.
    grace: Duration,
    peers: BTreeMap<NodeId, Peer>,
    /// Gaps with nodes that are not in the view yet, with when to compare. They are forgotten after a period.
    early: BTreeMap<NodeId, Instant>,
    /// The users of lives that are over are looked for at that time.
    orphans: Instant,
    /// When each node was last alive.
    alive: BTreeMap<NodeId, (Option<Generation>, Instant)>,
    /// Lives that ended a moment ago.
    ended: BTreeMap<Life, Instant>,
    over: BTreeSet<Life>,
    losses: Losses,
}

/// Notices of this node were lost. What is done then makes more notices, which may be lost in their turn: the longer that goes
/// on, the later it is done.
#[derive(Default)]
struct Losses {
    last: Option<Instant>,
    delay: Duration,
    /// When the others are told.
    tells: Option<Instant>,
}

/// A notification node, this one included.
struct Peer {
    generation: Generation,
    due: Instant,
    last: Option<Instant>,
    /// It is due because of a gap.
    hurried: bool,
    /// So many times in a row it was.
    gaps: u32,
    compared: Compared,
}

impl Schedule {
    /// More notices are lost at the same time, mostly: so long those are waited for.
    const MORE: Duration = Duration::from_secs(1);
    /// Without a loss for so long beyond the delay of the last one they do not go on. What was posted is given up after less.
    const QUIET: Duration = Duration::from_secs(6);

    /// Nothing is known yet.
    pub(super) fn new(period: Duration, grace: Duration, now: Instant) -> Self {
        let pause = Duration::from_secs(2).min(period / 4);
        let (peers, early, alive, ended, over, losses) = Default::default();
        Self { period, pause, grace, peers, early, orphans: now + period, alive, ended, over, losses }
    }

    /// Takes note of which nodes there are. `random`: from 0 to 1, another one each time.
    pub(super) fn follow(&mut self, view: &View, watchings: &Watchings, now: Instant, random: f64) {
        let early = &mut self.early;
        self.peers.retain(|node, peer| {
            let lives = view.has(node, peer.generation);
            if !lives && peer.hurried {
                // It may have been of the life that follows.
                early.insert(node.clone(), peer.due);
            }
            lives
        });
        for node in view.of(Role::Notification) {
            let early = self.early.remove(&node.id);
            let new = || Peer {
                generation: node.generation,
                // Not all begin at once, unless it is urgent.
                due: early.unwrap_or(now + self.period.mul_f64(random)),
                last: None,
                hurried: early.is_some(),
                gaps: 0,
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
        self.early.retain(|_, from| now.saturating_duration_since(*from) < self.period);
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

    /// Notices of that node may be lost: its list is compared soon. The gap may be heard of before the node is in the view.
    pub(super) fn hurry(&mut self, node: &NodeId, now: Instant) {
        let Some(peer) = self.peers.get_mut(node) else {
            self.early.entry(node.clone()).or_insert(now);
            return;
        };
        let pause = lengthened(self.pause, peer.gaps, self.period / 4);
        let soon = peer.last.map_or(now, |last| now.max(last + pause));
        if soon < peer.due {
            (peer.due, peer.hurried) = (soon, true);
        }
    }

    /// Notices of this node were lost, it is not known where: the others are told, and since questions of this node may be among
    /// them, all is compared.
    pub(super) fn lost(&mut self, now: Instant) {
        let Losses { last, delay, tells } = &mut self.losses;
        let go_on =
            last.replace(now).is_some_and(|last| now.saturating_duration_since(last) < *delay + Self::QUIET);
        if tells.is_some() {
            return;
        }
        *delay = if go_on { (*delay * 2).min(self.period / 2) } else { Self::MORE };
        let from = now + *delay;
        *tells = Some(from);
        self.hurry_all(from);
    }

    /// Whether the others are to be told now that notices of this node were lost.
    pub(super) fn tells(&mut self, now: Instant) -> bool {
        self.losses.tells.take_if(|at| *at <= now).is_some()
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
        peer.gaps = if std::mem::take(&mut peer.hurried) { peer.gaps.saturating_add(1) } else { 0 };
        Some((node.clone(), std::mem::take(&mut peer.compared)))
    }

    /// What came of comparing, if anything. Not `answered` to the end: it goes on soon with what is left.
    pub(super) fn done(&mut self, node: &NodeId, compared: Option<Compared>, answered: bool, now: Instant) {
        let pause = self.pause;
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.last = Some(now);
        if !answered {
            peer.due = peer.due.min(now + pause);
        }
        peer.compared = compared.unwrap_or_else(|| vec![None; BUCKETS]);
    }

    /// The lives whose users are to be looked for now, if it is time and there are any.
    pub(super) fn orphans_due(&mut self, now: Instant, random: f64) -> Option<BTreeSet<Life>> {
        if now < self.orphans {
            return None;
        }
        // Who has not answered may do so a grace after the sign-in: until then a session that has shown nothing keeps silent.
        self.orphans = now + spread(self.period.min(self.grace), random);
        (!self.over.is_empty()).then(|| self.over.clone())
    }

    /// Nobody is shown as being in these lives any more.
    pub(super) fn forget(&mut self, over: &BTreeSet<Life>) {
        self.over.retain(|life| !over.contains(life));
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        let tells = self.losses.tells.unwrap_or(self.orphans);
        self.peers.values().map(|peer| peer.due).fold(self.orphans.min(tells), Instant::min)
    }
}

/// The pause after so many gaps in a row.
fn lengthened(pause: Duration, gaps: u32, most: Duration) -> Duration {
    pause.saturating_mul(1 << gaps.saturating_sub(1).min(16)).min(most)
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
        schedule.done(&node, Some(compared), true, now);
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
        // Without an answer it is tried again soon, and goes on where it was.
        let (node, mut compared) = schedule.due(secs(64), 1.0).unwrap();
        compared[7] = Some((1, 2));
        schedule.done(&node, Some(compared), false, secs(64));
        assert!(schedule.due(secs(64), 1.0).is_some_and(|(other, _)| other != node));
        assert!(
            schedule.due(secs(66), 1.0).is_some_and(|(again, known)| again == node && known[7] == Some((1, 2)))
        );
    }

    #[test]
    fn a_gap_may_be_heard_of_before_its_node_is_in_the_view() {
        let (watchings, now) = (Watchings::default(), Instant::now());
        let mut schedule = Schedule::new(PERIOD, GRACE, now);
        let secs = |secs| now + Duration::from_secs(secs);
        for node in ["b", "c"] {
            schedule.hurry(&id(node), now);
        }
        schedule.follow(&view(&[("a", 1), ("b", 1)]), &watchings, secs(1), 1.0);
        assert_eq!([due(&mut schedule, secs(1)), due(&mut schedule, secs(1))], [Some("b".to_owned()), None]);
        // Nor need it be the life that was in the view.
        schedule.hurry(&id("b"), secs(10));
        schedule.follow(&view(&[("a", 1), ("b", 2)]), &watchings, secs(11), 1.0);
        assert_eq!(due(&mut schedule, secs(11)).as_deref(), Some("b"));
        // That of the third is an old one by now.
        schedule.follow(&view(&[("a", 1), ("b", 2)]), &watchings, secs(30), 1.0);
        schedule.follow(&view(&[("c", 1)]), &watchings, secs(30), 1.0);
        assert_eq!(due(&mut schedule, secs(30)), None);
    }

    #[test]
    fn those_who_do_not_answer_are_looked_for_again_after_the_grace() {
        let (watchings, now) = (Watchings::default(), Instant::now());
        let mut schedule = Schedule::new(PERIOD, GRACE, now);
        let life = watchings.life_of(&id("b"));
        let searches = (0..40).filter(|secs| {
            let at = now + Duration::from_secs(*secs);
            schedule.follow(&view(&[("a", 1)]), &watchings, at, 1.0);
            schedule.orphans_due(at, 1.0).is_some_and(|over| over == [life].into())
        });
        assert_eq!(searches.collect::<Vec<_>>(), [10, 20, 30]);
    }

    #[test]
    fn while_gaps_go_on_the_pauses_become_longer() {
        let (watchings, now) = (Watchings::default(), Instant::now());
        let mut schedule = Schedule::new(PERIOD, GRACE, now);
        schedule.follow(&view(&[("a", 1)]), &watchings, now, 1.0);
        let mut compares = |secs: std::ops::Range<u64>, gaps: bool| {
            let at = secs.map(|secs| now + Duration::from_secs(secs));
            let all = at.filter(|at| {
                if gaps {
                    schedule.hurry(&id("a"), *at);
                }
                due(&mut schedule, *at).is_some()
            });
            all.map(|at| at.duration_since(now).as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(compares(0..30, true), [0, 2, 6, 14, 22]);
        assert_eq!(compares(30..120, false), [30, 60, 90], "the first is of a gap before");
        assert_eq!(compares(100..106, true), [100, 102], "and are short again when there were none");
    }

    #[test]
    fn own_losses_that_go_on_are_told_of_ever_later() {
        let (watchings, now) = (Watchings::default(), Instant::now());
        let mut schedule = Schedule::new(PERIOD, GRACE, now);
        schedule.follow(&view(&[("a", 1)]), &watchings, now, 1.0);
        let mut tells = |secs: std::ops::Range<u64>, lost: &dyn Fn(u64) -> bool| {
            let all = secs.filter(|secs| {
                let at = now + Duration::from_secs(*secs);
                if lost(*secs) {
                    schedule.lost(at);
                    assert!(schedule.next() <= at + PERIOD / 2, "it is told, though");
                }
                schedule.tells(at)
            });
            all.collect::<Vec<_>>()
        };
        // Whatever is told of loses more.
        assert_eq!(tells(0..70, &|_| true), [1, 4, 9, 18, 34, 50, 66]);
        assert_eq!(tells(70..120, &|_| false), [82]);
        assert_eq!(tells(120..130, &|secs| secs == 120), [121]);
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
