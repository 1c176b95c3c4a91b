//! Which transport to use, decided by what the server responded.
//!
//! - `http-first` (the default): the first message of the client is POSTed. A status in [`is_fallback`] leads to a GET. If that
//!   opens an event stream that names an endpoint, the server speaks HTTP+SSE; otherwise the client gets the first refusal.
//! - `sse-first`: the GET first; if it is refused or names no endpoint, Streamable HTTP.
//! - `http-only`, `sse-only`: no second attempt.
//! - Only the status and the response to the GET decide, never the text of a body. The result is stored.
//!
//! The stream of HTTP+SSE is the session: when it ends, open requests get an error, the stream is reopened with growing pauses,
//! and `initialize` is sent again.
//!
//! Flags: `--transport`.
//! Spec: MCP 2025-11-25 basic/transports (Backwards Compatibility); 2024-11-05 basic/transports (HTTP with SSE).

use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use crate::bridge::request::table::RequestState;
use crate::bridge::{
    Action, Bridge, Content, End, ExchangeId, HttpRequest, Purpose, Refusal, Stage, Transport,
    backoff,
};
use crate::config::Strategy;
use crate::error::{Error, Kind, Result};
use crate::jsonrpc::RequestId;

/// How long a stream may take to name its endpoint.
pub(crate) const ENDPOINT_LIMIT: Duration = Duration::from_secs(10);

/// The transport in use.
#[derive(Debug)]
pub(crate) enum Link {
    /// Streamable HTTP; confirmed once a response shows that the server speaks it.
    Http {
        is_confirmed: bool,
        may_fall_back: bool,
    },
    /// HTTP+SSE.
    Sse(SseLink),
}

/// The stream of HTTP+SSE.
#[derive(Debug, Default)]
pub(crate) struct SseLink {
    is_confirmed: bool,
    endpoint: Option<Url>,
    exchange: Option<ExchangeId>,
    reopen_at: Option<Instant>,
    failures: u32,
    retry: Option<Duration>,
    why: Option<Error>,
    then: Then,
}

/// What follows if the first GET finds no HTTP+SSE.
#[derive(Debug, Default)]
enum Then {
    /// Nothing: `sse-only`, or it has worked before.
    #[default]
    Fail,
    /// Streamable HTTP is tried next.
    Http,
    /// Streamable HTTP was tried before: its refusal stands.
    Refuse(RequestId, Box<Refusal>),
}

impl Link {
    pub(crate) fn first(strategy: Strategy, remembered: Option<Transport>) -> Link {
        let sse = |then| {
            Link::Sse(SseLink {
                then,
                ..SseLink::default()
            })
        };
        match (strategy, remembered) {
            (Strategy::HttpOnly, _) => Link::Http {
                is_confirmed: false,
                may_fall_back: false,
            },
            (Strategy::SseOnly, _) => sse(Then::Fail),
            (Strategy::HttpFirst | Strategy::SseFirst, Some(Transport::HttpSse))
            | (Strategy::SseFirst, None) => sse(Then::Http),
            (Strategy::HttpFirst | Strategy::SseFirst, Some(Transport::StreamableHttp))
            | (Strategy::HttpFirst, None) => Link::Http {
                is_confirmed: false,
                may_fall_back: true,
            },
        }
    }

    pub(crate) fn is_sse(&self) -> bool {
        matches!(self, Link::Sse(_))
    }

    pub(crate) fn endpoint(&self) -> Option<Url> {
        match self {
            Link::Sse(link) => link.endpoint.clone(),
            Link::Http { .. } => None,
        }
    }
}

/// The statuses with which servers of another transport refuse a POST (or, for `sse-first`, a GET).
pub(crate) fn is_fallback(status: u16) -> bool {
    matches!(status, 400 | 404 | 405 | 406 | 410 | 415 | 501)
}

impl Bridge {
    /// Whether the transport can take a message. Opens the stream of HTTP+SSE if there is none.
    pub(crate) fn link_is_ready(&mut self) -> bool {
        match &self.link {
            Link::Http {
                is_confirmed: true, ..
            } => true,
            // One message at a time, until one shows which transport it is.
            Link::Http {
                is_confirmed: false,
                ..
            } => {
                !self.exchanges.values().any(|running| {
                    matches!(running.purpose, Purpose::Request(_) | Purpose::Delivery)
                        && running.holds_back(self.now)
                }) && !self
                    .requests
                    .any(|open| matches!(open.state, RequestState::Paused(_)))
            }
            Link::Sse(SseLink {
                endpoint: Some(_), ..
            }) => true,
            Link::Sse(SseLink {
                exchange: None,
                reopen_at: None,
                ..
            }) => {
                self.open_sse_stream();
                false
            }
            Link::Sse(_) => false,
        }
    }

