//! The event loop: a queue of events, and the bridge, which is run by the thread that brings an event.
//!
//! A thread puts its event into the queue. If no other thread runs the bridge, it takes the bridge, handles all events, and puts
//! the bridge back. Otherwise the thread that runs the bridge handles the event. So only one thread runs the bridge at a time, and
//! events are handled in order. There is no thread for the bridge alone: waking one takes longer than handling a message.
//!
//! - The reader and the workers run the bridge ([`EventLoop::push`]), for a bounded number of events.
//! - Other threads leave it to the main thread ([`EventLoop::push_to_main`]): they may hold locks, or the bridge may wait for them.
//! - The main thread keeps the time, takes over from the others, and ends the session.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::bridge::Event;
use crate::error::{Error, Kind, Result};
use crate::log::{Level, Log};
use crate::transport::Driver;

/// Holds the queue and the bridge.
pub(crate) struct EventLoop {
    state: Mutex<State>,
    main: Sender<Wake>,
}

struct State {
    events: VecDeque<Event>,
    bridge: BridgeSlot,
    /// When the main thread wakes by itself.
    alarm: Option<Instant>,
}

/// The place of the bridge.
enum BridgeSlot {
    /// No thread runs it.
    Free(Box<Driver>),
    /// A thread runs it.
    Taken,
    /// The session is over.
    Gone,
}

/// What the main thread is woken for.
pub(crate) enum Wake {
    /// There is an event, or the alarm is set to an earlier time.
    Look,
    /// The session has ended in order.
    Over(Box<Driver>),
    /// The bridge panicked.
    Panicked(Box<Driver>, Box<dyn Any + Send>),
    /// A second signal: leave at once.
    Leave,
}

/// The most events that a thread other than the main thread handles at a time.
const MAX_EVENTS: usize = 64;

impl EventLoop {
    /// An event loop that queues events until [`serve`](EventLoop::serve) is called, and the receiver that wakes the main thread.
    pub(crate) fn new() -> (Arc<EventLoop>, Receiver<Wake>) {
        let (main, wakes) = channel();
        let state = Mutex::new(State {
            events: VecDeque::new(),
            bridge: BridgeSlot::Taken,
            alarm: None,
        });
        (Arc::new(EventLoop { state, main }), wakes)
    }

    /// Adds an event. The caller may run the bridge, so it must hold no lock. Returns false when the session is over.
    pub(crate) fn push(&self, event: Event) -> bool {
        let mut state = self.state();
        let goes_on = state.add(event);
        if let Some(bridge) = state.take() {
            drop(state);
            self.run(bridge, MAX_EVENTS);
        }
        goes_on
    }

    /// Adds an event that the main thread handles.
    pub(crate) fn push_to_main(&self, event: Event) {
        if self.state().add(event) {
            self.wake(Wake::Look);
        }
    }

    /// Ends the process at once.
    pub(crate) fn leave(&self) {
        self.wake(Wake::Leave);
    }

    /// Runs on the main thread until the session is over; returns how it ended.
    pub(crate) fn serve(&self, bridge: Box<Driver>, wakes: &Receiver<Wake>) -> Wake {
        self.run(bridge, usize::MAX);
        loop {
            let wake = self.wait(wakes);
            if !matches!(wake, Wake::Look) {
                return wake;
            }
            let bridge = self.state().take();
            if let Some(bridge) = bridge {
                self.run(bridge, usize::MAX);
            }
        }
    }

    /// Waits until the main thread is needed.
    fn wait(&self, wakes: &Receiver<Wake>) -> Wake {
        let alarm = self.state().alarm;
        let Some(at) = alarm else {
            return wakes.recv().unwrap_or(Wake::Leave);
        };
        match wakes.recv_timeout(at.saturating_duration_since(Instant::now())) {
            Ok(wake) => wake,
            Err(RecvTimeoutError::Timeout) => {
                let mut state = self.state();
                state.alarm = None;
                state.add(Event::Time);
                Wake::Look
            }
            Err(RecvTimeoutError::Disconnected) => Wake::Leave,
        }
    }

    /// Handles events until there are none, at most so many.
    fn run(&self, mut bridge: Box<Driver>, most: usize) {
        for _ in 0..most {
            let mut state = self.state();
            let Some(event) = state.events.pop_front() else {
                return match catch_unwind(AssertUnwindSafe(|| bridge.bridge.deadline())) {
                    Ok(due) => self.put_back(state, bridge, due),
                    Err(panic) => self.end(state, Wake::Panicked(bridge, panic)),
                };
            };
            drop(state);
            let over = match catch_unwind(AssertUnwindSafe(|| bridge.handle(event))) {
                Ok(true) => continue,
                Ok(false) => Wake::Over(bridge),
                Err(panic) => Wake::Panicked(bridge, panic),
            };
            return self.end(self.state(), over);
        }
        self.state().bridge = BridgeSlot::Free(bridge);
        self.wake(Wake::Look);
    }

