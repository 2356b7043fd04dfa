//! The floor of free disk: what is left below it is for lists and sign-ins, and nothing that is said is kept.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::config::{Config, StoreKind};
use common::telemetry::{Condition, Seldom};

use crate::board::Board;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Of a small disk this part is enough.
const PART: u64 = 20;
const MIB: u64 = 1024 * 1024;

/// Whether there is room for what is said.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    low: AtomicBool,
}

impl Disk {
    /// Nothing is to be kept.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Whether it is low has been found out. Returns whether that has changed.
    pub(crate) fn set_low(&self, low: bool) -> bool {
        self.low.swap(low, Ordering::Relaxed) != low
    }
}

/// Bytes of a disk.
#[derive(Debug, Clone, Copy)]
struct Space {
    free: u64,
    all: u64,
}

impl Space {
    /// Of the disk on which `path` lies. May block.
    fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { free: bytes(found.f_bavail), all: bytes(found.f_blocks) })
    }

    fn is_low(self, floor: u64) -> bool {
        self.free < floor.min(self.all / PART)
    }
}

/// Looks once a second how much of the store's disk is free, until the process ends.
pub(crate) async fn watch(board: Arc<Board>, config: Config, room: Condition) {
    let floor = config.limits.free_disk_mib.saturating_mul(MIB);
    if config.store.kind != StoreKind::Sqlite {
        // Nothing is known of other hosts' disks.
        return room.met();
    }
    let lines = Seldom::default();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = board.shutdown.begun() => return,
        }
        let path = config.store.path.clone();
        let looked =
            tokio::task::spawn_blocking(move || Space::of(&path)).await.unwrap_or_else(|error| Err(error.into()));
        match looked {
            Ok(space) => found(&board, space, floor, &room),
            Err(error) => {
                not_found(&error, &room);
                if let Some(left_out) = lines.permits() {
                    tracing::warn!(%error, left_out, "can't see how much of the disk is free");
                }
            }
        }
    }
}

/// What was found before still holds: a disk that can't be looked at is neither full nor empty.
fn not_found(error: &io::Error, room: &Condition) {
    room.missing(format!("can't see how much of the disk is free: {error}"));
}

fn found(board: &Board, space: Space, floor: u64, room: &Condition) {
    board.metrics.free_disk.set(i64::try_from(space.free).unwrap_or(i64::MAX));
    let low = space.is_low(floor);
    let free_mib = space.free / MIB;
    let changed = board.disk.set_low(low);
    if low {
        room.missing(format!("only {free_mib} MiB of the disk are free: nothing that is said is kept"));
    } else {
        room.met();
    }
    match (changed, low) {
        (true, true) => {
            tracing::error!(free_mib, "the disk is nearly full; nothing that is said is kept, senders are told");
        }
        (true, false) => tracing::info!(free_mib, "there is room on the disk again"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use common::telemetry::Readiness;

    #[test]
    fn a_floor_and_a_twentieth_of_a_small_disk() {
        let space = |free, all| Space { free: free * MIB, all: all * MIB };
        for (free, all, low) in [(300, 100_000, false), (255, 100_000, true), (50, 1000, false), (49, 1000, true)]
        {
            assert_eq!(space(free, all).is_low(256 * MIB), low, "{free} of {all} MiB");
        }
        assert!(!space(0, 1000).is_low(0));
    }

    /// A disk that is full, or that can't be looked at, is a line for operators: clients still come, and chats that need no disk
    /// go on.
    #[tokio::test]
    async fn operators_are_told_and_clients_come_all_the_same() {
        let (world, readiness) = (World::new(), Readiness::default());
        let room = readiness.want("disk", "not looked yet");
        not_found(&io::Error::other("no such disk"), &room);
        let line = "disk: waiting: can't see how much of the disk is free: no such disk\n";
        assert_eq!((readiness.report().as_str(), readiness.is_ready()), (line, true));
        let space = |free| Space { free: free * MIB, all: 100_000 * MIB };
        found(&world.board, space(10), 256 * MIB, &room);
        assert!(readiness.report().contains("only 10 MiB") && readiness.is_ready() && world.board.disk.is_low());
        not_found(&io::Error::other("no such disk"), &room);
        assert!(world.board.disk.is_low(), "nothing else is known");
        found(&world.board, space(10_000), 256 * MIB, &room);
        assert_eq!(readiness.report(), "disk: ok\n");
    }

    #[test]
    fn this_disk_has_a_size() {
        let space = Space::of(Path::new(".")).unwrap();
        assert!(space.all > 0 && space.free <= space.all);
        assert!(Space::of(Path::new("nowhere/at/all")).is_err());
    }
}
