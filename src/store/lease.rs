//! The lease on a refresh: one instance redeems the refresh token, the others wait for what it gets.
//!
//! Two mechanisms, held together:
//! - an operating system lock on `<hash>_lock`, which ends with its holder, so that a crashed instance blocks nobody;
//! - npm mcp-remote's lease file `refresh_in_progress.json` (`{pid, nonce, at}`), which npm and older versions understand.
//!   It holds for 30 seconds and while its process lives; ours says `"locked": true` in addition: whoever has the lock
//!   and meets such a lease knows that its holder is dead.
//!
//! Rules: the wait is bounded; a loser asks `still_needed` between its tries, because the winner stores its tokens before it
//! lets go; only a lease with our nonce is removed; a store that cannot be written or locked leaves the refresh uncoordinated.
//!
//! Spec: npm mcp-remote 0.15.1 (acquireConfigLease, REFRESH_LEASE_MS); RFC 9700 4.14.2 (a reused refresh token ends the grant).
//! Not done here: the refresh itself; threads of one process have a lock of their own in front of this.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::atomic;
use super::records::{Object, UnixMillis, number, text};
use super::{Store, TOKENS, files::Files};

/// What came of asking for the lease.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// It is ours until the guard is dropped.
    Held(Lease),
    /// The store cannot be written: go on without it.
    Uncoordinated,
    /// Meanwhile a sibling did what was to be done.
    NotNeeded,
    /// A sibling holds it and does not come to an end.
    Busy,
}

/// The lease; dropping it lets the next one in.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    nonce: String,
    lock: Option<File>,
}

impl Store {
    /// Waits for the lease on a refresh, for 45 seconds at most.
    ///
    /// `still_needed` is asked again and again: it re-reads the tokens and says whether the refresh is still to be done.
    pub fn lease(&self, still_needed: impl FnMut() -> bool) -> LeaseOutcome {
        acquire(&self.files, PATIENCE, still_needed)
    }

    /// Waits for a refresh under way, so that it cannot store tokens after a logout has removed them.
    ///
    /// `None` if no lease can be under way: nothing is created for a server that was never signed in to.
    pub fn lease_for_logout(&self) -> Option<LeaseOutcome> {
        let exists = |name| self.files.path(name).is_some_and(|path| path.exists());
        (exists(TOKENS) || exists(LOCK)).then(|| self.lease(|| true))
    }
}

impl Lease {
    /// Makes the lease last for another 30 seconds, for a refresh that has to be tried again.
    pub fn renew(&self) {
        if read_holder(&self.path).is_some_and(|holder| holder.nonce == self.nonce) {
            atomic::write(&self.path, &content(&self.nonce, self.lock.is_some())).ok();
        }
    }

    /// Does the work and makes the lease last meanwhile, however long a token endpoint takes.
    pub fn while_renewed<T>(&self, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let (done, ended) = mpsc::channel::<()>();
            let renew = move || {
                while ended.recv_timeout(RENEWAL) == Err(RecvTimeoutError::Timeout) {
                    self.renew();
                }
            };
            let name = "lease".to_owned();
            // Without the thread the lease lasts for its 30 seconds.
            let started = thread::Builder::new().name(name).spawn_scoped(scope, renew);
            let result = work();
            drop(done);
            drop(started);
            result
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // If a sibling thought us dead and took over, the lease is not ours to remove.
        if read_holder(&self.path).is_some_and(|holder| holder.nonce == self.nonce) {
            atomic::remove(&self.path).ok();
        }
        // The lock ends with its file, after the lease: whoever gets the lock finds no lease of a live holder.
    }
}

/// npm's REFRESH_LEASE_MS.
const LIFE: UnixMillis = 30_000;
const RENEWAL: Duration = Duration::from_secs(10);
/// npm's REFRESH_POLL_MS.
const POLL: Duration = Duration::from_millis(200);
/// Longer than a lease lives, so that a lease of a dead npm process is always outwaited.
const PATIENCE: Duration = Duration::from_secs(45);
const LEASE: &str = "refresh_in_progress.json";
const LOCK: &str = "lock";

