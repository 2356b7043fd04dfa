//! What the system knows of the process, asked for when somebody scrapes.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::lines::left_out;

/// A registry with the process's own metrics, those of the system under the names that Prometheus' client libraries use.
pub(super) fn process_registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process));
    registry
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: Option<u64>| -> fmt::Result {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Resident memory in bytes", resident_bytes())?;
        gauge("process_open_fds", "Open file descriptors", open_files())?;
        gauge(
            "process_max_fds",
            "The most file descriptors that may be open",
            getrlimit(Resource::Nofile).current,
        )?;
        let left_out = ConstCounter::new(left_out());
        left_out.encode(encoder.encode_descriptor(
            "monarch_log_lines_left_out",
            "Lines of the log that were left out, since nobody read it",
            None,
            left_out.metric_type(),
        )?)?;
        let cpu = ConstCounter::new(cpu_seconds());
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system CPU time in seconds",
            None,
            cpu.metric_type(),
        )?)
    }
}

fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
    let seconds = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
    seconds
}

/// proc_pid_statm(5): the second number is resident pages.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
}

/// From Linux 6.2 on the size of the directory is the count; walking through 100,000 entries takes milliseconds.
fn open_files() -> Option<u64> {
    let counted = fs::metadata("/proc/self/fd").ok()?.len();
    if counted > 0 {
        return Some(counted);
    }
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the directory itself, open for the walk.
    u64::try_from(entries.saturating_sub(1)).ok()
}
