//! This switchboard's heart, which beats in the store, and the hearts of those that gossip has lost.

use std::sync::Arc;
use std::time::Duration;

use common::store::Heartbeat;
use tokio::time::{MissedTickBehavior, interval};

use crate::board::Board;

/// Between two looks at the others' hearts. Every other time the own one beats.
const LOOK: Duration = Duration::from_secs(1);

/// Beats until the process ends: while it drains it still has conversations.
pub(crate) async fn beat(board: Arc<Board>) {
    let mut ticks = interval(2 * LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in 1.. {
        ticks.tick().await;
        let heart = Heartbeat { generation: board.place.generation, count };
        if let Err(error) = board.store.beat(&board.place.node, heart).await {
            tracing::debug!(%error, "the heart can't beat");
        }
    }
}

/// Looks at the hearts of switchboards that gossip has lost, until shutdown.
pub(crate) async fn look(board: Arc<Board>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = board.shutdown.begun() => return,
        }
        let lives = board.pickups.lives();
        for node in lives.lost() {
            match board.store.heartbeat(&node).await {
                Ok(beat) => lives.look(&node, beat),
                Err(error) => {
                    tracing::debug!(%error, "the hearts of others can't be seen");
                    break;
                }
            }
        }
    }
}
