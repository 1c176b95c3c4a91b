//! A lane: one thread, one ureq `Agent`, one kept-alive connection, one cancel handle.
//!
//! A lane runs one exchange at a time and reports all of its news to the inbox, where it may run the bridge. It is the
//! unit of cancellation: cutting an exchange shuts its agent down, which wakes a blocked read at once. A cut lane is left
//! behind: it may still be stuck in a connect, which nothing can interrupt, and ends by itself.
//!
//! A panic in a lane becomes the end of its exchange, so that whoever waits for it is answered.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::exchange::Reporter;
use super::exchange::{self, Shared};
use super::inbox::Inbox;
use super::threads::STACK;
use crate::bridge::{End, Event, Exchange, ExchangeId, Progress, Stage};
use crate::error::{Error, Kind};

/// The lanes, busy and idle.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    idle: Vec<Lane>,
    busy: HashMap<ExchangeId, Lane>,
}

struct Lane {
    jobs: Sender<(ExchangeId, Exchange)>,
    agent: AgentSlot,
    /// When it last became idle.
    idle_since: Instant,
}

/// The agent of a lane, shared with whoever may have to cut it.
pub(super) type AgentSlot = Arc<Mutex<Slot>>;

/// What is in it.
#[derive(Default)]
pub(super) enum Slot {
    /// No request was sent yet.
    #[default]
    Empty,
    /// The agent in use.
    Agent(ureq::Agent),
    /// The lane was cut, perhaps while it waited for new tokens: whoever asked has got an answer, nothing may be sent any more.
    Cut,
}

/// Each lane is a thread; beyond this many exchanges at once, new ones fail.
const MOST_LANES: usize = 512;
/// Lanes that are kept although they have nothing to do: a burst of calls needs them again at once, and a new thread with
/// a new connection costs more than the call itself.
const MOST_IDLE: usize = 64;
/// Lanes beyond these few are let go once they were idle for a while.
const FEW_IDLE: usize = 4;
const IDLE_LIFE: Duration = Duration::from_secs(10);

impl Lanes {
    pub(super) fn new(shared: Arc<Shared>, inbox: Arc<Inbox>) -> Lanes {
        Lanes {
            shared,
            inbox,
            idle: Vec::new(),
            busy: HashMap::new(),
        }
    }

    /// Runs an exchange on an idle lane, or on a new one.
    pub(super) fn open(&mut self, id: ExchangeId, exchange: Exchange) {
        let mut exchange = exchange;
        while let Some(lane) = self.idle.pop() {
            match lane.jobs.send((id, exchange)) {
                Ok(()) => {
                    self.busy.insert(id, lane);
                    return;
                }
                // A lane that died takes no more jobs; the next one does.
                Err(unsent) => exchange = unsent.0.1,
            }
        }
        let started = if self.busy.len() < MOST_LANES {
            self.start().map_err(|e| {
                Error::new(
                    Kind::Network,
                    format!("cannot start a thread for a request: {e}"),
                )
            })
        } else {
            Err(Error::new(
                Kind::Network,
                format!("more than {MOST_LANES} requests are open at once"),
            ))
        };
        match started {
            Ok(lane) => {
                if lane.jobs.send((id, exchange)).is_ok() {
                    self.busy.insert(id, lane);
                }
            }
            Err(error) => {
                let end = Progress::Ended(End::Broken(error, Stage::Hopeless));
                // Told to the bridge after what it is doing right now.
                self.inbox.tell(Event::Progress(id, vec![end]));
            }
        }
    }

    /// The exchange is over: its lane is free.
    pub(super) fn finished(&mut self, id: ExchangeId) {
        if let Some(lane) = self.busy.remove(&id)
            && self.idle.len() < MOST_IDLE
        {
            let now = Instant::now();
            self.idle.push(Lane {
                idle_since: now,
                ..lane
            });
            // The last one to become idle works next, so those that nobody needs gather at the front.
            let long_idle = |lane: &&Lane| now.duration_since(lane.idle_since) > IDLE_LIFE;
            let unneeded = self.idle.iter().take_while(long_idle).count();
            let spare = self.idle.len().saturating_sub(FEW_IDLE);
            self.idle.drain(..unneeded.min(spare));
        }
    }

    /// Cuts an exchange.
    pub(super) fn close(&mut self, id: ExchangeId) {
        if let Some(lane) = self.busy.remove(&id) {
            lane.cut();
        }
    }

    fn start(&self) -> std::io::Result<Lane> {
        let (jobs, queue) = channel();
        let agent = AgentSlot::default();
        let (shared, inbox, slot) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.inbox),
            Arc::clone(&agent),
        );
        std::thread::Builder::new()
            .name("lane".to_owned())
            .stack_size(STACK)
            .spawn(move || run(&shared, &inbox, &slot, &queue))?;
        Ok(Lane {
            jobs,
            agent,
            idle_since: Instant::now(),
        })
    }
}

/// The session is over. A process that goes on may make others: nothing of this one stays.
impl Drop for Lanes {
    fn drop(&mut self) {
        self.busy.values().for_each(Lane::cut);
    }
}

impl Lane {
    fn cut(&self) {
        let mut slot = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Agent(agent) = std::mem::replace(&mut *slot, Slot::Cut) {
            agent.shutdown();
        }
    }
}

fn run(
    shared: &Arc<Shared>,
    inbox: &Arc<Inbox>,
    slot: &AgentSlot,
    queue: &Receiver<(ExchangeId, Exchange)>,
) {
    while let Ok((id, exchange)) = queue.recv() {
        let reporter = Reporter::new(id, Arc::clone(inbox));
        let last = guarded(|| exchange::run(shared, slot, &exchange, &reporter));
        // What the exchange held (a large request) is freed before the next wait.
        drop(exchange);
        reporter.report(last);
    }
}

/// What an exchange ends with, a panic included.
fn guarded(exchange: impl FnOnce() -> Progress) -> Progress {
    catch_unwind(AssertUnwindSafe(exchange)).unwrap_or_else(|_| {
        let what = "a thread of mcp-remote panicked; please report this";
        Progress::Ended(End::Broken(Error::new(Kind::Bug, what), Stage::Answering))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_lane_becomes_the_end_of_its_exchange() {
        let last = guarded(|| panic!("on purpose"));
        assert!(matches!(
            last,
            Progress::Ended(End::Broken(error, Stage::Answering)) if error.kind() == Kind::Bug
        ));
    }
}
