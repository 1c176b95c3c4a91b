//! Authorization server metadata: its URLs, and which documents are accepted.
//!
//! - For an issuer with a path: OAuth with the path inserted, OpenID inserted, OpenID appended, then both at the root, where most
//!   often the document of another issuer is (`--accept-issuer`); without: OAuth, OpenID.
//! - Endpoints of different sites give a warning (mix-up), unless the authorization response must name its issuer.
//! - A member that is an empty string is not there.
//! - The document must name the issuer it was fetched for (`issuer.rs`), and every endpoint must be https or on this machine.
//! - A 2025-03-26 server without metadata has its endpoints at `/authorize`, `/token` and `/register`.
//!
//! Flags: `--accept-missing-s256`.
//! Spec: RFC 8414 2, 3; OpenID Connect Discovery 1.0 4; RFC 9207 3; RFC 9700 4.4; MCP 2026-07-28 basic/authorization (Authorization Server
//! Metadata Discovery), 2025-03-26 basic/authorization 2.3.3 (Fallbacks for Servers without Metadata Discovery).

use serde_json::Value;
use url::Url;

use super::address;
use super::resource_metadata::{inserted, texts};
use crate::error::{Error, Kind};
use crate::oauth::error::{Failure, Step};
use crate::store::Object;

/// Authorization server metadata.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServerMetadata {
    /// Its issuer; `None` if it publishes no metadata.
    pub issuer: Option<String>,
    /// The authorization endpoint.
    pub authorization_endpoint: Option<Url>,
    /// The token endpoint.
    pub token_endpoint: Option<Url>,
    /// The registration endpoint.
    pub registration_endpoint: Option<Url>,
    /// The revocation endpoint.
    pub revocation_endpoint: Option<Url>,
    /// The device authorization endpoint.
    pub device_authorization_endpoint: Option<Url>,
    /// The scopes it can grant.
    pub scopes: Option<Vec<String>>,
    /// The client authentication methods of the token endpoint.
    pub token_auth_methods: Option<Vec<String>>,
    /// The PKCE methods.
    pub code_challenge_methods: Option<Vec<String>>,
    /// Whether a client id may be the URL of a metadata document.
    pub takes_metadata_documents: bool,
    /// Whether authorization responses always contain `iss`.
    pub sends_iss: bool,
    /// The whole document.
    pub document: Object,
}

/// The URLs of an issuer's metadata, in order.
pub fn well_known(issuer: &Url) -> Vec<Url> {
    let mut places = vec![inserted(issuer, OAUTH), inserted(issuer, OPENID)];
    let path = issuer.path().trim_end_matches('/');
    if !path.is_empty() {
        let mut appended = issuer.clone();
        appended.set_path(&format!("{path}{OPENID}"));
        appended.set_fragment(None);
        places.push(appended);
        places.extend(at_root(issuer));
    }
    places
}

/// The URLs at the root, where some issuers with a path have their metadata.
fn at_root(issuer: &Url) -> [Url; 2] {
    [OAUTH, OPENID].map(|path| {
        let mut url = issuer.clone();
        url.set_path(path);
        url.set_query(None);
        url.set_fragment(None);
        url
    })
}

/// Whether a document is metadata at all: some servers return `{}` or a message where they have none.
pub fn is_metadata(document: &Object) -> bool {
    let is_there = |name: &str| document.get(name).is_some_and(|value| value != "");
    ["issuer", "authorization_endpoint", "token_endpoint"]
        .iter()
        .any(|name| is_there(name))
}

/// The issuer that a document names.
pub fn issuer(document: &Object) -> Option<&str> {
    text(document, "issuer")
}

/// A member that is a string and not empty.
pub(super) fn text<'a>(document: &'a Object, name: &str) -> Option<&'a str> {
    let text = document.get(name)?.as_str()?;
    Some(text).filter(|text| !text.trim().is_empty())
}

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

