//! Which of its lives a node is in: a number that rises at every start, also when the clock has gone back meanwhile.
//!
//! The others drop whatever an earlier life says. A node that came back with a lower number than it had would be
//! invisible until its clock has caught up.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::files;
use crate::model::{Generation, NodeId};

/// The longest content of a file: 20 digits and a line end.
const MAX_LEN: u64 = 32;

/// The generation of a life that begins now: the wall clock, or one more than that of the life before, which stands in
/// `directory` under the node's name. The directory is made (0700) where it is missing: a store on other machines makes
/// none. Where no files can be kept, the clock alone decides.
pub(super) fn begin(directory: &Path, node: &NodeId, wall_ms: u64) -> Generation {
    let path = directory.join(format!("{node}.generation"));
    let made = files::create_directory(directory);
    let begun = made.and_then(|()| last(&path)).and_then(|last| {
        let next = last.map_or(wall_ms, |last| wall_ms.max(last.saturating_add(1)));
        files::replace(&path, files::PRIVATE, format!("{next}\n").as_bytes())?;
        Ok(next)
    });
    let generation = begun.unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "this start can't be noted: after a step back of the clock the \
            next one may go unheard by the other nodes");
        wall_ms
    });
    if generation > wall_ms {
        tracing::warn!(behind_ms = generation - wall_ms, "the clock has gone back since the last start");
    }
    Generation(generation)
}

/// Nothing for a first life, and for a file that holds no number: whoever wrote it, it was not us.
fn last(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(known) if known.len() <= MAX_LEN => Ok(fs::read_to_string(path)?.trim().parse().ok()),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_rises_at_every_start_whatever_the_clock_says() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (NodeId::parse("ns-1").unwrap(), NodeId::parse("ns-2").unwrap());
        let begin = |node, wall_ms| begin(directory.path(), node, wall_ms).0;
        assert_eq!(begin(&one, 1000), 1000);
        assert_eq!(begin(&one, 2000), 2000);
        assert_eq!(begin(&one, 2000), 2001, "twice in a millisecond");
        assert_eq!(begin(&one, 500), 2002, "the clock has gone back");
        assert_eq!(begin(&one, 3000), 3000);
        assert_eq!(begin(&other, 500), 500, "each node has its own");
        fs::write(directory.path().join("ns-1.generation"), "x".repeat(100)).unwrap();
        assert_eq!(begin(&one, 600), 600, "what is no number is written anew");
        assert_eq!(begin(&one, 600), 601);
    }

    #[test]
    fn without_a_place_for_files_the_clock_decides() {
        let (directory, node) = (tempfile::tempdir().unwrap(), NodeId::parse("ns-1").unwrap());
        fs::write(directory.path().join("file"), "").unwrap();
        assert_eq!(begin(&directory.path().join("file/data"), &node, 7).0, 7);
    }

    #[test]
    fn the_directory_is_made_for_its_owner_alone() {
        let (directory, node) = (tempfile::tempdir().unwrap(), NodeId::parse("ns-1").unwrap());
        let data = directory.path().join("a/data");
        assert_eq!([begin(&data, &node, 7).0, begin(&data, &node, 7).0], [7, 8]);
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
