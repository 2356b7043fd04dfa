//! `monarch broadcast`: operators tell users something.

use std::io::{Read, Write};
use std::net::SocketAddr;

use clap::Args;
use common::cluster::Order;
use common::config::Config;
use common::model::{Bulletin, BulletinText, Passport};
use uuid::Uuid;

use crate::Failure;
use crate::orders::OrderDesk;
use crate::terminal::harmless;

/// What is read of standard input: more than any text that is taken, so that one that is too long is told so.
const MAX_INPUT: u64 = 64 * 1024;

/// `monarch broadcast`
#[derive(Debug, Args)]
#[command(after_help = "\
Everybody who is signed in at this moment gets it, on whichever node, as the client shows such things: clients from \
MSN Messenger 3 on (MSNP5) as a small window beside the clock, older ones as word of a new mail with the text for its \
subject; --shutdown as the client's own words. Who signs in later gets nothing.

The node whose admin address is asked passes it on to all others; the order is sealed with the first cluster secret of \
this machine's configuration. Says how many sessions have it on each node; with one that did not answer the exit code \
is 1. It takes a second for each 10,000 sessions of a node.

  monarch broadcast 'Maintenance tonight from 22:00 to 22:30'
  monarch broadcast --shutdown 5
  fortune -s | monarch broadcast -")]
pub(crate) struct BroadcastArgs {
    /// One line of at most 400 bytes; `-` reads it from standard input
    #[arg(required_unless_present = "shutdown", conflicts_with = "shutdown")]
    text: Option<String>,
    /// Tell that the service goes down in so many minutes, at most a day; nothing goes down by it
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(0..=1440))]
    shutdown: Option<u16>,
    /// Only this account; the exit code is 1 if it is not signed in
    #[arg(long, value_name = "PASSPORT")]
    to: Option<Passport>,
    /// The admin address of any node, instead of notification.node.admin
    #[arg(long, value_name = "IP:PORT")]
    node: Option<SocketAddr>,
}

pub(crate) async fn run(
    args: BroadcastArgs,
    config: &Config,
    input: &mut impl Read,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut desk = OrderDesk::configured(config);
    desk.admin = args.node.unwrap_or(desk.admin);
    let bulletin = match (args.shutdown, args.text) {
        (Some(minutes), _) => Bulletin::ShutDown { minutes },
        (None, text) => text_bulletin(&read(text.as_deref().unwrap_or("-"), input)?)?,
    };
    let everybody = args.to.is_none();
    let answer = desk.give(&Order { id: random()?, to: args.to, bulletin }).await?;
    if everybody { report(&answer, out) } else { Ok(writeln!(out, "{}", harmless(answer.trim_end()))?) }
}

/// The text itself, or what standard input holds.
fn read(text: &str, input: &mut impl Read) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    let done = input.take(MAX_INPUT).read_to_string(&mut read);
    done.map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
    Ok(read)
}

/// A bulletin of that text, with a number of its own.
pub(crate) fn text_bulletin(text: &str) -> Result<Bulletin, Failure> {
    let text = BulletinText::parse(text).map_err(|error| Failure::Usage(error.to_string()))?;
    let number = getrandom::u32().map_err(no_randomness)? >> 1;
    Ok(Bulletin::Text { number, text })
}

/// An order's id.
pub(crate) fn random() -> Result<Uuid, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(no_randomness)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn no_randomness(error: getrandom::Error) -> Failure {
    Failure::failed(format!("no randomness: {error}"))
}

/// Says what the nodes said: `NODE SESSIONS` lines, `-` for one that did not answer.
fn report(answer: &str, out: &mut impl Write) -> Result<(), Failure> {
    let (mut sessions, mut nodes, mut silent) = (0_u64, 0, Vec::new());
    for line in answer.lines() {
        let (node, count) = line.split_once(' ').unwrap_or((line, "-"));
        nodes += 1;
        match count.parse::<u64>() {
            Ok(count) => sessions += count,
            Err(_) => silent.push(harmless(node)),
        }
        writeln!(out, "{}: {}", harmless(node), count.parse::<u64>().map_or("no answer".into(), of_sessions))?;
    }
    let reached = nodes - silent.len();
    writeln!(out, "handed to {} on {reached} of {nodes} notification nodes", of_sessions(sessions))?;
    match (nodes, silent.is_empty()) {
        (0, _) => Err(Failure::failed("the node knows of no notification node: nobody has it")),
        (_, true) => Ok(()),
        (_, false) => {
            Err(Failure::failed(format!("no answer from {}: who is there may not have it", silent.join(", "))))
        }
    }
}

fn of_sessions(count: u64) -> String {
    if count == 1 { "1 session".into() } else { format!("{count} sessions") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: &str) -> (String, Option<u8>) {
        let mut out = Vec::new();
        let code = report(answer, &mut out).err().map(|failure| failure.code());
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn says_who_has_it() {
        let (text, code) = said("ns-1 1\nns-2 12\n");
        let expected = "ns-1: 1 session\nns-2: 12 sessions\nhanded to 13 sessions on 2 of 2 notification nodes\n";
        assert_eq!((text.as_str(), code), (expected, None));
        let (text, code) = said("ns-1 3\nns-2 -\n");
        let expected = "ns-1: 3 sessions\nns-2: no answer\nhanded to 3 sessions on 1 of 2 notification nodes\n";
        assert_eq!((text.as_str(), code), (expected, Some(1)));
        assert_eq!(said("").1, Some(1));
    }

    #[test]
    fn a_text_comes_from_the_command_line_or_from_standard_input() {
        assert_eq!(read("a b", &mut &b"c"[..]).unwrap(), "a b");
        assert_eq!(read("-", &mut &b"c\nd\n"[..]).unwrap(), "c\nd\n");
        assert_eq!(read("-", &mut &b"\xff"[..]).unwrap_err().code(), 2);
        assert!(matches!(text_bulletin("c\nd\n"), Ok(Bulletin::Text { text, .. }) if text.as_str() == "c d"));
        for bad in [" ", "a\u{1b}[2Jb", &"x".repeat(401)] {
            assert_eq!(text_bulletin(bad).unwrap_err().code(), 2, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn without_a_secret_or_a_node_nothing_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let desk = OrderDesk { admin: nobody, secrets: dir.path().join("secrets") };
        let order = Order { id: Uuid::nil(), to: None, bulletin: Bulletin::ShutDown { minutes: 1 } };
        assert_eq!(desk.give(&order).await.unwrap_err().code(), 2);
        common::cluster::Keyring::create(&desk.secrets).unwrap();
        assert_eq!(desk.give(&order).await.unwrap_err().code(), 3);
    }
}
