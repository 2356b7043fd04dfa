//! A node whose clock is off serves nobody: sign-ins, tickets and messages are in the order of clocks.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Cluster;
use crate::net::Shutdown;
use crate::telemetry::Condition;

/// Clocks may be so many µs apart.
const APART: u64 = 1_000_000;
/// How often they are compared.
const LOOK: Duration = Duration::from_secs(1);
/// A clock is off when so many looks in a row say so: a node that was paused finds old datagrams.
const LOOKS: u32 = 3;

impl Cluster {
    /// Keeps a condition until shutdown: it holds while this node's clock is within a second of those of most others. It is
    /// the one that is off whose condition does not hold; where half are against half nobody can say which, and all go on:
    /// `doubt` says so to the operators.
    pub fn watch_clock(&self, condition: Condition, doubt: Condition, shutdown: &Shutdown) {
        let (cluster, until) = (self.clone(), shutdown.clone());
        condition.met();
        shutdown.spawn(async move {
            let (mut looks, mut row, mut last) = (interval(LOOK), 0, Standing::Right);
            let mut witnesses = Witnesses::default();
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = looks.tick() => {}
                    () = until.begun() => return,
                }
                cluster.post.believe(witnesses.of(&cluster, Instant::now()).await);
                let standing = Standing::of(&cluster.post.clocks());
                row = if standing.is_like(last) { row + 1 } else { 1 };
                last = standing;
                if row >= LOOKS || standing == Standing::Right {
                    standing.tell(&condition, &doubt);
                }
            }
        });
    }

    /// Whether this node's clock is more than a second off those of most others, as far as they have been heard of late.
    #[must_use]
    pub fn clock_is_off(&self) -> bool {
        matches!(Standing::of(&self.post.clocks()), Standing::Off(_))
    }
}

/// Whose untimely gossip says something about clocks: those that this node knows by timely one, or did lately, and its seeds.
/// Others may be dead, and what they have sent be played by somebody.
#[derive(Default)]
struct Witnesses {
    known: BTreeMap<SocketAddr, Instant>,
    seeds: Vec<SocketAddr>,
    /// When the seeds' names were looked up.
    looked_up: Option<Instant>,
}

impl Witnesses {
    /// So long somebody is believed who is known no more: a clock that was set loses all others, one after the other.
    const MEMORY: Duration = Duration::from_secs(600);
    /// Between two looks for the seeds' names.
    const NAMES: Duration = Duration::from_secs(60);

    /// Nothing: this node knows of nobody, and can't tell.
    async fn of(&mut self, cluster: &Cluster, now: Instant) -> Option<BTreeSet<SocketAddr>> {
        let view = cluster.view();
        self.know(view.all().filter(|node| node.id != *cluster.id()).map(|node| node.gossip_addr), now);
        if self.looked_up.is_none_or(|at| now.duration_since(at) >= Self::NAMES) {
            self.looked_up = Some(now);
            // A name server that is silent holds up nothing: what was found before stays.
            if let Ok(seeds) = timeout(LOOK, cluster.post.resolved(&cluster.seeds)).await {
                self.seeds = seeds;
            }
        }
        let all: BTreeSet<_> = self.known.keys().chain(&self.seeds).copied().collect();
        (!all.is_empty()).then_some(all)
    }

    /// Takes note of who is there.
    fn know(&mut self, others: impl Iterator<Item = SocketAddr>, now: Instant) {
        self.known.retain(|_, last| now.duration_since(*last) < Self::MEMORY);
        self.known.extend(others.map(|other| (other, now)));
    }
}

/// How this node's clock stands to those of all, itself included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is as more than half of them are, or nobody says anything.
    Right,
    /// It is so many µs ahead of more than half.
    Off(i64),
    /// The same of half of them.
    Half(i64),
}

