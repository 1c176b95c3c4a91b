//! What the tests stand on: a scripted HTTP server, the program under test, gates instead of sleeps.

pub mod authorization_server;
pub mod browser;
pub mod eras;
pub mod faulty;
pub mod http;
pub mod mcp;
pub mod process;
pub mod proxy;
pub mod sign_in;
pub mod store;
pub mod tls_front;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Nothing in a test takes longer than this unless something is broken.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Something that has not happened yet, and that others wait for.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// It has happened.
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Whether it has happened.
    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    /// Waits for it.
    pub fn wait(&self) {
        assert!(self.wait_for(LIMIT), "what was waited for did not happen");
    }

    /// Waits for it, but not longer; tells whether it happened.
    pub fn wait_for(&self, limit: Duration) -> bool {
        let open = self.0.0.lock().unwrap();
        *self
            .0
            .1
            .wait_timeout_while(open, limit, |open| !*open)
            .unwrap()
            .0
    }
}

/// A directory that goes with its owner.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "mcp-remote-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
