//! The HTTP exchanges under way: what each is for, when it is cut, and who handles its events.

use std::time::{Duration, Instant};

use crate::bridge::session::{handshake, shutdown};
use crate::bridge::{
    Action, Bridge, Content, End, Exchange, ExchangeId, Head, HttpRequest, Progress, Refusal,
    Stage, transport_choice,
};
use crate::jsonrpc::{Kind, Malformed, Message, Parsed, RequestId};

/// An exchange under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) purpose: Purpose,
    pub(crate) since: Instant,
    /// When it is cut, and why.
    pub(crate) limit: Option<(Instant, Limit)>,
    pub(crate) content: Option<Content>,
    /// The session it belongs to.
    pub(crate) generation: u32,
    pub(crate) with_session: bool,
}

/// What an exchange is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A client's request.
    Request(RequestId),
    /// The rest of a response that broke off.
    Resume(RequestId),
    /// A notification or response of the client.
    Delivery,
    /// The GET stream (GET).
    GetStream,
    /// The stream of HTTP+SSE.
    SseStream,
    /// `initialize` on behalf of the client, after the server lost the session.
    Reinitialize,
    /// `notifications/initialized` after it.
    Reconfirm,
    /// A keep-alive ping.
    Ping,
    /// A `ping` that shows whether the session lives in which this request was refused.
    SessionCheck(RequestId),
    /// DELETE.
    EndSession,
}

/// Why an exchange is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Headers,
    Silence,
    /// The response is complete and the stream is still open.
    Linger,
    /// An exchange of the bridge itself took too long.
    Own,
}

/// How long a stream stays open after its response; the server should end it by itself.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// With so many exchanges, those that only linger make room. The transport has 512 workers, one for each exchange.
const MAX_LINGERING: usize = 256;

/// How long a message without a response holds others back. Clients give up their first request after ten seconds.
pub(crate) const MAX_HOLD_BACK: Duration = Duration::from_secs(8);

impl Running {
    /// Whether the next message waits for what this one shows about the server.
    pub(crate) fn holds_back(&self, now: Instant) -> bool {
        self.content.is_none() && now < self.since + MAX_HOLD_BACK
    }
}

impl Bridge {
    /// When deferred messages no longer wait for this exchange.
    pub(crate) fn hold_back_until(&self) -> Option<Instant> {
        let running = self.exchanges.values();
        let holds = running.filter(|running| running.holds_back(self.now));
        let until = holds.map(|running| running.since + MAX_HOLD_BACK).min();
        until.filter(|_| !self.deferred.is_empty())
    }

    /// Bytes came: the silence limit starts again.
    pub(crate) fn reset_silence_limit(&mut self, id: ExchangeId) {
        let Some(running) = self.exchanges.get_mut(&id) else {
            return;
        };
        if let (Some((_, Limit::Silence)), Some(content)) = (running.limit, running.content) {
            running.limit = self.settings.silence_limit(self.now, content);
        }
    }

    /// Starts an exchange.
    pub(crate) fn open(&mut self, purpose: Purpose, action: HttpRequest) -> ExchangeId {
        self.make_room();
        self.opened += 1;
        let id = ExchangeId(self.opened);
        let fresh = match &purpose {
            Purpose::Reinitialize => true,
            Purpose::Request(request) => self.session.is_initialize(request),
            _ => false,
        };
        let session = if fresh { None } else { self.session.id.clone() };
        let version = if fresh {
            None
        } else {
            self.session.version.clone()
        };
        let limit = match purpose {
            Purpose::EndSession => Some((self.now + shutdown::END_SESSION_LIMIT, Limit::Own)),
            Purpose::SseStream => Some((self.now + transport_choice::ENDPOINT_LIMIT, Limit::Own)),
            Purpose::Reconfirm | Purpose::SessionCheck(_) => {
                Some((self.now + handshake::CONFIRM_LIMIT, Limit::Own))
            }
            // A server may send the headers together with the first event, which may be hours away.
            Purpose::GetStream => None,
            Purpose::Reinitialize | Purpose::Ping => {
                Some((self.now + handshake::INITIALIZE_LIMIT, Limit::Own))
            }
            _ => self
                .settings
                .headers_timeout
                .map(|limit| (self.now + limit, Limit::Headers)),
        };
        let running = Running {
            purpose,
            since: self.now,
            limit,
            content: None,
            generation: self.session.generation,
            with_session: session.is_some(),
        };
        self.exchanges.insert(id, running);
        let metadata = self.metadata(&action);
        self.out.push_back(Action::Open(
            id,
            Exchange {
                action,
                session,
                version,
                metadata,
            },
        ));
        id
    }

