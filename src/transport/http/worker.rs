//! A worker: one thread, one ureq `Agent`, one kept-alive connection, one cancel handle.
//!
//! A worker runs one exchange at a time and reports its events to the event loop, where it may run the bridge. To
//! cancel an exchange, its agent is shut down, which wakes a blocked read at once, and the worker is abandoned: a connect cannot
//! be interrupted, so the worker may end later.
//!
//! A panic in a worker ends its exchange with an error, so that the request is answered.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bridge::{End, Event, Exchange, ExchangeId, Progress, Stage};
use crate::error::{Error, Kind};
use crate::transport::event_loop::EventLoop;
use crate::transport::event_loop::STACK;
use crate::transport::http::exchange::Reporter;
use crate::transport::http::exchange::{self, Shared};
use crate::transport::net::agent::KEEP_CONNECTION;

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

/// The agent of a worker, shared with the thread that may cancel its exchange.
pub(crate) type AgentSlot = Arc<Mutex<Slot>>;

/// What is in it.
#[derive(Default)]
pub(crate) enum Slot {
    /// No request was sent yet.
    #[default]
    Empty,
    /// The agent in use.
    Agent(ureq::Agent),
    /// The exchange was cancelled, perhaps while it waited for new tokens. Nothing may be sent any more.
    Cut,
}

/// Each worker is a thread; more exchanges at once fail.
const MAX_WORKERS: usize = 512;
/// Idle workers that are kept for the next burst of calls: a new thread and connection costs more than a call.
const MAX_IDLE: usize = 64;
/// Idle workers beyond this number end after `IDLE_TIMEOUT`.
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
                // This worker has died; try the next one.
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
                // The bridge handles this event after the current one.
                self.event_loop.push(Event::Progress(id, vec![end]));
            }
        }
    }

    /// Makes the worker of a finished exchange idle.
    pub(crate) fn finished(&mut self, id: ExchangeId) {
        if let Some(worker) = self.busy.remove(&id)
            && self.idle.len() < MAX_IDLE
        {
            let now = Instant::now();
            self.idle.push(Worker {
                idle_since: now,
                ..worker
            });
            // The worker that became idle last is used next, so unneeded ones gather at the front.
            let long_idle = |worker: &&Worker| now.duration_since(worker.idle_since) > IDLE_TIMEOUT;
            let unneeded = self.idle.iter().take_while(long_idle).count();
            let spare = self.idle.len().saturating_sub(MIN_IDLE);
            self.idle.drain(..unneeded.min(spare));
        }
    }

    /// Cancels an exchange.
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

/// Cancels all exchanges: the process may go on and start another session.
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
    while let Ok((id, exchange)) = next(queue, slot) {
        let reporter = Reporter::new(id, Arc::clone(event_loop));
        let last = guarded(|| {
            exchange::run(shared, slot, &exchange, &reporter)
                .unwrap_or_else(|(error, stage)| Progress::Ended(End::Broken(error, stage)))
        });
        // Frees a large request before the next wait.
        drop(exchange);
        reporter.report(last);
    }
}

/// Waits for the next exchange. The agent of an idle worker is dropped, and with it a connection that is too old to be used
/// again, and its buffers.
fn next<T>(queue: &Receiver<T>, slot: &AgentSlot) -> Result<T, RecvError> {
    match queue.recv_timeout(KEEP_CONNECTION) {
        Err(RecvTimeoutError::Timeout) => {
            exchange::forget_agent(slot);
            queue.recv()
        }
        received => received.map_err(|_| RecvError),
    }
}

/// Runs an exchange and turns a panic into its end.
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
