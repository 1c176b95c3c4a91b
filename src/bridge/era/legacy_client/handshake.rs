//! A legacy client's `initialize`, completed with a modern server's `server/discover`.
//!
//! - The client's identity and capabilities are read from it, without what modern revisions do not know.
//! - A server that refuses our version although it lists it is asked once more. One that lists only versions we do not speak is
//!   reported with them. One that refuses the request as legacy servers do, or lists legacy versions only, is left to the legacy
//!   way; with `--protocol auto` so is one that does not respond. A network failure is an error, and the next `initialize` tries
//!   again.
//!
//! Spec: MCP 2026-07-28 server/discover, basic/versioning; 2025-11-25 basic/lifecycle (Version Negotiation).

use std::sync::Arc;
use std::time::Instant;

use crate::bridge::era::adapter::{AdapterAction, AdapterActions, FailureSource};
use crate::bridge::era::legacy_client::{Handshake, LegacyToModern};
use crate::jsonrpc::{self, Kind, Message};
use crate::jsonrpc::{failure, request};
use crate::mcp::capabilities::Capabilities;
use crate::mcp::version::{self, Era};
use crate::mcp::{errors, results};

impl LegacyToModern {
    pub(crate) fn discover(
        &mut self,
        now: Instant,
        initialize: Message,
        actions: &mut AdapterActions,
    ) {
        let part = |path: &[&str]| jsonrpc::member_at(initialize.text(), path).map(str::to_owned);
        self.identity.info = part(&["params", "clientInfo"]);
        let capabilities = part(&["params", "capabilities"]).unwrap_or_else(|| "{}".to_owned());
        self.rounds.capabilities = Capabilities::read(&capabilities);
        // Tasks of 2025-11-25 and the extension of the same name have nothing in common.
        let capabilities = jsonrpc::without_member(&capabilities, "tasks");
        self.identity.capabilities = match jsonrpc::member(&capabilities, "roots") {
            Some(_) => jsonrpc::replace_member(&capabilities, "roots", "{}"),
            None => capabilities,
        };
        let id = self.own_id("discover");
        let Ok(discover) = Message::made(request(&id, "server/discover", "{}")) else {
            return;
        };
        self.handshake = Handshake::Discovering(id, vec![(now, initialize)]);
        let stamped = self.stamped(&discover);
        actions.0.push(AdapterAction::Since(now));
        actions.0.push(AdapterAction::Server(Arc::new(stamped)));
    }

    pub(crate) fn discovered(
        &mut self,
        now: Instant,
        answer: &Message,
        failed: bool,
        source: FailureSource,
        actions: &mut AdapterActions,
    ) {
        let Handshake::Discovering(id, waiting) =
            std::mem::replace(&mut self.handshake, Handshake::Fresh)
        else {
            return;
        };
        let supported = jsonrpc::member_at(answer.text(), &["result", "supportedVersions"])
            .and_then(|list| serde_json::from_str::<Vec<String>>(list).ok());
        let source = if failed {
            source
        } else {
            FailureSource::Server
        };
        let Some(versions) = supported.filter(|_| !failed) else {
            self.not_discovered(answer, waiting, source, actions);
            return;
        };
        if !versions.iter().any(|known| known == version::MODERN) {
            let names = crate::log::clean(&versions.join(", "), 100);
            let what = format!(
                "{} speaks {names}; mcp-remote speaks {} and older",
                self.server,
                version::MODERN
            );
            match Message::made(failure(&id, errors::INTERNAL_ERROR, &what)) {
                Ok(why) if version::has_legacy(&versions) => {
                    actions.0.push(AdapterAction::GiveUp {
                        waiting,
                        why,
                        source,
                    })
                }
                Ok(_) | Err(_) => fail_all(&waiting, errors::INTERNAL_ERROR, &what, actions),
            }
            return;
        }
        actions.0.push(AdapterAction::EraKnown(Era::Modern));
        self.handshake = Handshake::Ready;
        let result = answer.member("result").unwrap_or("{}");
        self.subscriptions.offered(result);
        let mut waiting = waiting.into_iter();
        if let Some((_, initialize)) = waiting.next()
            && let Kind::Request { id, .. } = initialize.kind()
        {
            let asked = jsonrpc::member_at(initialize.text(), &["params", "protocolVersion"])
                .and_then(jsonrpc::string);
            actions.result(
                id,
                &results::initialized(result, asked.as_deref(), &self.server),
            );
        }
        for (since, message) in waiting {
            actions.0.push(AdapterAction::Since(since));
            self.ready_message(now, message, actions);
        }
    }

    fn not_discovered(
        &mut self,
        answer: &Message,
        waiting: Vec<(Instant, Message)>,
        source: FailureSource,
        actions: &mut AdapterActions,
    ) {
        let versions = errors::supported(answer);
        let speaks_ours = versions.iter().any(|known| known == version::MODERN);
        if errors::code(answer) == Some(errors::UNSUPPORTED_VERSION)
            && speaks_ours
            && !std::mem::replace(&mut self.asked_again, true)
            && let Some((since, initialize)) = waiting.first().cloned()
        {
            self.discover(since, initialize, actions);
            if let Handshake::Discovering(_, kept) = &mut self.handshake {
                *kept = waiting;
            }
            return;
        }
        if errors::code(answer) == Some(errors::UNSUPPORTED_VERSION)
            && !version::has_legacy(&versions)
        {
            let names = crate::log::clean(&versions.join(", "), 100);
            let what = format!(
                "{} speaks {names}; mcp-remote speaks {} and older",
                self.server,
                version::MODERN
            );
            fail_all(&waiting, errors::INTERNAL_ERROR, &what, actions);
        } else if source == FailureSource::Server
            || self.asks && source == FailureSource::NoResponse
        {
            actions.0.push(AdapterAction::GiveUp {
                waiting,
                why: answer.clone(),
                source,
            });
        } else {
            for (_, message) in &waiting {
                if let Kind::Request { id, .. } = message.kind() {
                    actions.0.push(AdapterAction::Client(answer.with_id(id)));
                }
            }
        }
    }
}

fn fail_all(waiting: &[(Instant, Message)], code: i64, what: &str, actions: &mut AdapterActions) {
    for (_, message) in waiting {
        if let Kind::Request { id, .. } = message.kind() {
            actions.client(failure(id, code, what));
        }
    }
}
