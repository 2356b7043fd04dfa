//! `monarch broadcast`: operators tell users something.

use std::io::{Read, Write};
use std::net::SocketAddr;

use clap::Args;
use common::cluster::{Audience, Instruction, Order};
use common::config::Config;
use common::model::{Bulletin, BulletinText, Passport};

use crate::Failure;
use crate::orders::{self, OrderDesk};

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
    /// One line of at most 400 bytes, where `&` counts as 5, `<` and `>` as 4 and `"` as 6, since clients get them so; `-` reads it from standard input
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
    let to = args.to.map_or(Audience::Everybody, Audience::Principal);
    let order = Order { id: orders::random()?, to, what: Instruction::Show(bulletin) };
    let answer = desk.give(&order).await?;
    orders::report(&order, "handed to", &answer, out)
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
    let number = getrandom::u32().map_err(orders::no_randomness)? >> 1;
    Ok(Bulletin::Text { number, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_from_the_command_line_or_from_standard_input() {
        assert_eq!(read("a b", &mut &b"c"[..]).unwrap(), "a b");
        assert_eq!(read("-", &mut &b"c\nd\n"[..]).unwrap(), "c\nd\n");
        assert_eq!(read("-", &mut &b"\xff"[..]).unwrap_err().code(), 2);
        assert!(matches!(text_bulletin("c\nd\n"), Ok(Bulletin::Text { text, .. }) if text.as_str() == "c d"));
        for bad in [" ", "a\u{1b}[2Jb", &"x".repeat(401), &"\"".repeat(67)] {
            assert_eq!(text_bulletin(bad).unwrap_err().code(), 2, "{bad:?}");
        }
    }
}