    /// Puts the bridge back and sets the alarm to its deadline.
    fn put_back(
        &self,
        mut state: MutexGuard<'_, State>,
        bridge: Box<Driver>,
        due: Option<Instant>,
    ) {
        state.bridge = BridgeSlot::Free(bridge);
        // An alarm that is too early does no harm; setting a later one would wake the main thread for each request.
        if due.is_some_and(|due| state.alarm.is_none_or(|alarm| due < alarm)) {
            state.alarm = due;
            self.wake(Wake::Look);
        }
    }

    fn end(&self, mut state: MutexGuard<'_, State>, how: Wake) {
        state.bridge = BridgeSlot::Gone;
        state.events = VecDeque::new();
        self.wake(how);
    }

    fn wake(&self, why: Wake) {
        // The receiver is gone only when the process ends.
        self.main.send(why).ok();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Queues an event; returns false when the session is over.
    fn add(&mut self, event: Event) -> bool {
        let goes_on = !matches!(self.bridge, BridgeSlot::Gone);
        if goes_on {
            self.events.push_back(event);
        }
        goes_on
    }

    /// Takes the bridge, if no thread runs it.
    fn take(&mut self) -> Option<Box<Driver>> {
        match std::mem::replace(&mut self.bridge, BridgeSlot::Taken) {
            BridgeSlot::Free(bridge) => Some(bridge),
            BridgeSlot::Taken => None,
            BridgeSlot::Gone => {
                self.bridge = BridgeSlot::Gone;
                None
            }
        }
    }
}

/// The first signal ends the session in order, the second at once.
pub(crate) fn watch_signals(event_loop: Arc<EventLoop>, log: &Log) {
    let mut first = true;
    let set = ctrlc::set_handler(move || {
        if first {
            event_loop.push_to_main(Event::Stop);
        } else {
            event_loop.leave();
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

/// Runs the body; if it panics, calls `ended`.
pub(crate) fn or_on_panic(body: impl FnOnce(), ended: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        ended();
    }
}

/// The stack of a thread that may run the bridge. A TLS exchange with deep JSON needs less than 96 KiB in a release build;
/// unoptimised code needs more.
pub(crate) const STACK: usize = 1024 * 1024;

/// Starts a thread.
///
/// # Errors
/// If the system cannot start one.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::Message;
    use crate::transport::stdio::Line;
    use crate::transport::tests::driver;

    /// An event that is answered at once: an object with only an id is not a valid message.
    fn malformed(id: &str) -> Event {
        Event::Client(Message::read(format!(r#"{{"id":"{id}"}}"#)))
    }

    /// The ids that were answered.
    fn answered(lines: &Receiver<Vec<Line>>) -> Vec<String> {
        let id = |line| match line {
            Line::Answer(text) => {
                let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
                answer["id"].as_str().unwrap().to_owned()
            }
            Line::Message(_) | Line::Flush(_) => panic!("no answer"),
        };
        lines.try_iter().flatten().map(id).collect()
    }

    #[test]
    fn events_of_many_threads_are_each_handled_once_and_in_order() {
        let (event_loop, wakes) = EventLoop::new();
        let (driver, lines) = driver(&event_loop);
        let mut tellers: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let event_loop = Arc::clone(&event_loop);
                std::thread::spawn(move || {
                    for n in 1000..2000 {
                        assert!(event_loop.push(malformed(&format!("{name}{n}"))));
                    }
                })
            })
            .into();
        let last = Arc::clone(&event_loop);
        let waiter = std::thread::spawn(move || {
            tellers.drain(..).for_each(|teller| teller.join().unwrap());
            last.push_to_main(Event::Stop);
        });
        assert!(matches!(event_loop.serve(driver, &wakes), Wake::Over(_)));
        waiter.join().unwrap();
        let answered = answered(&lines);
        assert_eq!(answered.len(), 3000);
        for name in ["a", "b", "c"] {
            let of: Vec<_> = answered.iter().filter(|id| id.starts_with(name)).collect();
            assert!(of.len() == 1000 && of.is_sorted(), "{name}");
        }
        assert!(!event_loop.push(malformed("late")));
    }

    #[test]
    fn other_threads_handle_a_bounded_number_of_events_and_leave_the_rest_to_the_main_thread() {
        let (event_loop, wakes) = EventLoop::new();
        let (driver, lines) = driver(&event_loop);
        for n in 0..MAX_EVENTS * 2 {
            event_loop.push(malformed(&n.to_string()));
        }
        event_loop.state().bridge = BridgeSlot::Free(driver);
        event_loop.push(malformed("last"));
        assert_eq!(answered(&lines).len(), MAX_EVENTS);
        assert!(matches!(wakes.try_recv(), Ok(Wake::Look)));
        let driver = event_loop.state().take().unwrap();
        event_loop.leave();
        event_loop.serve(driver, &wakes);
        assert_eq!(answered(&lines).last().unwrap(), "last");
    }
}
