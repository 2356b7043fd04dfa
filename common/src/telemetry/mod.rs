//! What operators see of a running process: logs, metrics, health.

mod admin;
mod announce;
mod desk;
mod lines;
mod logs;
mod process;
mod readiness;
mod seldom;
mod store;

pub use admin::Admin;
pub use announce::{announce, parse_announcement};
pub use desk::{Answered, Desk};
pub use lines::flush_logs;
pub(crate) use lines::{LastLines, last_word};
pub use logs::{Logs, init_logs};
pub use prometheus_client::metrics as metric;
pub use prometheus_client::registry::Registry;
pub use readiness::{Condition, Readiness, parse_waiting};
pub use seldom::Seldom;
pub use store::watch_store;
