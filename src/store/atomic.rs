//! One credential file: read whole, replaced whole.
//!
//! - A write goes to a temporary file with a random name (npm's pid-and-time name collides inside one process), mode 0600,
//!   is flushed to the disk and renamed; what fails on the way leaves the old file and no temporary one.
//! - A read takes regular files up to [`SIZE_LIMIT`] only: a symbolic link, a pipe or a directory is refused.
//! - [`create`] makes a file with all of its content at once, or finds that it exists.
//!
//! Not done here: nothing is locked (`lease.rs`), nothing is parsed (`records.rs`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rand::TryRng;
use rand::rngs::SysRng;

#[cfg(test)]
use super::crash::before_change;

/// Tests end the process here.
#[cfg(not(test))]
fn before_change() {}

/// 1 MiB: a larger file is none of ours.
pub const SIZE_LIMIT: u64 = 1024 * 1024;

/// The content of a file and when it was written.
#[derive(Debug)]
pub struct Content {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The time of the last change, if the system knows it.
    pub modified: Option<SystemTime>,
}

/// Reads a whole file; `None` if there is none.
///
/// # Errors
/// If it cannot be read, is no regular file or is larger than [`SIZE_LIMIT`].
pub fn read(path: &Path) -> io::Result<Option<Content>> {
    // A sibling may rename a new file into place between the two looks: look again then.
    for _ in 0..5 {
        let Some(file) = not_found_is_none(open_regular(path))? else {
            return Ok(None);
        };
        let Some(file) = file else { continue };
        let metadata = file.metadata()?;
        let too_large = || io::Error::other(format!("it is larger than {SIZE_LIMIT} bytes"));
        if metadata.len() > SIZE_LIMIT {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > SIZE_LIMIT {
            return Err(too_large());
        }
        let modified = metadata.modified().ok();
        return Ok(Some(Content { bytes, modified }));
    }
    Err(io::Error::other("it changes all the time"))
}

/// Replaces a file, or makes it.
///
/// # Errors
/// If anything on the way fails; the old file is then untouched.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, bytes)?;
    before_change();
    if let Err(error) = fs::rename(&temporary, path) {
        fs::remove_file(&temporary).ok();
        return Err(error);
    }
    // The rename itself survives a power cut only once the directory is flushed; not every system can do that.
    if let Some(dir) = path.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).ok();
    }
    Ok(())
}

/// Makes a file with this content; `false` if it exists already.
///
/// # Errors
/// If it cannot be made for another reason.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let temporary = write_temporary(path, bytes)?;
    // A hard link appears with its content. With an exclusive create, npm could read the file while it is still empty.
    before_change();
    let linked = fs::hard_link(&temporary, path);
    before_change();
    fs::remove_file(&temporary).ok();
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // Some file systems have no hard links.
        Err(_) => create_in_place(path, bytes),
    }
}

/// Moves a file away, but only if its content is still `judged`; a newer one that a sibling put there stays.
///
/// # Errors
/// If it cannot be renamed.
pub fn set_aside(path: &Path, judged: &[u8], aside: &Path) -> io::Result<()> {
    before_change();
    fs::rename(path, aside)?;
    let moved = read(aside)
        .ok()
        .flatten()
        .is_some_and(|content| content.bytes == judged);
    if !moved {
        // It was replaced between the look and the rename. A link does not overwrite what may have come since.
        fs::hard_link(aside, path).ok();
        fs::remove_file(aside).ok();
    }
    Ok(())
}

/// Removes a file; `false` if there is none.
///
/// # Errors
/// If it cannot be removed.
pub fn remove(path: &Path) -> io::Result<bool> {
    before_change();
    Ok(not_found_is_none(fs::remove_file(path))?.is_some())
}

/// Makes the directory and those above it, for the owner only; an existing one is closed to others.
///
/// # Errors
/// If it cannot be made.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    before_change();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        builder.mode(0o700);
        builder.create(dir)?;
        let mode = fs::metadata(dir)?.permissions().mode();
        if mode & 0o077 != 0 {
            // npm makes it 0755. A directory of another owner stays as it is.
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).ok();
        }
        Ok(())
    }
    #[cfg(not(unix))]
    builder.create(dir)
}

