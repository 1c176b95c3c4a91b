//! `Bridge`: the pure state machine that decides what happens to each message.
//!
//! It is given events ([`Event`]) and the time, and returns actions ([`Action`]). It owns no socket, thread or clock, so that
//! tests can run any schedule of client, server, faults and time.
//!
//! ```text
//!  client ─▶ deferred ──gate──▶ open requests ──▶ exchanges ─▶ server
//!             (handshake,        (one response      │
//!              transport)         per id)  ◀────────┘ responses, events
//! ```
//!
//! - `transport_choice` picks the transport. `session` runs the handshake, opens a lost session anew, defers messages during a
//!   sign-in, and shuts down. `request` follows each open request. `notifications` sends what gets no response.
//! - `http_exchanges` knows what each exchange is for and hands its events to the right place.
//! - Client and server may speak different eras of the protocol: `era` detects that and puts an adapter between the client and
//!   everything above.
//! - The first message of the client detects transport and era: the bridge sends nothing before it.
//! - Events of an exchange that was closed are ignored: a cut stream can look like a clean end.
//!
//! Spec: MCP 2026-07-28 basic/versioning; 2025-11-25 basic/lifecycle and basic/transports; 2025-03-26; 2024-11-05 basic/transports.

mod backoff;
mod era;
mod event;
mod http_exchanges;
mod notifications;
mod request;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod tools;
mod transport_choice;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

pub use event::{
    Action, Content, End, Event, EventId, Exchange, ExchangeId, Head, HttpRequest, Progress,
    Refusal, SessionId, Stage, Transport,
};
use http_exchanges::{LINGER_TIMEOUT, Limit, Purpose, Running};
pub use request::cancellation::cancelled;
pub use settings::Settings;

use crate::error::{Error, Kind as ErrorKind};
use crate::jsonrpc::{Kind, Message, Parsed, RequestId};
use crate::log::Level;
use backoff::Backoff;
use era::Eras;
use era::adapter::{Adapter, AdapterEvent};
use notifications::Delivery;
use request::table::RequestTable;
use session::get_stream::GetStream;
use session::handshake::Session;
use session::keep_alive::KeepAlive;
use session::shutdown::Shutdown;
use session::sign_in::SignIn;
use tools::filter::ToolFilter;
use tools::headers::{KnownTools, ListRefresh};
use transport_choice::Link;

/// The state machine.
#[derive(Debug)]
pub struct Bridge {
    settings: Settings,
    filter: ToolFilter,
    backoff: Backoff,
    out: VecDeque<Action>,
    opened: u64,
    own_ids: u64,
    exchanges: BTreeMap<ExchangeId, Running>,
    requests: RequestTable,
    deferred: VecDeque<Deferred>,
    deliveries: Vec<Delivery>,
    link: Link,
    session: Session,
    sign_in: SignIn,
    get_stream: GetStream,
    keep_alive: KeepAlive,
    shutdown: Option<Shutdown>,
    eras: Eras,
    adapter: Option<Box<dyn Adapter>>,
    /// Events the adapter has not been given yet.
    adapter_events: VecDeque<AdapterEvent>,
    tools: KnownTools,
    refreshes: Vec<ListRefresh>,
    /// The time of the last event.
    now: Instant,
}

/// A message of the client that waits for handshake, transport or sign-in, in the order of the client.
#[derive(Debug)]
enum Deferred {
    /// With its serial number: a later request may have the same id.
    Request(RequestId, u64),
    /// With the time it arrived.
    Notification(Arc<Message>, Instant),
}

impl Bridge {
    /// A bridge that has not sent anything yet.
    pub fn new(settings: Settings, now: Instant) -> Bridge {
        Bridge {
            filter: ToolFilter::new(&settings.ignore_tools, &settings.allow_tools),
            backoff: Backoff::new(settings.seed),
            out: VecDeque::new(),
            opened: 0,
            own_ids: 0,
            exchanges: BTreeMap::new(),
            requests: RequestTable::default(),
            deferred: VecDeque::new(),
            deliveries: Vec::new(),
            link: Link::first(settings.strategy, settings.remembered),
            session: Session::default(),
            sign_in: SignIn::default(),
            get_stream: GetStream::default(),
            keep_alive: KeepAlive::new(settings.ping_interval, now),
            shutdown: None,
            eras: Eras::new(settings.remembered_era),
            adapter: None,
            adapter_events: VecDeque::new(),
            tools: KnownTools::default(),
            refreshes: Vec::new(),
            now,
            settings,
        }
    }

    /// Handles an event; [`poll`](Bridge::poll) returns the actions that follow from it.
    pub fn handle(&mut self, now: Instant, input: Event) {
        self.now = now;
        match input {
            Event::Client(Ok(Parsed::One(message))) => self.client_message(message),
            Event::Client(Ok(Parsed::Batch(parts))) => {
                for part in parts {
                    match part {
                        Ok(message) => self.client_message(message),
                        Err(malformed) => {
                            self.out.push_back(Action::Respond(malformed.to_json_rpc()))
                        }
                    }
                }
            }
            Event::Client(Err(malformed)) => {
                self.out.push_back(Action::Respond(malformed.to_json_rpc()))
            }
            Event::ClientClosed => self.close(true),
            Event::OutputClosed => self.output_closed(),
            Event::Stop => self.close(false),
            Event::Progress(id, progress) => {
                for progress in progress {
                    self.progress(id, progress);
                }
            }
            Event::SignInUrl(url) => self.sign_in_url(url),
            Event::SignedIn(result) => self.signed_in(result),
            Event::Time => {}
        }
        self.do_what_is_due();
        self.adapter_is_due();
        self.run_adapter_events();
        self.pump();
        while self.run_adapter_events() {
            self.pump();
        }
        self.check_shutdown();
        self.run_adapter_events();
    }

