//! `subscriptions/listen`, held open on behalf of a legacy client.
//!
//! - It asks for the list changes the server offers, and for the resources the client has subscribed to.
//! - When the set of resources changes, a new stream is opened. The old one is closed when the new one is acknowledged; then the
//!   client's `resources/subscribe` gets its response, so that no update is lost after it.
//! - A stream that the server ended is reopened for as long as the process lives, with growing pauses if it was short, and the
//!   client is notified of every change it may have missed. A server that refuses the first stream is not asked again.
//! - Subscription ids and acknowledgements are not passed on.
//!
//! Spec: MCP 2026-07-28 basic/patterns/subscriptions; 2025-11-25 server/resources (Subscriptions).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::bridge::era::adapter::{AdapterAction, AdapterActions};
use crate::bridge::era::modern_server::MIN_LISTEN_LIFETIME;
use crate::jsonrpc::{self, Message, RequestId};
use crate::jsonrpc::{request, response};
use crate::mcp::subscriptions::{self, ACKNOWLEDGED, LISTEN, LISTS};
use crate::mcp::{errors, meta};

/// What is listened for, and how.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Members of the filter for the list changes the server offers.
    lists: Vec<&'static str>,
    offers_resources: bool,
    resources: BTreeSet<String>,
    /// The stream that was acknowledged, and the one that is not yet.
    current: Option<RequestId>,
    next: Option<RequestId>,
    /// Requests of the client that are answered when the next stream is acknowledged, or at this time.
    unanswered: Vec<RequestId>,
    answer_at: Option<Instant>,
    reopen_at: Option<Instant>,
    /// A stream ended, and no other was acknowledged since.
    is_away: bool,
    /// The server acknowledged a stream before.
    is_offered: bool,
    opened_at: Option<Instant>,
    short_lives: u32,
}

/// A stream that ended in order is opened again after this, doubled each time it lived shortly.
const PAUSE: Duration = Duration::from_secs(2);
/// How often the pause is doubled at most: it does not exceed 32 s.
const MAX_DOUBLINGS: u32 = 4;
/// A subscription is not answered later than this.
const ACKNOWLEDGE_LIMIT: Duration = Duration::from_secs(5);
/// More resources are not listened for.
const MAX_RESOURCES: usize = 10_000;

impl Subscriptions {
    /// What the server offers, from its result of `server/discover`.
    pub(crate) fn offered(&mut self, discovered: &str) {
        let offers = |kind: &str, what: &str| {
            jsonrpc::member_at(discovered, &["capabilities", kind, what]) == Some("true")
        };
        *self = Subscriptions {
            lists: LISTS
                .into_iter()
                .filter(|(_, kind, _)| offers(kind, "listChanged"))
                .map(|(member, ..)| member)
                .collect(),
            offers_resources: offers("resources", "subscribe"),
            ..Subscriptions::default()
        };
    }

    /// `resources/subscribe` or `resources/unsubscribe`; whether a new stream is needed before it can be answered.
    pub(crate) fn set(
        &mut self,
        id: RequestId,
        uri: String,
        wanted: bool,
        actions: &mut AdapterActions,
    ) -> bool {
        if wanted && !self.offers_resources {
            actions.error(
                &id,
                errors::METHOD_NOT_FOUND,
                "the server has no resource subscriptions",
            );
            return false;
        }
        if wanted && self.resources.len() >= MAX_RESOURCES {
            let what = format!("more than {MAX_RESOURCES} resources are subscribed to");
            actions.error(&id, errors::INTERNAL_ERROR, &what);
            return false;
        }
        let changed = if wanted {
            self.resources.insert(uri)
        } else {
            self.resources.remove(&uri)
        };
        if changed {
            self.unanswered.push(id);
        } else {
            actions.result(&id, "{}");
        }
        changed
    }