fn acquire(
    files: &Files,
    patience: Duration,
    mut still_needed: impl FnMut() -> bool,
) -> LeaseOutcome {
    let (Ok(path), Ok(lock_path)) = (files.path_to_write(LEASE), files.path_to_write(LOCK)) else {
        return LeaseOutcome::Uncoordinated;
    };
    let Ok(lock_file) = atomic::open_lock(&lock_path) else {
        return LeaseOutcome::Uncoordinated;
    };
    let deadline = Instant::now() + patience;
    let mut lock = Some(lock_file);
    let mut locked = false;
    loop {
        if !locked {
            match lock.as_ref().map(File::try_lock) {
                None => {}
                Some(Ok(())) => locked = true,
                Some(Err(TryLockError::WouldBlock)) => {
                    if let Some(outcome) = pause(deadline, &mut still_needed) {
                        return outcome;
                    }
                    continue;
                }
                // Some network file systems have no locks: npm's lease alone must do.
                Some(Err(TryLockError::Error(_))) => lock = None,
            }
        }
        match take(&path, locked) {
            Ok(Some(nonce)) => {
                let lease = Lease { path, nonce, lock };
                // A sibling may have finished between the caller's look and the lease.
                return if still_needed() {
                    LeaseOutcome::Held(lease)
                } else {
                    LeaseOutcome::NotNeeded
                };
            }
            Ok(None) => {}
            Err(_) => return LeaseOutcome::Uncoordinated,
        }
        if let Some(outcome) = pause(deadline, &mut still_needed) {
            return outcome;
        }
    }
}

/// Waits a little; says how the waiting ends, if it does.
fn pause(deadline: Instant, still_needed: &mut impl FnMut() -> bool) -> Option<LeaseOutcome> {
    if !still_needed() {
        return Some(LeaseOutcome::NotNeeded);
    }
    if Instant::now() >= deadline {
        return Some(LeaseOutcome::Busy);
    }
    thread::sleep(POLL);
    None
}

/// One try for the lease file: our nonce if it is ours now, `None` if somebody alive has it.
fn take(path: &Path, locked: bool) -> std::io::Result<Option<String>> {
    let nonce = atomic::random_hex()?;
    for _ in 0..2 {
        if atomic::create(path, &content(&nonce, locked))? {
            // As in npm: two that cleared the same dead lease may both have come this far.
            let is_ours = read_holder(path).is_some_and(|holder| holder.nonce == nonce);
            return Ok(is_ours.then_some(nonce));
        }
        if is_live(path, locked) {
            return Ok(None);
        }
        clear(path)?;
    }
    Ok(None)
}

struct Holder {
    pid: u64,
    nonce: String,
    at: UnixMillis,
    locked: bool,
}

fn read_holder(path: &Path) -> Option<Holder> {
    let content = atomic::read(path).ok()??;
    let object: Object = serde_json::from_slice(&content.bytes).ok()?;
    Some(Holder {
        pid: number(&object, "pid")?,
        nonce: text(&object, "nonce")?,
        at: number(&object, "at")?,
        locked: object.get("locked").and_then(serde_json::Value::as_bool) == Some(true),
    })
}

fn is_live(path: &Path, locked: bool) -> bool {
    match read_holder(path) {
        Some(holder) if holder.locked && locked => false,
        Some(holder) => now().abs_diff(holder.at) < LIFE && is_alive(holder.pid),
        // npm creates the file first and fills it then: it may be in the middle of it.
        None => {
            let modified = std::fs::symlink_metadata(path).and_then(|m| m.modified());
            modified.is_ok_and(|at| atomic::age(at, SystemTime::now()) < Duration::from_secs(2))
        }
    }
}

/// Removes a dead lease, but not one that a sibling put in its place since we looked.
fn clear(path: &Path) -> std::io::Result<()> {
    let judged = atomic::read(path)?.map(|content| content.bytes);
    let aside = path.with_extension(format!("{}.tmp", atomic::random_hex()?));
    match judged {
        Some(judged) => atomic::set_aside(path, &judged, &aside).or_else(gone_is_fine)?,
        None => return Ok(()),
    }
    atomic::remove(&aside)?;
    Ok(())
}

fn gone_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Ok(());
    }
    Err(error)
}

fn content(nonce: &str, locked: bool) -> Vec<u8> {
    let lease = json!({"pid": std::process::id(), "nonce": nonce, "at": now(), "locked": locked});
    format!("{lease:#}").into_bytes()
}

