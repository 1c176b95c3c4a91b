//! A process that is killed in the middle of its changes of the disk, for tests.
//!
//! Every change in `atomic.rs` is announced here; a process that was told so ends at one of them as with `kill -9`:
//! nothing is flushed, nothing is dropped.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many changes are left to this process.
static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// This process ends after so many more changes.
pub(crate) fn end_after(changes: usize) {
    LEFT.store(changes, Ordering::SeqCst);
}

/// A change of the disk is about to be made.
pub(super) fn before_change() {
    let one_less = |left| (left != usize::MAX).then(|| usize::saturating_sub(left, 1));
    if LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) == Ok(0) {
        std::process::abort();
    }
}