/// Opens a lock file, which is never replaced and never removed.
///
/// # Errors
/// If it cannot be opened or is no regular file.
pub fn open_lock(path: &Path) -> io::Result<File> {
    if let Some(metadata) = not_found_is_none(fs::symlink_metadata(path))?
        && !metadata.is_file()
    {
        return Err(io::Error::other("it is no regular file"));
    }
    before_change();
    owner_only(OpenOptions::new().create(true).write(true)).open(path)
}

/// 16 random bytes from the system as hex digits.
///
/// # Errors
/// If the system has no randomness to give.
pub fn random_hex() -> io::Result<String> {
    let mut bytes = [0; 16];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|e| io::Error::other(e.to_string()))?;
    Ok(super::hex(&bytes))
}

/// How long ago a file was changed; nothing if the clock says it was changed later than `now`.
pub fn age(modified: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(modified).unwrap_or_default()
}

/// `Ok(None)` if the file at the path is not the one that was looked at before.
fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let looked_at = fs::symlink_metadata(path)?;
    if !looked_at.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let file = File::open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (looked_at.dev(), looked_at.ino()) {
            return Ok(None);
        }
    }
    Ok(Some(file))
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", random_hex()?));
    let temporary = path.with_file_name(name);
    if !create_in_place(&temporary, bytes)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    Ok(temporary)
}

/// `create_new` follows no symbolic link and takes over no file of another.
fn create_in_place(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    before_change();
    let mut file = match owner_only(OpenOptions::new().create_new(true).write(true)).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    before_change();
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        drop(file);
        fs::remove_file(path).ok();
        return Err(error);
    }
    Ok(true)
}

fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn not_found_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // Below a file there is nothing either.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_dir::TestDir;

    #[test]
    fn a_write_replaces_the_file_and_leaves_nothing_else() {
        let dir = TestDir::new();
        let path = dir.path().join("a.json");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().bytes, b"two");
        assert_eq!(dir.names(), ["a.json"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = TestDir::new();
        let path = dir.path().join("target");
        fs::create_dir_all(path.join("full")).unwrap();
        assert!(write(&path, b"x").is_err());
        assert_eq!(dir.names(), ["target"]);
    }

    #[cfg(unix)]
    #[test]
    fn files_and_directories_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = TestDir::new();
        let inner = dir.path().join("a/b");
        make_dir(&inner).unwrap();
        write(&inner.join("f"), b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&inner.join("f"))), (0o700, 0o600));
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        make_dir(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_neither_read_nor_written_through() {
        let dir = TestDir::new();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        fs::write(&target, b"precious").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(read(&link).is_err());
        assert!(open_lock(&link).is_err());
        assert!(!create(&link, b"x").unwrap());
        write(&link, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(read(&link).unwrap().unwrap().bytes, b"new");
    }

    #[test]
    fn directories_and_large_files_are_refused() {
        let dir = TestDir::new();
        assert!(read(dir.path()).is_err());
        let path = dir.path().join("large");
        fs::write(&path, vec![b' '; SIZE_LIMIT as usize + 1]).unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("1048576 bytes")
        );
        assert!(read(&dir.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn only_one_can_create_a_file() {
        let dir = TestDir::new();
        let path = dir.path().join("lease");
        assert!(create(&path, b"mine").unwrap());
        assert!(!create(&path, b"yours").unwrap());
        assert!(!create_in_place(&path, b"yours").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(dir.names(), ["lease"]);
    }

    #[test]
    fn a_file_that_was_replaced_meanwhile_is_not_set_aside() {
        let dir = TestDir::new();
        let (path, aside) = (dir.path().join("a"), dir.path().join("a.corrupt"));
        fs::write(&path, b"good").unwrap();
        set_aside(&path, b"bad", &aside).unwrap();
        assert_eq!(dir.names(), ["a"]);
        set_aside(&path, b"good", &aside).unwrap();
        assert_eq!(dir.names(), ["a.corrupt"]);
    }

    #[test]
    fn readers_never_see_half_a_file() {
        let dir = TestDir::new();
        let path = dir.path().join("a");
        write(&path, &[b'0'; 4096]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..50u8 {
                    write(&path, &[round; 4096]).unwrap();
                }
            });
            while !writer.is_finished() {
                let bytes = read(&path).unwrap().unwrap().bytes;
                assert!(bytes.len() == 4096 && bytes.iter().all(|b| *b == bytes[0]));
            }
        });
    }
}