/// Whether a process lives. Only Linux tells without unsafe code; elsewhere a lease is left to run out.
fn is_alive(pid: u64) -> bool {
    let proc = Path::new("/proc");
    if !cfg!(target_os = "linux") || !proc.join("self").exists() {
        return true;
    }
    proc.join(pid.to_string()).exists()
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::LogConfig;
    use crate::log::Log;
    use crate::store::ServerHash;
    use crate::store::test_dir::TestDir;

    const SHORT: Duration = Duration::from_millis(500);
    const NOBODY: u64 = 4_000_000_000;

    fn files(dir: Option<&Path>) -> Files {
        let hash = ServerHash::parse("94baabe3c3fadb285b26c035e4e86046").unwrap();
        let log = Log::open(LogConfig::default()).unwrap();
        Files::new(dir.map(Path::to_owned), hash, Arc::new(log))
    }

    fn held(outcome: LeaseOutcome) -> Lease {
        match outcome {
            LeaseOutcome::Held(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    fn lease_of_npm(files: &Files, pid: u64, at: UnixMillis) -> PathBuf {
        let path = files.path_to_write(LEASE).unwrap();
        let text = format!(r#"{{"pid":{pid},"nonce":"theirs","at":{at}}}"#);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_lease_is_one_that_npm_understands_and_goes_with_its_guard() {
        let dir = TestDir::new();
        let files = files(Some(dir.path()));
        let lease = held(acquire(&files, SHORT, || true));
        let path = files.path(LEASE).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let object: Object = serde_json::from_str(&text).unwrap();
        assert_eq!(number(&object, "pid"), Some(u64::from(std::process::id())));
        assert!(number(&object, "at").unwrap().abs_diff(now()) < 10_000);
        assert!(!text.is_empty() && super::text(&object, "nonce").is_some());
        lease.renew();
        drop(lease);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_one_waits_and_learns_that_nothing_is_left_to_do() {
        let dir = TestDir::new();
        let files = files(Some(dir.path()));
        let first = held(acquire(&files, SHORT, || true));
        assert!(matches!(
            acquire(&files, SHORT, || true),
            LeaseOutcome::Busy
        ));
        assert!(matches!(
            acquire(&files, SHORT, || false),
            LeaseOutcome::NotNeeded
        ));
        drop(first);
        assert!(matches!(
            acquire(&files, SHORT, || false),
            LeaseOutcome::NotNeeded
        ));
        held(acquire(&files, SHORT, || true));
    }

    #[test]
    fn a_live_npm_instance_is_waited_for() {
        let dir = TestDir::new();
        let files = files(Some(dir.path()));
        let path = lease_of_npm(&files, u64::from(std::process::id()), now());
        assert!(matches!(
            acquire(&files, SHORT, || true),
            LeaseOutcome::Busy
        ));
        assert!(path.exists());
        let mut asked = 0;
        let outcome = acquire(&files, Duration::from_secs(20), || {
            asked += 1;
            if asked == 2 {
                fs::remove_file(&path).unwrap();
            }
            true
        });
        held(outcome);
    }

    #[test]
    fn a_dead_or_overdue_npm_instance_is_not_waited_for() {
        let dir = TestDir::new();
        let files = files(Some(dir.path()));
        lease_of_npm(&files, u64::from(std::process::id()), now() - LIFE);
        held(acquire(&files, SHORT, || true));
        if cfg!(target_os = "linux") {
            lease_of_npm(&files, NOBODY, now());
            held(acquire(&files, SHORT, || true));
        }
    }

    #[test]
    fn a_crashed_instance_of_ours_frees_the_lease_at_once() {
        let dir = TestDir::new();
        let files = files(Some(dir.path()));
        let mut lease = held(acquire(&files, SHORT, || true));
        // A crash: the system lets go of the lock, nobody removes the file.
        lease.lock = None;
        lease.nonce = "lost".to_owned();
        drop(lease);
        assert!(files.path(LEASE).unwrap().exists());
        held(acquire(&files, SHORT, || true));
    }

    #[test]
    fn a_lease_that_was_taken_over_is_not_removed() {
        let dir = TestDir::new();
        let files = files(Some(dir.path()));
        let lease = held(acquire(&files, SHORT, || true));
        let path = lease_of_npm(&files, 1, now());
        lease.renew();
        drop(lease);
        assert!(fs::read_to_string(path).unwrap().contains("theirs"));
    }

    #[test]
    fn a_lease_file_that_is_not_yet_filled_counts_for_a_moment() {
        let dir = TestDir::new();
        let files = files(Some(dir.path()));
        fs::write(files.path_to_write(LEASE).unwrap(), "").unwrap();
        assert!(matches!(
            acquire(&files, Duration::ZERO, || true),
            LeaseOutcome::Busy
        ));
        held(acquire(&files, Duration::from_secs(20), || true));
    }

    #[test]
    fn without_a_store_there_is_no_coordination() {
        assert!(matches!(
            acquire(&files(None), SHORT, || true),
            LeaseOutcome::Uncoordinated
        ));
        let dir = TestDir::new();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            acquire(&files(Some(&file)), SHORT, || true),
            LeaseOutcome::Uncoordinated
        ));
    }

    #[test]
    fn of_many_at_once_one_does_the_work() {
        let dir = TestDir::new();
        let (done, worked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let files = files(Some(dir.path()));
                    let still_needed = || done.load(Ordering::SeqCst) == 0;
                    match acquire(&files, Duration::from_secs(20), still_needed) {
                        LeaseOutcome::Held(_lease) => {
                            worked.fetch_add(1, Ordering::SeqCst);
                            thread::sleep(Duration::from_millis(50));
                            done.store(1, Ordering::SeqCst);
                        }
                        LeaseOutcome::NotNeeded => {}
                        other => panic!("{other:?}"),
                    }
                });
            }
        });
        assert_eq!(worked.load(Ordering::SeqCst), 1);
    }
}
