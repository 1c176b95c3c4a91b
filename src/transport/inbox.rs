//! The inbox: news for the bridge, and the bridge itself, which whoever brings news runs if nobody else does.
//!
//! A thread that has news puts it down and takes the bridge along, if it lies there; then it handles all news until none is
//! left, and puts the bridge back. If it is away, its news are handled by whoever has it. So the bridge is run by one thread at
//! a time and news are handled in the order they came, without a thread of its own: waking one costs more than the bridge needs
//! for a message.
//!
//! - The reader and the lanes run the bridge ([`Inbox::tell`]), for a bounded number of news: they have other things to do.
//!   All others leave it to the main thread ([`Inbox::tell_main`]): they may hold locks, or be what the bridge waits for.
//! - The main thread keeps the time, takes over from the others, and ends the session.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Driver;
use crate::bridge::Event;

/// The inbox.
pub(super) struct Inbox {
    state: Mutex<State>,
    main: Sender<Wake>,
}

struct State {
    news: VecDeque<Event>,
    bridge: Place,
    /// When the main thread wakes by itself.
    alarm: Option<Instant>,
}

/// Where the bridge is.
enum Place {
    /// Here, for whoever has news.
    Free(Box<Driver>),
    /// A thread runs it.
    Taken,
    /// The session is over.
    Gone,
}

/// What the main thread is woken for.
pub(super) enum Wake {
    /// There is news, or the alarm is set to an earlier time.
    Look,
    /// The session has ended in order.
    Over(Box<Driver>),
    /// The bridge panicked.
    Panicked(Box<Driver>, Box<dyn Any + Send>),
    /// A second signal: leave at once.
    Leave,
}

/// How many news a thread handles that has other things to do.
const TURN: usize = 64;

impl Inbox {
    /// An inbox that keeps its news until [`serve`](Inbox::serve) brings the bridge, and what wakes the main thread.
    pub(super) fn new() -> (Arc<Inbox>, Receiver<Wake>) {
        let (main, wakes) = channel();
        let state = Mutex::new(State {
            news: VecDeque::new(),
            bridge: Place::Taken,
            alarm: None,
        });
        (Arc::new(Inbox { state, main }), wakes)
    }

    /// News; the bridge may be run by the caller, who must hold no lock. Whether the session goes on.
    pub(super) fn tell(&self, news: Event) -> bool {
        let mut state = self.state();
        let goes_on = state.add(news);
        if let Some(bridge) = state.take() {
            drop(state);
            self.run(bridge, TURN);
        }
        goes_on
    }

    /// News that the main thread handles.
    pub(super) fn tell_main(&self, news: Event) {
        if self.state().add(news) {
            self.wake(Wake::Look);
        }
    }

    /// Ends the process at once.
    pub(super) fn leave(&self) {
        self.wake(Wake::Leave);
    }

