//! Where a node takes operators' orders.
//!
//! The answer is a line for each notification node, `NODE SESSIONS OVERRUN` (see [`Told`]) or `NODE -` if it did not answer or did not
//! carry the order out; for an order about one principal a line that says what became of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::carrying_out::{Reached, Told};
use super::order::{Audience, Instruction, MAX_LEN, Order, OrderError};
use super::{Cluster, Keyring, ORDERS, Role};
use crate::clock;
use crate::model::{NodeId, Passport};
use crate::telemetry::{Answered, Desk, Seldom};

/// The sessions of all nodes are told in that time, or the node counts as not reached.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long one principal is looked for.
const PATIENCE_FOR_ONE: Duration = Duration::from_secs(4);

/// Lines of orders that are none.
static REFUSED: Seldom = Seldom::one_in(Duration::from_secs(10));

/// Takes orders for a node: give it to [`Admin::take_orders`](crate::telemetry::Admin::take_orders).
pub struct OrderDesk {
    /// What the orders are carried out by.
    pub cluster: Cluster,
    /// Opens them.
    pub keys: Keyring,
}

#[async_trait]
impl Desk for OrderDesk {
    fn path(&self) -> &'static str {
        ORDERS
    }

    fn max_body(&self) -> usize {
        MAX_LEN
    }

    fn knows(&self, address: IpAddr) -> bool {
        self.cluster.view().has_address(address)
    }

    async fn answer(&self, body: Bytes) -> Answered {
        match self.carry_out(&body).await {
            Ok(answered) => answered,
            Err(error) => {
                if let Some(left_out) = REFUSED.permits() {
                    tracing::warn!(%error, left_out, "refused an order");
                }
                Answered::Refused(error.to_string())
            }
        }
    }
}

impl OrderDesk {
    async fn carry_out(&self, text: &[u8]) -> Result<Answered, OrderError> {
        let (order, sealed) = self.keys.open_order(text, clock::wall_ms())?;
        let patience = match order.to {
            Audience::Principal(_) => PATIENCE_FOR_ONE,
            Audience::Everybody | Audience::Node(_) => PATIENCE,
        };
        let reached = self.cluster.carry_out(&order, sealed, patience).await?;
        Ok(match &order.to {
            Audience::Everybody => Answered::Done(lines(&reached)),
            Audience::Principal(who) if order.void().is_some() => about_a_password(who, &reached),
            Audience::Principal(who) => about_one(who, &order, &reached),
            Audience::Node(_) if !reached.is_empty() => Answered::Done(lines(&reached)),
            Audience::Node(node) => {
                let view = self.cluster.view();
                let known: Vec<&str> = view.of(Role::Notification).map(|node| node.id.as_str()).collect();
                Answered::Failed(format!("there is no notification node {node}; there are: {}", known.join(", ")))
            }
        })
    }
}

fn lines(reached: &[Reached]) -> String {
    let mut text = String::new();
    for Reached { node, told, .. } in reached {
        // Writing to a string can't fail.
        let _ = match told {
            Some(Told { sessions, overrun }) => writeln!(text, "{node} {sessions} {overrun}"),
            None => writeln!(text, "{node} -"),
        };
    }
    text
}

/// What became of the sessions that an old password has opened. To find none is no failure.
fn about_a_password(who: &Passport, reached: &[Reached]) -> Answered {
    if reached.is_empty() {
        return Answered::Failed("there is no notification node at this moment".into());
    }
    let silent: Vec<&NodeId> =
        reached.iter().filter(|reached| reached.told.is_none()).map(|reached| &reached.node).collect();
    if silent.len() == reached.len() {
        // Nobody knows of it, so that nobody can pass it on.
        return Answered::Failed(format!("no answer from: {}", listed(silent)));
    }
    let missing = unconfirmed(reached);
    let had_sessions = reached.iter().any(|reached| reached.told.is_some_and(|told| told.sessions > 0));
    // Who has confirmed, but not said how many sessions it had, may have had one.
    let outcome = if had_sessions || !silent.is_empty() { "is signed out" } else { "was not signed in" };
    if missing.is_empty() {
        return Answered::Done(format!("{who} {outcome}\n"));
    }
    let outcome = if had_sessions { "is signed out" } else { "was not signed in where that is known" };
    Answered::Failed(format!(
        "{who} {outcome}; not confirmed by: {}, which is told as soon as another node is linked to it, within an hour",
        listed(missing)
    ))
}

/// The nodes that may go on with what is void: nobody has heard from them that they know.
fn unconfirmed(reached: &[Reached]) -> BTreeSet<&NodeId> {
    let (answered, silent): (Vec<_>, Vec<_>) = reached.iter().partition(|reached| reached.told.is_some());
    let known: BTreeSet<_> =
        answered.iter().flat_map(|reached| reached.confirmations.given.iter().chain([&reached.node])).collect();
    let missing = answered.iter().flat_map(|reached| &reached.confirmations.missing);
    missing.chain(silent.iter().map(|reached| &reached.node)).filter(|node| !known.contains(node)).collect()
}

