//! Protected resource metadata: its URLs, and which documents are accepted.
//!
//! - The URL of the challenge, else the well-known path with the server's own path inserted (its query kept), else the root.
//! - `resource` must be the server's URL or a path above it on the same origin, so that no server can obtain a token for another
//!   one; this is not checked with `--resource` or `--disable-resource-parameter`.
//! - The first of `authorization_servers` that is not empty is taken; none means that the server is its own.
//!
//! Spec: RFC 9728 2, 3.1, 3.3, 7.6; MCP 2026-07-28 basic/authorization (Protected Resource Metadata Discovery).

use url::Url;

use super::address;
use super::server_metadata::text;
use crate::log::clean;
use crate::oauth::error::{Failure, Step};
use crate::store::Object;
use crate::url::{same_origin, shown};

/// Protected resource metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceMetadata {
    /// Its resource identifier, as it is written.
    pub resource: String,
    /// The first authorization server, as it is written: it is the issuer.
    pub authorization_server: Option<String>,
    /// All scopes it knows; an empty list is none.
    pub scopes: Option<Vec<String>>,
    /// Whether its tokens must be bound by DPoP, and ES256 is fine for that.
    pub requires_dpop: bool,
}

/// The well-known URLs, in order.
pub fn well_known(server: &Url) -> Vec<Url> {
    let mut places = vec![inserted(server, SUFFIX)];
    let mut root = server.clone();
    root.set_path(SUFFIX);
    root.set_query(None);
    root.set_fragment(None);
    if !places.contains(&root) {
        places.push(root);
    }
    places
}

/// The URL with this well-known path before its own (RFC 8414 3.1, RFC 9728 3.1).
pub(super) fn inserted(url: &Url, well_known: &str) -> Url {
    let mut place = url.clone();
    let path = url.path().trim_end_matches('/');
    place.set_path(&format!("{well_known}{path}"));
    place.set_fragment(None);
    place
}

const SUFFIX: &str = "/.well-known/oauth-protected-resource";

/// Whether a document is metadata at all: some servers return `{}` or a message where they have none.
pub fn is_metadata(document: &Object) -> bool {
    text(document, "resource").is_some() || document.contains_key("authorization_servers")
}

/// Reads the document. `any_resource`: the user chose the resource.
///
/// # Errors
/// If it is for another resource, or its authorization server has a URL that is not allowed.
pub fn read(
    document: &Object,
    place: &Url,
    server: &Url,
    any_resource: bool,
    allow_http: bool,
) -> Step<ResourceMetadata> {
    let place = shown(place);
    let resource = text(document, "resource").unwrap_or_default();
    if !any_resource {
        check_resource(resource, server, &place)?;
    }
    let servers = document.get("authorization_servers");
    let first = servers
        .and_then(|servers| servers.as_array())
        .into_iter()
        .flatten()
        .find(|server| server.as_str() != Some(""));
    let authorization_server = match first {
        None => None,
        Some(first) => {
            let issuer = first.as_str().unwrap_or_default();
            if let Err(why) = address(server, issuer, allow_http) {
                return Err(Failure::new(format!(
                    "the authorization server in the resource metadata {place} cannot be used: {why}"
                )));
            }
            Some(issuer.to_owned())
        }
    };
    let is_required = document.get("dpop_bound_access_tokens_required");
    let algorithms = texts(document, "dpop_signing_alg_values_supported");
    let takes_es256 = algorithms.is_none_or(|all| all.iter().any(|one| one == "ES256"));
    Ok(ResourceMetadata {
        resource: resource.to_owned(),
        authorization_server,
        scopes: texts(document, "scopes_supported"),
        requires_dpop: takes_es256 && is_required.and_then(|it| it.as_bool()) == Some(true),
    })
}

fn check_resource(resource: &str, server: &Url, place: &str) -> Step<()> {
    let belongs = Url::parse(resource).is_ok_and(|url| {
        let (above, own) = (url.path().trim_end_matches('/'), server.path());
        let is_above = own
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        same_origin(&url, server) && is_above
    });
    if belongs {
        return Ok(());
    }
    let what = format!(
        "the resource metadata {place} is for another resource: \"{}\" instead of \"{}\"",
        clean(resource, 200),
        shown(server)
    );
    let error = crate::error::Error::new(crate::error::Kind::SignIn, what).with_hint(
        "if you trust this server with a token for that resource, name the resource with --resource",
    );
    Err(Failure::Final(error))
}

/// A list of strings, if there is one.
pub(super) fn texts(document: &Object, name: &str) -> Option<Vec<String>> {
    let values = document.get(name)?.as_array()?;
    Some(
        values
            .iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn read_text(text: &str, server: &str) -> Step<ResourceMetadata> {
        let document = serde_json::from_str(text).unwrap();
        read(
            &document,
            &url("https://a.test/prm"),
            &url(server),
            false,
            false,
        )
    }

    #[test]
    fn the_path_form_comes_before_the_root_and_keeps_the_query() {
        let places = |server| -> Vec<String> {
            well_known(&url(server))
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(
            places("https://a.test/x/mcp?t=1"),
            [
                "https://a.test/.well-known/oauth-protected-resource/x/mcp?t=1",
                "https://a.test/.well-known/oauth-protected-resource"
            ]
        );
        assert_eq!(
            places("https://a.test/"),
            ["https://a.test/.well-known/oauth-protected-resource"]
        );
    }

    #[test]
    fn metadata_about_another_resource_is_refused() {
        for (resource, server, good) in [
            ("https://a.test/mcp", "https://a.test/mcp", true),
            ("https://a.test", "https://a.test/mcp", true),
            ("https://a.test/", "https://a.test/mcp?x=1", true),
            ("https://a.test/mcp/", "https://a.test/mcp", true),
            ("https://a.test/mc", "https://a.test/mcp", false),
            ("https://a.test/mcp/deeper", "https://a.test/mcp", false),
            ("https://b.test/mcp", "https://a.test/mcp", false),
            ("http://a.test/mcp", "https://a.test/mcp", false),
            ("", "https://a.test/mcp", false),
        ] {
            let text = format!(r#"{{"resource":"{resource}"}}"#);
            assert_eq!(read_text(&text, server).is_ok(), good, "{resource}");
        }
        assert!(read_text("{}", "https://a.test/mcp").is_err());
    }

    #[test]
    fn the_first_authorization_server_is_taken_if_it_may_be_asked() {
        let with = |servers: &str| {
            read_text(
                &format!(
                    r#"{{"resource":"https://a.test","authorization_servers":{servers},"scopes_supported":["a",1,"b"]}}"#
                ),
                "https://a.test/mcp",
            )
        };
        let metadata = with(r#"["https://as.test/t1","https://b.test"]"#).unwrap();
        assert_eq!(
            metadata.authorization_server.as_deref(),
            Some("https://as.test/t1")
        );
        assert_eq!(metadata.scopes.unwrap(), ["a", "b"]);
        assert_eq!(with("[]").unwrap().authorization_server, None);
        for bad in [r#"["http://as.test"]"#, "[1]", r#"["javascript:x"]"#] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
