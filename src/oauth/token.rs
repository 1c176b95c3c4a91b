//! The token endpoint: request, client authentication, response.
//!
//! - The client authenticates with the method it was registered with, if the server lists that; else with a listed one: basic,
//!   post, none.
//! - Basic is form-encoded (RFC 6749 2.3.1); servers that expect plain text (as npm mcp-remote sends it) get it on a second try.
//! - Only bearer tokens are used, and DPoP tokens where a proof was sent (`dpop.rs`). A body with an `error` member is an error, whatever the status.
//! - Token requests are never redirected.
//!
//! Flags: `--use-id-token` (what the bearer is; see `mod.rs`).
//! Spec: RFC 6749 2.3, 3.2, 5.1, 5.2; RFC 6750 1; RFC 7523 2.2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::client_auth::{self, Key};
use super::discovery::server_metadata::ServerMetadata;
use super::dpop::{self, Dpop};
use super::environment::{Environment, Fetch, Fetched};
use super::error::{Failure, Step, fetch, of_response};
use super::registration::{Client, Origin};
use crate::error::Kind;
use crate::log::clean;
use crate::secret::Secret;
use crate::store::{Store, Tokens};
use crate::url::shown;

/// Client authentication methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// `none`: a public client.
    None,
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `private_key_jwt`.
    PrivateKeyJwt,
}

/// An authorization server, and the client that sends requests to it.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    /// The outside.
    pub env: &'a dyn Environment,
    /// The authorization server.
    pub server: &'a ServerMetadata,
    /// The client.
    pub client: &'a Client,
    /// The key of its assertions.
    pub key: Option<&'a Key>,
    /// What binds tokens, and where its key is.
    pub dpop: Option<(&'a Dpop, &'a Store)>,
    /// The user configured the endpoint: it may be on any network.
    pub trusted: bool,
}

/// Requests tokens. `doing` is the step in words, as in "exchanging the code".
///
/// # Errors
/// If the server refuses, or its response is not a valid token.
pub fn request(endpoint: Endpoint<'_>, form: &[(&str, &str)], doing: &str) -> Step<Tokens> {
    let url = endpoint.server.token()?.clone();
    let (request, response) = post(endpoint, url, form, doing)?;
    let object = response.object().unwrap_or_default();
    if !(200..300).contains(&response.status) || object.contains_key("error") {
        let failure = of_response(doing, &request, &response);
        return Err(with_client(failure, endpoint.client.origin));
    }
    read(object, &request.url, request.dpop.is_some())
}

/// Adds a hint with the flag that the refused client came from.
fn with_client(failure: Failure, origin: Origin) -> Failure {
    let is_unknown = failure.is_unknown_client();
    let flag = match origin {
        Origin::Static => "--static-oauth-client-info",
        Origin::Document => "--client-metadata-url",
        Origin::Stored | Origin::Fresh => return failure,
    };
    match failure {
        Failure::Refused(code, error) if is_unknown => {
            let hint = format!("check the client that was given with {flag}");
            Failure::Refused(code, error.with_hint(hint))
        }
        failure => failure,
    }
}

/// POSTs a form with client authentication; returns any response.
///
/// # Errors
/// If there is no response.
pub fn post(
    endpoint: Endpoint<'_>,
    url: Url,
    form: &[(&str, &str)],
    doing: &str,
) -> Step<(Fetch, Fetched)> {
    let method = method(endpoint);
    let (request, response) = exchange(endpoint, &url, form, method, true)?;
    let refused = |response: &Fetched| {
        of_response(doing, &request, response).code() == Some("invalid_client")
    };
    if method == AuthMethod::Basic
        && matches!(response.status, 400 | 401)
        && is_changed_by_encoding(endpoint.client)
        && refused(&response)
    {
        return exchange(endpoint, &url, form, method, false);
    }
    Ok((request, response))
}

/// Sends the form, and once more with the nonce that the server requires.
fn exchange(
    endpoint: Endpoint<'_>,
    url: &Url,
    form: &[(&str, &str)],
    method: AuthMethod,
    encoded: bool,
) -> Step<(Fetch, Fetched)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let request = authenticated(endpoint, url, form, method, encoded)?;
        let response = fetch(endpoint.env, &request, "the token endpoint")?;
        let (Some((dpop, _)), Some(nonce)) = (endpoint.dpop, &response.dpop_nonce) else {
            return Ok((request, response));
        };
        dpop.keep_server_nonce(nonce);
        let object = response.object().unwrap_or_default();
        let needs_nonce = object
            .get("error")
            .is_some_and(|it| it == dpop::NEEDS_NONCE);
        if !needs_nonce || request.dpop.is_none() || tries > 1 {
            return Ok((request, response));
        }
    }
}

