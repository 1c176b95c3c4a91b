//! Pings that keep an idle connection open.
//!
//! One `ping` for each interval without traffic. Its response is dropped; failures are ignored.
//!
//! Flags: `--keep-alive`, `--ping-interval`.
//! Spec: MCP 2025-11-25 basic/utilities/ping.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bridge::{Bridge, ExchangeId, OWN_PREFIX, Purpose};
use crate::jsonrpc::{Message, RequestId};

/// What the ids of our pings hold after the prefix.
const PING: &str = "keepalive";

/// Whether this is the id of a ping of ours; responses to late ones count too.
pub(crate) fn is_ping(id: &RequestId) -> bool {
    id.starts_with(&format!("{OWN_PREFIX}{PING}-"))
}

/// When the next ping is due.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    interval: Option<Duration>,
    last_traffic: Instant,
}

impl KeepAlive {
    pub(crate) fn new(interval: Option<Duration>, now: Instant) -> KeepAlive {
        KeepAlive {
            interval,
            last_traffic: now,
        }
    }

    pub(crate) fn touched(&mut self, now: Instant) {
        self.last_traffic = now;
    }
}

impl Bridge {
    pub(crate) fn keep_alive_due(&self) -> Option<Instant> {
        let interval = self.keep_alive.interval?;
        (self.session_is_open() && self.shutdown.is_none())
            .then(|| self.keep_alive.last_traffic + interval)
    }

    pub(crate) fn keep_alive_is_due(&mut self) {
        if self.keep_alive_due().is_none_or(|at| at > self.now) {
            return;
        }
        self.keep_alive.last_traffic = self.now;
        if self.link.is_sse() && self.link.endpoint().is_none() {
            return;
        }
        // One that is under way is sign of life enough; slow ones would pile up.
        let is_ping = |running: &crate::bridge::Running| running.purpose == Purpose::Ping;
        if self.exchanges.values().any(is_ping) {
            return;
        }
        self.send_ping(Purpose::Ping);
    }

    /// Sends a ping of the bridge; its response is dropped.
    pub(crate) fn send_ping(&mut self, purpose: Purpose) -> Option<ExchangeId> {
        let id = self.own_id(PING);
        match Message::made(format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}"
        )) {
            Ok(ping) => {
                let action = self.post(Arc::new(ping));
                Some(self.open(purpose, action))
            }
            Err(error) => {
                self.warn(error.to_string());
                None
            }
        }
    }
}