    /// The next action, until there is none.
    pub fn poll(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    /// When [`Event::Time`] is due, unless another event comes first.
    pub fn deadline(&self) -> Option<Instant> {
        let limits = self
            .exchanges
            .values()
            .filter_map(|running| running.limit)
            .map(|(at, _)| at)
            .min();
        [
            limits,
            self.requests.next_due(),
            self.link_due(),
            self.session_due(),
            self.sign_in_due(),
            self.deliveries_due(),
            self.get_stream.due(),
            self.keep_alive_due(),
            self.shutdown_due(),
            self.adapter_due(),
            self.hold_back_until(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn client_message(&mut self, message: Message) {
        self.keep_alive.touched(self.now);
        if self.is_stopping() {
            return self.refuse_while_shutting_down(&message);
        }
        if let Kind::Request { id, .. } = message.kind()
            && is_ours(id)
        {
            let what = format!("request ids that start with \"{OWN_PREFIX}\" are reserved");
            let error = Error::new(ErrorKind::Client, what);
            self.out.push_back(Action::Respond(error.to_json_rpc(id)));
            return;
        }
        self.client_sent(message);
    }

    /// Handles a message for the server, in the era of the server. `since`: when the client sent it.
    fn send_to_server(&mut self, since: Instant, message: Message) {
        match message.kind() {
            // Before anything was sent, nothing can have been asked.
            Kind::Response { .. } if self.speaks_modern() || self.opened == 0 => {
                self.debug("dropped an answer to a server that has asked nothing".to_owned());
            }
            Kind::Response { .. } => self.deliver(Arc::new(message), false),
            Kind::Notification { method } if method == "notifications/cancelled" => {
                self.cancel(message)
            }
            Kind::Notification { .. } => match self.filter.refuse(&message) {
                Some(error) => self.warn(error.what().to_owned()),
                None => self.admit_note(message),
            },
            Kind::Request { id, .. } => self.admit_request(since, id.clone(), Arc::new(message)),
        }
    }

    /// Sends deferred messages in the order of the client, as far as handshake and transport allow.
    fn pump(&mut self) {
        while let Some(front) = self.deferred.front() {
            if let Deferred::Request(id, serial) = front
                && !self.requests.is_deferred(id, *serial)
            {
                self.deferred.pop_front();
                continue;
            }
            if !self.gate() {
                break;
            }
            match self.deferred.pop_front() {
                Some(Deferred::Request(id, _)) => self.send_request(&id),
                Some(Deferred::Notification(message, _)) => self.deliver_note(message),
                None => break,
            }
        }
        self.pump_deliveries();
    }

    /// Defers an open request.
    fn defer(&mut self, id: &RequestId) {
        if let Some(open) = self.requests.find(id) {
            open.state = request::table::RequestState::Deferred;
            self.deferred
                .push_back(Deferred::Request(id.clone(), open.serial));
        }
    }

    /// Defers an open request, before all others.
    fn defer_first(&mut self, id: &RequestId) {
        if let Some(open) = self.requests.find(id) {
            open.state = request::table::RequestState::Deferred;
            self.deferred
                .push_front(Deferred::Request(id.clone(), open.serial));
        }
    }

    /// Whether the next deferred message may be sent. Opens the stream or the session that is missing.
    fn gate(&mut self) -> bool {
        !self.is_stopping()
            && self.is_signed_in()
            && self.link_is_ready()
            && self.session_is_ready()
            && self.era_is_ready()
    }

    /// A new id for a request of the bridge. npm reserves the same prefix; requests of the client with it are refused.
    fn own_id(&mut self, what: &str) -> RequestId {
        self.own_ids += 1;
        RequestId::from_string(&format!("{OWN_PREFIX}{what}-{}", self.own_ids))
    }

    fn post(&self, message: Arc<Message>) -> HttpRequest {
        let is_request = matches!(message.kind(), Kind::Request { .. });
        HttpRequest::Post {
            message,
            endpoint: self.link.endpoint(),
            reads_answer: is_request && !self.link.is_sse(),
        }
    }

    fn warn(&mut self, text: String) {
        self.out.push_back(Action::Say(Level::Warn, text));
    }

    /// Logs a failure that the client also gets as an error.
    fn failed(&mut self, level: Level, text: String) {
        let level = if self.settings.says_failures {
            level
        } else {
            Level::Debug
        };
        self.out.push_back(Action::Say(level, text));
    }

    fn debug(&mut self, text: String) {
        self.out.push_back(Action::Say(Level::Debug, text));
    }
}

/// Whether this is an id of a request of ours.
fn is_ours(id: &RequestId) -> bool {
    id.starts_with(OWN_PREFIX)
}

/// The prefix of the ids of our own requests.
const OWN_PREFIX: &str = "mcp-remote-";
