//! `monarch sign-out`: operators end sessions.

use std::io::Write;
use std::net::SocketAddr;

use clap::Args;
use common::cluster::{Audience, Instruction, Order};
use common::config::Config;
use common::model::{NodeId, Passport, SignOut};

use crate::Failure;
use crate::orders::{self, OrderDesk};

/// `monarch sign-out`
#[derive(Debug, Args)]
#[command(after_help = "\
The sessions that are there at this moment end, and each client hears why in the words of its dialect: OUT SSD (the \
server goes down) in every one; MSNP10 and later know --migrated (OUT MIG) and --terms (OUT TOU), MSNP11 and later \
--reconnect (OUT RCT). A client whose dialect does not know the reason hears OUT SSD. Most clients sign in again by \
themselves. Conversations go on at their switchboards until the clients leave them; nothing that was acknowledged is lost.

--from sends a node's sessions to the other nodes: the node is passed over by dispatch for ten minutes, or for as long as \
--reconnect says and one minute more, but only while another one takes clients. Then it takes its share again, or you have \
stopped it.

The node whose admin address is asked passes it on; the order is sealed with the first cluster secret of this machine's \
configuration. Says how many sessions have it on each node; with one that did not answer the exit code is 1. It takes a \
second for each 10,000 sessions of a node.

  monarch sign-out --all --reconnect 5
  monarch sign-out --from notification-2
  monarch sign-out --to alice@example.com --migrated")]
pub(crate) struct SignOutArgs {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    why: Why,
    /// The admin address of any node, instead of notification.node.admin
    #[arg(long, value_name = "IP:PORT")]
    node: Option<SocketAddr>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Who {
    /// Everybody, on every node
    #[arg(long)]
    all: bool,
    /// Who is at the notification node of that id
    #[arg(long, value_name = "NODE", value_parser = node_id)]
    from: Option<NodeId>,
    /// Only this account; the exit code is 1 if it is not signed in
    #[arg(long, value_name = "PASSPORT")]
    to: Option<Passport>,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Why {
    /// Clients are to come back by themselves after so many minutes, at most a day
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(1..=1440))]
    reconnect: Option<u16>,
    /// The account has moved: clients are to sign in anew
    #[arg(long)]
    migrated: bool,
    /// The user has to accept the terms of use first
    #[arg(long)]
    terms: bool,
}

fn node_id(text: &str) -> Result<NodeId, String> {
    NodeId::parse(text)
        .ok_or_else(|| format!("a node's id has letters, digits and '-', at most {}", NodeId::MAX_LEN))
}

impl From<Who> for Audience {
    fn from(who: Who) -> Self {
        match (who.from, who.to) {
            (Some(node), _) => Self::Node(node),
            (_, Some(passport)) => Self::Principal(passport),
            // One of the three is there.
            _ => Self::Everybody,
        }
    }
}

impl From<Why> for SignOut {
    fn from(why: Why) -> Self {
        match why {
            Why { reconnect: Some(minutes), .. } => Self::Reconnect { minutes },
            Why { migrated: true, .. } => Self::Migrated,
            Why { terms: true, .. } => Self::TermsOfUse,
            _ => Self::ShutDown,
        }
    }
}

pub(crate) async fn run(args: SignOutArgs, config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    let mut desk = OrderDesk::configured(config);
    desk.admin = args.node.unwrap_or(desk.admin);
    let what = Instruction::SignOut(args.why.into());
    let order = Order { id: orders::random()?, to: args.who.into(), what };
    let answer = desk.give(&order).await?;
    orders::report(&order, "signed out", &answer, out)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SignOutArgs,
    }

    fn read(line: &str) -> Option<(Audience, SignOut)> {
        let words = std::iter::once("sign-out").chain(line.split_whitespace());
        let args = Line::try_parse_from(words).ok()?.args;
        Some((args.who.into(), args.why.into()))
    }

    #[test]
    fn who_and_why() {
        let node = Audience::Node(NodeId::parse("ns-2").unwrap());
        let alice = Audience::Principal(Passport::parse("alice@example.com").unwrap());
        for (line, expected) in [
            ("--all", Some((Audience::Everybody, SignOut::ShutDown))),
            ("--all --reconnect 5", Some((Audience::Everybody, SignOut::Reconnect { minutes: 5 }))),
            ("--from ns-2", Some((node, SignOut::ShutDown))),
            ("--to alice@example.com --migrated", Some((alice.clone(), SignOut::Migrated))),
            ("--terms --to alice@example.com", Some((alice, SignOut::TermsOfUse))),
            ("", None),
            ("--reconnect 5", None),
            ("--all --to alice@example.com", None),
            ("--all --reconnect 0", None),
            ("--all --reconnect 1441", None),
            ("--all --migrated --terms", None),
            ("--from a_b", None),
            ("alice@example.com", None),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }
}
