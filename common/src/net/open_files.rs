//! The bound on open files.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that a server needs for other things than its clients: its store, links, logs, and some in reserve.
const OTHER: u64 = 256;

/// Raises the limit of open files as far as that goes, and warns where it lets in fewer clients than the `meant` ones.
///
/// # Errors
/// When the system refuses.
pub fn make_room_for(meant: u64) -> std::io::Result<()> {
    let most = raise_open_files()?;
    tracing::info!(most, "open files");
    if let Some(fit) = most.and_then(|most| too_few(most, meant)) {
        tracing::warn!(
            most,
            fit,
            meant,
            "the limit of open files is low: no more than `fit` clients will get in; raise it (`ulimit -Hn`, LimitNOFILE= of systemd)"
        );
    }
    Ok(())
}

/// How many clients fit, if that is fewer than are meant to.
fn too_few(most: u64, meant: u64) -> Option<u64> {
    let fit = most.saturating_sub(OTHER);
    (fit < meant).then_some(fit)
}

/// Raises the soft limit of open files to the hard one, and returns it. `None`: there is no bound.
fn raise_open_files() -> std::io::Result<Option<u64>> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_low_that_lets_in_fewer_than_are_meant() {
        assert_eq!(too_few(1024, 15_000), Some(768));
        assert_eq!(too_few(100, 1), Some(0));
        assert_eq!(too_few(15_256, 15_000), None);
        assert_eq!(too_few(524_288, 15_000), None);
    }
}
