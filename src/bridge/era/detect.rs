//! Time limits of the era detection.
//!
//! - Nothing else is sent while the first request of a modern client has no response, up to a limit.
//! - A server that does not respond to `server/discover` is taken for one that does not support it. Another safe request without
//!   a response is tried with the legacy handshake; if that is refused, the server was only slow, and is asked again without limit.
//!
//! Spec: MCP 2026-07-28 basic/versioning (Compatibility Matrix: a legacy server may stay silent), basic/transports/stdio
//! (Backward Compatibility).

use std::time::Duration;

use crate::bridge::era::Why;
use crate::bridge::http_exchanges::{MAX_HOLD_BACK, Running};
use crate::bridge::request::table::{OpenRequest, RequestState};
use crate::bridge::{Bridge, backoff};
use crate::error::Error;
use crate::jsonrpc::{Message, RequestId};
use crate::mcp::version::Era;

/// How long `server/discover` may take with `--protocol auto`, while the client's `initialize` waits (npm: 10 s). Half of
/// what a request may take is left for `initialize`.
const ASK_LIMIT: Duration = Duration::from_secs(10);

impl Bridge {
    /// Whether the next message may leave: the first one of a modern client is the probe.
    pub(crate) fn era_is_ready(&self) -> bool {
        let detecting =
            self.is_undecided() && self.eras.client == Some(Era::Modern) && !self.eras.accepts;
        let holds_back = |exchange| {
            let running: Option<&Running> = self.exchanges.get(&exchange);
            running.is_some_and(|running| self.now < running.since + MAX_HOLD_BACK)
        };
        !detecting
            || !self.requests.any(|open| match open.state {
                RequestState::Deferred => false,
                RequestState::Running(exchange) => holds_back(exchange),
                _ => true,
            })
    }

    /// A 2xx came for a request. A server that refuses `server/discover` does it in the body.
    pub(crate) fn era_accepted(&mut self, id: &RequestId) {
        if let Some(open) = self.requests.find(id) {
            self.eras.accepts |= open.message.method() != Some("server/discover");
        }
    }

    /// Whether the server's era is not known, and may turn out to be modern.
    pub(crate) fn is_detecting_era(&self) -> bool {
        self.is_undecided() && !self.link.is_sse()
    }

    /// A server that does not answer the probe may know nothing of it, and the client does not wait for ever.
    pub(crate) fn limit_detection(&mut self, id: &RequestId) {
        let request_timeout = self.settings.request_timeout;
        let limit = match (self.decides(id), &self.adapter) {
            (Some((Era::Modern, method)), _) if backoff::is_safe(&method) => MAX_HOLD_BACK,
            (None, Some(adapter)) if adapter.asks() => match request_timeout {
                Some(limit) => ASK_LIMIT.min(limit / 2),
                None => ASK_LIMIT,
            },
            _ => return,
        };
        if let Some(open) = self.requests.find(id) {
            open.limit(self.now + limit);
        }
    }

    /// The server took a request and said nothing more; whether it is dealt with here.
    pub(crate) fn era_no_response(&mut self, id: &RequestId, why: &Error) -> bool {
        match (self.decides(id), Message::made(why.to_json_rpc(id))) {
            (Some((Era::Modern, method)), Ok(answer)) if method == "server/discover" => {
                self.translate(id, Era::Modern, Why::Answered(answer));
                true
            }
            (Some(_) | None, Ok(_) | Err(_)) => false,
        }
    }

    /// The server has brought nothing for a request that does no harm twice; whether it is dealt with here. One that is
    /// only slow gets all the time it needs.
    pub(crate) fn era_slow_response(&mut self, id: &RequestId) -> bool {
        let is_silent = |open: &mut OpenRequest| match open.state {
            RequestState::Running(exchange) => self
                .exchanges
                .get(&exchange)
                .is_some_and(|running| running.content.is_none()),
            _ => false,
        };
        if self.requests.find(id).is_some_and(is_silent)
            && matches!(self.decides(id), Some((Era::Modern, _)))
        {
            self.translate(id, Era::Modern, Why::Silent);
            return true;
        }
        false
    }
}