    fn open_sse_stream(&mut self) {
        let exchange = self.open(
            Purpose::SseStream,
            HttpRequest::Listen {
                after: None,
                http_sse: true,
            },
        );
        if let Link::Sse(link) = &mut self.link {
            link.exchange = Some(exchange);
            link.reopen_at = None;
        }
    }

    /// Streamable HTTP has answered in its own way.
    pub(crate) fn http_is_confirmed(&mut self) {
        if let Link::Http { is_confirmed, .. } = &mut self.link
            && !*is_confirmed
        {
            *is_confirmed = true;
            self.is_confirmed(Transport::StreamableHttp);
        }
    }

    fn is_confirmed(&mut self, transport: Transport) {
        let expected = match self.settings.strategy {
            Strategy::HttpFirst | Strategy::HttpOnly => Transport::StreamableHttp,
            Strategy::SseFirst | Strategy::SseOnly => Transport::HttpSse,
        };
        let is_news = self.settings.remembered.unwrap_or(expected) != transport;
        self.out
            .push_back(Action::TransportKnown { transport, is_news });
    }

    pub(crate) fn may_fall_back(&self, status: u16) -> bool {
        matches!(
            self.link,
            Link::Http {
                is_confirmed: false,
                may_fall_back: true
            }
        ) && is_fallback(status)
            && self.may_be_sse()
    }

    /// The first POST was refused: see whether a GET finds HTTP+SSE.
    pub(crate) fn fall_back_to_sse(&mut self, id: &RequestId, refusal: Refusal) {
        self.debug(format!(
            "{} refused a POST with {}; trying HTTP+SSE",
            self.settings.server, refusal.status
        ));
        self.link = Link::Sse(SseLink {
            then: Then::Refuse(id.clone(), Box::new(refusal)),
            ..SseLink::default()
        });
        // The request that was refused goes first again.
        self.defer_first(id);
        if self.session.is_initialize(id) {
            self.session.reset();
        }
        self.open_sse_stream();
    }