fn authenticated(
    endpoint: Endpoint<'_>,
    url: &Url,
    form: &[(&str, &str)],
    method: AuthMethod,
    encoded: bool,
) -> Step<Fetch> {
    let client = endpoint.client;
    let secret = client.secret.as_ref().map_or("", Secret::expose);
    let mut body = Serializer::new(String::new());
    body.extend_pairs(form);
    let mut authorization = None;
    match method {
        // RFC 7523 3.1: an assertion may come without a client.
        AuthMethod::None if client.id.is_empty() => {}
        AuthMethod::None => {
            body.append_pair("client_id", &client.id);
        }
        AuthMethod::Post => {
            body.append_pair("client_id", &client.id);
            body.append_pair("client_secret", secret);
        }
        AuthMethod::Basic => {
            let part = |text: &str| {
                if encoded {
                    byte_serialize(text.as_bytes()).collect()
                } else {
                    text.to_owned()
                }
            };
            let pair = format!("{}:{}", part(&client.id), part(secret));
            authorization = Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))));
        }
        AuthMethod::PrivateKeyJwt => {
            let audience = endpoint.server.issuer.as_deref().unwrap_or(url.as_str());
            if let Some(key) = endpoint.key {
                let signed = client_auth::assertion(endpoint.env, key, &client.id, audience)?;
                body.append_pair("client_id", &client.id);
                body.append_pair("client_assertion_type", client_auth::TYPE);
                body.append_pair("client_assertion", signed.expose());
            }
        }
    }
    let mut request = Fetch::form(url.clone(), Secret::new(body.finish()));
    request.authorization = authorization;
    request.trusted = endpoint.trusted;
    let dpop = endpoint.dpop;
    request.dpop = dpop.and_then(|(dpop, store)| dpop.prover(store, endpoint.server));
    Ok(request)
}

fn method(endpoint: Endpoint<'_>) -> AuthMethod {
    if endpoint.key.is_some() {
        return AuthMethod::PrivateKeyJwt;
    }
    if endpoint.client.secret.is_none() {
        return AuthMethod::None;
    }
    let listed = endpoint.server.token_auth_methods.as_deref();
    let offers = |name: &str| listed.is_none_or(|all| all.iter().any(|one| one == name));
    match endpoint.client.auth_method.as_deref() {
        Some("client_secret_post") if offers("client_secret_post") => return AuthMethod::Post,
        Some("client_secret_basic") if offers("client_secret_basic") => return AuthMethod::Basic,
        Some("none") if offers("none") => return AuthMethod::None,
        _ => {}
    }
    if offers("client_secret_basic") {
        AuthMethod::Basic
    } else if offers("client_secret_post") {
        AuthMethod::Post
    } else if offers("none") {
        AuthMethod::None
    } else {
        AuthMethod::Basic
    }
}

fn is_changed_by_encoding(client: &Client) -> bool {
    let changed = |text: &str| byte_serialize(text.as_bytes()).collect::<String>() != text;
    changed(&client.id) || client.secret.as_ref().is_some_and(|s| changed(s.expose()))
}

