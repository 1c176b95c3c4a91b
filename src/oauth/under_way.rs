//! Token requests whose answer must not be lost: the process waits a moment for them before it leaves.
//!
//! A refresh token that was replaced at the server and not stored here ends the sign-in.
//!
//! Spec: RFC 9700 4.14.2 (rotation).

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Authorizer, lock};

/// How many there are.
#[derive(Default)]
pub(super) struct Counter {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// One of them; what came of it is stored when this is dropped.
pub(super) struct UnderWay<'a>(&'a Counter);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        *lock(&self.0.count) -= 1;
        self.0.fewer.notify_all();
    }
}

impl Authorizer {
    /// Tokens are being asked for.
    pub(super) fn under_way(&self) -> UnderWay<'_> {
        *lock(&self.under_way.count) += 1;
        UnderWay(&self.under_way)
    }

    /// Waits until tokens that are being asked for are stored, but not longer than this.
    pub fn settle(&self, limit: Duration) {
        let counter = &self.under_way;
        let waited = counter
            .fewer
            .wait_timeout_while(lock(&counter.count), limit, |count| *count > 0);
        // Whoever did not come in time is left behind.
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}
