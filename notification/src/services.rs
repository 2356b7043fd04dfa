//! What all sessions of this process share.

use std::sync::Arc;

use common::clock;
use common::cluster::{Admittance, Cluster, Cookie, Keyring, View};
use common::config::NotificationConfig;
use common::credentials::{AttemptGuard, RefusalLog};
use common::model::{Limits, Rates};
use common::net::{BufferPool, Shutdown};
use common::store::SharedStore;
use common::telemetry;
use tokio::sync::Semaphore;

use crate::allowance::Allowances;
use crate::hub::Hub;
use crate::last_active::LastActive;
use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::session::Surroundings;

/// What all sessions of this process share.
pub(crate) struct Services {
    /// The configuration of the tier.
    pub(crate) config: NotificationConfig,
    /// Bounds on what users may make grow.
    pub(crate) limits: Limits,
    /// How often users may do what costs others something.
    pub(crate) rates: Rates,
    /// Accounts and rosters.
    pub(crate) store: SharedStore,
    /// The other nodes.
    pub(crate) cluster: Cluster,
    /// Opens tickets, seals cookies.
    pub(crate) keys: Keyring,
    /// Opens passwords for MD5 sign-in; without it nobody can sign in that way.
    pub(crate) md5: Arc<Passwords>,
    /// Whether MSNP2 clients may send their password in the clear.
    pub(crate) clear_text: bool,
    /// Against guessing passwords.
    pub(crate) guard: Arc<AttemptGuard>,
    /// Tells operators who was refused.
    pub(crate) refusals: RefusalLog,
    /// What accounts may still do of what is bounded by `[rates]`.
    pub(crate) allowances: Allowances,
    /// The sessions.
    pub(crate) hub: Arc<Hub>,
    /// Read buffers.
    pub(crate) buffers: Arc<BufferPool>,
    /// Places of sessions that look whether something was kept for them: in a storm of sign-ins the store has more to do.
    pub(crate) kept_reads: Semaphore,
    /// When principals were last here.
    pub(crate) last_active: LastActive,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// The way out.
    pub(crate) shutdown: Shutdown,
}

/// See [`Services::kept_reads`].
pub(crate) const KEPT_READS: usize = 64;

impl Surroundings for Services {
    fn config(&self) -> &NotificationConfig {
        &self.config
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn rates(&self) -> &Rates {
        &self.rates
    }

    fn clear_text(&self) -> bool {
        self.clear_text
    }

    fn wall_ms(&self) -> u64 {
        clock::wall_ms()
    }

    fn view(&self) -> Arc<View> {
        self.cluster.view()
    }

    fn seal(&self, cookie: &Cookie, bound_to: &Admittance) -> String {
        self.keys.seal_cookie(cookie, bound_to)
    }

    fn random(&self) -> u128 {
        let mut bits = [0; 16];
        if let Err(error) = getrandom::fill(&mut bits) {
            // Cookies and salts that can be guessed would be worse than no service.
            tracing::error!(%error, "the system gives no random bits");
            telemetry::flush_logs();
            std::process::abort();
        }
        u128::from_le_bytes(bits)
    }
}
