//! Reads a client's file, and replaces it with the old text kept beside it as `.bak`.
//!
//! - The new text goes to a temporary file with the mode of the old one, which is renamed: no reader sees half a file.
//! - A symbolic link stays; its target is replaced.
//! - A file that changed since it was read is not overwritten.
//! - There is one `.bak`: the text before the last change.
//!
//! Not done here: parsing.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// 64 MiB; settings are smaller.
const MAX_LENGTH: u64 = 64 * 1024 * 1024;

/// The text of a file; `None` if there is none.
///
/// # Errors
/// If it cannot be read or is not UTF-8.
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
        return Err(failed("it is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_LENGTH + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > MAX_LENGTH {
        return Err(failed(format!("it is longer than {MAX_LENGTH} bytes")));
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| failed("it is not UTF-8".to_owned()))
}

/// Replaces the old text with the new one and returns the path of the copy of the old one.
///
/// # Errors
/// If any step fails; the file is unchanged then.
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
    let backup = with_ending(&target, ".bak");
    let new_backup = with_ending(&target, &format!(".bak.{}.tmp", std::process::id()));
    let temporary = with_ending(&target, &format!(".{}.tmp", std::process::id()));
    let write = || {
        if let Some(old) = old {
            write_new(&new_backup, old, permissions.as_ref())
                .map_err(|error| failed("keep a copy of", &error))?;
        }
        write_new(&temporary, new, permissions.as_ref())
            .map_err(|error| failed("write beside", &error))?;
        if read(&target)?.as_deref() != old {
            return Err(failed("replace", &"it was changed meanwhile, try again"));
        }
        if old.is_some() {
            fs::rename(&new_backup, &backup).map_err(|error| failed("keep a copy of", &error))?;
        }
        fs::rename(&temporary, &target).map_err(|error| failed("replace", &error))
    };
    let written = write();
    if written.is_err() {
        fs::remove_file(&temporary).ok();
        fs::remove_file(&new_backup).ok();
    }
    written.map(|()| old.map(|_| backup))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Makes a file that must not exist yet; it is removed again if it cannot be written whole.
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