    pub(crate) fn endpoint_named(&mut self, id: ExchangeId, endpoint: Result<Url>) {
        let Link::Sse(link) = &mut self.link else {
            return;
        };
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => {
                self.cut(id);
                self.sse_stream_lost(error, true);
                return;
            }
        };
        link.endpoint = Some(endpoint);
        link.failures = 0;
        link.then = Then::Fail;
        let first = !link.is_confirmed;
        link.is_confirmed = true;
        if let Some(running) = self.exchanges.get_mut(&id) {
            running.limit = self.settings.silence_limit(self.now, Content::Stream);
        }
        if first {
            self.is_confirmed(Transport::HttpSse);
            self.era_of_sse();
        }
        self.reinitialize_if_lost();
    }

    pub(crate) fn note_sse_retry(&mut self, retry: Duration) {
        if let Link::Sse(link) = &mut self.link {
            link.retry = Some(retry);
        }
    }

    pub(crate) fn sse_stream_refused(&mut self, refusal: Refusal) {
        if let (Some(challenge), Link::Sse(link)) = (&refusal.needs_sign_in, &mut self.link) {
            link.exchange = None;
            link.endpoint = None;
            link.reopen_at = None;
            // The server is there: requests wait for the user, not for it.
            link.failures = 0;
            // The session went with its stream; the next message opens both again.
            self.lose_session_with_stream();
            if !self.all_wait_for_sign_in(challenge) {
                self.fail_all_deferred(&refusal.error);
            }
            return;
        }
        let passing = matches!(refusal.status, 429 | 500 | 502 | 503 | 504);
        self.sse_stream_lost(Arc::unwrap_or_clone(refusal.error), !passing);
    }

    pub(crate) fn sse_stream_ended(&mut self, end: End) {
        let server = &self.settings.server;
        let (error, final_) = match end {
            End::Complete => (
                Error::new(Kind::Network, format!("{server} ended the event stream")),
                true,
            ),
            // A response that is no event stream, or a stream that names no endpoint, is a clear no.
            End::Broken(error, stage) => {
                (error, matches!(stage, Stage::Hopeless | Stage::Answering))
            }
        };
        self.sse_stream_lost(error, final_);
    }

    /// The stream is gone, or was never there.
    fn sse_stream_lost(&mut self, error: Error, is_final: bool) {
        let Link::Sse(link) = &mut self.link else {
            return;
        };
        link.exchange = None;
        link.endpoint = None;
        // A server that refused the POST is there: whatever its GET does, it has given its response.
        let is_final = is_final || matches!(link.then, Then::Refuse(..));
        if !link.is_confirmed && is_final {
            match std::mem::take(&mut link.then) {
                Then::Refuse(id, refusal) => {
                    self.link = Link::Http {
                        is_confirmed: false,
                        may_fall_back: true,
                    };
                    self.respond_refused(&id, *refusal);
                }
                Then::Http => {
                    self.link = Link::Http {
                        is_confirmed: false,
                        may_fall_back: false,
                    };
                    self.era_of_http();
                }
                Then::Fail => self.fail_all_deferred(&error),
            }
            return;
        }
        link.failures += 1;
        let (failures, first, is_confirmed) = (
            link.failures,
            link.retry.unwrap_or(backoff::MIN_BACKOFF),
            link.is_confirmed,
        );
        let most = if is_confirmed {
            backoff::MAX_STREAM_BACKOFF
        } else {
            backoff::MAX_REQUEST_BACKOFF
        };
        let pause = self.backoff.pause(failures, first, most.max(first));
        if is_confirmed {
            self.fail_all_sent(&error);
            self.lose_session_with_stream();
        }
        if failures == 1 {
            self.warn(format!("{}; trying again", error.what()));
        }
        if let Link::Sse(link) = &mut self.link {
            link.reopen_at = Some(self.now + pause);
            link.why = Some(error);
        }
    }

    /// The server has lost the session, while its stream stays open: closes it, so that both are opened anew.
    pub(crate) fn close_sse_stream(&mut self) {
        if let Link::Sse(link) = &mut self.link {
            link.endpoint = None;
            let exchange = link.exchange.take();
            exchange.into_iter().for_each(|exchange| self.cut(exchange));
        }
    }

    /// Requests that were sent will get no response: it would have come on the stream.
    fn fail_all_sent(&mut self, error: &Error) {
        for id in self
            .requests
            .ids_where(|open| open.state != RequestState::Deferred)
        {
            self.fail(&id, error.again());
        }
    }

    pub(crate) fn link_is_due(&mut self) {
        let Link::Sse(link) = &mut self.link else {
            return;
        };
        if link.reopen_at.is_some_and(|at| at <= self.now) {
            // A server that never was there is asked again only while somebody waits for it.
            if link.is_confirmed
                || self
                    .requests
                    .any(|open| open.state == RequestState::Deferred)
            {
                self.open_sse_stream();
            } else {
                link.reopen_at = None;
            }
        }
        self.fail_impatient();
    }

    /// While the stream is away, requests wait for it as long as a client can be expected to.
    fn fail_impatient(&mut self) {
        let Link::Sse(SseLink {
            endpoint: None,
            failures: 1..,
            why: Some(why),
            ..
        }) = &self.link
        else {
            return;
        };
        let why = why.again();
        for id in self.requests.ids_where(|open| {
            open.state == RequestState::Deferred
                && open.since + backoff::REQUEST_RETRY_LIMIT <= self.now
        }) {
            self.fail(&id, why.again());
        }
    }

    pub(crate) fn link_due(&self) -> Option<Instant> {
        let Link::Sse(link) = &self.link else {
            return None;
        };
        let impatient = if link.endpoint.is_none() && link.failures > 0 {
            self.requests
                .oldest_deferred()
                .map(|since| since + backoff::REQUEST_RETRY_LIMIT)
        } else {
            None
        };
        [link.reopen_at, impatient].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_statuses_of_another_transport_lead_to_a_fallback() {
        let fallback: Vec<u16> = (400..600).filter(|status| is_fallback(*status)).collect();
        assert_eq!(fallback, [400, 404, 405, 406, 410, 415, 501]);
    }

    #[test]
    fn a_remembered_transport_goes_first_but_not_against_an_only() {
        assert!(Link::first(Strategy::HttpFirst, Some(Transport::HttpSse)).is_sse());
        assert!(!Link::first(Strategy::SseFirst, Some(Transport::StreamableHttp)).is_sse());
        assert!(!Link::first(Strategy::HttpOnly, Some(Transport::HttpSse)).is_sse());
        assert!(Link::first(Strategy::SseOnly, Some(Transport::StreamableHttp)).is_sse());
    }
}
