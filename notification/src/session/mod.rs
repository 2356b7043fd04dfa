//! One client's connection, from its first byte to its last.
//!
//! | file | what |
//! |---|---|
//! | `handshake` | `VER` to `USR … S`, without I/O |
//! | `sign_in` | the proof is checked, the session registered, its roster loaded |
//! | `online` | the driver: client, mailbox, deadlines |
//! | `inbox` | the mailbox, emptied also while the session waits for the store |
//! | `state` | the session itself, without I/O: requests, notices |
//! | `own` | how the principal looks, and who is told |
//! | `contacts` | what the client was shown of its contacts |
//! | `others` | what others do to its lists |
//! | `asking` | contacts are asked how they look, a few at a time |
//! | `challenge`, `invitation` | `CHL`; `XFR SB` and `RNG` |
//! | `rings` | who has rung, and how often |
//! | `pickup`, `brought` | asking for what was kept; how often each message was brought |
//! | `copies` | what contacts keep of the principal's name, written behind |
//! | `edit` | edits of the roster: planned, made durable, applied, answered |
//! | `doubt` | edits that the store did not confirm |

mod asking;
mod brought;
mod challenge;
mod closing;
mod contacts;
mod copies;
mod doubt;
mod edit;
mod handshake;
mod inbox;
mod invitation;
mod online;
mod others;
mod out;
mod own;
mod pickup;
mod rings;
mod sign_in;
mod state;
mod surroundings;
#[cfg(test)]
pub(crate) mod transcript;

use std::sync::Arc;
use std::time::Duration;

use common::cluster::Notice;
use common::model::Passport;
use common::msnp::miscellany::OutReason;
use common::msnp::verbs::Phase;
use common::msnp::{Decoder, Line, Service, miscellany};
use common::net::{Accepted, Connection, Event, Stranger, Transport};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;
use tracing::field::{Empty, display};

use crate::metrics::Counted;
use crate::repair::Watch;
use crate::services::Services;
use handshake::{Handshake, Proof, Step};
use online::Online;
use out::Out;
use sign_in::SignedIn;

#[cfg(test)]
pub(crate) use asking::Asking;
pub(crate) use closing::Closing;
pub(crate) use pickup::Asked;
pub(crate) use state::Session;
pub(crate) use surroundings::Surroundings;

/// How long a client may take to read its last lines, and then to close.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves one client. `id` tells connections apart in the logs.
///
/// Not an `async fn`: what such a function is given is kept beside what it makes of it, for the whole connection.
pub(crate) fn serve(accepted: Accepted, id: u64, services: Arc<Services>) -> impl Future<Output = ()> + Send {
    let Accepted { transport, admission, stranger, came } = accepted;
    let span = tracing::info_span!("conn", id, peer = %transport.peer(), passport = Empty, dialect = Empty);
    let counted = Counted::new(&services.metrics.connections);
    let decoder = Decoder::new(Service::Notification, 0);
    let mut connection = Connection::new(transport, decoder, Arc::clone(&services.buffers)).that_came(came);
    let conversation = async move {
        match come_in(&mut connection, &services, &stranger).await {
            Ok(signed_in) => {
                drop(stranger);
                let closing = stay(&mut connection, &services, signed_in).await;
                closed(&services, closing);
                farewell(&mut connection).await;
            }
            Err(closing) => {
                closed(&services, closing);
                // While it reads its last line it gives way again: or whoever is refused and never closes would keep others out.
                stranger.waits();
                stranger.until_gone(Box::pin(farewell(&mut connection))).await;
                // Its place counts as left when its file is closed.
                drop(connection);
                drop(stranger);
            }
        }
        drop((counted, admission));
    };
    conversation.instrument(span)
}

fn closed(services: &Services, closing: Closing) {
    tracing::debug!(reason = closing.label(), "closed");
    services.metrics.close(closing.label());
}

/// From `VER` to the welcome. Who has not yet sent a proof gives way to others.
async fn come_in<T: Transport>(
    connection: &mut Connection<T>,
    services: &Arc<Services>,
    stranger: &Stranger,
) -> Result<Box<SignedIn>, Closing> {
    let greeted = stranger.until_gone(Box::pin(greet(connection, services))).await;
    let proof = greeted.unwrap_or(Err(Closing::GaveWay))?;
    if !stranger.works() {
        return Err(Closing::GaveWay);
    }
    Box::pin(enter(connection, services, proof)).await
}

/// From `VER` to the proof.
async fn greet<T: Transport>(connection: &mut Connection<T>, services: &Services) -> Result<Box<Proof>, Closing> {
    let came = connection.last_read();
    let deadline = came + Duration::from_secs(services.config.sign_in_secs);
    let identify = came + Duration::from_secs(services.config.identify_secs);
    let mut handshake = Handshake::default();
    loop {
        let (dialect, phase) = handshake.progress();
        connection.admit(dialect, phase);
        let limit = if handshake.is_identified() { deadline } else { identify.min(deadline) };
        let event = tokio::select! {
            event = timeout_at(limit, connection.event()) => event.map_err(|_| Closing::TooLate)?,
            () = services.shutdown.begun() => {
                let _ = connection.send(miscellany::out(OutReason::ShuttingDown));
                return Err(Closing::ShuttingDown);
            }
        };
        let command = match event {
            Event::Command(command) => command,
            Event::Written => continue,
            Event::Ended(ended) => return Err(ended.into()),
        };
        services.metrics.command(command.verb());
        match handshake
            .command(&command, services)
            .inspect_err(|error| tracing::debug!(?command, %error, "refused"))?
        {
            Step::Reply(reply) => connection.send(reply).map_err(|_| Closing::TooSlow)?,
            Step::Close(reply, closing) => {
                let _ = connection.send(reply);
                return Err(closing);
            }
            Step::Check(proof) => return Ok(Box::new(proof)),
        };
    }
}

