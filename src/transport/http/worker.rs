//! A worker: one thread, one ureq `Agent`, one kept-alive connection, one cancel handle.
//!
//! A worker runs one exchange at a time and reports all of its news to the event_loop, where it may run the bridge. It is the
//! unit of cancellation: cutting an exchange shuts its agent down, which wakes a blocked read at once. A cut worker is left
//! behind: it may still be stuck in a connect, which nothing can interrupt, and ends by itself.
//!
//! A panic in a worker becomes the end of its exchange, so that whoever waits for it is answered.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bridge::{End, Exchange, ExchangeId, Input, Progress, Stage};
use crate::error::{Error, Kind};
use crate::transport::event_loop::EventLoop;
use crate::transport::event_loop::STACK;
use crate::transport::http::exchange::Reporter;
use crate::transport::http::exchange::{self, Shared};

/// The workers, busy and idle.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    event_loop: Arc<EventLoop>,
    idle: Vec<Worker>,
    busy: HashMap<ExchangeId, Worker>,
}

struct Worker {
    jobs: Sender<(ExchangeId, Exchange)>,
    agent: AgentSlot,
    /// When it last became idle.
    idle_since: Instant,
}

/// The agent of a worker, shared with whoever may have to cut it.
pub(crate) type AgentSlot = Arc<Mutex<Slot>>;

/// What is in it.
#[derive(Default)]
pub(crate) enum Slot {
    /// No request was sent yet.
    #[default]
    Empty,
    /// The agent in use.
    Agent(ureq::Agent),
    /// The worker was cut, perhaps while it waited for new tokens: whoever asked has got an answer, nothing may be sent any more.
    Cut,
}

/// Each worker is a thread; beyond this many exchanges at once, new ones fail.
const MAX_WORKERS: usize = 512;
/// Workers that are kept although they have nothing to do: a burst of calls needs them again at once, and a new thread with
/// a new connection costs more than the call itself.
const MAX_IDLE: usize = 64;
/// Workers beyond these few are let go once they were idle for a while.
const MIN_IDLE: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

impl Workers {
    pub(crate) fn new(shared: Arc<Shared>, event_loop: Arc<EventLoop>) -> Workers {
        Workers {
            shared,
            event_loop,
            idle: Vec::new(),
            busy: HashMap::new(),
        }
    }

    /// Runs an exchange on an idle worker, or on a new one.
    pub(crate) fn open(&mut self, id: ExchangeId, exchange: Exchange) {
        let mut exchange = exchange;
        while let Some(worker) = self.idle.pop() {
            match worker.jobs.send((id, exchange)) {
                Ok(()) => {
                    self.busy.insert(id, worker);
                    return;
                }
                // A worker that died takes no more jobs; the next one does.
                Err(unsent) => exchange = unsent.0.1,
            }
        }
        let started = if self.busy.len() < MAX_WORKERS {
            self.start().map_err(|e| {
                Error::new(
                    Kind::Network,
                    format!("cannot start a thread for a request: {e}"),
                )
            })
        } else {
            Err(Error::new(
                Kind::Network,
                format!("more than {MAX_WORKERS} requests are open at once"),
            ))
        };
        match started {
            Ok(worker) => {
                if worker.jobs.send((id, exchange)).is_ok() {
                    self.busy.insert(id, worker);
                }
            }
            Err(error) => {
                let end = Progress::Ended(End::Broken(error, Stage::Hopeless));
                // Told to the bridge after what it is doing right now.
                self.event_loop.push(Input::Progress(id, vec![end]));
            }
        }
    }

    /// The exchange is over: its worker is free.
    pub(crate) fn finished(&mut self, id: ExchangeId) {
        if let Some(worker) = self.busy.remove(&id)
            && self.idle.len() < MAX_IDLE
        {
            let now = Instant::now();
            self.idle.push(Worker {
                idle_since: now,
                ..worker
            });
            // The last one to become idle works next, so those that nobody needs gather at the front.
            let long_idle = |worker: &&Worker| now.duration_since(worker.idle_since) > IDLE_TIMEOUT;
            let unneeded = self.idle.iter().take_while(long_idle).count();
            let spare = self.idle.len().saturating_sub(MIN_IDLE);
            self.idle.drain(..unneeded.min(spare));
        }
    }

    /// Cuts an exchange.
    pub(crate) fn close(&mut self, id: ExchangeId) {
        if let Some(worker) = self.busy.remove(&id) {
            worker.cut();
        }
    }

    fn start(&self) -> std::io::Result<Worker> {
        let (jobs, queue) = channel();
        let agent = AgentSlot::default();
        let (shared, event_loop, slot) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.event_loop),
            Arc::clone(&agent),
        );
        std::thread::Builder::new()
            .name("worker".to_owned())
            .stack_size(STACK)
            .spawn(move || run(&shared, &event_loop, &slot, &queue))?;
        Ok(Worker {
            jobs,
            agent,
            idle_since: Instant::now(),
        })
    }
}

/// The session is over. A process that goes on may make others: nothing of this one stays.
impl Drop for Workers {
    fn drop(&mut self) {
        self.busy.values().for_each(Worker::cut);
    }
}

impl Worker {
    fn cut(&self) {
        let mut slot = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Agent(agent) = std::mem::replace(&mut *slot, Slot::Cut) {
            agent.shutdown();
        }
    }
}

fn run(
    shared: &Arc<Shared>,
    event_loop: &Arc<EventLoop>,
    slot: &AgentSlot,
    queue: &Receiver<(ExchangeId, Exchange)>,
) {
    while let Ok((id, exchange)) = queue.recv() {
        let reporter = Reporter::new(id, Arc::clone(event_loop));
        let last = guarded(|| {
            exchange::run(shared, slot, &exchange, &reporter)
                .unwrap_or_else(|(error, stage)| Progress::Ended(End::Broken(error, stage)))
        });
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
    fn a_panic_in_a_worker_ends_its_exchange() {
        let last = guarded(|| panic!("on purpose"));
        assert!(matches!(
            last,
            Progress::Ended(End::Broken(error, Stage::Answering)) if error.kind() == Kind::Bug
        ));
    }
}