fn listed<'n>(nodes: impl IntoIterator<Item = &'n NodeId>) -> String {
    nodes.into_iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}

/// What became of an order about one principal, who has one session or, in later dialects, several.
fn about_one(who: &Passport, order: &Order, reached: &[Reached]) -> Answered {
    let told = || reached.iter().filter_map(|reached| reached.told);
    let silent: Vec<&str> =
        reached.iter().filter(|reached| reached.told.is_none()).map(|reached| reached.node.as_str()).collect();
    if told().any(|told| told.sessions > 0) {
        return Answered::Done(match order.what {
            Instruction::Show(_) => format!("{who} has it\n"),
            Instruction::SignOut(_) | Instruction::NewPassword { .. } => format!("{who} is signed out\n"),
        });
    }
    Answered::Failed(if told().any(|told| told.overrun > 0) {
        format!("the client of {who} does not keep up: it loses its connection, and does not have it")
    } else if silent.is_empty() && !reached.is_empty() {
        format!("{who} is not signed in")
    } else {
        format!("no node says that {who} is signed in; no answer from: {}", silent.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Confirmations;
    use crate::model::SignOut;

    fn reached(nodes: &[Option<(u64, u64)>]) -> Vec<Reached> {
        let node = |number| NodeId::parse(&format!("ns-{number}")).unwrap();
        let told = |told: &Option<(u64, u64)>| told.map(|(sessions, overrun)| Told { sessions, overrun });
        let reached = |(one, number)| {
            let confirmations = Confirmations::default();
            Reached { node: node(number), told: told(one), confirmations }
        };
        nodes.iter().zip(1..).map(reached).collect()
    }

    #[test]
    fn a_line_for_each_node() {
        assert_eq!(lines(&reached(&[Some((12, 0)), None, Some((3, 1))])), "ns-1 12 0\nns-2 -\nns-3 3 1\n");
    }

    #[test]
    fn what_became_of_an_order_about_one() {
        let who = Passport::parse("alice@example.com").unwrap();
        let what = Instruction::SignOut(SignOut::ShutDown);
        let order = Order { id: uuid::Uuid::nil(), to: Audience::Principal(who.clone()), what };
        let said = |nodes: &[_]| about_one(&who, &order, &reached(nodes));
        let failed = |text: &str| Answered::Failed(text.to_owned());
        let done = Answered::Done("alice@example.com is signed out\n".into());
        assert_eq!(said(&[Some((0, 0)), Some((1, 0))]), done);
        // That another node is silent does not matter then.
        assert_eq!(said(&[None, Some((1, 0))]), done);
        assert_eq!(said(&[Some((0, 0)), Some((0, 0))]), failed("alice@example.com is not signed in"));
        let slow =
            "the client of alice@example.com does not keep up: it loses its connection, and does not have it";
        assert_eq!(said(&[Some((0, 1)), None]), failed(slow));
        let unknown = "no node says that alice@example.com is signed in; no answer from: ns-2";
        assert_eq!(said(&[Some((0, 0)), None]), failed(unknown));
    }

    #[test]
    fn what_became_of_an_old_password() {
        let who = Passport::parse("alice@example.com").unwrap();
        // Who answers with so many sessions; the first says whom it knows to know, and of whom it doesn't.
        let said = |nodes: &[_], given: &[&str], missing: &[&str]| {
            let mut reached = reached(nodes);
            if let Some(first) = reached.first_mut() {
                let named = |names: &[&str]| names.iter().map(|name| NodeId::parse(name).unwrap()).collect();
                first.confirmations = Confirmations { given: named(given), missing: named(missing) };
            }
            match about_a_password(&who, &reached) {
                Answered::Done(text) => text,
                Answered::Failed(text) => format!("failed: {text}"),
                other => panic!("{other:?}"),
            }
        };
        let (none, one) = (Some((0, 0)), Some((1, 0)));
        let everybody = &["ns-2", "ns-3", "sb-1"];
        assert_eq!(said(&[none, one, none], everybody, &[]), "alice@example.com is signed out\n");
        assert_eq!(said(&[none, none], everybody, &[]), "alice@example.com was not signed in\n");
        assert_eq!(said(&[none, None], everybody, &[]), "alice@example.com is signed out\n", "ns-2 knows");
        assert_eq!(
            said(&[none, none], &[], &["ns-2"]),
            "alice@example.com was not signed in\n",
            "it has answered"
        );
        assert_eq!(said(&[None], &[], &[]), "failed: no answer from: ns-1");
        assert!(said(&[], &[], &[]).contains("no notification"));
        for (nodes, missing, text) in [
            (&[none, one, None][..], &[][..], "is signed out; not confirmed by: ns-3, which is told"),
            (&[none, None], &[], "was not signed in where that is known; not confirmed by: ns-2, which"),
            (&[one], &["sb-1", "sb-2"], "is signed out; not confirmed by: sb-1, sb-2, which"),
        ] {
            let said = said(nodes, &[], missing);
            assert!(said.starts_with("failed: alice@example.com ") && said.contains(text), "{text}: {said}");
        }
    }
}
