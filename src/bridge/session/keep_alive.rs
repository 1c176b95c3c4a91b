//! Pings that keep an idle connection open.
//!
//! One `ping` for each interval in which nothing was said. Its answer is swallowed; a failure is nobody's loss.
//!
//! Flags: `--keep-alive`, `--ping-interval`.
//! Spec: MCP 2025-11-25 basic/utilities/ping.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bridge::{Bridge, Purpose};
use crate::jsonrpc::{Message, RequestId};

/// When the next ping is due, and which one is not answered yet.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    interval: Option<Duration>,
    last_traffic: Instant,
    pub(crate) pending: Option<RequestId>,
}

impl KeepAlive {
    pub(crate) fn new(interval: Option<Duration>, now: Instant) -> KeepAlive {
        KeepAlive {
            interval,
            last_traffic: now,
            pending: None,
        }
    }

    pub(crate) fn touched(&mut self, now: Instant) {
        self.last_traffic = now;
    }

    /// Whether a response answers a ping of ours; late ones too.
    pub(crate) fn is_answer(&mut self, id: &RequestId) -> bool {
        if self.pending.as_ref() == Some(id) {
            self.pending = None;
            return true;
        }
        id.as_string()
            .is_some_and(|id| id.starts_with("mcp-remote-keepalive-"))
    }
}

impl Bridge {
    pub(crate) fn keep_alive_due(&self) -> Option<Instant> {
        let interval = self.keep_alive.interval?;
        (self.session_is_open() && self.closing.is_none())
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
        let id = self.own_id("keepalive");
        match Message::made(format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}"
        )) {
            Ok(ping) => {
                let action = self.post(Arc::new(ping));
                self.open(Purpose::Ping, action);
                self.keep_alive.pending = Some(id);
            }
            Err(error) => self.warn(error.to_string()),
        }
    }
}
