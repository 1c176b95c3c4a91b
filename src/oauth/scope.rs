//! Which scopes to request.
//!
//! - A scope in `--scope` or in `--static-oauth-client-metadata` is the user's own choice: no other is added.
//! - Else the challenge's, else all of the resource's `scopes_supported`, else none. The authorization server's own list says
//!   what it can grant for any resource: it is requested as a whole only if the server refuses a request without a scope.
//! - A scope that the server refuses is replaced once by the part of it that the server lists.
//! - The scope of a step-up is remembered and requested again (union).
//! - `offline_access` is added where the authorization server lists it and some scope is requested: with `prompt=consent`,
//!   which OpenID Connect Core 11 requires.
//!
//! Flags: `--scope`.
//! Spec: MCP 2026-07-28 basic/authorization (Scope Selection Strategy, Step-Up Authorization Flow, Refresh Tokens);
//! RFC 6749 3.3.

use crate::config::OAuth;
use crate::error::Error;
use crate::log::clean;
use crate::store::Object;

/// Where scopes can come from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The user's own choice; `""` means none.
    pub pinned: Option<&'a str>,
    /// The challenge of the server.
    pub challenge: Option<&'a str>,
    /// The resource metadata's `scopes_supported`.
    pub resource: Option<&'a [String]>,
    /// What earlier step-ups led to.
    pub remembered: Option<&'a str>,
    /// What the present tokens hold; only with a step-up.
    pub granted: Option<&'a str>,
}

/// A sign-in for more scope.
pub struct StepUp {
    /// The scope of the tokens before it.
    pub before: Option<String>,
    /// The scope that was missing.
    pub needed: String,
}

impl StepUp {
    /// Whether tokens of this scope come from the step-up, and are not the old ones after a refresh.
    pub fn is_met_by(&self, scope: Option<&str>) -> bool {
        scope != self.before.as_deref() || holds_all(scope, &self.needed)
    }
}

/// The scope that the user has chosen with `--scope`, else in `--static-oauth-client-metadata`.
pub fn pinned(oauth: &OAuth) -> Option<String> {
    oauth.scope.clone().or_else(|| in_metadata(oauth))
}

/// The scope in `--static-oauth-client-metadata`, which npm mcp-remote reads, too.
pub fn in_metadata(oauth: &OAuth) -> Option<String> {
    let text = oauth.static_client_metadata.as_deref()?;
    let object: Object = serde_json::from_str(text).ok()?;
    object.get("scope")?.as_str().map(str::to_owned)
}

/// The scope to request, if any.
pub fn choose(sources: &Sources<'_>) -> Option<String> {
    if let Some(pinned) = sources.pinned {
        return joined([pinned].into_iter());
    }
    let resource = sources
        .resource
        .filter(|_| sources.challenge.is_none())
        .map(|scopes| scopes.join(" "));
    let parts = [
        sources.challenge,
        resource.as_deref(),
        sources.remembered,
        sources.granted,
    ];
    joined(parts.into_iter().flatten())
}

/// The scope with `offline_access`, if the authorization server offers it.
pub fn with_offline_access(scope: Option<String>, supported: Option<&[String]>) -> Option<String> {
    let offered = supported.is_some_and(|all| all.iter().any(|one| one == OFFLINE));
    match scope {
        Some(scope) if offered => joined([scope.as_str(), OFFLINE].into_iter()),
        scope => scope,
    }
}

/// The scope to request after the authorization server refused `requested`: what it lists of it, else what it lists of the
/// resource's scopes, else its whole list, for a server that requires a scope. `None` if that would be the same again.
pub fn instead_of(
    requested: Option<&str>,
    resource: Option<&[String]>,
    supported: Option<&[String]>,
) -> Option<String> {
    let supported = joined(supported?.iter().map(String::as_str));
    let listed = |scopes: &str| {
        let scopes = scopes.split_ascii_whitespace();
        joined(scopes.filter(|one| holds_all(supported.as_deref(), one)))
    };
    let instead = requested
        .and_then(listed)
        .or_else(|| listed(&resource?.join(" ")))
        .or_else(|| supported.clone())?;
    (requested != Some(instead.as_str())).then_some(instead)
}

