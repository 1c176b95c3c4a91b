//! A directory of its own for a test, removed afterwards.

use std::path::{Path, PathBuf};

/// A fresh directory under the system's temporary one.
pub struct TestDir(PathBuf);

impl TestDir {
    /// Makes one.
    pub fn new() -> TestDir {
        let name = format!("mcp-remote-test-{}", super::atomic::random_hex().unwrap());
        let path = std::env::temp_dir().join(name);
        super::atomic::make_dir(&path).unwrap();
        TestDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Vec<String> {
        names_in(&self.0)
    }
}

/// The names in a directory, sorted.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

impl Drop for TestDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
