//! Edits of the roster: planned without I/O, made durable, then applied to memory, told and answered, in that
//! order. The client never sees an edit that a crash could undo.

use std::sync::Arc;
use std::time::Duration;

use common::model::Passport;
use common::msnp::{ErrorCode, TrId};
use common::store::{Edit, StoreError};

use super::out::Out;
use super::{Closing, Session, Surroundings};
use crate::roster::{self, Owner, Plan, Refused, Request, Target};
use crate::services::Services;

/// The store may take so long; the client is then told that it failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Carries out a request about lists, groups, names or settings.
pub(super) async fn request(
    session: &mut Session,
    services: &Services,
    request: &Request,
    trid: TrId,
    out: &mut Out,
) {
    if request.is_sync() {
        return sync(session, request, trid, out);
    }
    let target = match request.names_account() {
        None => None,
        Some(who) => match look_up(services, who).await {
            Ok(target) => target,
            Err(error) => return fault(&error, trid, out),
        },
    };
    match roster::plan(&owner(session, services), request, target.as_ref()) {
        Ok(plan) => {
            if let Err(error) = store(session, services, &plan.edits).await {
                return fault(&error, trid, out);
            }
            finish(session, plan, out);
        }
        Err(Refused::Code(code, trid)) => out.refuse(code, trid),
        Err(Refused::Close(error)) => out.close(Closing::Refused(error)),
    }
}

/// `SYN`: one block, made as the socket drains, and whatever comes later stays behind it (`CLIENTS` 13). Once in a
/// session (§6.5).
fn sync(session: &mut Session, request: &Request, trid: TrId, out: &mut Out) {
    if std::mem::replace(&mut session.synced, true) {
        return out.refuse(ErrorCode::NotExpected, trid);
    }
    let roster = Arc::clone(&session.roster);
    out.source(roster::sync_lines(roster, &session.passport, session.claim, session.dialect, request));
}

/// Somebody has put the principal on its forward list.
pub(super) async fn added(session: &mut Session, services: &Services, by: &Passport, name: &str, out: &mut Out) {
    let plan = roster::reverse_added(&owner(session, services), by, name);
    let claim = session.claim;
    roster::fold_reverse(Arc::make_mut(&mut session.roster), claim, by, Some(name), true);
    follow(session, services, plan, out).await;
}

/// Somebody has taken the principal off its forward list.
pub(super) async fn removed(session: &mut Session, services: &Services, by: &Passport, out: &mut Out) {
    let plan = roster::reverse_removed(&owner(session, services), by);
    let claim = session.claim;
    roster::fold_reverse(Arc::make_mut(&mut session.roster), claim, by, None, false);
    follow(session, services, plan, out).await;
}

/// What others did is durable already, in their own transaction; only our version stamp may be lost.
async fn follow(session: &mut Session, services: &Services, plan: Plan, out: &mut Out) {
    if let Err(error) = store(session, services, &plan.edits).await {
        tracing::error!(%error, "can't note a change of the reverse list");
        fold(session, &plan.edits);
    }
    finish(session, plan, out);
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
        now_ms: services.wall_ms(),
        new_uuid: services.random_uuid(),
    }
}

/// Makes edits durable, then applies them to memory.
pub(super) async fn store(session: &mut Session, services: &Services, edits: &[Edit]) -> Result<(), StoreError> {
    if edits.is_empty() {
        return Ok(());
    }
    let written = services.store.edit(&session.passport, edits.to_vec());
    tokio::time::timeout(PATIENCE, written).await.unwrap_or_else(|_| Err(too_slow()))?;
    fold(session, edits);
    Ok(())
}

fn fold(session: &mut Session, edits: &[Edit]) {
    let claim = session.claim;
    roster::fold(Arc::make_mut(&mut session.roster), claim, edits);
}

/// Whether the account exists, its name and its properties. How many others have it on their lists would take its whole roster to
/// know; 0 stands for it, so that a full reverse list refuses nobody.
async fn look_up(services: &Services, who: &Passport) -> Result<Option<Target>, StoreError> {
    let account = tokio::time::timeout(PATIENCE, services.store.account(who)).await;
    let account = account.unwrap_or_else(|_| Err(too_slow()))?;
    Ok(account.map(|account| Target {
        name: account.settings.friendly_name,
        properties: account.settings.properties,
        reverse_count: 0,
    }))
}

fn too_slow() -> StoreError {
    StoreError::Unavailable(format!("no answer within {PATIENCE:?}"))
}

fn fault(error: &StoreError, trid: TrId, out: &mut Out) {
    tracing::error!(%error, "the store failed");
    out.refuse(ErrorCode::StoreFailed, trid);
}