    /// What the main thread does until the session is over; how it ended.
    pub(super) fn serve(&self, bridge: Box<Driver>, wakes: &Receiver<Wake>) -> Wake {
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

    /// Handles news until there is none, or so many.
    fn run(&self, mut bridge: Box<Driver>, most: usize) {
        for _ in 0..most {
            let mut state = self.state();
            let Some(news) = state.news.pop_front() else {
                return match catch_unwind(AssertUnwindSafe(|| bridge.deadline())) {
                    Ok(due) => self.put_back(state, bridge, due),
                    Err(panic) => self.end(state, Wake::Panicked(bridge, panic)),
                };
            };
            drop(state);
            let over = match catch_unwind(AssertUnwindSafe(|| bridge.handle(news))) {
                Ok(true) => continue,
                Ok(false) => Wake::Over(bridge),
                Err(panic) => Wake::Panicked(bridge, panic),
            };
            return self.end(self.state(), over);
        }
        self.state().bridge = Place::Free(bridge);
        self.wake(Wake::Look);
    }

    /// The bridge lies here again, and wants to be told of the time then.
    fn put_back(
        &self,
        mut state: MutexGuard<'_, State>,
        bridge: Box<Driver>,
        due: Option<Instant>,
    ) {
        state.bridge = Place::Free(bridge);
        // An alarm that is too early does no harm; setting a later one would wake the main thread for each request.
        if due.is_some_and(|due| state.alarm.is_none_or(|alarm| due < alarm)) {
            state.alarm = due;
            self.wake(Wake::Look);
        }
    }

    fn end(&self, mut state: MutexGuard<'_, State>, how: Wake) {
        state.bridge = Place::Gone;
        state.news = VecDeque::new();
        self.wake(how);
    }

    fn wake(&self, why: Wake) {
        // It does not listen only when the process is leaving.
        self.main.send(why).ok();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts news down; whether the session goes on.
    fn add(&mut self, news: Event) -> bool {
        let goes_on = !matches!(self.bridge, Place::Gone);
        if goes_on {
            self.news.push_back(news);
        }
        goes_on
    }

    /// The bridge, if nobody runs it.
    fn take(&mut self) -> Option<Box<Driver>> {
        match std::mem::replace(&mut self.bridge, Place::Taken) {
            Place::Free(bridge) => Some(bridge),
            Place::Taken => None,
            Place::Gone => {
                self.bridge = Place::Gone;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stdio::Line;
    use super::super::tests::driver;
    use super::*;
    use crate::jsonrpc::Message;

    /// News that are answered at once: an id alone is no message.
    fn malformed(id: &str) -> Event {
        Event::Client(Message::read(format!(r#"{{"id":"{id}"}}"#)))
    }

    /// The ids that were answered.
    fn answered(lines: &Receiver<Line>) -> Vec<String> {
        let id = |line| match line {
            Line::Answer(text) => {
                let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
                answer["id"].as_str().unwrap().to_owned()
            }
            Line::Message(_) | Line::Flush(_) => panic!("no answer"),
        };
        lines.try_iter().map(id).collect()
    }

    #[test]
    fn news_of_many_threads_are_each_handled_once_and_in_the_order_they_came() {
        let (inbox, wakes) = Inbox::new();
        let (driver, lines) = driver(&inbox);
        let mut tellers: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let inbox = Arc::clone(&inbox);
                std::thread::spawn(move || {
                    for n in 1000..2000 {
                        assert!(inbox.tell(malformed(&format!("{name}{n}"))));
                    }
                })
            })
            .into();
        let last = Arc::clone(&inbox);
        let waiter = std::thread::spawn(move || {
            tellers.drain(..).for_each(|teller| teller.join().unwrap());
            last.tell_main(Event::Stop);
        });
        assert!(matches!(inbox.serve(driver, &wakes), Wake::Over(_)));
        waiter.join().unwrap();
        let answered = answered(&lines);
        assert_eq!(answered.len(), 3000);
        for name in ["a", "b", "c"] {
            let of: Vec<_> = answered.iter().filter(|id| id.starts_with(name)).collect();
            assert!(of.len() == 1000 && of.is_sorted(), "{name}");
        }
        assert!(!inbox.tell(malformed("late")));
    }

    #[test]
    fn a_thread_that_has_other_things_to_do_leaves_the_rest_to_the_main_thread() {
        let (inbox, wakes) = Inbox::new();
        let (driver, lines) = driver(&inbox);
        for n in 0..TURN * 2 {
            inbox.tell(malformed(&n.to_string()));
        }
        inbox.state().bridge = Place::Free(driver);
        inbox.tell(malformed("last"));
        assert_eq!(answered(&lines).len(), TURN);
        assert!(matches!(wakes.try_recv(), Ok(Wake::Look)));
        let driver = inbox.state().take().unwrap();
        inbox.leave();
        inbox.serve(driver, &wakes);
        assert_eq!(answered(&lines).last().unwrap(), "last");
    }
}
