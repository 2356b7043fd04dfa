//! Opening chats: `XFR SB` for the one who calls, `RNG` for the one who is called (protocol reference §6.15).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::cluster::{Admittance, Cookie, CookieRole, Invitation, Node, Notice, Outcome, Role, View};
use common::model::{ConversationId, Generation, List, NodeId, Passport};
use common::msnp::{ErrorCode, TrId, invitation};

use super::out::Out;
use super::rings::Rung;
use super::{Session, Surroundings};
use crate::metrics::Limited;

/// The longest that a cookie may live, in seconds, whatever is configured.
const LONGEST_LIFE: u64 = 120;

impl Session {
    /// `XFR t SB`, of a client that may be rung.
    pub(super) fn open_switchboard(&self, trid: TrId, env: &dyn Surroundings, out: &mut Out) {
        let view = env.view();
        let Some(node) = least_loaded(&view, env.random_u64()) else {
            tracing::warn!("no switchboard takes a conversation");
            return out.refuse(ErrorCode::SwitchboardFailed, trid);
        };
        let conversation = ConversationId(env.timed_uuid());
        let bound_to = Admittance {
            principal: self.passport.clone(),
            switchboard: node.id.clone(),
            generation: node.generation,
        };
        let cookie = env.seal(&self.cookie(CookieRole::Caller, conversation, env), &bound_to);
        out.line(invitation::switchboard(trid, node.client_addr, &cookie));
    }

    /// Somebody calls. Rung only by those who are allowed, and only while others can see the principal.
    pub(crate) fn invite(
        &mut self,
        call: &Invitation,
        now: Instant,
        env: &dyn Surroundings,
        out: &mut Out,
    ) -> Outcome {
        let outcome = self.may_ring(call, now, env);
        match outcome {
            Outcome::Accepted => self.ring(call, now, env, out),
            Outcome::TooOften => out.too_often = Some(Limited::Ring),
            _ => {}
        }
        outcome
    }

    /// Messages that were kept ring the session that has asked for them, each so many times.
    fn may_ring(&mut self, call: &Invitation, now: Instant, env: &dyn Surroundings) -> Outcome {
        if !self.may_be_rung() || !self.roster.allows(&call.caller) {
            return Outcome::Refused;
        }
        if let Some(kept) = &call.kept {
            let may = kept.session == self.here.epoch && self.pick_up.may_bring(&call.caller, &kept.messages);
            return if may { Outcome::Accepted } else { Outcome::Refused };
        }
        // It is this session that was rung, if it knows of it.
        if call.again && self.rings.is_rung_again(call, now) {
            return Outcome::AlreadyRung;
        }
        let may = self.rings.may_ring(
            &call.caller,
            self.roster.is_on(List::Forward, &call.caller),
            env.rates().ring(),
            now,
        );
        if may { Outcome::Accepted } else { Outcome::TooOften }
    }

    fn ring(&mut self, call: &Invitation, now: Instant, env: &dyn Surroundings, out: &mut Out) {
        let bound_to = Admittance {
            principal: self.passport.clone(),
            switchboard: call.switchboard.clone(),
            generation: call.generation,
        };
        if call.kept.is_none() {
            self.pick_up.is_called(now);
        }
        let mut cookie = self.cookie(CookieRole::Callee, call.conversation, env);
        cookie.kept_first = call.kept.is_none() && self.pick_up.is_under_way(now);
        let cookie = env.seal(&cookie, &bound_to);
        out.line(invitation::ring(call.session, call.addr, &cookie, &call.caller, &call.caller_name));
        if call.kept.is_none() {
            self.rings.rung(call, now, cookie_life(env));
        }
    }

    /// The session has ended: what each life of a switchboard is told of the rings that it has taken.
    pub(super) fn rings_over(&mut self, now: Instant) -> BTreeMap<(NodeId, Generation), Vec<(Passport, Notice)>> {
        let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for rung in self.rings.end(now) {
            let Rung { conversation, ring, switchboard, .. } = rung;
            let over = (self.passport.clone(), Notice::RingOver { conversation, ring });
            told.entry(switchboard).or_default().push(over);
        }
        told
    }

    fn cookie(&self, role: CookieRole, conversation: ConversationId, env: &dyn Surroundings) -> Cookie {
        let expires = env.wall_ms() / 1000 + cookie_life(env).as_secs();
        Cookie {
            role,
            conversation,
            claim: self.claim,
            edition: self.edition,
            dialect: self.dialect.number.0,
            capabilities: self.own.capabilities().try_into().unwrap_or_default(),
            session: self.here.epoch.sign(),
            kept_first: false,
            expires: expires.try_into().unwrap_or(u32::MAX),
            nonce: env.random_u64(),
        }
    }
}

fn cookie_life(env: &dyn Surroundings) -> Duration {
    Duration::from_secs(env.config().cookie_secs.min(LONGEST_LIFE))
}

/// The switchboard that is least loaded for its size, among those that take conversations; ties at random.
fn least_loaded(view: &View, random: u64) -> Option<&Node> {
    // load / capacity, compared without division.
    let lighter = |a: &Node, b: &Node| {
        let share = |of: &Node, other: &Node| u128::from(of.load.load) * u128::from(other.load.capacity.max(1));
        share(a, b).cmp(&share(b, a))
    };
    let least = view.open(Role::Switchboard).min_by(|a, b| lighter(a, b))?;
    let ties: Vec<_> = view.open(Role::Switchboard).filter(|node| lighter(node, least).is_eq()).collect();
    let chosen = random.checked_rem(ties.len() as u64).and_then(|at| usize::try_from(at).ok())?;
    ties.get(chosen).copied()
}

#[cfg(test)]
mod tests {
    use super::super::transcript::switchboard;
    use super::*;

    #[test]
    fn the_least_loaded_open_switchboard_is_chosen() {
        let mut nodes = vec![switchboard("a", 30, 100), switchboard("b", 20, 50), switchboard("c", 3, 10)];
        let chosen = |nodes: &[Node], random| {
            least_loaded(&View::new(nodes.iter().cloned()), random).map(|node| node.id.to_string())
        };
        assert_eq!(chosen(&nodes, 0).as_deref(), Some("a"));
        assert_eq!(chosen(&nodes, 1).as_deref(), Some("c"));
        nodes[0].load.draining = true;
        nodes[2].ready = false;
        assert_eq!(chosen(&nodes, 0).as_deref(), Some("b"));
        nodes[1].role = Role::Dispatch;
        assert_eq!(chosen(&nodes, 0), None);
    }
}
