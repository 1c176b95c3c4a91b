//! The files of the store: layout, permissions, atomic replacement.
//!
//! `<base>/mcp-remote-v1/<hash>_<name>`, npm mcp-remote's layout, so that both use the same files. The directory is 0700,
//! files are 0600 from their first byte; a file is written beside its place, synced and renamed.
//! What npm does not know stands in files of its own, which npm leaves alone.
//!
//! A store that cannot be written is no failure: whoever needs it goes on without, with one warning.

mod server_hash;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

pub use server_hash::ServerHash;

use crate::config::Config;
use crate::error::{Error, Kind, Result};

/// The files that belong to one server.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    hash: ServerHash,
}

/// No file of the store is larger than 1 MiB.
const LARGEST: u64 = 1024 * 1024;

impl Store {
    /// The store of this server; `None` without a place for it. Nothing is read or made yet.
    pub fn new(config: &Config) -> Option<Store> {
        let base = config.store_dir.as_ref()?;
        Some(Store {
            directory: base.join("mcp-remote-v1"),
            hash: ServerHash::new(config),
        })
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{}_{name}", self.hash))
    }

    /// Makes the directory, for its owner only.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make_directory(&self) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(&self.directory)
            .map_err(|e| failed("make the directory", &self.directory, &e))
    }

    /// The text of a file; `None` if there is none.
    ///
    /// # Errors
    /// If it is there but cannot be read, or is far larger than any file of the store.
    pub fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("read", &path, &e)),
        };
        let mut text = String::new();
        file.take(LARGEST + 1)
            .read_to_string(&mut text)
            .map_err(|e| failed("read", &path, &e))?;
        if text.len() as u64 > LARGEST {
            return Err(Error::new(
                Kind::Store,
                format!("\"{}\" is larger than 1 MiB", path.display()),
            ));
        }
        Ok(Some(text))
    }

    /// Replaces a file, all or nothing.
    ///
    /// # Errors
    /// If it cannot be written; the old file stays.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        self.make_directory()?;
        let path = self.path(name);
        let beside = self
            .directory
            .join(format!("{}_{name}.{:016x}.tmp", self.hash, random()?));
        let written = write_new(&beside, text).and_then(|()| fs::rename(&beside, &path));
        written.map_err(|e| {
            // What is left of the attempt is of no use; that it cannot be removed changes nothing.
            fs::remove_file(&beside).ok();
            failed("write", &path, &e)
        })
    }
}

/// Never follows a link and never opens what is there: the name is new.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn random() -> Result<u64> {
    use rand::TryRng;
    rand::rngs::SysRng
        .try_next_u64()
        .map_err(|e| Error::new(Kind::Store, format!("no random numbers: {e}")))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        Kind::Store,
        format!("cannot {what} \"{}\": {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    fn store(name: &str) -> (Store, PathBuf) {
        let base =
            std::env::temp_dir().join(format!("mcp-remote-store-{}-{name}", std::process::id()));
        fs::remove_dir_all(&base).ok();
        let mut config = Config::new(Url::parse("https://a.test/mcp").unwrap());
        config.store_dir = Some(base.clone());
        (Store::new(&config).unwrap(), base)
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
        let (store, base) = store("replace");
        assert_eq!(store.read("a.json").unwrap(), None);
        store.write("a.json", "1").unwrap();
        store.write("a.json", "2").unwrap();
        assert_eq!(store.read("a.json").unwrap().as_deref(), Some("2"));
        assert_eq!(fs::read_dir(base.join("mcp-remote-v1")).unwrap().count(), 1);
        fs::remove_dir_all(base).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_what_is_stored() {
        use std::os::unix::fs::PermissionsExt;
        let (store, base) = store("mode");
        store.write("a.json", "1").unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(base.join("mcp-remote-v1")), mode(store.path("a.json"))),
            (0o700, 0o600)
        );
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_used_is_an_error_that_names_it() {
        let (store, base) = store("unusable");
        fs::write(&base, "a file").unwrap();
        let error = store.write("a.json", "1").unwrap_err();
        assert!(
            error.what().starts_with("cannot make the directory"),
            "{error}"
        );
        fs::remove_file(base).unwrap();
    }
}
