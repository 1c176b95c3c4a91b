//! The file of a client: read whole, replaced whole, the old one kept beside it.
//!
//! - A write goes to a temporary file beside it, with the mode of the old one, and is renamed: nobody sees half a file.
//! - A link is followed: it stays, and what it leads to is replaced.
//! - What was changed between the reading and the writing is not overwritten.
//!
//! Not done here: nothing is parsed.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// 64 MiB: no settings are longer.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The text of a file; `None` if there is none.
///
/// # Errors
/// If it cannot be read or is no text.
pub fn read(path: &Path) -> Result<Option<String>> {
    let failed = |what: String| {
        Error::new(
            Kind::Config,
            format!(
                "cannot read \"{}\": {what}; nothing was changed",
                path.display()
            ),
        )
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(failed("it is no regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > LONGEST {
        return Err(failed(format!("it is longer than {LONGEST} bytes")));
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| failed("it is not UTF-8".to_owned()))
}

/// Puts the new text in the place of the old one; gives the path of the copy of the old one.
///
/// # Errors
/// If anything fails on the way; the file is then as it was.
pub fn replace(path: &Path, old: Option<&str>, new: &str) -> Result<Option<PathBuf>> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Error::new(
            Kind::Config,
            format!(
                "cannot {what} \"{}\": {error}; nothing was changed",
                path.display()
            ),
        )
    };
    // A link stays: what it leads to is replaced.
    let target = match old {
        Some(_) => fs::canonicalize(path).map_err(|error| failed("find", &error))?,
        None => path.to_owned(),
    };
    let permissions = match old {
        Some(_) => Some(
            fs::metadata(&target)
                .map_err(|error| failed("look at", &error))?
                .permissions(),
        ),
        None => None,
    };
    if let (None, Some(parent)) = (
        old,
        target
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty()),
    ) {
        fs::create_dir_all(parent).map_err(|error| failed("make the directory of", &error))?;
    }
    let backup = match old {
        Some(old) => Some(
            keep(&target, old, permissions.as_ref())
                .map_err(|error| failed("keep a copy of", &error))?,
        ),
        None => None,
    };
    let temporary = with_ending(&target, &format!(".{}.tmp", std::process::id()));
    let written = write_new(&temporary, new, permissions.as_ref())
        .map_err(|error| failed("write beside", &error));
    let done = written.and_then(|()| {
        if read(&target)?.as_deref() != old {
            return Err(failed("replace", &"it was changed meanwhile, try again"));
        }
        fs::rename(&temporary, &target).map_err(|error| failed("replace", &error))
    });
    if let Err(error) = done {
        fs::remove_file(&temporary).ok();
        backup.as_ref().map(|backup| fs::remove_file(backup).ok());
        return Err(error);
    }
    Ok(backup)
}

/// A copy beside the file, under a name that is free.
fn keep(path: &Path, old: &str, permissions: Option<&fs::Permissions>) -> io::Result<PathBuf> {
    for number in 1..1000 {
        let ending = if number == 1 {
            ".bak".to_owned()
        } else {
            format!(".bak{number}")
        };
        let backup = with_ending(path, &ending);
        match write_new(&backup, old, permissions) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("all names up to .bak999 are taken"))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// A file that was not there before, complete or not at all.
fn write_new(path: &Path, text: &str, permissions: Option<&fs::Permissions>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = match permissions {
        Some(permissions) => file.set_permissions(permissions.clone()),
        None => Ok(()),
    };
    let written = written
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        fs::remove_file(path).ok();
    }
    written
}
