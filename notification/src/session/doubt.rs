//! Edits that the store did not confirm: they may have happened, and may still happen.

use std::time::{Duration, Instant};

use common::net::Transport;
use common::store::{Edit, StoreError};

use super::online::Online;
use super::out::Out;
use super::{Closing, Session, edit};
use crate::roster::{self, Effect, Plan};

/// After so long the store is asked again what became of an edit.
const PAUSE: Duration = Duration::from_secs(5);

/// An edit that the store did not confirm. Its client was told that it failed. No other edit is planned before it is
/// known what became of it, since that would be planned on what may not be so.
pub(crate) struct Doubt {
    /// Without the stamp: versions only rise.
    edits: Vec<Edit>,
    effects: Vec<Effect>,
    /// When the store is asked again, even if the client wants nothing.
    again: Instant,
}

impl Doubt {
    pub(super) fn of(plan: &Plan) -> Self {
        let edits = plan.edits.iter().filter(|edit| !matches!(edit, Edit::Stamp { .. })).cloned().collect();
        Self { edits, effects: plan.effects.clone(), again: now() + PAUSE }
    }
}

impl Session {
    /// When [`look_again`] has something to do, if ever.
    pub(super) fn doubt_deadline(&self) -> Option<Instant> {
        self.doubt.as_ref().map(|doubt| doubt.again)
    }
}

/// Asks the store what became of an edit.
pub(super) async fn look_again<T: Transport>(online: &mut Online<'_, T>) -> Out {
    let mut out = online.out();
    if let Err(error) = clear_up(online, &mut out).await {
        tracing::error!(%error, "still not known whether an edit has happened");
    }
    out
}

/// Decides the edit in doubt, if there is one. If it has happened, what follows from it is done and the connection
/// closed: the client believes otherwise, and can learn how things are by signing in again only (§6.5).
///
/// # Errors
/// The store still can't say.
pub(super) async fn clear_up<T: Transport>(online: &mut Online<'_, T>, out: &mut Out) -> Result<(), StoreError> {
    if online.session.doubt.is_none() {
        return Ok(());
    }
    let outcome = decide(online).await;
    let Some(mut doubt) = online.session.doubt.take() else { return Ok(()) };
    match outcome {
        Ok(false) => {}
        Ok(true) => {
            edit::fold(online.session, &doubt.edits);
            doubt.effects.into_iter().for_each(|effect| online.session.effect(effect, out));
            if online.session.synced {
                tracing::warn!("an edit has happened that the client was told had failed: it is to sign in again");
                out.close(Closing::Fault);
            }
        }
        Err(error) => {
            doubt.again = now() + PAUSE;
            online.session.doubt = Some(doubt);
            return Err(error);
        }
    }
    Ok(())
}

/// Makes certain what has become of the edit in doubt, and returns whether it has happened.
///
/// That the store shows nothing of it is not enough: a part may be there, or all of it come late, as a server repeats
/// what another one has not taken. So each of its cells is written once more, later, and that holds: as it was, or,
/// where the edit is there or can't be taken back, as the edit says.
async fn decide<T: Transport>(online: &mut Online<'_, T>) -> Result<bool, StoreError> {
    let is_there = has_happened(online).await?;
    let Some(doubt) = &online.session.doubt else { return Ok(false) };
    let undo = if is_there { None } else { roster::undo(&online.session.roster, &doubt.edits) };
    let happens = undo.is_none();
    let certain = undo.unwrap_or_else(|| doubt.edits.clone());
    if !certain.is_empty() {
        edit::write(online, certain).await?;
    }
    Ok(happens)
}

/// Whether the edit in doubt is to be seen: then the store's roster is one that it changes no more.
async fn has_happened<T: Transport>(online: &mut Online<'_, T>) -> Result<bool, StoreError> {
    // Written behind it: once this is there, a store that writes in order has done the edit in doubt or never will.
    let stamp = roster::restamp(&edit::owner(online.session, online.services));
    edit::write(online, vec![stamp.clone()]).await?;
    edit::fold(online.session, &[stamp]);
    let (services, who) = (online.services, online.session.passport.clone());
    let Some(stored) = edit::ask(online, services.store.roster(&who)).await? else { return Ok(false) };
    let Some(doubt) = &online.session.doubt else { return Ok(false) };
    let mut again = stored.clone();
    roster::fold(&mut again, online.session.claim, &doubt.edits);
    Ok(!doubt.edits.is_empty() && again == stored)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
