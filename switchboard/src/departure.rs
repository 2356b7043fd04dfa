//! What becomes of a participation's row when its principal has left.

use std::sync::Arc;
use std::time::Duration;

use common::model::MessageId;
use common::store::StoreError;

use crate::board::Board;
use crate::participation::Participation;
use crate::telling::{self, Word};

/// Between two attempts, at first and at last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Waits until each message meant for the participation is durable or given up, then removes its row or, with
/// something outstanding, closes it at `live_cursor` and tells the participant's session.
pub(crate) async fn settle(board: Arc<Board>, gone: Arc<Participation>, live_cursor: Option<MessageId>) {
    gone.settled().await;
    if !gone.may_have_row() {
        return;
    }
    board.cursors.forget(gone.id).await;
    let outstanding = gone.last_meant() > live_cursor;
    if !write_until_done(&board, &gone, outstanding, live_cursor).await {
        tracing::warn!(participation = %gone.id, "its row is left for others to pick up");
        return;
    }
    if outstanding {
        telling::tell(&board, &gone.passport, Word::Outstanding(gone.id));
    }
}

async fn write_until_done(
    board: &Board,
    gone: &Participation,
    outstanding: bool,
    live_cursor: Option<MessageId>,
) -> bool {
    let mut pause = PAUSES.0;
    while let Err(error) = write(board, gone, outstanding, live_cursor).await {
        tracing::debug!(participation = %gone.id, %error, "its row waits for the store");
        if board.shutdown.has_begun() {
            // The next life of this node makes the row one of a dead one.
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = board.shutdown.begun() => {}
        }
        pause = (2 * pause).min(PAUSES.1);
    }
    true
}

async fn write(
    board: &Board,
    gone: &Participation,
    outstanding: bool,
    live_cursor: Option<MessageId>,
) -> Result<(), StoreError> {
    if outstanding {
        board.store.close_participation(&gone.passport, gone.id, live_cursor).await
    } else {
        board.store.remove_participation(&gone.passport, gone.id).await
    }
}