/// Reads the document that was found at `place`; the issuer is the caller's to check.
///
/// # Errors
/// If an endpoint has a URL that is not allowed.
pub fn read(document: Object, place: &Url, allow_http: bool) -> Step<ServerMetadata> {
    let endpoint = |name: &str| -> Step<Option<Url>> {
        let Some(text) = text(&document, name) else {
            return Ok(None);
        };
        let checked = address(place, text, allow_http);
        checked.map(Some).map_err(|why| {
            Failure::new(format!(
                "the authorization server's metadata is refused: {name} {why}"
            ))
        })
    };
    let is_true = |name: &str| document.get(name).and_then(Value::as_bool) == Some(true);
    Ok(ServerMetadata {
        issuer: issuer(&document).map(str::to_owned),
        authorization_endpoint: endpoint("authorization_endpoint")?,
        token_endpoint: endpoint("token_endpoint")?,
        registration_endpoint: endpoint("registration_endpoint")?,
        revocation_endpoint: endpoint("revocation_endpoint")?,
        device_authorization_endpoint: endpoint("device_authorization_endpoint")?,
        scopes: texts(&document, "scopes_supported"),
        token_auth_methods: texts(&document, "token_endpoint_auth_methods_supported"),
        code_challenge_methods: texts(&document, "code_challenge_methods_supported"),
        takes_metadata_documents: is_true("client_id_metadata_document_supported"),
        sends_iss: is_true("authorization_response_iss_parameter_supported"),
        document,
    })
}

impl ServerMetadata {
    /// The endpoints of a 2025-03-26 server that publishes no metadata.
    pub fn without_document(origin: &Url) -> ServerMetadata {
        let at = |path: &str| {
            let mut url = origin.clone();
            url.set_path(path);
            url.set_query(None);
            url.set_fragment(None);
            Some(url)
        };
        ServerMetadata {
            authorization_endpoint: at("/authorize"),
            token_endpoint: at("/token"),
            registration_endpoint: at("/register"),
            ..ServerMetadata::default()
        }
    }

    /// Refuses a server without PKCE: anybody could redeem a stolen code.
    ///
    /// # Errors
    /// If it publishes metadata without S256.
    pub fn check_pkce(&self, accept_missing: bool) -> Step<()> {
        if accept_missing || !self.lacks_s256() {
            return Ok(());
        }
        let what = format!(
            "authorization server {} does not offer PKCE with S256, which protects the sign-in",
            self.name()
        );
        let hint = "ask its operator for it; if you know that it understands S256 all the same, add: --accept-missing-s256";
        Err(Failure::Final(
            Error::new(Kind::SignIn, what).with_hint(hint),
        ))
    }

    /// Whether metadata was published, and without S256.
    pub fn lacks_s256(&self) -> bool {
        let methods = self.code_challenge_methods.iter().flatten();
        self.issuer.is_some() && !methods.into_iter().any(|method| method == "S256")
    }

    /// A warning, if the user signs in at another party than gets the code. A metadata document may name the authorization
    /// endpoint of another server and its own token endpoint, and would get that server's codes; only `iss` shows it then
    /// (RFC 9700 4.4).
    pub fn mix_up_warning(&self) -> Option<String> {
        if self.sends_iss {
            return None;
        }
        let (authorize, token) = (
            self.authorization_endpoint.as_ref()?,
            self.token_endpoint.as_ref()?,
        );
        let issuer = self.issuer.as_deref().and_then(|it| Url::parse(it).ok());
        let issuer = issuer.as_ref().unwrap_or(token);
        let is_one = is_same_party(authorize, token)
            && is_same_party(issuer, authorize)
            && is_same_party(issuer, token);
        (!is_one).then(|| {
            format!(
                "the metadata of {} names endpoints of different sites: you sign in at {}, and {} gets the tokens; go on only if you know that they belong together",
                self.name(),
                host(authorize),
                host(token)
            )
        })
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        let endpoint = self.token_endpoint.as_ref().map(crate::url::shown);
        let name = self.issuer.clone().or(endpoint).unwrap_or_default();
        format!("\"{}\"", crate::log::clean(&name, 200))
    }

    /// The token endpoint.
    ///
    /// # Errors
    /// If there is none.
    pub fn token(&self) -> Step<&Url> {
        self.token_endpoint.as_ref().ok_or_else(|| {
            Failure::new(format!(
                "authorization server {} has no token_endpoint",
                self.name()
            ))
        })
    }
}

/// Whether one host is the other or is below it. Which domains belong to one owner is known for no others.
fn is_same_party(a: &Url, b: &Url) -> bool {
    let (one, other) = (host(a), host(b));
    let is_below = |host: &str, domain: &str| {
        let above = host.strip_suffix(domain);
        domain.contains('.') && above.is_some_and(|above| above.ends_with('.'))
    };
    one == other || is_below(&one, &other) || is_below(&other, &one)
}

