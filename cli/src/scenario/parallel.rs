//! Many playings at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::deployment::Deployment;
use super::failure::FailureKind;
use super::outcome::Outcome;
use super::suite::{Chain, RunId};

/// Plays chains, each under a run id of its own unless one is given. Up to `jobs` playings go on at once: of chains, and
/// of the dialects of a chain, which have accounts of their own. `tell` hears of the outcomes in the order of the chains
/// and of their dialects, each as soon as those before it are there. The worst kind of failure, if any.
///
/// # Errors
/// When the system has no randomness for run ids.
pub async fn play_all(
    chains: Vec<Chain>,
    deployment: Arc<Deployment>,
    jobs: usize,
    run: Option<RunId>,
    mut tell: impl FnMut(&Outcome),
) -> anyhow::Result<Option<FailureKind>> {
    let places = Arc::new(Semaphore::new(jobs.max(1)));
    let mut playing = JoinSet::new();
    for chain in chains {
        let run = run.clone().map_or_else(RunId::random, Ok)?;
        let chain = Arc::new(chain);
        for dialect in chain.dialects() {
            let (chain, run, at) = (Arc::clone(&chain), run.clone(), playing.len());
            let (deployment, places) = (Arc::clone(&deployment), Arc::clone(&places));
            playing.spawn(async move {
                let _place = places.acquire_owned().await;
                (at, chain.play(&deployment, &run, dialect.as_deref()).await)
            });
        }
    }
    let (mut worst, mut in_order) = (None, InOrder::default());
    while let Some(played) = playing.join_next().await {
        let (at, outcomes) = played?;
        for outcome in in_order.put(at, outcomes).into_iter().flatten() {
            tell(&outcome);
            worst = worse(worst, outcome.result.as_ref().err().map(|failure| failure.kind));
        }
    }
    Ok(worst)
}

/// A wrong scenario is worth saying before a server that can't be reached, and that before a mismatch.
fn worse(one: Option<FailureKind>, other: Option<FailureKind>) -> Option<FailureKind> {
    let weight = |kind: &Option<FailureKind>| match kind {
        None => 0,
        Some(FailureKind::Failed) => 1,
        Some(FailureKind::Unreachable) => 2,
        Some(FailureKind::Usage) => 3,
    };
    if weight(&other) > weight(&one) { other } else { one }
}

/// Gives back what comes in any order in the order of its numbers, which start at 0.
#[derive(Debug)]
struct InOrder<T> {
    next: usize,
    waiting: BTreeMap<usize, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { next: 0, waiting: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    /// Takes one, and gives all whose turn it is.
    fn put(&mut self, at: usize, item: T) -> Vec<T> {
        self.waiting.insert(at, item);
        let mut ready = Vec::new();
        while let Some(item) = self.waiting.remove(&self.next) {
            self.next += 1;
            ready.push(item);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_in_order() {
        let mut in_order = InOrder::default();
        assert_eq!(in_order.put(1, 'b'), []);
        assert_eq!(in_order.put(3, 'd'), []);
        assert_eq!(in_order.put(0, 'a'), ['a', 'b']);
        assert_eq!(in_order.put(2, 'c'), ['c', 'd']);
    }

    #[test]
    fn a_wrong_scenario_weighs_most() {
        let all = [None, Some(FailureKind::Failed), Some(FailureKind::Unreachable), Some(FailureKind::Usage)];
        for (at, one) in all.into_iter().enumerate() {
            for (weight, other) in all.into_iter().enumerate() {
                assert_eq!(worse(one, other), all[at.max(weight)]);
            }
        }
    }

    #[tokio::test]
    async fn dialects_of_a_chain_are_played_side_by_side_and_told_in_order() {
        // Each waits on a socket that says nothing: one after another they would take their patience many times.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let patience = std::time::Duration::from_millis(500);
        let deployment = Deployment {
            dispatch: address,
            http: address,
            notification: vec![address],
            switchboard: vec![address],
            accounts: None,
            orders: None,
            timeout: patience,
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, "for dialect in MSNP2..\nconnect A dispatch\nA> OUT\nA< OUT\n").unwrap();
        let chains = super::super::suite::load(&[file]).unwrap();
        let dialects = chains[0].dialects();
        assert!(dialects.len() > 8);
        let start = std::time::Instant::now();
        let mut told = Vec::new();
        let worst = play_all(chains, Arc::new(deployment), 32, None, |outcome| told.push(outcome.dialect.clone()));
        assert_eq!(worst.await.unwrap(), Some(FailureKind::Failed));
        assert_eq!(told, dialects);
        // One after another they take twice as long.
        assert!(start.elapsed() < patience * 8, "{:?}", start.elapsed());
    }
}