/// Checks the proof and welcomes the client, or sends it away.
async fn enter<T: Transport>(
    connection: &mut Connection<T>,
    services: &Arc<Services>,
    proof: Box<Proof>,
) -> Result<Box<SignedIn>, Closing> {
    let peer = connection.peer();
    tracing::Span::current().record("dialect", display(&proof.dialect.number));
    let signed_in = match sign_in::sign_in(services, &proof, peer).await {
        Ok(signed_in) => Box::new(signed_in),
        Err(denied) => {
            // Whatever outsiders can have said as often as they like has a bounded line elsewhere.
            tracing::debug!(passport = %proof.passport, reason = denied.label(), "not signed in");
            let _ = connection.send(Line::error(denied.code(), proof.trid));
            return Err(denied.closing());
        }
    };
    let session = &signed_in.session;
    tracing::Span::current().record("passport", display(&session.passport));
    tracing::info!("signed in");
    let mut out = Out::default();
    connection.admit(Some(session.dialect), Phase::SignedIn);
    sign_in::welcome(session, &proof, peer, services, &mut out);
    // Written by the driver, as its first act.
    let _ = online::apply(connection, services, &mut out);
    Ok(signed_in)
}

/// The signed-in part, and what others are told at its end.
async fn stay<T: Transport>(
    connection: &mut Connection<T>,
    services: &Arc<Services>,
    mut signed_in: Box<SignedIn>,
) -> Closing {
    let counted = Counted::new(&services.metrics.sessions);
    let closing = if services.shutdown.has_begun() {
        // It may have entered the hub after all sessions were told.
        let _ = connection.send(miscellany::out(OutReason::ShuttingDown));
        Closing::ShuttingDown
    } else {
        let SignedIn { session, inbox, watch, .. } = &mut *signed_in;
        Online::new(connection, session, inbox, services, watch).drive().await
    };
    tracing::info!(reason = closing.label(), "signed out");
    drop(counted);
    leave(services, *signed_in, closing.held_for(&services.config, connection.is_by_proxy()));
    closing
}

/// The end of a session: nobody finds it from now on, and those who saw the principal are told.
fn leave(services: &Arc<Services>, signed_in: SignedIn, held_for: Duration) {
    let SignedIn { mut session, inbox, place, registration, watch } = signed_in;
    drop((place, inbox));
    watch.end(session.watched());
    services.last_active.note(&session.passport, services.wall_ms());
    for ((node, generation), rings) in session.rings_over(Instant::now().into_std()) {
        services.cluster.hint(&node, generation, rings);
    }
    let goodbyes = session.leave();
    write_last_copies(services, &mut session);
    say_goodbye(services, goodbyes, held_for, watch);
    // A later sign-in is left alone: its epoch is greater.
    drop(registration);
}

/// What contacts are still to be given is written behind the session's back.
fn write_last_copies(services: &Arc<Services>, session: &mut Session) {
    let ((copies, owed), who) = (session.last_copies(), session.passport.clone());
    if !copies.is_empty() || owed.is_some() {
        services.shutdown.spawn(copies::write_last(Arc::clone(services), who, copies, owed));
    }
}

/// Says goodbye at once, or later. If the principal comes back meanwhile, here or elsewhere, what its new session
/// says is newer, and the goodbyes are dropped where they arrive. A node that shuts down says none: whoever shows
/// its users asks for them again.
///
/// As long as they are held the principal counts as to be seen here: nobody who compares finds it missing.
fn say_goodbye(services: &Arc<Services>, goodbyes: Vec<(Passport, Notice)>, held_for: Duration, watch: Watch) {
    if held_for.is_zero() {
        return services.cluster.post(goodbyes);
    }
    if goodbyes.is_empty() || services.shutdown.has_begun() {
        return;
    }
    let held = Arc::clone(services);
    services.shutdown.spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(held_for) => held.cluster.post(goodbyes),
            () = held.shutdown.begun() => {}
        }
        drop(watch);
    });
}

/// Lets the client read what it is owed. Its own end of the connection is awaited: closing while bytes from it are
/// unread would reset the connection, and take the last line away from it.
async fn farewell<T: Transport>(connection: &mut Connection<T>) {
    if timeout(FAREWELL, connection.drain()).await.is_err() {
        return;
    }
    connection.close_write();
    let _ = timeout(FAREWELL, async { while !matches!(connection.event().await, Event::Ended(_)) {} }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that a function returns, without calling it.
    fn size_of_future<F>(_: fn(Accepted, u64, Arc<Services>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_costs_little() {
        let size = size_of_future(serve);
        assert!(size <= 1792, "the task of one connection takes {size} bytes before anything it holds");
    }
}
