//! What a store costs. `append` makes messages durable at a rate; start it several times on one store to see how
//! processes share it. `history` fills a channel, and a short one to compare it with, and reads both at their ends and
//! behind cursors.
//!
//! ```text
//! store_bench --directory DIR append 500 10
//! store_bench --cql 127.0.0.1:9042 history 100000
//! ```
//!
//! With `--cql` the keyspace (`--keyspace`) is created if it is not there; drop it afterwards.

mod append;
mod history;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use common::config::{ScyllaConfig, StoreConfig};
use common::store::SharedStore;
use common::store::cql::{CqlStore, Tuning};

#[derive(Parser)]
struct Arguments {
    /// The directory of a store of files
    #[arg(long, required_unless_present = "cql")]
    directory: Option<PathBuf>,
    /// Nodes of a CQL server, HOST:PORT,…
    #[arg(long, value_delimiter = ',')]
    cql: Option<Vec<String>>,
    /// The keyspace there
    #[arg(long, default_value = "monarch_bench")]
    keyspace: String,
    /// Copies of each row there, where the keyspace is created
    #[arg(long, default_value = "1")]
    replication: String,
    /// Rows of a bucket there
    #[arg(long, default_value_t = Tuning::default().bucket_rows)]
    bucket_rows: u32,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Append so many messages a second, of 200 bytes each
    Append {
        rate: f64,
        seconds: f64,
        /// Channels, one message after the other in each
        #[arg(default_value_t = 64)]
        channels: u32,
    },
    /// Append so many messages to one channel and 1,000 to another, then read both
    History { messages: u64 },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let scylla = arguments.cql.as_ref().map(|points| ScyllaConfig {
        contact_points: points.clone(),
        keyspace: arguments.keyspace.clone(),
        replication: arguments.replication.clone(),
        ..ScyllaConfig::default()
    });
    let store = open(&arguments, scylla.as_ref()).await?;
    match arguments.what {
        What::Append { rate, seconds, channels } => append::run(&store, rate, seconds, channels).await,
        What::History { messages } => {
            history::run(&store, messages, arguments.bucket_rows.into(), scylla.as_ref()).await
        }
    }
}

async fn open(arguments: &Arguments, scylla: Option<&ScyllaConfig>) -> anyhow::Result<SharedStore> {
    if let Some(scylla) = scylla {
        CqlStore::migrate(scylla, &mut |step| println!("{step}")).await?;
        let tuning = Tuning { bucket_rows: arguments.bucket_rows, ..Tuning::default() };
        return Ok(Arc::new(CqlStore::open_with(scylla, tuning, Arc::default()).await?));
    }
    let path = arguments.directory.clone().context("no store is named")?;
    Ok(common::store::open(&StoreConfig { path, ..StoreConfig::default() }).await?)
}

/// User and system time of this process.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The value below which that share of the sorted ones lies.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    sorted.get(((sorted.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default()
}
