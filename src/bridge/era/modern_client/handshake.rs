//! The `initialize` at a legacy server, sent on behalf of a modern client.
//!
//! - It carries the identity and capabilities of the client's first request; the client's messages wait for its response.
//!
//! Spec: MCP 2025-11-25 basic/lifecycle (Initialization); 2026-07-28 basic/versioning.

use std::time::Instant;

use super::{Handshake, ModernToLegacy};
use crate::bridge::era::adapter::{AdapterAction, AdapterActions, FailureSource};
use crate::jsonrpc::{Kind, Message, notification, request};
use crate::mcp::meta;
use crate::mcp::version::{self, Era};

impl ModernToLegacy {
    pub(super) fn initialize(
        &mut self,
        now: Instant,
        first: Message,
        actions: &mut AdapterActions,
    ) {
        let id = self.own_id("initialize");
        let capabilities = meta::read(&first, meta::CLIENT_CAPABILITIES).unwrap_or("{}");
        let info = meta::read(&first, meta::CLIENT_INFO).map_or_else(
            || {
                format!(
                    "{{\"name\":\"mcp-remote\",\"version\":\"{}\"}}",
                    env!("CARGO_PKG_VERSION")
                )
            },
            str::to_owned,
        );
        let params = format!(
            "{{\"protocolVersion\":\"{}\",\"capabilities\":{capabilities},\"clientInfo\":{info}}}",
            version::LATEST_LEGACY
        );
        actions.server(request(&id, "initialize", &params));
        self.handshake = Handshake::Initializing(id, vec![(now, first)]);
    }

    pub(super) fn handshaken(
        &mut self,
        now: Instant,
        answer: &Message,
        failed: bool,
        source: FailureSource,
        actions: &mut AdapterActions,
    ) {
        let Handshake::Initializing(_, waiting) =
            std::mem::replace(&mut self.handshake, Handshake::Fresh)
        else {
            return;
        };
        if failed && source == FailureSource::Server {
            actions.0.push(AdapterAction::GiveUp {
                waiting,
                why: answer.clone(),
                source,
            });
            return;
        }
        if failed {
            for (_, message) in &waiting {
                if let Kind::Request { id, .. } = message.kind() {
                    actions.0.push(AdapterAction::Client(answer.with_id(id)));
                }
            }
            return;
        }
        self.initialized = answer.member("result").unwrap_or("{}").to_owned();
        self.handshake = Handshake::Ready;
        actions.0.push(AdapterAction::EraKnown(Era::Legacy));
        actions.server(notification("notifications/initialized", "{}"));
        for (since, message) in waiting {
            actions.0.push(AdapterAction::Since(since));
            self.ready_message(now, message, actions);
        }
    }
}