    /// Cuts the exchange that has had its response for the longest time, if there are many exchanges.
    fn make_room(&mut self) {
        if self.exchanges.len() < MAX_LINGERING {
            return;
        }
        let oldest = self
            .exchanges
            .iter()
            .filter_map(|(id, running)| match running.limit {
                Some((at, Limit::Linger)) => Some((at, *id)),
                _ => None,
            })
            .min();
        if let Some((_, id)) = oldest {
            self.cut(id);
        }
    }

    /// Cuts an exchange; its further events are ignored.
    pub(crate) fn cut(&mut self, id: ExchangeId) {
        if self.exchanges.remove(&id).is_some() {
            self.out.push_back(Action::Close(id));
        }
    }
}

impl Bridge {
    pub(crate) fn progress(&mut self, id: ExchangeId, progress: Progress) {
        let Some(running) = self.exchanges.get_mut(&id) else {
            return;
        };
        self.keep_alive.touched(self.now);
        // A failure is no sign that a response is still coming.
        if !matches!(progress, Progress::Refused(_) | Progress::Ended(_))
            && let Some(shutdown) = &mut self.shutdown
        {
            shutdown.touched(self.now);
        }
        let purpose = running.purpose.clone();
        match progress {
            Progress::Opened(head) => {
                running.content = Some(head.content);
                // A step of our own has one limit for all of it.
                if !matches!(running.limit, Some((_, Limit::Own))) {
                    running.limit = self.settings.silence_limit(self.now, head.content);
                }
                self.opened(&purpose, head);
            }
            Progress::Alive => self.reset_silence_limit(id),
            Progress::Event { id: event, parsed } => {
                self.reset_silence_limit(id);
                self.note_event(id, &purpose, event);
                self.server_messages(id, parsed);
            }
            Progress::EventId(event) => {
                self.reset_silence_limit(id);
                self.note_event(id, &purpose, Some(event));
            }
            Progress::Retry(retry) => self.note_retry(&purpose, retry),
            Progress::Endpoint(endpoint) => self.endpoint_named(id, endpoint),
            Progress::Refused(refusal) => {
                if let Some(running) = self.exchanges.remove(&id) {
                    self.refused(id, running, refusal);
                }
            }
            Progress::Ended(end) => {
                if let Some(running) = self.exchanges.remove(&id) {
                    self.ended(id, running, end);
                }
            }
        }
    }

    pub(crate) fn opened(&mut self, purpose: &Purpose, head: Head) {
        match purpose {
            Purpose::Request(id) => {
                self.http_is_confirmed();
                self.get_stream.server_is_back(self.now);
                self.get_stream_after_response();
                if self.session.is_initialize(id) {
                    self.session.id = head.session;
                }
                self.era_accepted(id);
            }
            Purpose::Reinitialize => self.session.id = head.session,
            Purpose::GetStream => {
                if head.content == Content::Stream && self.get_stream.opened(self.now) {
                    self.adapter_missed();
                }
                self.get_stream_is_decided();
            }
            Purpose::Delivery => self.http_is_confirmed(),
            Purpose::SessionCheck(id) => self.session_lives(id),
            Purpose::Resume(_)
            | Purpose::SseStream
            | Purpose::Reconfirm
            | Purpose::Ping
            | Purpose::EndSession => {}
        }
    }

    /// Whether the request of an exchange has its response already; another request may have its id.
    fn is_late(&self, exchange: ExchangeId, purpose: &Purpose) -> bool {
        match purpose {
            Purpose::Request(id) | Purpose::Resume(id) | Purpose::SessionCheck(id) => {
                !self.requests.is_served_by(id, exchange)
            }
            _ => false,
        }
    }

