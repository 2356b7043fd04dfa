//! The battery of the stores on a real CQL server, which `MONARCH_CQL` names.

mod cql;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use common::config::ScyllaConfig;
use common::store::SharedStore;
use common::store::battery::Source;
use common::store::cql::{CqlStore, Tuning};

/// Every opening has a session of its own, as in another process.
struct Server {
    config: &'static ScyllaConfig,
    tuning: Tuning,
}

impl Server {
    /// All checks share the keyspaces: they take passports and channels of their own.
    fn new(tuning: Tuning) -> Option<Self> {
        static CONFIG: OnceLock<ScyllaConfig> = OnceLock::new();
        let points = cql::contact_points()?;
        Some(Self { config: CONFIG.get_or_init(|| cql::migrated(&points)), tuning })
    }
}

#[async_trait]
impl Source for Server {
    async fn open(&self) -> SharedStore {
        // As a process does, which waits for its store: servers of a busy machine may be late at first.
        for _ in 0..5 {
            match CqlStore::open_with(self.config, self.tuning, Arc::default()).await {
                Ok(store) => return Arc::new(store),
                Err(error) => eprintln!("{error}; once more"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("the server does not answer");
    }
}

mod as_it_is {
    use super::*;

    common::store_battery!(match Server::new(Tuning::default()) {
        Some(server) => server,
        None => return,
    });
}

/// Buckets that end after a few rows, so that pages are merged of many.
mod small_buckets {
    use super::*;

    common::store_battery!(match Server::new(Tuning { bucket_rows: 3, ..Tuning::default() }) {
        Some(server) => server,
        None => return,
    } =>
        history_is_in_the_order_of_ids
        history_is_read_back_from_the_end
        appending_twice_is_appending_once
        late_messages_come_on_a_later_page
        pages_are_exact_under_concurrent_writers
        cursors_stay_small
        pages_are_bounded_in_bytes
        everything_outlasts_a_restart
    );
}
