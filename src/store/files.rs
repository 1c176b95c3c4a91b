//! `Files`: the files of one server by name, with memory behind them for a disk that does not work.
//!
//! - A file that cannot be read, is broken or is too large counts as absent, with one warning that names it.
//! - So does a file whose text is not a JSON object; the next write replaces it.
//! - What cannot be written stays in memory, with one warning; the disk is tried again at the next write.
//!
//! Not done here: what is in the files (`records.rs`), how a file is replaced (`atomic.rs`).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::atomic;
use super::records::{Object, UnixMillis};
use super::server_hash::ServerHash;
use crate::error::plain;
use crate::log::{Level, Log};

/// The files `<dir>/<hash>_<name>`.
pub struct Files {
    dir: Option<PathBuf>,
    hash: ServerHash,
    log: Arc<Log>,
    memory: Mutex<HashMap<String, Kept>>,
    warned: Mutex<HashSet<String>>,
}

/// What could not be written: the content (`None`: removed), and the age of the file it stands for.
struct Kept {
    bytes: Option<Vec<u8>>,
    instead_of: Option<SystemTime>,
}

impl Files {
    /// The files of one server in this directory, or in memory only.
    pub fn new(dir: Option<PathBuf>, hash: ServerHash, log: Arc<Log>) -> Files {
        Files {
            dir,
            hash,
            log,
            memory: Mutex::default(),
            warned: Mutex::default(),
        }
    }

    /// Those of another server.
    pub fn beside(&self, hash: ServerHash) -> Files {
        Files::new(self.dir.clone(), hash, Arc::clone(&self.log))
    }

    /// Whose files they are.
    pub fn hash(&self) -> &ServerHash {
        &self.hash
    }

    /// Where the file of this name is, if there is a directory.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let dir = self.dir.as_ref()?;
        Some(dir.join(format!("{}_{name}", self.hash)))
    }

    /// The same with the directory made, for those who write by themselves.
    pub fn path_to_write(&self, name: &str) -> io::Result<PathBuf> {
        let (Some(dir), Some(path)) = (&self.dir, self.path(name)) else {
            return Err(io::Error::other("there is no home directory"));
        };
        atomic::make_dir(dir)?;
        Ok(path)
    }

    /// The content of a file; `None` if there is none, also if it cannot be read.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let on_disk = self.read_disk(name);
        let mut memory = lock(&self.memory);
        let Some(kept) = memory.get(name) else {
            return on_disk.map(|content| content.bytes);
        };
        let modified = on_disk.as_ref().and_then(|content| content.modified);
        if on_disk.is_some() && modified != kept.instead_of {
            // A sibling, which can write, has written since: it knows better.
            memory.remove(name);
            return on_disk.map(|content| content.bytes);
        }
        kept.bytes.clone()
    }

    /// The JSON object in a file; `None` if there is none, also if the text is something else.
    pub fn read_object(&self, name: &str) -> Option<Object> {
        let bytes = self.read(name)?;
        if let Ok(object) = serde_json::from_slice(&bytes) {
            return Some(object);
        }
        // npm on Windows writes in place when it cannot rename: it may be in the middle of it.
        std::thread::sleep(Duration::from_millis(50));
        let bytes = self.read(name)?;
        match serde_json::from_slice(&bytes) {
            Ok(object) => Some(object),
            Err(_) => {
                let shown = self.shown(name);
                self.warn_once(name, &format!("\"{shown}\" is damaged: it is ignored"));
                None
            }
        }
    }

    /// When a file on the disk was last changed.
    pub fn modified(&self, name: &str) -> Option<UnixMillis> {
        let metadata = fs::symlink_metadata(self.path(name)?).ok()?;
        let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }

    /// Makes a file look changed at this time; it is made if there is none.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn touch(&self, name: &str, now: UnixMillis) -> io::Result<()> {
        let file = atomic::open_lock(&self.path_to_write(name)?)?;
        file.set_modified(UNIX_EPOCH + Duration::from_millis(now))
    }

    /// Replaces a file. If the disk refuses, the content is kept in memory.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let written = self
            .path_to_write(name)
            .and_then(|path| atomic::write(&path, bytes));
        match written {
            Ok(()) => {
                lock(&self.memory).remove(name);
            }
            Err(error) => self.keep(name, Some(bytes.to_vec()), &error),
        }
    }

    /// Replaces a file by this object, spelled as npm spells it.
    pub fn write_object(&self, name: &str, object: &Object) {
        let text = format!("{:#}", Value::Object(object.clone()));
        self.write(name, text.as_bytes());
    }

    /// Removes a file. If the disk refuses, it counts as removed in this process.
    ///
    /// # Errors
    /// What the disk said.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.memory).remove(name);
        let Some(path) = self.path(name) else {
            return Ok(());
        };
        match atomic::remove(&path) {
            Ok(_) => Ok(()),
            Err(error) => {
                let instead_of = fs::symlink_metadata(&path).and_then(|m| m.modified()).ok();
                let kept = Kept {
                    bytes: None,
                    instead_of,
                };
                lock(&self.memory).insert(name.to_owned(), kept);
                Err(error)
            }
        }
    }

    /// The names of the files on the disk that begin so.
    pub fn names(&self, beginning: &str) -> Vec<String> {
        let Some(Ok(entries)) = self.dir.as_ref().map(fs::read_dir) else {
            return Vec::new();
        };
        let hash = format!("{}_", self.hash);
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| name.strip_prefix(&hash).map(str::to_owned))
            .filter(|name| name.starts_with(beginning))
            .collect()
    }

    /// Removes the files that `is_passing` picks and that have not been changed for `life`.
    pub fn sweep(&self, now: UnixMillis, life: Duration, is_passing: impl Fn(&str) -> bool) {
        let now = UNIX_EPOCH + Duration::from_millis(now);
        for name in self.names("") {
            let Some(path) = self.path(&name).filter(|_| is_passing(&name)) else {
                continue;
            };
            let modified = fs::symlink_metadata(&path).and_then(|m| m.modified());
            if modified.is_ok_and(|at| atomic::age(at, now) > life) {
                atomic::remove(&path).ok();
            }
        }
    }

    /// Says something once.
    pub fn warn_once(&self, about: &str, text: &str) {
        if lock(&self.warned).insert(about.to_owned()) {
            self.log.say(Level::Warn, text);
        }
    }

    /// The name of a file as a warning shows it.
    pub fn shown(&self, name: &str) -> String {
        match self.path(name) {
            Some(path) => path.display().to_string(),
            None => name.to_owned(),
        }
    }

    fn read_disk(&self, name: &str) -> Option<atomic::Content> {
        match atomic::read(&self.path(name)?) {
            Ok(content) => content,
            Err(error) => {
                let shown = self.shown(name);
                self.warn_once(name, &format!("cannot read \"{shown}\": {}", plain(&error)));
                None
            }
        }
    }

    fn keep(&self, name: &str, bytes: Option<Vec<u8>>, error: &io::Error) {
        let path = self.path(name);
        let modified = |path: &Path| atomic::read(path).ok().flatten()?.modified;
        let kept = Kept {
            bytes,
            instead_of: path.as_deref().and_then(modified),
        };
        lock(&self.memory).insert(name.to_owned(), kept);
        let shown = self.shown(name);
        let text = format!(
            "cannot write \"{shown}\": {}; the sign-in is kept in memory and ends with this process\n\
             hint: set MCP_REMOTE_CONFIG_DIR to a directory that can be written",
            plain(error)
        );
        self.warn_once("memory", &text);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
