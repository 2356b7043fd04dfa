//! The switchboard: conversations, their relay, and their history.
//!
//! | file | what |
//! |---|---|
//! | `server` | from the configuration to a running process, and its way out |
//! | `board` | what all connections share; the traits behind which cookies and the cluster are |
//! | `session/` | one task a connection: `join` (USR, ANS), `call` (CAL), `relay` (MSG), `close` |
//! | `conversations`, `conversation` | who is in which conversation, and the order of what is said |
//! | `rings` | who is rung |
//! | `pressure` | who makes others wait, and for how long it may |
//! | `purse`, `disk` | how much one principal may say and have kept; whether there is room for it |
//! | `push` | what is put into a participant's mailbox, and what a message's sender hears of it |
//! | `pulse` | whether the process has stood still, so that what it promised may be late |
//! | `kind` | which messages are kept |
//! | `history` | what is kept, on its bounded way into the store |
//! | `participation`, `delivery`, `cursors`, `departure` | delivery as a cursor over history: the row of an admission, how far its client has got, the cursor written behind, the end of the row |
//! | `telling` | what sessions must hear, said until they have |
//! | `heart` | the heartbeats of switchboards that gossip has lost |
//! | `pickup/`, `handing` | bringing principals what was kept for them |

mod board;
mod conversation;
mod conversations;
mod cursors;
mod delivery;
mod departure;
mod disk;
mod handing;
mod heart;
mod history;
mod kind;
mod metrics;
mod participation;
mod pickup;
mod pressure;
mod pulse;
mod purse;
mod push;
mod rings;
mod server;
mod session;
mod telling;
#[cfg(test)]
mod testing;

use std::process::ExitCode;

use common::check::{self, Findings};
use common::config::{Program, explained};
use common::net::{Shutdown, make_room_for};
use common::reload::Reload;
use common::telemetry;

fn main() -> ExitCode {
    common::process::run(serve())
}

async fn serve() -> anyhow::Result<()> {
    let loaded = check::configured(Program::Switchboard, |_, _| Findings::default()).await;
    let config = loaded.config.clone();
    let logs = telemetry::init_logs(&config.log, "")?;
    let reload = Reload::on_hangup(loaded)?;
    reload.add("log filter", &["log.filter"], move |config| logs.set_filter(&config.log.filter));
    make_room_for(config.switchboard.capacity)?;
    let shutdown = Shutdown::default();
    shutdown.on_signals()?;
    let ran = server::run(&config, &reload, &shutdown).await;
    ran.map_err(|error| explained(error, &config, Program::Switchboard))?;
    shutdown.outcome()
}
