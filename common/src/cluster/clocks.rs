//! A node whose clock is off serves nobody: sign-ins, tickets and messages are in the order of clocks.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

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
    /// the one that is off whose condition does not hold; where it is one against one nobody can say which, and both go on.
    pub fn watch_clock(&self, condition: Condition, shutdown: &Shutdown) {
        let (cluster, until) = (self.clone(), shutdown.clone());
        condition.met();
        shutdown.spawn(async move {
            let (mut looks, mut off) = (interval(LOOK), 0);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = looks.tick() => {}
                    () = until.begun() => return,
                }
                match ahead(&cluster.post.clocks()) {
                    None => {
                        off = 0;
                        condition.met();
                    }
                    Some(_) if off + 1 < LOOKS => off += 1,
                    Some(ahead) => condition.missing(format!(
                        "this node's clock is {}.{} s {} those of most other nodes: set it, best by NTP",
                        ahead.unsigned_abs() / 1_000_000,
                        ahead.unsigned_abs() / 100_000 % 10,
                        if ahead > 0 { "ahead of" } else { "behind" }
                    )),
                }
            }
        });
    }
}

/// By how many µs this node's clock is ahead of the others, if it is too far from more than half of all, itself included. `behind`
/// says how far those of the others are behind it.
fn ahead(behind: &[i64]) -> Option<i64> {
    let mut far: Vec<i64> = behind.iter().copied().filter(|behind| behind.unsigned_abs() > APART).collect();
    far.sort_unstable();
    let most = far.len() * 2 > behind.len() + 1;
    far.get(far.len() / 2).copied().filter(|_| most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_off_knows_it_and_the_others_go_on() {
        const SECOND: i64 = 1_000_000;
        assert_eq!(ahead(&[]), None);
        assert_eq!(ahead(&[SECOND, -SECOND, 0]), None, "as far as it may be");
        assert_eq!(ahead(&[2 * SECOND; 4]), Some(2 * SECOND));
        assert_eq!(ahead(&[-3 * SECOND; 2]), Some(-3 * SECOND));
        // As its peers see it.
        assert_eq!(ahead(&[0, 0, 0, -2 * SECOND]), None);
        // Two hosts with as many nodes each, and two nodes: nobody can say.
        assert_eq!(ahead(&[0, 0, 2 * SECOND, 2 * SECOND, 2 * SECOND]), None);
        assert_eq!(ahead(&[2 * SECOND]), None);
    }
}
