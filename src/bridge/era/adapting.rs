//! How the bridge runs its adapter: which events it gets, when it is due, and how its actions are carried out.
//!
//! - The adapter gets responses and messages of the server in their order, after the bridge handled the event that brought them.
//! - At shutdown, subscriptions end in order: a result, and the notification that stands for the end of their stream on stdio.
//!   Draining does not wait for them, nor for requests that only the adapter made.
//!
//! Spec: MCP 2026-07-28 basic/patterns/subscriptions (Graceful Closure), basic/patterns/cancellation.

use std::sync::Arc;
use std::time::Instant;

use crate::bridge::era::adapter::{
    Adapter, AdapterAction, AdapterActions, AdapterEvent, FailureSource,
};
use crate::bridge::{Action, Bridge, ExchangeId, Purpose, era::classify};
use crate::error::{Error, Kind as ErrorKind};
use crate::jsonrpc::{Kind, Message, RequestId};
use crate::mcp::subscriptions::LISTEN;
use crate::mcp::version::Era;

impl Bridge {
    /// A message of the adapter for the server.
    fn send_adapter_message(&mut self, since: Instant, message: Arc<Message>) {
        match message.kind() {
            Kind::Request { id, .. } => self.admit_request(since, id.clone(), message),
            Kind::Notification { .. } | Kind::Response { .. } => {
                self.send_to_server(since, Arc::unwrap_or_clone(message))
            }
        }
    }

    /// A request or notification of the server, on its way to the client.
    pub(crate) fn server_sent(&mut self, exchange: ExchangeId, message: Message) {
        let messages = if self.speaks_modern() {
            self.filter_modern_message(exchange, message)
        } else {
            vec![message]
        };
        let on = match self
            .exchanges
            .get(&exchange)
            .map(|running| &running.purpose)
        {
            Some(Purpose::Request(id) | Purpose::Resume(id)) => Some(id.clone()),
            _ => None,
        };
        for message in messages {
            if self.is_adapting() {
                let on = on.clone();
                self.adapter_events
                    .push_back(AdapterEvent::Message { message, on });
            } else {
                self.out.push_back(Action::Client(message));
            }
        }
    }

    /// Whether an adapter stands between the two.
    pub(crate) fn is_adapting(&self) -> bool {
        self.adapter.is_some()
    }

    /// The era of the server that the adapter translates for.
    pub(crate) fn adapts_to(&self) -> Option<Era> {
        self.adapter.as_ref().map(|adapter| adapter.server_era())
    }

    /// Has the adapter do something, and carries out what it asks for.
    fn adapter_acts(&mut self, act: impl FnOnce(&mut dyn Adapter) -> Vec<AdapterAction>) {
        if let Some(adapter) = &mut self.adapter {
            let actions = act(adapter.as_mut());
            self.carry_out(self.now, actions);
        }
    }

    /// A response leaves: to the client, or to the adapter, if the request came from it. Requests that were on their way when
    /// the adapter came are the client's own.
    pub(crate) fn answer(&mut self, message: Message, source: FailureSource, adapted: bool) {
        if adapted && self.is_adapting() {
            self.adapter_events
                .push_back(AdapterEvent::Response { message, source });
        } else {
            self.out.push_back(Action::Client(message));
        }
    }

    pub(crate) fn respond_error(&mut self, id: &RequestId, error: &Error, adapted: bool) {
        let source = match error.kind() {
            ErrorKind::Http(status) if classify::may_be_modern(status) || status == 500 => {
                FailureSource::Server
            }
            ErrorKind::PeerMisbehaved => FailureSource::Server,
            ErrorKind::Http(_) | ErrorKind::Timeout => FailureSource::NoResponse,
            _ => FailureSource::Local,
        };
        let text = error.to_json_rpc(id);
        match Message::made(text.clone()) {
            Ok(answer) if adapted && self.is_adapting() => self.answer(answer, source, true),
            Ok(_) | Err(_) => self.out.push_back(Action::Respond(text)),
        }
    }

    /// Carries out what an adapter asks for, for what the client waits for since then.
    pub(crate) fn carry_out(&mut self, mut since: Instant, actions: Vec<AdapterAction>) {
        for action in actions {
            match action {
                AdapterAction::Since(came) => since = came,
                AdapterAction::Server(message) => self.send_adapter_message(since, message),
                AdapterAction::Client(message) => self.out.push_back(Action::Client(message)),
                AdapterAction::Cancel(id) => {
                    if self.speaks_modern() {
                        self.cancel_modern(&id)
                    } else {
                        self.cancel_adapted(&id)
                    }
                }
                AdapterAction::Warn(text) => self.warn(text),
                AdapterAction::EraKnown(era) => self.server_era_is(era),
                AdapterAction::GiveUp {
                    waiting,
                    why,
                    source,
                } => self.give_up(waiting, why, source),
            }
        }
    }

    /// Tells the adapter what it was not told yet; whether there was something.
    pub(crate) fn run_adapter_events(&mut self) -> bool {
        let (mut told, now) = (false, self.now);
        while let Some(news) = self.adapter_events.pop_front() {
            told = true;
            self.adapter_acts(|adapter| adapter.handle_event(now, news));
        }
        told
    }

    pub(crate) fn adapter_due(&self) -> Option<Instant> {
        self.adapter.as_ref()?.due()
    }

    pub(crate) fn adapter_is_due(&mut self) {
        let now = self.now;
        if self.adapter_due().is_some_and(|at| at <= now) {
            self.adapter_acts(|adapter| adapter.is_due(now));
        }
    }

    /// A lost session was opened anew.
    pub(crate) fn adapter_reinitialized(&mut self) {
        self.adapter_acts(|adapter| adapter.reinitialized());
    }

    /// Nobody listened to the server for a while.
    pub(crate) fn adapter_missed(&mut self) {
        self.adapter_acts(|adapter| adapter.missed());
    }

    /// Whether somebody waits for a response.
    pub(crate) fn is_awaited(&self) -> bool {
        let waits_for = |id: &RequestId| match &self.adapter {
            Some(adapter) => adapter.is_awaited(id) || self.session.is_initialize(id),
            None => true,
        };
        self.requests
            .ids_where(|open| !open.cancelled && open.message.method() != Some(LISTEN))
            .iter()
            .any(waits_for)
    }

    /// The client's subscriptions end in order; what waits for the client itself gets an error.
    pub(crate) fn end_subscriptions(&mut self, why: &str) {
        if self.is_adapting() {
            return self.adapter_acts(|adapter| adapter.end(why));
        }
        // One that was not acknowledged is a request without a response, like any other.
        let ids = self
            .requests
            .ids_where(|open| open.acknowledged && !open.is_own);
        let mut actions = AdapterActions::default();
        for id in ids {
            self.cancel_modern(&id);
            actions.end_subscription(&id);
        }
        self.carry_out(self.now, actions.0);
    }
}
