//! Which era client and server speak, and which adapter translates between them.
//!
//! - The first message of the client decides its era, and so does each `initialize`. A server that refused both handshakes is
//!   tried again when the client tries again.
//! - The first request of the client is sent as it is. Only a refusal that is typical of a server of the other era leads to a
//!   handshake by the bridge; if that is refused too, the client gets the first refusal.
//! - `--protocol auto` sends `server/discover` before a legacy client's `initialize`; a server that does not say that it is
//!   modern gets the `initialize`.
//! - A legacy server's refusal of `server/discover` is passed on (`probe`); for what follows the bridge translates.
//! - HTTP+SSE is legacy. The era found by translating after a refusal is stored, and removed when it proves wrong.
//! - `detect` holds the time limits of the detection.
//!
//! Flags: `--protocol`.
//! Spec: MCP 2026-07-28 basic/versioning (Backward Compatibility), basic/transports/streamable-http (Backward
//! Compatibility), server/discover.

pub(crate) mod adapter;
mod adapting;
mod classify;
mod detect;
mod handshake_failed;
pub(crate) mod legacy_client;
pub(crate) mod modern_client;
pub(crate) mod modern_server;
mod probe;

use std::sync::Arc;
use std::time::Instant;

use crate::bridge::era::classify::Classification;
use crate::bridge::era::legacy_client::LegacyToModern;
use crate::bridge::era::modern_client::ModernToLegacy;
use crate::bridge::request::table::{OpenRequest, RequestState};
use crate::bridge::{Action, Bridge, Deferred, LINGER_TIMEOUT, Limit, Refusal, backoff, cancelled};
use crate::config::Protocol;
use crate::jsonrpc::{Kind, Message, RequestId};
use crate::mcp::version::Era;
use crate::mcp::{meta, results};

/// What is known about both sides.
#[derive(Debug)]
pub(crate) struct Eras {
    pub(crate) client: Option<Era>,
    pub(crate) server: Option<Era>,
    pub(crate) remembered: Option<Era>,
    /// The era that is stored for the next start.
    stored: Option<Era>,
    /// How the server refused the request that made us translate.
    pub(crate) first: Option<First>,
    /// Translating did not help: refusals stand as they are.
    pub(crate) hopeless: bool,
    /// The server has taken a modern request, though it has not answered it yet.
    pub(crate) accepts: bool,
}

/// The refusal that made us translate.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) id: RequestId,
    pub(crate) why: Why,
}

/// What it said.
#[derive(Debug)]
pub(crate) enum Why {
    Refused(Refusal),
    Answered(Message),
    /// Nothing: it may only be slow.
    Silent,
}

impl Eras {
    pub(crate) fn new(remembered: Option<Era>) -> Eras {
        Eras {
            client: None,
            server: None,
            remembered,
            stored: remembered,
            first: None,
            hopeless: false,
            accepts: false,
        }
    }
}

impl Bridge {
    /// A message from the client, on its way to the adapter that suits it.
    pub(crate) fn client_sent(&mut self, message: Message) {
        if let Kind::Request { method, .. } = message.kind() {
            if method == "initialize" {
                self.client_era_is(Era::Legacy);
                // The client does not need `server/discover` translated, or no longer.
                if self.eras.stored == Some(Era::Legacy) {
                    self.eras.remembered = None;
                    self.store_era(None);
                }
            } else if method == "server/discover"
                && (self.eras.client.is_none() || self.eras.hopeless)
                || self.eras.client.is_none() && meta::version(&message).is_some()
            {
                self.client_era_is(Era::Modern);
            }
        }
        self.route(self.now, message);
    }

    /// The client waits since then: a message that goes another way has no more time for that.
    fn route(&mut self, since: Instant, message: Message) {
        // A request that left before the adapter stood here is none of the adapter's.
        if self.is_adapting()
            && let Some(id) = cancelled(&message)
            && self.requests.find(&id).is_some_and(|open| !open.adapted)
        {
            return self.cancel_modern(&id);
        }
        if let Kind::Request { id, .. } = message.kind()
            && self.is_probe_of_legacy(&message)
        {
            return self.refuse_discover(id, &Why::Silent);
        }
        let actions = match &mut self.adapter {
            Some(adapter) => adapter.client_sent(since, message),
            None => return self.send_to_server(since, message),
        };
        self.carry_out(since, actions);
    }

