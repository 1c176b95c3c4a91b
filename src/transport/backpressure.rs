//! Backpressure: a budget of bytes between a fast producer and a slow consumer.
//!
//! A message that came from the network holds a [`Permit`] until it is written or dropped. When the permits add up to
//! the limit, producers wait: a client that stops reading stops the network, and memory stays flat. One message is always
//! let through, however large it is.
//!
//! Not done here: no counting of messages; small ones cost little, large ones are what must not pile up.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Makes room for `more` bytes in a text of at most `limit`. One that outgrows 256 KiB gets room for the longest at once: memory
/// that is not written to costs nothing, and growing by moving would hold a large text twice.
pub(crate) fn make_room(text: &mut Vec<u8>, more: usize, limit: usize) {
    let needed = text.len().saturating_add(more);
    if needed > text.capacity() && needed > MIN_LARGE && needed <= limit {
        // If the system refuses, the text grows as others do.
        text.try_reserve_exact(limit - text.len()).ok();
    }
}

const MIN_LARGE: usize = 256 * 1024;

/// Limits the bytes under way.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// Waiting producers. If there are none, the system call that wakes them is left out.
    waiting: usize,
}

/// A part of a budget; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    size: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            state: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// Waits until `size` bytes fit, or no other bytes are under way.
    pub fn take(self: &Arc<Self>, size: usize) -> Permit {
        let mut state = self.state();
        while state.used > 0 && state.used.saturating_add(size) > self.limit {
            state.waiting += 1;
            state = self
                .freed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.used = state.used.saturating_add(size);
        drop(state);
        Permit {
            budget: Arc::clone(self),
            size,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.used = state.used.saturating_sub(self.size);
        if state.waiting > 0 {
            self.budget.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_producer_waits_until_something_was_consumed() {
        let budget = Budget::new(10);
        let first = budget.take(8);
        let (sender, receiver) = mpsc::channel();
        let other = Arc::clone(&budget);
        let producer = std::thread::spawn(move || {
            let permit = other.take(8);
            sender.send(()).unwrap();
            drop(permit);
        });
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while budget.state().waiting == 0 {
            assert!(std::time::Instant::now() < until, "it does not wait");
            std::thread::yield_now();
        }
        assert!(receiver.try_recv().is_err());
        drop(first);
        receiver.recv().unwrap();
        producer.join().unwrap();
    }

    #[test]
    fn a_message_larger_than_the_budget_passes_alone() {
        let budget = Budget::new(10);
        drop(budget.take(1000));
        assert_eq!(budget.state().used, 0);
    }
}
