//! A legacy client's `initialize`, answered from a modern server's `server/discover`.
//!
//! - The client's identity and capabilities are taken from it, without what modern revisions do not know.
//! - A server that refuses the version it names is asked once more; one of versions that are not spoken here is named
//!   with them; one that refuses the request as legacy servers do, or names legacy versions only, is left to another way,
//!   and with `--protocol auto` so is one that does not answer; one that is away is an error, and the next `initialize`
//!   tries afresh.
//!
//! Spec: MCP 2026-07-28 server/discover, basic/versioning; 2025-11-25 basic/lifecycle (Version Negotiation).

use std::sync::Arc;
use std::time::Instant;

use crate::bridge::era::adapter::{Step, Steps, Word};
use crate::bridge::era::legacy_client::{LegacyToModern, Phase};
use crate::jsonrpc::{self, Kind, Message};
use crate::jsonrpc::{failure, request};
use crate::mcp::capabilities::Capabilities;
use crate::mcp::version::{self, Era};
use crate::mcp::{errors, results};

impl LegacyToModern {
    pub(crate) fn discover(&mut self, now: Instant, initialize: Message, steps: &mut Steps) {
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
        self.phase = Phase::Discovering(id, vec![(now, initialize)]);
        let stamped = self.stamped(&discover);
        steps.0.push(Step::Since(now));
        steps.0.push(Step::Server(Arc::new(stamped)));
    }

    pub(crate) fn discovered(
        &mut self,
        now: Instant,
        answer: &Message,
        failed: bool,
        word: Word,
        steps: &mut Steps,
    ) {
        let Phase::Discovering(id, waiting) = std::mem::replace(&mut self.phase, Phase::Fresh)
        else {
            return;
        };
        let supported = jsonrpc::member_at(answer.text(), &["result", "supportedVersions"])
            .and_then(|list| serde_json::from_str::<Vec<String>>(list).ok());
        let word = if failed { word } else { Word::Server };
        let Some(versions) = supported.filter(|_| !failed) else {
            self.not_discovered(answer, waiting, word, steps);
            return;
        };
        if !versions.iter().any(|known| known == version::MODERN) {
            let names = crate::log::clean(&versions.join(", "), 100);
            let what = format!(
                "{} speaks {names}; this proxy speaks {} and older",
                self.server,
                version::MODERN
            );
            match Message::made(failure(&id, errors::INTERNAL_ERROR, &what)) {
                Ok(why) if version::has_legacy(&versions) => {
                    steps.0.push(Step::GiveUp { waiting, why, word })
                }
                Ok(_) | Err(_) => fail_all(&waiting, errors::INTERNAL_ERROR, &what, steps),
            }
            return;
        }
        steps.0.push(Step::Settled(Era::Modern));
        self.phase = Phase::Ready;
        let result = answer.member("result").unwrap_or("{}");
        self.subscriptions.offered(result);
        let mut waiting = waiting.into_iter();
        if let Some((_, initialize)) = waiting.next()
            && let Kind::Request { id, .. } = initialize.kind()
        {
            let asked = jsonrpc::member_at(initialize.text(), &["params", "protocolVersion"])
                .and_then(jsonrpc::string);
            steps.result(
                id,
                &results::initialized(result, asked.as_deref(), &self.server),
            );
        }
        for (since, message) in waiting {
            steps.0.push(Step::Since(since));
            self.ready_message(now, message, steps);
        }
    }

    fn not_discovered(
        &mut self,
        answer: &Message,
        waiting: Vec<(Instant, Message)>,
        word: Word,
        steps: &mut Steps,
    ) {
        let versions = errors::supported(answer);
        let speaks_ours = versions.iter().any(|known| known == version::MODERN);
        if errors::code(answer) == Some(errors::UNSUPPORTED_VERSION)
            && speaks_ours
            && !std::mem::replace(&mut self.asked_again, true)
            && let Some((since, initialize)) = waiting.first().cloned()
        {
            self.discover(since, initialize, steps);
            if let Phase::Discovering(_, kept) = &mut self.phase {
                *kept = waiting;
            }
            return;
        }
        if errors::code(answer) == Some(errors::UNSUPPORTED_VERSION)
            && !version::has_legacy(&versions)
        {
            let names = crate::log::clean(&versions.join(", "), 100);
            let what = format!(
                "{} speaks {names}; this proxy speaks {} and older",
                self.server,
                version::MODERN
            );
            fail_all(&waiting, errors::INTERNAL_ERROR, &what, steps);
        } else if word == Word::Server || self.asks && word == Word::Nobody {
            steps.0.push(Step::GiveUp {
                waiting,
                why: answer.clone(),
                word,
            });
        } else {
            for (_, message) in &waiting {
                if let Kind::Request { id, .. } = message.kind() {
                    steps.0.push(Step::Client(answer.with_id(id)));
                }
            }
        }
    }
}

fn fail_all(waiting: &[(Instant, Message)], code: i64, what: &str, steps: &mut Steps) {
    for (_, message) in waiting {
        if let Kind::Request { id, .. } = message.kind() {
            steps.client(failure(id, code, what));
        }
    }
}
