//! The `resource` parameter, and when it is left out.
//!
//! - `--disable-resource-parameter`: never sent. `--resource`: that value. Otherwise the value of the resource metadata; without
//!   metadata (2025-03-26 servers) none.
//! - Authorization, token, refresh and device requests carry the same value.
//! - An authorization server that refuses it with a known error code (Microsoft Entra: AADSTS9010010) does not get it again.
//!   This is remembered for that issuer only, so that no other server's error can make our tokens valid for more resources.
//!
//! Flags: `--resource`, `--disable-resource-parameter`.
//! Spec: RFC 8707 2; MCP 2026-07-28 basic/authorization (Resource Parameter Implementation).

use super::Authorizer;
use super::discovery::Discovered;
use super::discovery::resource_metadata::ResourceMetadata;
use super::error::{Failure, Step};
use crate::config::OAuth;
use crate::store::same_issuer;

impl Authorizer {
    /// The value to send, if any.
    pub(super) fn resource(&self, discovered: &Discovered) -> Option<String> {
        let refused_by = self.store.notes().resource_refused_by;
        let is_refused = refused_by.is_some_and(|issuer| same_issuer(&issuer, discovered.issuer()));
        choose(&self.config.oauth, discovered.resource(), is_refused)
    }

    /// Sends a request with the resource parameter, and again without it if the server is known to refuse it.
    pub(super) fn with_resource<T>(
        &self,
        discovered: &Discovered,
        request: impl Fn(Option<&str>) -> Step<T>,
    ) -> Step<T> {
        let resource = self.resource(discovered);
        match request(resource.as_deref()) {
            Err(failure) if self.is_resource_refused(discovered, resource.as_deref(), &failure) => {
                request(None)
            }
            result => result,
        }
    }

    /// Whether the request failed because of the resource parameter; if so, this issuer does not get it again.
    pub(super) fn is_resource_refused(
        &self,
        discovered: &Discovered,
        sent: Option<&str>,
        failure: &Failure,
    ) -> bool {
        let is_refused = sent.is_some() && is_refusal(failure);
        if is_refused {
            let issuer = discovered.issuer().to_owned();
            self.store
                .update_notes(|notes| notes.resource_refused_by = Some(issuer));
        }
        is_refused
    }
}

fn choose(oauth: &OAuth, metadata: Option<&ResourceMetadata>, is_refused: bool) -> Option<String> {
    if oauth.disable_resource || is_refused {
        return None;
    }
    let stated = metadata
        .map(|metadata| metadata.resource.as_str())
        .filter(|resource| !resource.is_empty());
    oauth.resource.as_deref().or(stated).map(str::to_owned)
}

/// Whether an OAuth error holds Entra's code for a resource that does not fit the scope, as a word of its own.
fn is_refusal(failure: &Failure) -> bool {
    let Failure::Refused(_, error) = failure else {
        return false;
    };
    let mut words = error.what().split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word == "AADSTS9010010")
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::super::discovery::server_metadata::ServerMetadata;
    use super::super::scripted_environment::{self, Scripted};
    use super::*;
    use crate::error::{Error, Kind};

    #[test]
    fn the_choice_of_the_user_goes_before_the_metadata() {
        let metadata = ResourceMetadata {
            resource: "https://a.test".to_owned(),
            ..ResourceMetadata::default()
        };
        let mut oauth = OAuth::default();
        assert_eq!(choose(&oauth, None, false), None);
        assert_eq!(
            choose(&oauth, Some(&metadata), false).as_deref(),
            Some("https://a.test")
        );
        assert_eq!(choose(&oauth, Some(&metadata), true), None);
        oauth.resource = Some("urn:x".to_owned());
        assert_eq!(choose(&oauth, None, false).as_deref(), Some("urn:x"));
        oauth.disable_resource = true;
        assert_eq!(choose(&oauth, Some(&metadata), false), None);
    }

    #[test]
    fn only_the_error_code_itself_refuses_the_resource() {
        let refused = |text: &str| {
            let error = Error::new(Kind::SignIn, format!("it was refused: x ({text})"));
            is_refusal(&Failure::Refused("x".to_owned(), error))
        };
        assert!(refused("AADSTS9010010: The resource parameter"));
        assert!(!refused("AADSTS90100101: something else"));
        assert!(!refused("XAADSTS9010010"));
        assert!(!is_refusal(&Failure::new("AADSTS9010010")));
    }

    #[test]
    fn a_refusal_counts_for_the_issuer_that_sent_it() {
        let authorizer = scripted_environment::authorizer(&Scripted::new());
        let at = |issuer: &str| Discovered {
            resource: Some((
                Url::parse("https://a.test/x").unwrap(),
                ResourceMetadata {
                    resource: "https://a.test/mcp".to_owned(),
                    ..ResourceMetadata::default()
                },
            )),
            server: ServerMetadata::default(),
            authorization_server: issuer.to_owned(),
        };
        let (evil, good) = (at("https://evil.test"), at("https://as.test"));
        let error = Error::new(Kind::SignIn, "AADSTS9010010");
        let failure = Failure::Refused("invalid_target".to_owned(), error);
        assert!(!authorizer.is_resource_refused(&evil, None, &failure));
        assert!(authorizer.is_resource_refused(&evil, Some("r"), &failure));
        assert_eq!(authorizer.resource(&evil), None);
        assert!(authorizer.resource(&good).is_some());
    }
}