    pub(crate) fn refused(&mut self, id: ExchangeId, running: Running, mut refusal: Refusal) {
        if self.is_late(id, &running.purpose) {
            return;
        }
        refusal.answer = refusal.answer.map(Message::with_version);
        match running.purpose.clone() {
            Purpose::Request(request) => self.request_refused(&request, &running, refusal),
            Purpose::Resume(request) => self.resume_refused(&request, &running, refusal),
            Purpose::Delivery => self.delivery_refused(id, &running, &refusal),
            Purpose::GetStream => self.get_stream_refused(&refusal),
            Purpose::SseStream => self.sse_stream_refused(refusal),
            Purpose::Reinitialize => self.reinitialize_refused(refusal),
            Purpose::Reconfirm => self.reinitialized(),
            Purpose::Ping => {}
            Purpose::SessionCheck(request) => {
                self.session_check_refused(&request, &running, &refusal)
            }
            Purpose::EndSession => self.session_ended(),
        }
    }

    pub(crate) fn ended(&mut self, id: ExchangeId, running: Running, end: End) {
        if self.is_late(id, &running.purpose) {
            return;
        }
        match running.purpose.clone() {
            Purpose::Request(request) => self.request_ended(&request, &running, end),
            Purpose::Resume(request) => self.resume_ended(&request, &running, end),
            Purpose::Delivery => self.delivery_ended(id, end),
            Purpose::GetStream => self.get_stream_ended(&running, &end),
            Purpose::SseStream => self.sse_stream_ended(end),
            Purpose::Reinitialize => self.reinitialize_ended(end),
            Purpose::Reconfirm => self.reinitialized(),
            Purpose::Ping => {}
            Purpose::SessionCheck(request) => self.session_lives(&request),
            Purpose::EndSession => {
                if let End::Broken(error, _) = end {
                    self.debug(format!("the session was not ended: {}", error.what()));
                }
                self.session_ended();
            }
        }
    }

    pub(crate) fn server_messages(&mut self, id: ExchangeId, parsed: Result<Parsed, Malformed>) {
        match parsed {
            Ok(Parsed::One(message)) => self.server_message(id, message),
            Ok(Parsed::Batch(parts)) => {
                let mut first_invalid = None;
                for part in parts {
                    match part {
                        Ok(message) => self.server_message(id, message),
                        Err(malformed) => {
                            first_invalid.get_or_insert(malformed.reason);
                        }
                    }
                }
                if let Some(reason) = first_invalid {
                    self.bad_server_message(&reason);
                }
            }
            Err(malformed) => self.bad_server_message(&malformed.reason),
        }
    }

    pub(crate) fn server_message(&mut self, exchange: ExchangeId, message: Message) {
        let message = message.with_version();
        match message.kind() {
            Kind::Response { id, failed } => {
                let (id, failed) = (id.clone(), *failed);
                self.server_response(exchange, &id, failed, message);
            }
            Kind::Request { .. } | Kind::Notification { .. } => {
                self.extend_deadline(&message);
                self.server_sent(exchange, message)
            }
        }
    }

    pub(crate) fn bad_server_message(&mut self, reason: &str) {
        self.warn(format!(
            "{} sent something that is not a valid message: {reason}",
            self.settings.server
        ));
    }

    pub(crate) fn do_what_is_due(&mut self) {
        let due: Vec<(ExchangeId, Limit)> = self
            .exchanges
            .iter()
            .filter_map(|(id, running)| {
                running
                    .limit
                    .filter(|(at, _)| *at <= self.now)
                    .map(|(_, limit)| (*id, limit))
            })
            .collect();
        for (id, limit) in due {
            let Some(running) = self.exchanges.remove(&id) else {
                continue;
            };
            self.out.push_back(Action::Close(id));
            if limit != Limit::Linger {
                let error = self.settings.time_out(limit);
                self.ended(id, running, End::Broken(error, Stage::Answering));
            }
        }
        self.requests_due();
        self.link_is_due();
        self.session_is_due();
        self.sign_in_is_due();
        self.deliveries_are_due();
        self.get_stream_is_due();
        self.keep_alive_is_due();
    }
}
