//! What a session's logic needs of the world, so that it runs in tests without one.

use std::sync::Arc;

use common::cluster::{Admittance, Cookie, View};
use common::config::NotificationConfig;
use common::model::{Limits, Rates};
use uuid::Uuid;

/// What a session's logic asks for. Nothing here waits.
pub(crate) trait Surroundings {
    /// The configuration of the tier.
    fn config(&self) -> &NotificationConfig;
    /// Bounds on what users may make grow.
    fn limits(&self) -> &Limits;
    /// How often users may do what costs others something.
    fn rates(&self) -> &Rates;
    /// Whether MSNP2 clients may send their password in the clear.
    fn clear_text(&self) -> bool;
    /// Milliseconds since 1970.
    fn wall_ms(&self) -> u64;
    /// The live nodes.
    fn view(&self) -> Arc<View>;
    /// A cookie's text.
    fn seal(&self, cookie: &Cookie, bound_to: &Admittance) -> String;
    /// Random bits.
    fn random(&self) -> u128;

    /// A random id that sorts by time.
    fn timed_uuid(&self) -> Uuid {
        let bits = self.random().to_le_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&bits[..10]);
        uuid::Builder::from_unix_timestamp_millis(self.wall_ms(), &tail).into_uuid()
    }

    /// A random id.
    fn random_uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random().to_le_bytes()).into_uuid()
    }

    /// 64 random bits.
    fn random_u64(&self) -> u64 {
        self.random() as u64
    }
}
