//! The filter of `subscriptions/listen`, and the notifications that belong to its members.
//!
//! Spec: MCP 2026-07-28 basic/patterns/subscriptions.

use std::collections::BTreeSet;

use super::meta;
use crate::jsonrpc::{self, notification};

/// The method that opens a stream of notifications.
pub const LISTEN: &str = "subscriptions/listen";
/// The first message of such a stream.
pub const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// The notification that a resource has changed.
pub const UPDATED: &str = "notifications/resources/updated";

/// The lists whose changes a server announces: member of the filter, capability, notification.
pub const LISTS: [(&str, &str, &str); 3] = [
    (
        "toolsListChanged",
        "tools",
        "notifications/tools/list_changed",
    ),
    (
        "promptsListChanged",
        "prompts",
        "notifications/prompts/list_changed",
    ),
    (
        "resourcesListChanged",
        "resources",
        "notifications/resources/list_changed",
    ),
];

/// One notification for each change that the subscription with this filter and id (JSON texts) may have missed.
pub fn missed(filter: &str, id: &str) -> Vec<String> {
    let asks = |name: &str| jsonrpc::member(filter, name) == Some("true");
    let lists: Vec<&str> = LISTS
        .into_iter()
        .filter(|(name, ..)| asks(name))
        .map(|(.., method)| method)
        .collect();
    let uris = jsonrpc::member(filter, "resourceSubscriptions")
        .and_then(|list| serde_json::from_str::<BTreeSet<String>>(list).ok())
        .unwrap_or_default();
    changes(&lists, uris.iter(), id)
}

/// One notification for each of these lists and resources, for the subscription with this id (JSON text).
pub fn changes<'a>(
    lists: &[&str],
    uris: impl Iterator<Item = &'a String>,
    id: &str,
) -> Vec<String> {
    let meta = format!("\"_meta\":{{\"{}\":{id}}}", meta::SUBSCRIPTION_ID);
    let lists = lists
        .iter()
        .map(|method| notification(method, &format!("{{{meta}}}")));
    let resources = uris.map(|uri| {
        let params = format!("{{{meta},\"uri\":{}}}", jsonrpc::quoted(uri));
        notification(UPDATED, &params)
    });
    lists.chain(resources).collect()
}