    /// The request that opens the stream, under this id; none if there is nothing to listen for.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        id: &RequestId,
        actions: &mut AdapterActions,
    ) -> Option<String> {
        if let Some(next) = self.next.take() {
            actions.0.push(AdapterAction::Cancel(next));
        }
        self.reopen_at = None;
        if self.lists.is_empty() && self.resources.is_empty() {
            if let Some(current) = self.current.take() {
                actions.0.push(AdapterAction::Cancel(current));
            }
            self.answer_all(actions);
            return None;
        }
        self.next = Some(id.clone());
        self.opened_at = Some(now);
        self.answer_at = (!self.unanswered.is_empty()).then(|| now + ACKNOWLEDGE_LIMIT);
        let params = format!("{{\"notifications\":{}}}", self.filter());
        Some(request(id, LISTEN, &params))
    }

    /// The filter of the request, as JSON text.
    fn filter(&self) -> String {
        let lists = self.lists.iter();
        let mut filter: Vec<String> = lists.map(|member| format!("\"{member}\":true")).collect();
        if !self.resources.is_empty() {
            let uris = self.resources.iter();
            let uris: Vec<String> = uris.map(|uri| jsonrpc::quoted(uri)).collect();
            filter.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
        }
        format!("{{{}}}", filter.join(","))
    }

    /// Whether this request of the client waits for the next stream.
    pub(crate) fn awaits(&self, id: &RequestId) -> bool {
        self.unanswered.contains(id)
    }

    /// The client does not want the response any more.
    pub(crate) fn cancel(&mut self, id: &RequestId) {
        self.unanswered.retain(|open| open != id);
    }

    pub(crate) fn is_stream(&self, id: &RequestId) -> bool {
        self.current.as_ref() == Some(id) || self.next.as_ref() == Some(id)
    }

    /// A notification on a stream.
    pub(crate) fn message(
        &mut self,
        on: &RequestId,
        message: &Message,
        actions: &mut AdapterActions,
    ) {
        match message.method() {
            Some(ACKNOWLEDGED) => {
                // Only the first acknowledgement on a stream means something.
                if self.next.as_ref() != Some(on) {
                    return;
                }
                if let Some(old) = self.current.take() {
                    actions.0.push(AdapterAction::Cancel(old));
                }
                self.current = self.next.take();
                self.is_offered = true;
                if std::mem::take(&mut self.is_away) {
                    self.tell_missed(actions);
                }
                self.warn_of_unheard(message, actions);
                self.answer_all(actions);
            }
            // It announces the end of a stream, which the client knows nothing of.
            Some("notifications/cancelled") => {}
            Some(_) | None => tell(message, actions),
        }
    }

    /// A server may agree to less than it was asked for; a legacy client cannot be told.
    fn warn_of_unheard(&self, acknowledged: &Message, actions: &mut AdapterActions) {
        let agreed = ["params", "notifications", "resourceSubscriptions"];
        let agreed: Vec<&RawValue> = jsonrpc::member_at(acknowledged.text(), &agreed)
            .and_then(|list| serde_json::from_str(list).ok())
            .unwrap_or_default();
        // Reading the strings one by one needs no memory for a list that is larger than ours.
        let mut unheard = BTreeSet::new();
        unheard.extend(&self.resources);
        for uri in agreed.iter().filter_map(|uri| jsonrpc::string(uri.get())) {
            unheard.remove(&uri);
        }
        if let Some(unheard) = unheard.first() {
            let uri = crate::log::clean(unheard, 200);
            actions.0.push(AdapterAction::Warn(format!(
                "the server does not tell of changes of \"{uri}\""
            )));
        }
    }

    /// The client does not see that nobody listened for a while, so it cannot know that it has to look.
    fn tell_missed(&self, actions: &mut AdapterActions) {
        for text in subscriptions::missed(&self.filter(), "0") {
            if let Ok(message) = Message::made(text) {
                tell(&message, actions);
            }
        }
    }

    /// A stream was answered: it is over.
    pub(crate) fn ended(
        &mut self,
        now: Instant,
        id: &RequestId,
        answer: &Message,
        failed: bool,
        actions: &mut AdapterActions,
    ) {
        let was_next = self.next.as_ref() == Some(id);
        if was_next {
            self.next = None;
        } else {
            self.current = None;
            self.is_away = true;
            if self.next.is_some() {
                return;
            }
        }
        self.answer_all(actions);
        if failed && was_next {
            let words = crate::log::clean(&errors::words(answer), 200);
            actions.0.push(AdapterAction::Warn(format!(
                "the server does not tell of changes: {words}"
            )));
        }
        let lived = self
            .opened_at
            .is_some_and(|at| now >= at + MIN_LISTEN_LIFETIME);
        self.short_lives = if lived { 0 } else { self.short_lives + 1 };
        let refused = failed
            && match errors::code(answer) {
                Some(LOCAL_ERROR) => false,
                Some(errors::METHOD_NOT_FOUND) => true,
                _ => !self.is_offered,
            };
        if !refused {
            self.reopen_at = Some(now + PAUSE * 2u32.pow(self.short_lives.min(MAX_DOUBLINGS)));
        }
    }

    fn answer_all(&mut self, actions: &mut AdapterActions) {
        self.answer_at = None;
        for id in self.unanswered.drain(..) {
            actions.client(response(&id, "{}"));
        }
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        [self.reopen_at, self.answer_at].into_iter().flatten().min()
    }

    /// Whether the stream is to be opened again now.
    pub(crate) fn is_due(&mut self, now: Instant, actions: &mut AdapterActions) -> bool {
        if self.answer_at.is_some_and(|at| at <= now) {
            self.answer_all(actions);
        }
        self.reopen_at.is_some_and(|at| at <= now)
    }
}

/// A change, without what belongs to the subscription.
fn tell(message: &Message, actions: &mut AdapterActions) {
    let plain = meta::without(message, &[meta::SUBSCRIPTION_ID]);
    let bare = plain.member("params").is_some_and(jsonrpc::is_empty);
    let is_list = plain
        .method()
        .is_some_and(|method| method.ends_with("/list_changed"));
    actions.0.push(AdapterAction::Client(if bare && is_list {
        plain.without("params")
    } else {
        plain
    }));
}

/// The code of errors made here, such as for a network that is away.
const LOCAL_ERROR: i64 = -32001;
