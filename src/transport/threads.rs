//! The threads that belong to the bridge as a whole: how they start, what their panic means, who listens to signals.
//!
//! Not done here: what they do (`stdio`, `lane`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::inbox::Inbox;
use crate::bridge::Event;
use crate::error::{Error, Kind, Result};
use crate::log::{Level, Log};

/// The first signal ends the session in order, the second at once.
pub(super) fn watch_signals(inbox: Arc<Inbox>, log: &Log) {
    let mut first = true;
    let set = ctrlc::set_handler(move || {
        if first {
            inbox.tell_main(Event::Stop);
        } else {
            inbox.leave();
        }
        first = false;
    });
    if let Err(error) = set {
        log.say(
            Level::Warn,
            &format!("signals will end the process without ending the session: {error}"),
        );
    }
}

/// Runs a side of the client; if it panics, that side has ended.
pub(super) fn unless_it_panics(body: impl FnOnce(), ended: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        ended();
    }
}

/// The stack of a thread that may run the bridge. A TLS exchange with deep JSON needs less than 96 KiB in a release build;
/// unoptimised code needs more.
pub(super) const STACK: usize = 1024 * 1024;

/// Starts a thread.
///
/// # Errors
/// If the system has none to give.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(body);
    started.map(drop).map_err(|e| {
        Error::new(
            Kind::Network,
            format!("cannot start the {name} thread: {e}"),
        )
    })
}
