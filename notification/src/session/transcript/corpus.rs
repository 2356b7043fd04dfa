//! The fuzz corpus, and mutations of it, against a whole session: the handshake, the requests, the rules of the roster and
//! what follows from an edit. Only the store is left out: what is planned has happened.

#[path = "../../../../fuzz/src/mutate.rs"]
mod mutate;

use common::model::{Limits, Properties};
use common::msnp::verbs::Phase;
use mutate::{Dice, seeds};

use super::super::handshake::{Handshake, Step};
use super::*;
use crate::roster::{self, Owner, Target};

/// Mutations of each seed.
const MUTATIONS: usize = 300;

/// Where a connection stands.
enum Stage {
    Handshake(Handshake),
    SignedIn(Box<Session>),
}

/// Plays what a client sends until the session or the bytes end; says how many commands were carried out.
fn play(world: &World, input: &[u8]) -> usize {
    let [start, piece, bytes @ ..] = input else { return 0 };
    let now = Instant::now();
    let mut stage = match Dialect::ALL.get(usize::from(*start).wrapping_sub(1)) {
        Some(dialect) => Stage::SignedIn(Box::new(alice(dialect, now))),
        None => Stage::Handshake(Handshake::default()),
    };
    let (mut decoder, mut waiting, mut done) = (Decoder::new(Service::Notification, 0), BytesMut::new(), 0);
    for piece in bytes.chunks(usize::from(*piece).max(1)) {
        waiting.extend_from_slice(piece);
        loop {
            let (dialect, phase) = match &stage {
                Stage::Handshake(handshake) => handshake.progress(),
                Stage::SignedIn(session) => (Some(session.dialect), Phase::SignedIn),
            };
            decoder.admit(dialect, phase);
            let command = match decoder.decode(&mut waiting) {
                Ok(Some(command)) => command,
                Ok(None) => break,
                Err(_) => return done,
            };
            let goes_on = match &mut stage {
                Stage::Handshake(handshake) => match handshake.command(&command, world) {
                    Ok(Step::Reply(_)) => true,
                    Ok(Step::Check(proof)) => {
                        stage = Stage::SignedIn(Box::new(alice(proof.dialect, now)));
                        true
                    }
                    Ok(Step::Close(..)) | Err(_) => false,
                },
                Stage::SignedIn(session) => carry_out(session, &command, now, world),
            };
            if !goes_on {
                return done;
            }
            done += 1;
        }
    }
    done
}

/// Whether the session goes on.
fn carry_out(session: &mut Session, command: &Command, now: Instant, world: &World) -> bool {
    let mut out = Out::default();
    let Ok(request) = session.command(command, now, world, &mut out) else { return false };
    if let Some(request) = request
        && !edit_roster(session, &request, world, &mut out)
    {
        return false;
    }
    let closes = out.close.is_some();
    // It must be text, and every line of a source must come to an end.
    report(out, &mut String::new());
    !closes
}

fn edit_roster(session: &mut Session, request: &roster::Request, world: &World, out: &mut Out) -> bool {
    if request.asks_for_lists() {
        let roster = Arc::clone(&session.roster);
        out.source(roster::list_lines(roster, &session.passport, session.dialect, request));
        return true;
    }
    // Some accounts exist, and some don't.
    let exists = |who: &&Passport| who.as_str().len() % 2 == 1;
    let target = request.names_account().filter(exists);
    let target = target.map(|_| Target { properties: Properties::new(), name: None, reverse_count: 0 });
    let owner = Owner {
        passport: &session.passport,
        claim: session.claim,
        dialect: session.dialect,
        limits: world.limits(),
        keep_populated_groups: false,
        roster: &session.roster,
        present_name: None,
        untold: false,
        now_ms: world.wall_ms(),
        new_uuid: world.random_uuid(),
    };
    match roster::plan(&owner, request, target.as_ref()) {
        Ok(plan) => {
            roster::fold(Arc::make_mut(&mut session.roster), session.claim, &plan.edits);
            plan.effects.into_iter().for_each(|effect| session.effect(effect, out));
            let Limits { groups, forward_list, .. } = world.limits();
            assert!(
                session.roster.groups.len() <= *groups && session.roster.count_on(List::Forward) <= *forward_list
            );
            out.line(plan.reply);
            true
        }
        Err(roster::Refused::Code(code, trid)) => {
            out.refuse(code, trid);
            true
        }
        Err(roster::Refused::Close(_)) => false,
    }
}

#[test]
fn whatever_a_client_sends_the_session_stands_it() {
    let (world, seeds, mut dice) = (World::default(), seeds("notification"), Dice(1));
    // The seeds get somewhere: what is mutated is not refused by its first line.
    let done: usize = seeds.iter().map(|seed| play(&world, seed)).sum();
    assert!(done >= 50, "{done} commands carried out");
    for seed in &seeds {
        for _ in 0..MUTATIONS {
            let input = dice.mutate(seed, &seeds);
            let played = std::panic::catch_unwind(|| play(&World::default(), &input));
            assert!(played.is_ok(), "{:?}", input.escape_ascii().to_string());
        }
    }
}