/// The host, with its port unless that is the usual one.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn read_text(text: &str) -> Step<ServerMetadata> {
        let place = url("https://as.test");
        read(serde_json::from_str(text).unwrap(), &place, false)
    }

    #[test]
    fn the_places_are_those_of_the_specification_in_its_order() {
        let places = |issuer| -> Vec<String> {
            well_known(&url(issuer))
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(
            places("https://as.test/tenant1"),
            [
                "https://as.test/.well-known/oauth-authorization-server/tenant1",
                "https://as.test/.well-known/openid-configuration/tenant1",
                "https://as.test/tenant1/.well-known/openid-configuration",
                "https://as.test/.well-known/oauth-authorization-server",
                "https://as.test/.well-known/openid-configuration",
            ]
        );
        for issuer in ["https://as.test", "https://as.test/"] {
            assert_eq!(
                places(issuer),
                [
                    "https://as.test/.well-known/oauth-authorization-server",
                    "https://as.test/.well-known/openid-configuration",
                ]
            );
        }
    }

    #[test]
    fn an_endpoint_that_must_not_be_used_is_refused_by_its_name() {
        for (name, bad) in [
            ("authorization_endpoint", "javascript:alert(1)"),
            ("token_endpoint", "http://other.test/token"),
            ("registration_endpoint", "file:///x"),
            ("device_authorization_endpoint", "no url"),
            ("revocation_endpoint", "https://u:p@as.test/"),
        ] {
            let error = read_text(&format!(
                r#"{{"issuer":"https://as.test","{name}":"{bad}"}}"#
            ))
            .unwrap_err()
            .into_error();
            assert!(error.what().contains(name), "{}", error.what());
        }
        assert!(
            read_text(r#"{"token_endpoint":"http://127.0.0.1:1/t","revocation_endpoint":null}"#)
                .is_ok()
        );
    }

    #[test]
    fn metadata_without_s256_is_refused_and_no_metadata_is_not() {
        let with = |methods: &str| {
            read_text(&format!(r#"{{"issuer":"https://as.test"{methods}}}"#)).unwrap()
        };
        for bad in ["", r#","code_challenge_methods_supported":["plain"]"#] {
            assert!(with(bad).check_pkce(false).is_err());
            assert!(with(bad).check_pkce(true).is_ok());
        }
        let good = r#","code_challenge_methods_supported":["plain","S256"]"#;
        assert!(with(good).check_pkce(false).is_ok());
        let none = ServerMetadata::without_document(&url("https://a.test/mcp?x=1"));
        assert!(none.check_pkce(false).is_ok());
        assert_eq!(
            none.registration_endpoint.unwrap().as_str(),
            "https://a.test/register"
        );
    }

    #[test]
    fn endpoints_of_different_sites_give_a_warning_unless_iss_will_tell() {
        for (issuer, authorize, token, more, warns) in [
            (
                "https://as.test",
                "https://as.test",
                "https://as.test",
                "",
                false,
            ),
            (
                "https://as.test",
                "https://login.as.test",
                "https://as.test",
                "",
                false,
            ),
            (
                "https://as.test",
                "https://as.test",
                "https://evil.test",
                "",
                true,
            ),
            (
                "https://evil.test",
                "https://as.test",
                "https://evil.test",
                "",
                true,
            ),
            (
                "https://as.test",
                "https://evilas.test",
                "https://as.test",
                "",
                true,
            ),
            (
                "http://127.0.0.1:1",
                "http://127.0.0.1:2",
                "http://127.0.0.1:1",
                "",
                true,
            ),
            (
                "https://evil.test",
                "https://as.test",
                "https://evil.test",
                r#","authorization_response_iss_parameter_supported":true"#,
                false,
            ),
        ] {
            let metadata = read_text(&format!(
                r#"{{"issuer":"{issuer}","authorization_endpoint":"{authorize}/a","token_endpoint":"{token}/t"{more}}}"#
            ))
            .unwrap();
            let warning = metadata.mix_up_warning();
            assert_eq!(warning.is_some(), warns, "{issuer} {authorize} {token}");
            if let Some(warning) = warning {
                let host = |url: &str| url.replace("https://", "").replace("http://", "");
                assert!(
                    warning.contains(&host(authorize)) && warning.contains(&host(token)),
                    "{warning}"
                );
            }
        }
    }
}
