//! The bound on open files.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors that a server needs for other things than its clients: its store, links, logs, and some in reserve.
const OTHER: u64 = 256;
/// One of so many may be that of a client which has not signed in: the rest is for those who have, and yet after a restart the
/// clients of a whole node may come at once.
const SHARE_OF_STRANGERS: u64 = 4;
/// So many clients that have not signed in are let in also where files are fewer.
const FEWEST_STRANGERS: u64 = 64;
/// More are not let in, however many files there may be: each takes memory.
const MOST_STRANGERS: u64 = 65_536;

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

/// How many connections may be of clients that have not signed in: beyond those the ones that wait give way, so that strangers can't
/// use up what everybody needs.
#[must_use]
pub fn strangers() -> usize {
    strangers_of(getrlimit(Resource::Nofile).current)
}

fn strangers_of(most: Option<u64>) -> usize {
    let share = most.map_or(MOST_STRANGERS, |most| most / SHARE_OF_STRANGERS);
    share.clamp(FEWEST_STRANGERS, MOST_STRANGERS) as usize
}

/// How many connections each of so many ports may have, of those that are `meant`: together no more than there are files.
#[must_use]
pub fn fitting(meant: usize, ports: u64) -> usize {
    fitting_of(getrlimit(Resource::Nofile).current, meant, ports)
}

fn fitting_of(most: Option<u64>, meant: usize, ports: u64) -> usize {
    let share = most.map_or(u64::MAX, |most| (most.saturating_sub(OTHER) / ports.max(1)).max(FEWEST_STRANGERS));
    meant.min(usize::try_from(share).unwrap_or(usize::MAX))
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

    #[test]
    fn strangers_get_a_share() {
        let shares = [Some(100), Some(1024), Some(20_000), Some(1 << 30), None].map(strangers_of);
        assert_eq!(shares, [64, 256, 5000, 65_536, 65_536]);
        let ports = [Some(100), Some(1024), Some(30_000), None].map(|most| fitting_of(most, 8192, 3));
        assert_eq!(ports, [64, 256, 8192, 8192]);
        assert_eq!(fitting_of(Some(1024), 10, 3), 10);
    }
}
