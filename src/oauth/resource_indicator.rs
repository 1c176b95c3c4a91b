//! The `resource` parameter, and when to leave it out.
//!
//! - `--disable-resource-parameter`: never. `--resource`: that one. Else what the resource metadata says; without metadata
//!   (2025-03-26 servers) none.
//! - The same value goes on the authorization, token, refresh and device requests.
//! - Where an authorization server is known to refuse it (Microsoft Entra: AADSTS9010010), it is left out from then on.
//!
//! Flags: `--resource`, `--disable-resource-parameter`.
//! Spec: RFC 8707 2; MCP 2026-07-28 basic/authorization (Resource Parameter Implementation).

use super::discovery::resource_metadata::ResourceMetadata;
use crate::config::OAuth;

/// The value of the parameter, if it is sent.
pub fn choose(
    oauth: &OAuth,
    metadata: Option<&ResourceMetadata>,
    is_refused: bool,
) -> Option<String> {
    if oauth.disable_resource || is_refused {
        return None;
    }
    let stated = metadata
        .map(|metadata| metadata.resource.as_str())
        .filter(|resource| !resource.is_empty());
    oauth.resource.as_deref().or(stated).map(str::to_owned)
}

/// Whether an error text says that the parameter is not understood together with the scope.
pub fn is_refusal(text: &str) -> bool {
    text.contains("AADSTS9010010")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_persons_choice_goes_before_the_metadata() {
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
}
