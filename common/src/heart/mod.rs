//! This node's heart, which beats in the store, and what the hearts of the others say: whether a node that hears of nobody is alone,
//! and whether anybody shares its cluster secrets.
//!
//! Nobody compares clocks: what counts is whether a count has moved between two looks.

mod judging;
mod unheard;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::{Cluster, Keyring};
use crate::store::{Beat, Heartbeat, SharedStore};
use crate::telemetry::Condition;

use judging::Hearts;
use unheard::Unheard;

/// Between two looks at the others' hearts, as long as they matter. Every other time the own one beats.
const LOOK: Duration = Duration::from_secs(1);

/// Between two looks for those who are not heard, in looks.
const WIDE_LOOK: u64 = 10;

/// A heart that beats until this is dropped.
#[derive(Debug)]
pub struct Heart {
    _task: AbortOnDropHandle<()>,
}

/// Lets the heart of this node beat from now on: every 2 s, one small write. To be kept until the process ends, also while it drains:
/// it still has clients.
///
/// A node that gossip shows nobody else looks at the hearts of the others too, and tells the cluster whether it is alone. `secrets`
/// does not hold while none of those that live shares a cluster secret with it, unless they have come, or have changed their secrets,
/// after it had joined: then it is for them to be mended. `others` says, for operators, who lives without being heard: a node that
/// has neighbours can't tell which side is wrong.
#[must_use]
pub fn keep(cluster: &Cluster, store: SharedStore, keys: Keyring, secrets: Condition, others: Condition) -> Heart {
    secrets.met();
    let beating = beat(cluster.clone(), store, keys, secrets, others);
    Heart { _task: AbortOnDropHandle::new(tokio::spawn(beating)) }
}

async fn beat(cluster: Cluster, store: SharedStore, keys: Keyring, secrets: Condition, others: Condition) {
    let (mut ticks, mut hearts, mut unheard) = (interval(LOOK), Hearts::default(), Unheard::default());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut count, mut own, mut can_beat) = (0, Vec::new(), false);
    for tick in 0_u64.. {
        ticks.tick().await;
        let fingerprints = keys.fingerprints();
        let are_new = fingerprints != own;
        if are_new {
            own = fingerprints;
            hearts.begin_anew();
        }
        let beats = are_new || tick.is_multiple_of(2);
        if beats {
            count += 1;
            let heart = Heartbeat { generation: cluster.generation(), count };
            let beat = Beat { node: cluster.id().clone(), heart, secrets: own.clone() };
            can_beat = store
                .beat(beat)
                .await
                .inspect_err(|error| tracing::debug!(%error, "the heart can't beat"))
                .is_ok();
        }
        let is_alone = cluster.is_alone();
        let is_near = are_new || (is_alone && (beats || !cluster.has_joined()));
        let is_wide = tick.is_multiple_of(WIDE_LOOK);
        // Where nobody could write, all hearts would seem to stand still.
        if can_beat
            && (is_near || is_wide)
            && let Some(Seen { beats, asked }) = read(&store).await
        {
            if is_wide {
                look_for_unheard(&cluster, &beats, &mut unheard, &others);
            }
            if is_near {
                look(&cluster, Seen { beats, asked }, &mut hearts);
            }
        }
        match is_alone.then(|| hearts.strangers(&keys, cluster.has_joined())).flatten() {
            Some(who) => secrets.missing(format!(
                "no other node that lives shares a cluster secret with this one, {who}: compare the files of cluster secrets \
                 (cluster.secrets)"
            )),
            None => secrets.met(),
        }
    }
}

/// The last beats of all nodes, and when they were asked for.
struct Seen {
    beats: Vec<Beat>,
    asked: Instant,
}

async fn read(store: &SharedStore) -> Option<Seen> {
    let asked = Instant::now();
    let beats = store.heartbeats().await;
    let beats = beats.inspect_err(|error| tracing::debug!(%error, "the hearts of others can't be seen"));
    Some(Seen { beats: beats.ok()?, asked })
}

fn look(cluster: &Cluster, Seen { mut beats, asked }: Seen, hearts: &mut Hearts) {
    beats.retain(|beat| beat.node != *cluster.id());
    hearts.look(beats, asked, Instant::now());
    cluster.see_company(hearts.company());
}

fn look_for_unheard(cluster: &Cluster, beats: &[Beat], unheard: &mut Unheard, others: &Condition) {
    let view = cluster.view();
    match unheard.look(beats, (cluster.id(), cluster.generation()), |node| view.node(node).is_some()) {
        Some(said) => others.missing(said),
        None => others.met(),
    }
}
