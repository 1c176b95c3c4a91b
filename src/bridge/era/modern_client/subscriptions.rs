//! A modern client's `subscriptions/listen` at a legacy server: its GET stream and `resources/subscribe`.
//!
//! - The acknowledgement comes first, and names what the server offers of what was asked for.
//! - Each notification of a change goes to every subscription that asked for it, with the id of that subscription.
//! - A resource is subscribed to while some subscription wants it.
//! - After a gap in the GET stream the client is notified of every change it may have missed: it cannot see the gap.
//!
//! Spec: MCP 2026-07-28 basic/patterns/subscriptions; 2025-11-25 server/resources (Subscriptions), basic/transports
//! (Listening for Messages).

use std::collections::BTreeSet;

use crate::bridge::era::adapter::{AdapterAction, AdapterActions};
use crate::jsonrpc::notification;
use crate::jsonrpc::{self, Message, RequestId};
use crate::mcp::subscriptions::{ACKNOWLEDGED, LISTS, UPDATED, changes};
use crate::mcp::{errors, meta};

/// The open subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    open: Vec<Subscription>,
    /// The resources the server was asked to watch.
    subscribed: BTreeSet<String>,
    /// Those for which its response has not come.
    pending: BTreeSet<String>,
}

#[derive(Debug)]
struct Subscription {
    id: RequestId,
    /// Methods of the notifications it wants.
    lists: Vec<&'static str>,
    resources: BTreeSet<String>,
}

/// Whether a URI is the wanted one, or names something below it.
fn is_part(uri: &str, wanted: &str) -> bool {
    uri.strip_prefix(wanted).is_some_and(|rest| {
        rest.is_empty() || wanted.ends_with('/') || rest.starts_with(['/', '?', '#'])
    })
}

/// A larger notification is not copied for each subscription: they get one without its additions.
const MAX_COPIED: usize = 64 << 10;
/// More subscriptions are not kept at once.
const MAX_SUBSCRIPTIONS: usize = 256;

impl Subscriptions {
    /// A subscription is opened, and acknowledged.
    pub(crate) fn open(
        &mut self,
        id: &RequestId,
        message: &Message,
        initialized: &str,
        actions: &mut AdapterActions,
    ) {
        if self.open.len() >= MAX_SUBSCRIPTIONS {
            actions.error(
                id,
                errors::INTERNAL_ERROR,
                &format!("more than {MAX_SUBSCRIPTIONS} subscriptions are open"),
            );
            return;
        }
        let filter =
            jsonrpc::member_at(message.text(), &["params", "notifications"]).unwrap_or("{}");
        let asks = |name: &str| jsonrpc::member(filter, name) == Some("true");
        let offers = |kind: &str, what: &str| {
            jsonrpc::member_at(initialized, &["capabilities", kind, what]) == Some("true")
        };
        let honoured: Vec<_> = LISTS
            .into_iter()
            .filter(|(name, kind, _)| asks(name) && offers(kind, "listChanged"))
            .collect();
        let wanted = jsonrpc::member(filter, "resourceSubscriptions");
        let wanted = wanted.and_then(|list| serde_json::from_str::<BTreeSet<String>>(list).ok());
        let resources = wanted
            .filter(|_| offers("resources", "subscribe"))
            .unwrap_or_default();
        let mut members: Vec<String> = honoured
            .iter()
            .map(|(name, ..)| format!("\"{name}\":true"))
            .collect();
        if !resources.is_empty() {
            let uris: Vec<String> = resources.iter().map(|uri| jsonrpc::quoted(uri)).collect();
            members.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
        }
        let params = format!(
            "{{\"_meta\":{{\"{}\":{id}}},\"notifications\":{{{}}}}}",
            meta::SUBSCRIPTION_ID,
            members.join(",")
        );
        actions.client(notification(ACKNOWLEDGED, &params));
        self.open.push(Subscription {
            id: id.clone(),
            lists: honoured.iter().map(|(.., method)| *method).collect(),
            resources,
        });
    }

    /// The client closes a subscription; whether there was one.
    pub(crate) fn close(&mut self, id: &RequestId) -> bool {
        let before = self.open.len();
        self.open.retain(|subscription| &subscription.id != id);
        self.open.len() < before
    }

    /// A notification of the server; whether it is one of a change.
    pub(crate) fn message(
        &self,
        method: &str,
        message: &Message,
        actions: &mut AdapterActions,
    ) -> bool {
        let uri =
            || jsonrpc::member_at(message.text(), &["params", "uri"]).and_then(jsonrpc::string);
        let (is_list, uri) = match method {
            UPDATED => (false, uri().unwrap_or_default()),
            _ if LISTS.iter().any(|(.., list)| *list == method) => (true, String::new()),
            _ => return false,
        };
        let is_large = message.text().len() > MAX_COPIED;
        for subscription in &self.open {
            let mut resources = subscription.resources.iter();
            // A server may name a part of what was subscribed to.
            let resource = resources.find(|wanted| !is_list && is_part(&uri, wanted));
            let list = subscription.lists.iter().find(|list| **list == method);
            if list.is_none() && resource.is_none() {
                continue;
            }
            let id = subscription.id.to_string();
            if is_large {
                for text in changes(
                    list.map_or(&[], std::slice::from_ref),
                    resource.into_iter(),
                    &id,
                ) {
                    actions.client(text);
                }
            } else {
                actions.0.push(AdapterAction::Client(meta::with(
                    message,
                    &[(meta::SUBSCRIPTION_ID, &id)],
                )));
            }
        }
        true
    }

    fn wanted(&self) -> BTreeSet<String> {
        let mut wanted = BTreeSet::new();
        for subscription in &self.open {
            wanted.extend(subscription.resources.iter().cloned());
        }
        wanted
    }

    /// What the server has to be asked: to watch a resource somebody wants, or no longer to watch one.
    pub(crate) fn next_requests(&mut self) -> Vec<(&'static str, String)> {
        let wanted = self.wanted();
        let new = wanted.difference(&self.subscribed);
        let old = self.subscribed.difference(&wanted);
        let asks: Vec<_> = new
            .map(|uri| ("resources/subscribe", uri.clone()))
            .chain(old.map(|uri| ("resources/unsubscribe", uri.clone())))
            .filter(|(_, uri)| !self.pending.contains(uri))
            .collect();
        for (_, uri) in &asks {
            if !self.subscribed.remove(uri) {
                self.subscribed.insert(uri.clone());
            }
            self.pending.insert(uri.clone());
        }
        asks
    }

    /// The server has answered what it was asked of a resource.
    pub(crate) fn request_done(&mut self, uri: &str) {
        self.pending.remove(uri);
    }

    /// Tells each subscription that everything it wants to know of may have changed.
    pub(crate) fn missed(&self, actions: &mut AdapterActions) {
        for subscription in &self.open {
            let id = subscription.id.to_string();
            for text in changes(&subscription.lists, subscription.resources.iter(), &id) {
                actions.client(text);
            }
        }
    }

    /// The server has forgotten what it was asked.
    pub(crate) fn forget_subscribed(&mut self) {
        self.subscribed.clear();
        self.pending.clear();
    }

    pub(crate) fn is_open(&self, id: &RequestId) -> bool {
        self.open.iter().any(|subscription| &subscription.id == id)
    }

    /// Closes all subscriptions, and gives their ids.
    pub(crate) fn close_all(&mut self) -> Vec<RequestId> {
        let open = std::mem::take(&mut self.open);
        open.into_iter()
            .map(|subscription| subscription.id)
            .collect()
    }
}
