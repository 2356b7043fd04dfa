//! The hearts of switchboards that gossip has lost. The own one beats as that of every node (`common::heart`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::board::Board;

/// Between two looks. Hearts beat every other second.
const LOOK: Duration = Duration::from_secs(1);

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
