//! Driving a signed-in session: its client, its mailbox and its deadlines, one thing at a time.

use std::sync::Arc;
use std::time::Duration;

use common::cluster::Notice;
use common::msnp::Command;
use common::msnp::miscellany::{self, OutReason};
use common::net::{Connection, Event, Mailbox, Transport};
use tokio::time::{Instant, Sleep, sleep_until};

use super::out::{Out, Piece};
use super::{Closing, Session, edit};
use crate::hub::Item;
use crate::services::Services;

/// Notices taken in a row before the client's turn comes.
const BURST: usize = 64;
/// An answer of so many bytes is written at once, so that a burst of requests for long lists is judged by what the
/// client takes and not by what it asks.
const LONG: usize = 4096;
/// A deadline for sessions that wait for nothing.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// Drives a session until it ends.
pub(super) async fn drive<T: Transport>(
    connection: &mut Connection<T>,
    session: &mut Session,
    mailbox: &mut Mailbox<Item>,
    services: &Arc<Services>,
) -> Closing {
    let alarm = sleep_until(deadline(session, services));
    tokio::pin!(alarm);
    // Whether the last flush left something behind.
    let mut backlogged = false;
    loop {
        let mut out = Out::new(backlogged);
        tokio::select! {
            event = connection.event() => match event {
                Event::Command(command) => run(session, &command, services, &mut out).await,
                Event::Written => backlogged = !connection.outbox().is_empty(),
                Event::Ended(ended) => return ended.into(),
            },
            item = mailbox.recv() => {
                let Some(item) = item else { return Closing::TooSlow };
                take(session, item, connection, services, &mut out).await;
                for _ in 1..BURST {
                    if out.close.is_some() { break }
                    // Taken out only when it is taken in: what stays comes with the next turn of the loop.
                    let Some(item) = mailbox.now() else { break };
                    take(session, item, connection, services, &mut out).await;
                }
                apply_pieces(connection, &mut out);
                connection.flush();
                backlogged = !connection.outbox().is_empty();
            }
            () = &mut alarm => session.tick(Instant::now().into_std(), &**services, &mut out),
        }
        if let Some(closing) = apply(connection, services, out) {
            return closing;
        }
        rearm(alarm.as_mut(), deadline(session, services));
    }
}

fn deadline(session: &Session, services: &Services) -> Instant {
    session.deadline(&services.config).map_or_else(|| Instant::now() + FAR, Instant::from_std)
}

/// A deadline that has moved away is only noticed when the old one comes: a client's every command moves one.
fn rearm(alarm: std::pin::Pin<&mut Sleep>, deadline: Instant) {
    if alarm.is_elapsed() || deadline < alarm.deadline() {
        alarm.reset(deadline);
    }
}

/// A command of the client.
async fn run(session: &mut Session, command: &Command, services: &Services, out: &mut Out) {
    services.metrics.command(command.verb());
    match session.command(command, Instant::now().into_std(), services, out) {
        Ok(None) => {}
        Ok(Some(request)) => {
            let trid = command.trid().unwrap_or_default();
            // On the heap while it lasts, so that sessions which edit nothing stay small.
            Box::pin(edit::request(session, services, &request, trid, out)).await;
        }
        Err(error) => {
            tracing::info!(?command, %error, "refused");
            out.close(Closing::Refused(error));
        }
    }
}

/// Something from the mailbox.
async fn take<T: Transport>(
    session: &mut Session,
    item: Item,
    connection: &mut Connection<T>,
    services: &Services,
    out: &mut Out,
) {
    match item {
        Item::Notice(notice) => {
            services.metrics.notices_in.inc();
            match notice {
                Notice::Added { by, name } => {
                    Box::pin(edit::added(session, services, &by, &name, out)).await;
                }
                Notice::Removed { by } => Box::pin(edit::removed(session, services, &by, out)).await,
                other => session.notice(other, out),
            }
        }
        Item::Invite(invitation, answer) => {
            let outcome = session.invite(&invitation, services, out);
            apply_pieces(connection, out);
            // Whoever asked may have given up.
            let _ = answer.send(outcome);
        }
        Item::Displaced => {
            out.line(miscellany::out(OutReason::Elsewhere));
            out.close(Closing::Displaced);
        }
        Item::Reannounce => session.announce(out),
        Item::NodeLost(node) => session.node_lost(&node, Instant::now().into_std(), out),
        Item::ShutDown => {
            out.line(miscellany::out(OutReason::ShuttingDown));
            out.close(Closing::ShuttingDown);
        }
    }
}

/// Carries out what the session wants done. Returns why it is to end, if it is.
pub(super) fn apply<T: Transport>(
    connection: &mut Connection<T>,
    services: &Services,
    mut out: Out,
) -> Option<Closing> {
    let long = out.pieces.iter().any(|piece| matches!(piece, Piece::Line(line) if line.len() >= LONG));
    apply_pieces(connection, &mut out);
    if long {
        connection.flush();
    }
    if !out.posts.is_empty() {
        services.metrics.notices_out.inc_by(out.posts.len() as u64);
        services.cluster.post(out.posts);
    }
    for (place, to, notice) in out.direct {
        services.metrics.notices_out.inc();
        services.cluster.post_to(&place, to, notice);
    }
    out.close
}

fn apply_pieces<T: Transport>(connection: &mut Connection<T>, out: &mut Out) {
    for piece in std::mem::take(&mut out.pieces) {
        let queued = match piece {
            Piece::Line(line) => connection.send(line).map(drop),
            Piece::Keyed(key, line) => connection.outbox().push_keyed(key, line),
            Piece::Source(lines) => {
                connection.outbox().push_source(lines);
                Ok(())
            }
        };
        if queued.is_err() {
            return out.close(Closing::TooSlow);
        }
    }
}