    fn client_era_is(&mut self, client: Era) {
        self.remove_adapter();
        self.eras.client = Some(client);
        self.eras.hopeless = false;
        let server = match self.settings.protocol {
            Protocol::Legacy => Some(Era::Legacy),
            Protocol::Modern => Some(Era::Modern),
            Protocol::Detect | Protocol::Auto if self.link.is_sse() => Some(Era::Legacy),
            Protocol::Auto if client == Era::Legacy => self.eras.server.or(Some(Era::Modern)),
            Protocol::Detect | Protocol::Auto => self.eras.server.or(self.eras.remembered),
        };
        match (client, server) {
            (Era::Legacy, Some(Era::Modern)) => self.adapt_to_modern(),
            (Era::Modern, Some(Era::Legacy)) => self.adapt_to_legacy(),
            (Era::Legacy, Some(Era::Legacy) | None) | (Era::Modern, Some(Era::Modern) | None) => {}
        }
    }

    pub(crate) fn adapt_to_modern(&mut self) {
        let server = self.settings.server.clone();
        let asks = self.settings.protocol == Protocol::Auto && self.eras.server.is_none();
        self.adapter = Some(Box::new(LegacyToModern::new(server, asks)));
    }

    pub(crate) fn adapt_to_legacy(&mut self) {
        self.adapter = Some(Box::new(ModernToLegacy::new(self.settings.seed)));
    }

    pub(crate) fn server_era_is(&mut self, era: Era) {
        if self.eras.server == Some(era) {
            return;
        }
        self.eras.server = Some(era);
        // A server that was asked first may speak the older era as well.
        let asked = self.settings.protocol == Protocol::Auto && self.eras.first.is_none();
        let shown = self.is_adapting() && (era == Era::Legacy || !asked);
        self.eras.first = None;
        self.eras.remembered = Some(era);
        if self.eras.stored.map_or(shown, |stored| stored != era) {
            self.store_era(Some(era));
        }
    }

    fn store_era(&mut self, era: Option<Era>) {
        self.eras.stored = era;
        self.out.push_back(Action::Learned(era));
    }

    /// Whether the server may still turn out to speak HTTP+SSE, which is legacy.
    pub(crate) fn may_be_sse(&self) -> bool {
        self.adapts_to() != Some(Era::Modern)
            && self.settings.protocol != Protocol::Modern
            && self.eras.server != Some(Era::Modern)
    }

    /// Whether a refusal shows that the server speaks Streamable HTTP. One of a guess shows nothing.
    pub(crate) fn refusal_confirms_http(&self) -> bool {
        self.adapts_to() != Some(Era::Modern) || self.eras.server.is_some()
    }

    /// Whether the server's era is still to be found out.
    pub(crate) fn is_undecided(&self) -> bool {
        !self.is_adapting()
            && self.eras.server.is_none()
            && !self.eras.hopeless
            && self.settings.protocol.finds_out()
    }

    /// The client's era and the method, if the response to this request shows the server's era.
    pub(crate) fn decides(&mut self, id: &RequestId) -> Option<(Era, String)> {
        let client = self.eras.client.filter(|_| self.is_undecided())?;
        let method = self.requests.find(id)?.message.method()?.to_owned();
        (client == Era::Modern || method == "initialize").then_some((client, method))
    }

    /// A response came that may show the server's era; whether it is dealt with here.
    pub(crate) fn era_response(&mut self, id: &RequestId, answer: &Message) -> bool {
        let Some((client, method)) = self.decides(id) else {
            return self.method_before_adapter(id).is_some_and(|method| {
                classify::response(Era::Modern, &method, answer) == Classification::Refuses
                    && self.reroute(id)
            });
        };
        match classify::response(client, &method, answer) {
            Classification::Undecided => false,
            Classification::Is(era) => {
                self.server_era_is(era);
                if client == Era::Modern && era == Era::Legacy {
                    // It took a modern request for one of its own: this response is good, the next needs a handshake.
                    let full = results::for_modern_client(&method, answer, None);
                    self.requests.remove(id);
                    self.out.push_back(Action::Client(full));
                    self.adapt_to_legacy();
                    self.replay_waiting();
                    return true;
                }
                false
            }
            Classification::Refuses => {
                let why = Why::Answered(answer.clone());
                self.translate(id, client, why);
                true
            }
        }
    }

    /// A refusal came that may show the server's era; whether it is dealt with here.
    pub(crate) fn era_refused(&mut self, id: &RequestId, refusal: &Refusal) -> bool {
        let Some((client, method)) = self.decides(id) else {
            return self.method_before_adapter(id).is_some_and(|method| {
                classify::refusal(Era::Modern, &method, refusal, false) == Classification::Refuses
                    && self.reroute(id)
            });
        };
        let falls_back = self.may_fall_back(refusal.status);
        match classify::refusal(client, &method, refusal, falls_back) {
            Classification::Undecided => false,
            Classification::Is(era) => {
                self.server_era_is(era);
                false
            }
            Classification::Refuses => {
                self.translate(id, client, Why::Refused(refusal.clone()));
                true
            }
        }
    }

