//! The credential files as npm mcp-remote names them, seen from outside.

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use serde_json::Value;

use super::TempDir;

/// The name npm gives to what is kept for this address, without other parts.
pub fn hash(url: &str) -> String {
    let digest = Md5::digest(url.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The callback port npm derives from it.
pub fn port(url: &str) -> u16 {
    3335 + u16::from_str_radix(&hash(url)[..4], 16).unwrap() % 45_816
}

/// The directory of a home.
pub fn dir(home: &TempDir) -> PathBuf {
    home.0.join(".mcp-auth/mcp-remote-v1")
}

pub fn path(home: &TempDir, url: &str, name: &str) -> PathBuf {
    dir(home).join(format!("{}_{name}", hash(url)))
}

/// A JSON file; null if there is none.
pub fn read(home: &TempDir, url: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(path(home, url, name)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

pub fn write(home: &TempDir, url: &str, name: &str, text: &str) {
    std::fs::create_dir_all(dir(home)).unwrap();
    std::fs::write(path(home, url, name), text).unwrap();
}

/// All files below a directory.
pub fn files(below: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