impl Standing {
    /// `behind` says by how many µs those of the others are behind this node's.
    fn of(behind: &[i64]) -> Self {
        let mut far: Vec<i64> = behind.iter().copied().filter(|behind| behind.unsigned_abs() > APART).collect();
        far.sort_unstable();
        let Some(&ahead) = far.get(far.len() / 2) else { return Self::Right };
        match (far.len() * 2).cmp(&(behind.len() + 1)) {
            Ordering::Greater => Self::Off(ahead),
            Ordering::Equal => Self::Half(ahead),
            Ordering::Less => Self::Right,
        }
    }

    fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    fn tell(self, condition: &Condition, doubt: &Condition) {
        let apart = |ahead: i64| {
            let (secs, tenths) = (ahead.unsigned_abs() / 1_000_000, ahead.unsigned_abs() / 100_000 % 10);
            format!("{secs}.{tenths} s {}", if ahead > 0 { "ahead of" } else { "behind" })
        };
        match self {
            Self::Off(ahead) => {
                let apart = apart(ahead);
                condition.missing(format!(
                    "this node's clock is {apart} those of most other nodes: set it, best by NTP"
                ));
            }
            Self::Right | Self::Half(_) => condition.met(),
        }
        match self {
            Self::Half(ahead) => {
                let apart = apart(ahead);
                doubt.missing(format!(
                    "this node's clock is {apart} those of half of the nodes: one half is off, set it"
                ));
            }
            Self::Right | Self::Off(_) => doubt.met(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Readiness;

    #[test]
    fn the_one_that_is_off_knows_it_and_the_others_go_on() {
        const SECOND: i64 = 1_000_000;
        let right = |behind: &[i64]| assert_eq!(Standing::of(behind), Standing::Right, "{behind:?}");
        right(&[]);
        right(&[SECOND, -SECOND, 0]);
        assert_eq!(Standing::of(&[2 * SECOND; 4]), Standing::Off(2 * SECOND));
        assert_eq!(Standing::of(&[-3 * SECOND; 2]), Standing::Off(-3 * SECOND));
        // As its peers see it.
        right(&[0, 0, 0, -2 * SECOND]);
        // Two hosts with as many nodes each, and two nodes: nobody can say which, and both say that.
        assert_eq!(Standing::of(&[0, 0, 2 * SECOND, 2 * SECOND, 2 * SECOND]), Standing::Half(2 * SECOND));
        assert_eq!(Standing::of(&[-60 * SECOND]), Standing::Half(-60 * SECOND));
    }

    #[test]
    fn who_is_known_no_more_is_a_witness_for_a_while() {
        let (mut witnesses, now) = (Witnesses::default(), Instant::now());
        let [a, b] = [1, 2].map(|host| SocketAddr::from(([192, 0, 2, host], 1873)));
        witnesses.know([a, b].into_iter(), now);
        witnesses.know([b].into_iter(), now + Witnesses::MEMORY / 2);
        assert!(witnesses.known.contains_key(&a));
        witnesses.know(std::iter::empty(), now + Witnesses::MEMORY);
        assert_eq!(witnesses.known.keys().collect::<Vec<_>>(), [&b]);
    }

    #[test]
    fn half_against_half_is_a_line_for_operators_and_stops_nobody() {
        let readiness = Readiness::default();
        let (condition, doubt) = (readiness.require("clock", "not yet"), readiness.note("clocks"));
        Standing::Half(60_400_000).tell(&condition, &doubt);
        let said = "clock: ok\nclocks: warning: this node's clock is 60.4 s ahead of those of half of the nodes: ";
        assert!(readiness.report().starts_with(said) && readiness.is_ready(), "{}", readiness.report());
        Standing::Off(-60_400_000).tell(&condition, &doubt);
        assert!(readiness.report().contains("clocks: ok") && !readiness.is_ready(), "{}", readiness.report());
        Standing::Right.tell(&condition, &doubt);
        assert!(readiness.is_ready());
    }
}
