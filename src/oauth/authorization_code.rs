//! The authorization request with its PKCE challenge, the response in the callback, and the exchange of the code.
//!
//! PKCE is always used, with S256; `plain` never.
//!
//! Flags: `--authorize-param`.
//! Spec: RFC 6749 4.1; RFC 7636 4.2, 4.3, 4.5; RFC 8707 2; RFC 9207 2; RFC 9700 2.1.1.
//! Not done here: no port, no browser, no waiting (`sign_in`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use url::Url;

use super::discovery::issuer;
use super::error::{Failure, Step, refusal};
use super::{scope, token};
use crate::error::{Error, Kind};
use crate::secret::Secret;
use crate::store::Tokens;

/// The parameters of an authorization request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The client id.
    pub client_id: &'a str,
    /// The redirect URI.
    pub redirect_uri: &'a str,
    /// What the callback must carry.
    pub state: &'a str,
    /// The PKCE code verifier; only its hash is sent.
    pub verifier: &'a Secret,
    /// The scope.
    pub scope: Option<&'a str>,
    /// The resource.
    pub resource: Option<&'a str>,
    /// Parameters that the user adds or replaces.
    pub extra: &'a [(String, String)],
}

/// The authorization URL; the endpoint's own query stays.
pub fn url(endpoint: &Url, request: &Request<'_>) -> Url {
    let challenge = code_challenge(request.verifier);
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", request.client_id),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("redirect_uri", request.redirect_uri),
        ("state", request.state),
    ];
    pairs.extend(request.scope.map(|scope| ("scope", scope)));
    pairs.extend(request.resource.map(|resource| ("resource", resource)));
    if scope::is_offline(request.scope) {
        // OpenID Connect Core 11: without it, offline access is not granted.
        pairs.push(("prompt", "consent"));
    }
    let is_extra = |name: &str| request.extra.iter().any(|(extra, _)| extra == name);
    pairs.retain(|(name, _)| !is_extra(name));
    let own: Vec<(String, String)> = endpoint
        .query_pairs()
        .filter(|(name, _)| !is_extra(name) && pairs.iter().all(|(ours, _)| ours != name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut url = endpoint.clone();
    url.set_fragment(None);
    url.query_pairs_mut()
        .clear()
        .extend_pairs(own)
        .extend_pairs(pairs)
        .extend_pairs(request.extra);
    url
}

/// npm's message for a URL that the user must open.
pub fn visiting(url: &Url) -> String {
    format!("Please authorize this client by visiting:\n{url}")
}

/// The S256 code challenge of a verifier.
fn code_challenge(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()))
}

/// An authorization response.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The code.
    pub code: Option<Secret>,
    /// The issuer.
    pub iss: Option<String>,
    /// The error code.
    pub error: Option<String>,
    /// The error in words.
    pub error_description: Option<String>,
}

impl Response {
    /// The response in a redirect URL, and its state. A parameter that comes twice is left out (RFC 6749 3.1).
    pub fn from_url(url: &Url) -> (Option<String>, Response) {
        let value = |name: &str| {
            let mut values = url.query_pairs().filter(|(key, _)| key == name);
            let value = values.next().map(|(_, value)| value.into_owned());
            value.filter(|_| values.next().is_none())
        };
        let response = Response {
            code: value("code").map(Secret::new),
            iss: value("iss"),
            error: value("error"),
            error_description: value("error_description"),
        };
        (value("state"), response)
    }
}

/// The code of a response. The issuer is checked first, so that nothing of another server's response is used.
///
/// # Errors
/// If it comes from another issuer, or carries an error or no code.
pub fn code(response: Response, issuer: Option<&str>, sends_iss: bool) -> Step<Secret> {
    issuer::check_response(response.iss.as_deref(), issuer, sends_iss)?;
    if let Some(code) = response.error {
        let text = refusal("the sign-in", &code, response.error_description.as_deref());
        return Err(Failure::Refused(code, Error::new(Kind::SignIn, text)));
    }
    response
        .code
        .ok_or_else(|| Failure::new("the callback has no code"))
}

/// Redeems the code.
///
/// # Errors
/// If the server refuses it.
pub fn exchange(
    endpoint: token::Endpoint<'_>,
    code: &Secret,
    verifier: &Secret,
    redirect_uri: &str,
    resource: Option<&str>,
) -> Step<Tokens> {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code.expose()),
        ("code_verifier", verifier.expose()),
        ("redirect_uri", redirect_uri),
    ];
    form.extend(resource.map(|resource| ("resource", resource)));
    token::request(endpoint, &form, "exchanging the code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_standards_example() {
        // RFC 7636 appendix B.
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            code_challenge(&verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    fn request<'a>(verifier: &'a Secret, extra: &'a [(String, String)]) -> Request<'a> {
        Request {
            client_id: "c 1",
            redirect_uri: "http://localhost:1/cb",
            state: "st",
            verifier,
            scope: Some("a offline_access"),
            resource: Some("https://a.test/mcp"),
            extra,
        }
    }

    fn value(url: &Url, name: &str) -> Vec<String> {
        url.query_pairs()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    #[test]
    fn the_request_carries_each_parameter_once_and_never_the_verifier() {
        let verifier = Secret::new("v".repeat(43));
        let endpoint = Url::parse("https://as.test/authorize?tenant=x&state=theirs").unwrap();
        let url = url(&endpoint, &request(&verifier, &[]));
        for (name, expected) in [
            ("tenant", "x"),
            ("state", "st"),
            ("client_id", "c 1"),
            ("response_type", "code"),
            ("code_challenge_method", "S256"),
            ("resource", "https://a.test/mcp"),
            ("scope", "a offline_access"),
            ("prompt", "consent"),
        ] {
            assert_eq!(value(&url, name), [expected], "{url}");
        }
        assert!(!url.as_str().contains(verifier.expose()));
    }

    #[test]
    fn the_users_parameters_replace_ours() {
        let verifier = Secret::new("v");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let extra = [
            pair("prompt", "login"),
            pair("audience", "x y"),
            pair("scope", "z"),
        ];
        let endpoint = Url::parse("https://as.test/authorize").unwrap();
        let url = url(&endpoint, &request(&verifier, &extra));
        assert_eq!(value(&url, "prompt"), ["login"]);
        assert_eq!(value(&url, "scope"), ["z"]);
        assert_eq!(value(&url, "audience"), ["x y"]);
    }

    #[test]
    fn nothing_of_a_foreign_response_is_shown() {
        let response = Response {
            iss: Some("https://evil.test".to_owned()),
            error: Some("evil_words".to_owned()),
            ..Response::default()
        };
        let failure = code(response, Some("https://as.test"), false).unwrap_err();
        assert!(!failure.error().what().contains("evil_words"));
        assert!(code(Response::default(), Some("https://as.test"), false).is_err());
    }
}