/// Adds a hint with the flag that chooses the scope. The listed scopes are not part of a command: they come from the network.
pub fn with_way_out(error: Error, supported: Option<&[String]>) -> Error {
    let listed = supported.and_then(|all| joined(all.iter().map(String::as_str)));
    let listed = match listed {
        Some(listed) => format!("the authorization server lists: {}", clean(&listed, 500)),
        None => "ask the operator of the server which scopes there are".to_owned(),
    };
    error.with_hint(format!("choose the scope with --scope \"…\"; {listed}"))
}

/// Whether a scope asks for `offline_access`.
pub fn is_offline(scope: Option<&str>) -> bool {
    scope.is_some_and(|scope| holds(scope, OFFLINE))
}

/// Whether a scope holds all of another.
pub fn holds_all(scope: Option<&str>, other: &str) -> bool {
    let scope = scope.unwrap_or_default();
    other.split_ascii_whitespace().all(|one| holds(scope, one))
}

fn holds(scope: &str, one: &str) -> bool {
    scope.split_ascii_whitespace().any(|other| other == one)
}

const OFFLINE: &str = "offline_access";

/// Each scope once, in order; `None` if there is none. Words that are not valid scopes are left out (RFC 6749 3.3).
pub fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> Option<String> {
    let is_scope = |c: char| matches!(c, '!' | '#'..='[' | ']'..='~');
    let mut all: Vec<&str> = Vec::new();
    for one in parts.flat_map(str::split_ascii_whitespace) {
        if one.chars().all(is_scope) && !all.contains(&one) {
            all.push(one);
        }
    }
    (!all.is_empty()).then(|| all.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn the_challenge_goes_before_the_metadata_and_a_pinned_scope_before_both() {
        let listed = texts(&["a", "b"]);
        let mut sources = Sources {
            resource: Some(&listed),
            ..Sources::default()
        };
        assert_eq!(choose(&sources).as_deref(), Some("a b"));
        sources.challenge = Some("c");
        assert_eq!(choose(&sources).as_deref(), Some("c"));
        sources.pinned = Some("d e");
        assert_eq!(choose(&sources).as_deref(), Some("d e"));
        sources.pinned = Some("");
        assert_eq!(choose(&sources), None);
        assert_eq!(choose(&Sources::default()), None);
    }

    #[test]
    fn a_step_up_asks_for_the_union() {
        let sources = Sources {
            challenge: Some("write"),
            remembered: Some("read admin"),
            granted: Some("read write"),
            ..Sources::default()
        };
        assert_eq!(choose(&sources).as_deref(), Some("write read admin"));
    }

    #[test]
    fn offline_access_is_added_only_where_it_is_listed_and_something_is_asked_for() {
        let listed = texts(&["x", "offline_access"]);
        let ask =
            |scope: Option<&str>, listed| with_offline_access(scope.map(str::to_owned), listed);
        assert_eq!(
            ask(Some("a"), Some(&listed)).as_deref(),
            Some("a offline_access")
        );
        assert_eq!(ask(Some("a"), None).as_deref(), Some("a"));
        assert_eq!(ask(None, Some(&listed)), None);
    }

    #[test]
    fn a_refused_scope_is_replaced_by_what_is_listed_of_it() {
        let (resource, supported) = (texts(&["a", "x"]), texts(&["a", "b"]));
        let instead = |requested, resource| instead_of(requested, resource, Some(&supported));
        assert_eq!(instead(Some("a x"), Some(&resource)).as_deref(), Some("a"));
        assert_eq!(instead(Some("a"), Some(&resource)), None);
        assert_eq!(instead(Some("y"), Some(&resource)).as_deref(), Some("a"));
        assert_eq!(instead(None, Some(&resource)).as_deref(), Some("a"));
        assert_eq!(instead(None, None).as_deref(), Some("a b"));
        assert_eq!(instead(Some("a b"), None), None);
        assert_eq!(instead_of(None, Some(&resource), None), None);
        assert_eq!(instead_of(None, None, Some(&[])), None);
    }

    #[test]
    fn what_no_scope_can_hold_is_left_out() {
        let sources = Sources {
            challenge: Some("a \"b\" c\\ d\u{e9} e"),
            ..Sources::default()
        };
        assert_eq!(choose(&sources).as_deref(), Some("a e"));
    }
}
