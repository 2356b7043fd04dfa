//! Edits of the roster: planned without I/O, made durable, then applied to memory, told and answered, in that
//! order. The client never sees an edit that a crash could undo.
//!
//! While the store is asked, others' notices are taken in: see [`Online::beside`].

use std::sync::Arc;
use std::time::Duration;

use common::model::List;
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
        if request.is_sync() {
            note_others_edits(online).await;
        }
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
    let session = &*online.session;
    let renamed = request.renamed_contact(&session.roster);
    let present_name = renamed.and_then(|contact| session.contacts.present_name(contact));
    let owner = Owner { present_name, ..owner(session, online.services) };
    match roster::plan(&owner, request, target.as_ref()) {
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

/// Tells the client what others have changed: all at once, with one write however much it is. They have made it durable in their
/// own transactions; only our version stamp may be lost.
pub(super) async fn tell_others_edits<T: Transport>(online: &mut Online<'_, T>) -> Out {
    let mut out = online.out();
    let mut stored = Ok(());
    if online.session.others.are_untold() {
        stored = doubt::clear_up(online, &mut out).await;
    }
    let turns = online.session.take_turns();
    let plan = roster::reverse_changed(&owner(online.session, online.services), &turns);
    note(online, stored, &plan).await;
    if !plan.reply.is_empty() {
        // Made already, and yet no burden to what may wait for the client.
        out.source(Box::new(std::iter::once(plan.reply)));
    }
    online.session.tell_late_properties(&mut out);
    out
}

/// What others have changed and the client was not told is in the answer to its `SYN`, under a version of its own.
async fn note_others_edits<T: Transport>(online: &mut Online<'_, T>) {
    if online.session.others.are_untold() {
        online.session.forget_turns();
        let plan = roster::reverse_noted(&owner(online.session, online.services));
        note(online, Ok(()), &plan).await;
    }
}

/// Notes the stamp of what others have changed. One that is lost shows at the next sign-in.
async fn note<T: Transport>(online: &mut Online<'_, T>, before: Result<(), StoreError>, plan: &Plan) {
    let stored = match before {
        Ok(()) => store(online, plan).await,
        Err(error) => Err(error),
    };
    if let Err(error) = stored {
        tracing::error!(%error, "can't note a change of the reverse list");
        fold(online.session, &plan.edits);
    }
}

/// Words of what others have changed were left out of the mailbox: the store has it.
pub(super) async fn read_again<T: Transport>(online: &mut Online<'_, T>) {
    let (services, who) = (online.services, online.session.passport.clone());
    online.session.others.begin_reading(now());
    let stored = ask(online, services.store.roster(&who)).await;
    let newer = online.session.others.end_reading(now());
    match stored {
        Ok(Some(stored)) => online.session.compare(&stored, &newer),
        // Erased: its client hears of that in other ways.
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, "can't see what others have changed; trying again later");
            online.session.others.missed(now());
        }
    }
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
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
        present_name: None,
        untold: session.others.are_untold(),
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
        let owner = &online.session.passport;
        return Ok(roster.map(|roster| Target {
            reverse_count: roster.count_on(List::Reverse),
            name: roster.allows(owner).then(|| roster.settings.friendly_name.clone()),
            properties: roster.settings.properties,
        }));
    }
    let account = ask(online, services.store.account(who)).await?;
    Ok(account.map(|account| Target { reverse_count: 0, name: None, properties: account.settings.properties }))
}