    /// The method of a request that a modern client sent before its server was known to be legacy.
    fn method_before_adapter(&mut self, id: &RequestId) -> Option<String> {
        let waits = self.adapts_to() == Some(Era::Legacy);
        let open = self.requests.find(id).filter(|_| waits)?;
        let is_early = !open.adapted && !open.is_own;
        is_early.then(|| open.message.method().map(str::to_owned))?
    }

    /// Sends it anew through the adapter.
    fn reroute(&mut self, id: &RequestId) -> bool {
        let Some(open) = self.requests.remove(id) else {
            return false;
        };
        if let RequestState::Running(exchange) = open.state {
            self.cut(exchange);
        }
        self.route(open.since, Arc::unwrap_or_clone(open.message));
        true
    }

    /// Tries what a server of the other era understands.
    pub(crate) fn translate(&mut self, id: &RequestId, client: Era, why: Why) {
        let Some(open) = self.requests.remove(id) else {
            return;
        };
        if let RequestState::Running(exchange) = open.state
            && let Some(running) = self.exchanges.get_mut(&exchange)
        {
            running.limit = Some((self.now + LINGER_TIMEOUT, Limit::Linger));
        }
        // A client that probes speaks both eras, and falls back by itself.
        let is_probe = client == Era::Modern && open.message.method() == Some("server/discover");
        if is_probe {
            self.refuse_discover(id, &why);
        } else {
            let id = id.clone();
            self.eras.first = Some(First { id, why });
        }
        match client {
            Era::Legacy => {
                self.session.reset();
                self.adapt_to_modern();
            }
            Era::Modern => self.adapt_to_legacy(),
        }
        self.debug(format!(
            "{} refused a message of the {} era; trying the other",
            self.settings.server,
            client.name()
        ));
        if !is_probe {
            self.route(open.since, Arc::unwrap_or_clone(open.message));
        }
        if client == Era::Modern {
            let is_free = |open: &OpenRequest| match open.state {
                RequestState::Running(_) => open.message.method().is_some_and(backoff::is_safe),
                // It is not at the server.
                RequestState::Paused(_) => true,
                _ => false,
            };
            for id in self
                .requests
                .ids_where(|open| is_free(open) && !open.adapted && !open.is_own)
            {
                self.reroute(&id);
            }
        }
        self.replay_waiting();
    }

    /// What waits to be sent goes through the adapter after all.
    fn replay_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.deferred) {
            match waiting {
                Deferred::Notification(message, since) => {
                    self.route(since, Arc::unwrap_or_clone(message))
                }
                Deferred::Request(id, serial) => match self.requests.find(&id) {
                    // Another one has the id by now.
                    Some(open) if open.serial != serial => {}
                    Some(open) if open.is_own => {
                        self.deferred.push_back(Deferred::Request(id, serial))
                    }
                    Some(_) => {
                        if let Some(open) = self.requests.remove(&id) {
                            self.route(open.since, Arc::unwrap_or_clone(open.message));
                        }
                    }
                    None => {}
                },
            }
        }
    }

    /// HTTP+SSE was found: it is legacy.
    pub(crate) fn era_of_sse(&mut self) {
        if !self.is_adapting()
            && self.eras.client == Some(Era::Modern)
            && self.settings.protocol.finds_out()
        {
            self.adapt_to_legacy();
            self.replay_waiting();
        }
    }

    /// There is no HTTP+SSE, with which a modern server was ruled out: it is asked after all.
    pub(crate) fn era_of_http(&mut self) {
        if self.eras.client == Some(Era::Legacy) && self.settings.protocol == Protocol::Auto {
            self.client_era_is(Era::Legacy);
            self.replay_waiting();
        }
    }

    /// The first POST was refused, and there is no HTTP+SSE: a modern server is left. Whether it is tried.
    pub(crate) fn era_after_fallback(&mut self, id: &RequestId, refusal: &Refusal) -> bool {
        let Some((Era::Legacy, _)) = self.decides(id) else {
            return false;
        };
        if !classify::may_be_modern(refusal.status) {
            return false;
        }
        self.translate(id, Era::Legacy, Why::Refused(refusal.clone()));
        true
    }
}