pub(crate) fn read(mut object: crate::store::Object, url: &Url, has_proof: bool) -> Step<Tokens> {
    // RFC 6749 5.1: unknown members are ignored. Some servers send `expires_at` in seconds.
    for of_the_store in ["expires_at", "issuer", "requested_scope"] {
        object.remove(of_the_store);
    }
    let from = shown(url);
    let wrong = |what: String| Failure::Final(crate::error::Error::new(Kind::SignIn, what));
    let kind = object.get("token_type").and_then(|kind| kind.as_str());
    match kind {
        // Required, but some servers leave it out for bearer tokens.
        None => {
            object.insert("token_type".to_owned(), "Bearer".into());
        }
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(kind) if kind.eq_ignore_ascii_case("dpop") && has_proof => {}
        Some(other) => {
            return Err(wrong(format!(
                "{from} returned a token of type \"{}\"; only bearer tokens are supported",
                clean(other, 40)
            )));
        }
    }
    let tokens = Tokens::from_object(&object)
        .map_err(|member| wrong(format!("{from} responded without a valid \"{member}\"")))?;
    let fits = |secret: &Secret| secret.expose().bytes().all(|b| b.is_ascii_graphic());
    if !fits(&tokens.access_token) || !tokens.id_token.as_ref().is_none_or(fits) {
        return Err(wrong(format!(
            "{from} returned a token that is not valid in an HTTP header"
        )));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::scripted_environment::Scripted;

    fn server(methods: &str) -> ServerMetadata {
        let text = format!(
            r#"{{"issuer":"https://as.test","token_endpoint":"https://as.test/token"{methods}}}"#
        );
        super::super::discovery::server_metadata::read(
            serde_json::from_str(&text).unwrap(),
            &Url::parse("https://as.test").unwrap(),
            false,
        )
        .unwrap()
    }

    fn client(secret: Option<&str>, method: Option<&str>) -> Client {
        Client {
            id: "c:1".to_owned(),
            secret: secret.map(Secret::new),
            auth_method: method.map(str::to_owned),
            ..Client::default()
        }
    }

    fn ask(env: &Scripted, server: &ServerMetadata, client: &Client) -> Step<Tokens> {
        let endpoint = Endpoint {
            env,
            server,
            client,
            key: None,
            dpop: None,
            trusted: false,
        };
        request(endpoint, &[("grant_type", "x")], "asking")
    }

    #[test]
    fn the_client_authenticates_with_a_method_both_sides_support() {
        let listed = |list: &str| {
            server(&format!(
                r#","token_endpoint_auth_methods_supported":{list}"#
            ))
        };
        for (server, method, expected) in [
            (server(""), None, AuthMethod::Basic),
            (server(""), Some("client_secret_post"), AuthMethod::Post),
            (
                listed(r#"["client_secret_post"]"#),
                Some("client_secret_basic"),
                AuthMethod::Post,
            ),
            (
                listed(r#"["client_secret_post","client_secret_basic"]"#),
                None,
                AuthMethod::Basic,
            ),
            (listed(r#"["none"]"#), None, AuthMethod::None),
            (listed(r#"["tls_client_auth"]"#), None, AuthMethod::Basic),
        ] {
            let (env, client) = (Scripted::new(), client(Some("s"), method));
            let endpoint = Endpoint {
                env: &env,
                server: &server,
                client: &client,
                key: None,
                dpop: None,
                trusted: false,
            };
            assert_eq!(super::method(endpoint), expected);
        }
    }

    #[test]
    fn basic_is_form_encoded_and_plain_on_a_second_try() {
        let env = Scripted::new();
        env.answer(401, r#"{"error":"invalid_client"}"#);
        env.answer(200, r#"{"access_token":"t","token_type":"bearer"}"#);
        let client = client(Some("p ss%"), Some("client_secret_basic"));
        assert!(ask(&env, &server(""), &client).is_ok());
        let sent = env.sent();
        let header = |at: usize| {
            let text = sent[at].authorization.as_ref().unwrap().expose();
            String::from_utf8(
                STANDARD
                    .decode(text.strip_prefix("Basic ").unwrap())
                    .unwrap(),
            )
            .unwrap()
        };
        assert_eq!(header(0), "c%3A1:p+ss%25");
        assert_eq!(header(1), "c:1:p ss%");
        assert!(sent.iter().all(|request| !request.follow));
    }

    #[test]
    fn a_token_that_is_not_a_bearer_token_is_refused() {
        for bad in [
            r#"{"access_token":"t","token_type":"DPoP"}"#,
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"a\r\nX: y","token_type":"Bearer"}"#,
            "<html>",
            "[]",
        ] {
            let env = Scripted::new();
            env.answer(200, bad);
            assert!(
                ask(&env, &server(""), &client(None, None)).is_err(),
                "{bad}"
            );
        }
        let env = Scripted::new();
        env.answer(200, r#"{"access_token":"t","expires_in":"60"}"#);
        let tokens = ask(&env, &server(""), &client(None, None)).unwrap();
        assert_eq!(tokens.expires_in, Some(60));
    }

    #[test]
    fn a_server_in_trouble_is_asked_again_and_a_refusal_is_final() {
        let env = Scripted::new();
        env.answer(503, "busy");
        env.answer(500, "");
        env.answer(200, r#"{"access_token":"t","token_type":"bearer"}"#);
        assert!(ask(&env, &server(""), &client(None, None)).is_ok());
        let env = Scripted::new();
        for _ in 0..3 {
            env.answer(503, "busy");
        }
        let failure = ask(&env, &server(""), &client(None, None)).unwrap_err();
        assert!(matches!(failure, Failure::Passing(_)), "{failure:?}");
        let env = Scripted::new();
        env.answer(
            400,
            r#"{"error":"invalid_grant","error_description":"used\n<b>"}"#,
        );
        let failure = ask(&env, &server(""), &client(None, None)).unwrap_err();
        assert_eq!(failure.code(), Some("invalid_grant"));
        assert_eq!(
            failure.error().what(),
            "asking was refused: invalid_grant (used <b>)"
        );
        assert_eq!(env.sent().len(), 1);
    }

    #[test]
    fn an_error_in_a_200_is_an_error() {
        let env = Scripted::new();
        env.answer(200, r#"{"error":"bad_verification_code"}"#);
        let failure = ask(&env, &server(""), &client(None, None)).unwrap_err();
        assert_eq!(failure.code(), Some("bad_verification_code"));
    }

    #[test]
    fn members_of_the_stored_tokens_are_not_read_from_a_response() {
        let world = Scripted::new();
        world.answer(
            200,
            r#"{"access_token":"t","expires_at":1700000000,"issuer":"https://x.test","requested_scope":"s"}"#,
        );
        let tokens = ask(&world, &server(""), &client(None, None)).unwrap();
        assert_eq!(
            (tokens.expires_at, tokens.issuer, tokens.requested_scope),
            (None, None, None)
        );
    }
}
