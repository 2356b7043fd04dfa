//! Opening chats: `XFR SB` for the one who calls, `RNG` for the one who is called (protocol reference §6.15).

use std::time::Duration;

use common::cluster::{Admittance, Cookie, CookieRole, Invitation, Node, Outcome, Role, View};
use common::model::ConversationId;
use common::msnp::{ErrorCode, TrId, invitation};

use super::out::Out;
use super::{Session, Surroundings};

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

    /// Somebody calls. Rung only by those who are allowed, and only while others can see the principal. Messages that were
    /// kept ring the session that has asked for them.
    pub(crate) fn invite(&self, call: &Invitation, env: &dyn Surroundings, out: &mut Out) -> Outcome {
        let asked_for = call.kept_for.is_none_or(|epoch| epoch == self.here.epoch);
        if !self.may_be_rung() || !self.roster.allows(&call.caller) || !asked_for {
            return Outcome::Refused;
        }
        let bound_to = Admittance {
            principal: self.passport.clone(),
            switchboard: call.switchboard.clone(),
            generation: call.generation,
        };
        let cookie = env.seal(&self.cookie(CookieRole::Callee, call.conversation, env), &bound_to);
        out.line(invitation::ring(call.session, call.addr, &cookie, &call.caller, &call.caller_name));
        Outcome::Accepted
    }

    fn cookie(&self, role: CookieRole, conversation: ConversationId, env: &dyn Surroundings) -> Cookie {
        let life = Duration::from_secs(env.config().cookie_secs.min(LONGEST_LIFE));
        let expires = env.wall_ms() / 1000 + life.as_secs();
        Cookie {
            role,
            conversation,
            claim: self.claim,
            dialect: self.dialect.number.0,
            capabilities: self.own.capabilities().try_into().unwrap_or_default(),
            expires: expires.try_into().unwrap_or(u32::MAX),
            nonce: env.random_u64(),
        }
    }
}

/// The switchboard that is least loaded for its size, among those that take conversations; ties at random.
pub(super) fn least_loaded(view: &View, random: u64) -> Option<&Node> {
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
