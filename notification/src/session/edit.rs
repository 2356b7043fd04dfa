//! Edits of the roster: planned without I/O, made durable, then applied to memory, told and answered, in that
//! order. The client never sees an edit that a crash could undo.
//!
//! While the store is asked, others' notices are taken in: see [`Online::beside`].

use std::sync::Arc;
use std::time::Duration;

use common::model::{List, Passport};
use common::msnp::{ErrorCode, TrId};
use common::net::Transport;
use common::store::{Edit, StoreError};
use tokio::time::timeout;

use super::doubt::{self, Doubt};
use super::online::Online;
use super::out::Out;
use super::{Closing, Session};
use crate::roster::{self, Owner, Plan, Refused, Request, Target};
use crate::services::Services;

/// The store may take so long; the client is then told that it failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Carries out a request about lists, groups, names or settings. Returns what is to be done then.
pub(super) async fn request<T: Transport>(online: &mut Online<'_, T>, request: &Request, trid: TrId) -> Out {
    let mut out = online.out();
    if request.asks_for_lists() {
        lists(online.session, request, trid, &mut out);
        return out;
    }
    if let Err(error) = carry_out(online, request, &mut out).await {
        tracing::error!(%error, "the store failed");
        out.refuse(ErrorCode::StoreFailed, trid);
    }
    out
}

/// `SYN`, `LST` and `LSG`: made as the socket drains. `SYN` is one block, and whatever comes later stays behind it
/// (`CLIENTS` 13); it is answered once in a session (§6.5).
fn lists(session: &mut Session, request: &Request, trid: TrId, out: &mut Out) {
    if request.is_sync() && std::mem::replace(&mut session.synced, true) {
        return out.refuse(ErrorCode::NotExpected, trid);
    }
    let roster = Arc::clone(&session.roster);
    out.source(roster::list_lines(roster, &session.passport, session.dialect, request));
}

async fn carry_out<T: Transport>(
    online: &mut Online<'_, T>,
    request: &Request,
    out: &mut Out,
) -> Result<(), StoreError> {
    doubt::clear_up(online, out).await?;
    if out.close.is_some() {
        return Ok(());
    }
    let target = look_up(online, request).await?;
    match roster::plan(&owner(online.session, online.services), request, target.as_ref()) {
        Ok(plan) => {
            store(online, &plan).await?;
            finish(online.session, plan, out);
        }
        Err(Refused::Code(code, trid)) => out.refuse(code, trid),
        Err(Refused::Close(error)) => out.close(Closing::Refused(error)),
    }
    Ok(())
}

/// Raises the list version if others changed something while the principal was away. A failure is harmless: the
/// difference shows again at the next sign-in.
pub(super) async fn catch_up<T: Transport>(online: &mut Online<'_, T>) {
    online.services.last_active.note(&online.session.passport, common::clock::wall_ms());
    let edits = roster::fold_in(&owner(online.session, online.services));
    if let Err(error) = store(online, &Plan { edits, ..Plan::default() }).await {
        tracing::error!(%error, "can't note what changed while the user was away");
    }
}

/// Somebody has put the principal on its forward list.
pub(super) async fn added<T: Transport>(online: &mut Online<'_, T>, by: &Passport, name: &str) -> Out {
    let mut out = online.out();
    let settled = doubt::clear_up(online, &mut out).await;
    let session = &mut *online.session;
    let plan = roster::reverse_added(&owner(session, online.services), by, name);
    roster::fold_reverse(Arc::make_mut(&mut session.roster), session.claim, by, Some(name));
    follow(online, settled, plan, &mut out).await;
    out
}

/// Somebody has taken the principal off its forward list.
pub(super) async fn removed<T: Transport>(online: &mut Online<'_, T>, by: &Passport) -> Out {
    let mut out = online.out();
    let settled = doubt::clear_up(online, &mut out).await;
    let session = &mut *online.session;
    let plan = roster::reverse_removed(&owner(session, online.services), by);
    roster::fold_reverse(Arc::make_mut(&mut session.roster), session.claim, by, None);
    follow(online, settled, plan, &mut out).await;
    out
}

/// What others did is durable already, in their own transaction; only our version stamp may be lost.
async fn follow<T: Transport>(
    online: &mut Online<'_, T>,
    settled: Result<(), StoreError>,
    plan: Plan,
    out: &mut Out,
) {
    let stored = match settled {
        Ok(()) => store(online, &plan).await,
        Err(error) => Err(error),
    };
    if let Err(error) = stored {
        tracing::error!(%error, "can't note a change of the reverse list");
        fold(online.session, &plan.edits);
    }
    finish(online.session, plan, out);
}

fn finish(session: &mut Session, plan: Plan, out: &mut Out) {
    out.line(plan.reply);
    for effect in plan.effects {
        session.effect(effect, out);
    }
}

/// What the roster's rules need to know of the session.
pub(super) fn owner<'a>(session: &'a Session, services: &'a Services) -> Owner<'a> {
    Owner {
        passport: &session.passport,
        claim: session.claim,
        dialect: session.dialect,
        limits: &services.limits,
        keep_populated_groups: services.config.keep_populated_groups,
        roster: &session.roster,
        now_ms: common::clock::wall_ms(),
        new_uuid: super::Surroundings::random_uuid(services),
    }
}

/// Makes the edits of a plan durable, then applies them to memory. If the store does not confirm them, the session is
/// in doubt.
async fn store<T: Transport>(online: &mut Online<'_, T>, plan: &Plan) -> Result<(), StoreError> {
    if plan.edits.is_empty() {
        return Ok(());
    }
    let written = write(online, plan.edits.clone()).await;
    match &written {
        Ok(()) => fold(online.session, &plan.edits),
        Err(_) => online.session.doubt = Some(Box::new(Doubt::of(plan))),
    }
    written
}

/// Makes edits durable.
pub(super) async fn write<T: Transport>(online: &mut Online<'_, T>, edits: Vec<Edit>) -> Result<(), StoreError> {
    let (services, who) = (online.services, online.session.passport.clone());
    ask(online, services.store.edit(&who, edits)).await
}

/// Waits for the store, but not for ever.
pub(super) async fn ask<T: Transport, A>(
    online: &mut Online<'_, T>,
    question: impl Future<Output = Result<A, StoreError>>,
) -> Result<A, StoreError> {
    let too_slow = |_| Err(StoreError::Unavailable(format!("no answer within {PATIENCE:?}")));
    online.beside(timeout(PATIENCE, question)).await.unwrap_or_else(too_slow)
}

pub(super) fn fold(session: &mut Session, edits: &[Edit]) {
    let claim = session.claim;
    roster::fold(Arc::make_mut(&mut session.roster), claim, edits);
}

/// The account that a request names, if it exists. How full its reverse list is matters to a new contact only, and is
/// counted in its roster: a full one holds little more than its owner reads at each sign-in.
async fn look_up<T: Transport>(
    online: &mut Online<'_, T>,
    request: &Request,
) -> Result<Option<Target>, StoreError> {
    let Some(who) = request.names_account() else { return Ok(None) };
    let services = online.services;
    if request.befriends(&online.session.roster) {
        let roster = ask(online, services.store.roster(who)).await?;
        return Ok(roster.map(|roster| Target {
            reverse_count: roster.count_on(List::Reverse),
            properties: roster.settings.properties,
        }));
    }
    let account = ask(online, services.store.account(who)).await?;
    Ok(account.map(|account| Target { reverse_count: 0, properties: account.settings.properties }))
}
