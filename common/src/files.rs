//! The files that programs make. They are for nobody else, whatever the umask, and nobody else has put them there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Access;

/// The mode of a file that only its owner may read.
pub const PRIVATE: u32 = 0o600;
/// The mode of one that everybody may read, such as a certificate.
pub const PUBLIC: u32 = 0o644;

/// Makes a file of exactly that mode, open for reading and writing. Where there is anything of that name, a link to nowhere too,
/// it fails.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`], or what the system says.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    create_by(OpenOptions::new().read(true).write(true), path, mode)
}

/// The same for a log: what is written goes to its end.
///
/// # Errors
/// As those of [`create_new`].
pub fn create_log(path: &Path) -> io::Result<File> {
    create_by(OpenOptions::new().append(true), path, PRIVATE)
}

fn create_by(options: &mut OpenOptions, path: &Path, mode: u32) -> io::Result<File> {
    // For nobody else from its first moment on.
    let file = options.create_new(true).mode(PRIVATE).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// The private file of that name, open for reading and writing; made if it is not there, and made private if others may read it.
///
/// # Errors
/// When it is a link, no file, or somebody else's: who has put it there could read what is written into it.
pub fn open_own(path: &Path) -> io::Result<File> {
    loop {
        match create_new(path, PRIVATE) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made,
        }
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        match OpenOptions::new().read(true).write(true).custom_flags(no_follow).open(path) {
            Ok(file) => {
                let about = file.metadata()?;
                is_own(&about, path)?;
                if about.mode() & 0o077 != 0 {
                    file.set_permissions(Permissions::from_mode(PRIVATE))?;
                }
                return Ok(file);
            }
            // It was removed in between.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if path.is_symlink() => {
                return Err(io::Error::new(error.kind(), format!("{} is a link", path.display())));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Finds that what is there of that name is a file of our own, and no link, without opening it; or that nothing is there.
///
/// # Errors
/// As those of [`open_own`].
pub fn is_ours(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_symlink() => {
            Err(io::Error::new(ErrorKind::PermissionDenied, format!("{} is a link", path.display())))
        }
        Ok(about) => is_own(&about, path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file of secrets that an operator has put there, open for reading, with its mode. It may be a link, as those are that
/// orchestrators put there.
///
/// # Errors
/// When it can't be read, is no file, or is somebody else's: who has put it there knows what is in it. It may be root's.
pub fn open_secret(path: &Path) -> io::Result<(File, u32)> {
    let file = File::open(path)?;
    // Asked of the open file: the name may point elsewhere a moment later.
    let about = file.metadata()?;
    if about.uid() != 0 || !about.is_file() {
        is_own(&about, path)?;
    }
    Ok((file, about.mode() & 0o7777))
}

/// root works for whose the directory is.
fn is_own(about: &fs::Metadata, path: &Path) -> io::Result<()> {
    let we = rustix::process::geteuid();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = about.uid() == we.as_raw() || (we.is_root() && fs::metadata(parent)?.uid() == about.uid());
    let (place, uid) = (path.display(), about.uid());
    match (about.is_file(), own) {
        (true, true) => Ok(()),
        (false, _) => Err(io::Error::other(format!("{place} is no file"))),
        (true, false) => {
            Err(io::Error::new(ErrorKind::PermissionDenied, format!("{place} belongs to another user ({uid})")))
        }
    }
}

/// Puts a file of that mode in the place of the one that may be there, whole or not at all: a crash leaves the old or the new.
/// For one process at a time.
///
/// # Errors
/// What the system says.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = Path::new(&name);
    // What a crash has left, or a link that somebody has put there.
    match fs::remove_file(fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_new(fresh, mode)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    // The new name, too, must outlast a power cut.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Makes a directory, and those above it, for its owner alone; one that is there stays as it is.
///
/// # Errors
/// What the system says.
pub fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether this process may read and write a file, or put files into a directory.
///
/// # Errors
/// What the system says.
pub fn is_writable(path: &Path) -> io::Result<()> {
    let access = match path.is_dir() {
        true => Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
        false => Access::READ_OK | Access::WRITE_OK,
    };
    Ok(rustix::fs::access(path, access)?)
}

/// Whether a directory is there, or could be made, and files in it. Makes nothing.
///
/// # Errors
/// What the system says, of which directory.
pub fn could_be_made(directory: &Path) -> io::Result<()> {
    let directory = std::path::absolute(directory)?;
    // The nearest that is there: in it the others would be made. A link to nowhere is none of them.
    let there = directory.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let of = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", there.display()));
    if !fs::metadata(there).map_err(of)?.is_dir() {
        return Err(of(io::Error::from(ErrorKind::NotADirectory)));
    }
    is_writable(there).map_err(of)
}

/// What there is to say of a directory that others than its owner may enter or read; nothing if nobody may, or it is not there.
#[must_use]
pub fn exposure(directory: &Path) -> Option<String> {
    let mode = fs::metadata(directory).ok()?.permissions().mode() & 0o777;
    let place = directory.display();
    (mode & 0o077 != 0).then(|| {
        format!("the data directory {place} is open to others than its owner (mode {mode:o}): chmod 700 {place}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn modes_are_exact_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, wanted) in [("private", PRIVATE), ("public", PUBLIC)] {
            create_new(&path(name), wanted).unwrap();
            replace(&path("other"), wanted, b"x").unwrap();
            // The umask of the test is that of the shell: 0644 is none that it would give by chance to both.
            assert_eq!((mode(&path(name)), mode(&path("other"))), (wanted, wanted));
        }
        std::os::unix::fs::symlink(path("target"), path("link")).unwrap();
        assert_eq!(create_new(&path("link"), PRIVATE).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(create_log(&path("link")).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let error = open_own(&path("link")).unwrap_err().to_string();
        assert!(error.ends_with("is a link"), "{error}");
        std::os::unix::fs::symlink(path("target"), path("file.new")).unwrap();
        replace(&path("file"), PRIVATE, b"whole").unwrap();
        assert!(!path("target").exists(), "nothing was written through a link");
        assert_eq!(fs::read(path("file")).unwrap(), b"whole");
        open_own(&path("own")).unwrap().write_all(b"kept").unwrap();
        open_own(&path("own")).unwrap();
        assert_eq!((fs::read(path("own")).unwrap(), mode(&path("own"))), (b"kept".to_vec(), PRIVATE));
        assert!(open_own(directory.path()).is_err());
    }

    #[test]
    fn a_file_of_somebody_else_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("up.lock");
        open_own(&path).unwrap();
        // Only root may give a file away.
        let nobody = Some(rustix::fs::Uid::from_raw(65534));
        if rustix::fs::chown(&path, nobody, None).is_err() {
            return;
        }
        for refused in [open_own(&path).map(drop), is_ours(&path), open_secret(&path).map(drop)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("belongs to another user (65534)"), "{error}");
        }
        rustix::fs::chown(directory.path(), nobody, None).unwrap();
        assert!(open_own(&path).is_ok() && is_ours(&path).is_ok(), "root works for whose the directory is");
        assert!(open_secret(&path).is_ok());
    }

    #[test]
    fn what_others_may_read_is_made_private_and_a_secret_may_be_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        create_new(&path("key"), PUBLIC).unwrap();
        assert_eq!(open_secret(&path("key")).unwrap().1, PUBLIC);
        open_own(&path("key")).unwrap();
        assert_eq!(mode(&path("key")), PRIVATE);
        std::os::unix::fs::symlink(path("key"), path("link")).unwrap();
        assert_eq!(open_secret(&path("link")).unwrap().1, PRIVATE);
        assert!(is_ours(&path("link")).unwrap_err().to_string().ends_with("is a link"));
        is_ours(&path("missing")).unwrap();
        assert!(open_secret(directory.path()).is_err());
    }

    #[test]
    fn what_could_be_made_is_told_without_making_it() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        could_be_made(&path("a/b/c")).unwrap();
        could_be_made(top.path()).unwrap();
        fs::write(path("file"), "").unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("link")).unwrap();
        for name in ["file/data", "link/data"] {
            let error = could_be_made(&path(name)).unwrap_err().to_string();
            assert!(error.starts_with(&path(name).parent().unwrap().display().to_string()), "{error}");
        }
        fs::create_dir(path("closed")).unwrap();
        fs::set_permissions(path("closed"), Permissions::from_mode(0o500)).unwrap();
        // root may write everywhere.
        let root = rustix::process::geteuid().is_root();
        assert_eq!(could_be_made(&path("closed/data")).is_ok(), root);
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_directory_that_others_can_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("a/data");
        assert_eq!(exposure(&data), None);
        create_directory(&data).unwrap();
        assert_eq!((mode(&data), exposure(&data)), (0o700, None));
        for open in [0o750, 0o701, 0o755] {
            fs::set_permissions(&data, Permissions::from_mode(open)).unwrap();
            assert!(exposure(&data).unwrap().contains("chmod 700"));
        }
    }
}
