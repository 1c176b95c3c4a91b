//! Which client id to use, and how to get one.
//!
//! In this order: a client registered by hand; the URL of a metadata document, where the authorization server supports it;
//! an earlier registration with this issuer; a new registration; otherwise an error that says what to obtain.
//! - A client registered by hand is bound to the issuer it first signed in at.
//! - A registration is bound to its issuer and to its redirect URI; it is replaced when either changes, or when the server
//!   no longer knows it.
//! - It is made for all scopes of the resource, because many servers hold a client to the scope it registered with: a step-up
//!   then needs no other client. Where the server does not allow that, it is made for the requested scope, else without a scope,
//!   else for what the authorization server lists.
//!
//! Flags: `--static-oauth-client-info`, `--static-oauth-client-metadata`, `--client-metadata-url`.
//! Spec: RFC 7591 2, 3; MCP 2026-07-28 basic/authorization/client-registration; npm mcp-remote 0.15.1 (body, methods).

use serde_json::{Map, Value, json};
use url::Url;

use super::discovery::{Discovered, issuer};
use super::environment::{Content, Environment, Fetch};
use super::error::{Failure, Step, fetch, of_response};
use super::scope;
use crate::config::OAuth;
use crate::error::{Error, Kind};
use crate::log::clean;
use crate::secret::Secret;
use crate::store::{ClientInfo, Object, StaticClient, Store, same_issuer};

/// The OAuth client.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Client {
    /// The client id.
    pub id: String,
    /// Its secret, if it has one.
    pub secret: Option<Secret>,
    /// The authentication method it was registered with.
    pub auth_method: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a client id comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// `--static-oauth-client-info`.
    #[default]
    Static,
    /// `--client-metadata-url`.
    Document,
    /// A registration from the store.
    Stored,
    /// A registration made just now.
    Fresh,
}

impl Client {
    fn new(info: &ClientInfo, origin: Origin) -> Client {
        Client {
            id: info.client_id.clone(),
            secret: info.client_secret.clone(),
            auth_method: info.token_endpoint_auth_method.clone(),
            origin,
        }
    }
}

/// What a client is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The redirect URI; none for grants without a browser of ours.
    pub redirect_uri: Option<&'a str>,
    /// The grant besides `refresh_token`.
    pub grant: &'a str,
    /// The scope that will be requested.
    pub scope: Option<&'a str>,
}

/// The client that is already known. A redirect URI of `None` fits every registration.
///
/// # Errors
/// If `--static-oauth-client-info` is not a client, or belongs to another issuer.
pub fn known(
    oauth: &OAuth,
    store: &Store,
    discovered: &Discovered,
    redirect_uri: Option<&str>,
    now: u64,
) -> Step<Option<Client>> {
    if let Some(client) = static_client(oauth)? {
        check_issuer(oauth, store, discovered, &client)?;
        return Ok(Some(client));
    }
    if let Some(address) = &oauth.client_metadata_url
        && discovered.server.takes_metadata_documents
    {
        return Ok(Some(Client {
            id: address.clone(),
            origin: Origin::Document,
            ..Client::default()
        }));
    }
    let stored = store.client_info().filter(|info| {
        info.is_usable_at(discovered.issuer())
            && !info.is_expired(now)
            && redirect_uri.is_none_or(|uri| info.redirect_uris.iter().any(|known| known == uri))
    });
    Ok(stored.map(|info| Client::new(&info, Origin::Stored)))
}

/// The client given by hand.
///
/// # Errors
/// If it has no `client_id`.
pub fn static_client(oauth: &OAuth) -> Step<Option<Client>> {
    let Some(text) = &oauth.static_client_info else {
        return Ok(None);
    };
    let object: Object = serde_json::from_str(text.expose()).unwrap_or_default();
    match ClientInfo::from_object(object) {
        Ok(info) => Ok(Some(Client::new(&info, Origin::Static))),
        Err(member) => Err(Failure::Final(
            Error::new(
                Kind::Config,
                format!("--static-oauth-client-info has no \"{member}\""),
            )
            .with_hint(r#"give it as {"client_id":"…"}, with "client_secret" if there is one"#),
        )),
    }
}

/// A client registered by hand belongs to the authorization server it has signed in at; no other one gets its secret. The same
/// is true of a workload token without a client.
pub fn check_issuer(
    oauth: &OAuth,
    store: &Store,
    discovered: &Discovered,
    client: &Client,
) -> Step<()> {
    let bound = store.notes().static_client;
    let bound = bound.filter(|bound| bound.client_id == client.id);
    let known = bound.as_ref().map(|bound| bound.issuer.as_str());
    let found = discovered.issuer();
    let accepted = oauth.accept_issuer.as_deref().map(issuer::split);
    match known {
        Some(known)
            if !same_issuer(known, found)
                && accepted.is_none_or(|(_, accepted)| !same_issuer(accepted, found)) =>
        {
            let flag = issuer::flag(found);
            let (known, found) = (clean(known, 200), clean(found, 200));
            let whose = if client.id.is_empty() {
                "the token of --workload-token"
            } else {
                "the client given with --static-oauth-client-info"
            };
            let what = format!(
                "the server uses another authorization server now, \"{found}\"; {whose} belongs to \"{known}\""
            );
            Err(Failure::Final(Error::new(Kind::SignIn, what).with_hint(
                format!("obtain a client there; or, if this one is known there too, {flag}"),
            )))
        }
        _ => Ok(()),
    }
}

/// Binds a client registered by hand to the issuer it has signed in at.
pub fn bind(store: &Store, discovered: &Discovered, client: &Client) {
    if client.origin == Origin::Static {
        let bound = StaticClient {
            client_id: client.id.clone(),
            issuer: discovered.issuer().to_owned(),
        };
        store.update_notes(|notes| notes.static_client = Some(bound));
    }
}

/// Registers a client and stores it.
///
/// # Errors
/// If the server does not register clients, or refuses.
pub fn register(
    env: &dyn Environment,
    oauth: &OAuth,
    store: &Store,
    discovered: &Discovered,
    wanted: Wanted<'_>,
) -> Step<Client> {
    let Some(endpoint) = &discovered.server.registration_endpoint else {
        return Err(nowhere_to_register(oauth, discovered, wanted));
    };
    let listed = discovered.server.token_auth_methods.as_deref();
    let request_for = |scope: Option<&str>| {
        let body = Value::Object(body(oauth, listed, Wanted { scope, ..wanted }));
        Fetch {
            body: Content::Json(Secret::new(body.to_string())),
            follow: false,
            ..Fetch::document(endpoint.clone())
        }
    };
    let doing = "registering a client";
    let mut scopes = scopes_to_try(oauth, discovered, wanted).into_iter();
    let (request, response) = loop {
        let request = request_for(scopes.next().flatten().as_deref());
        let response = fetch(env, &request, "the registration endpoint")?;
        let may_be_the_scope = matches!(response.status, 400 | 401 | 403 | 422)
            && of_response(doing, &request, &response).code() != Some("invalid_redirect_uri");
        if !may_be_the_scope || scopes.len() == 0 {
            break (request, response);
        }
    };
    if !(200..300).contains(&response.status) {
        let failure = of_response(doing, &request, &response);
        return Err(match failure {
            Failure::Passing(_) => failure,
            Failure::Refused(..) | Failure::Final(_) if discovered.server.document.is_empty() => {
                Failure::Final(no_way_to_sign_in(endpoint, response.status))
            }
            failure if failure.is_about_scope() => {
                let supported = discovered.server.scopes.as_deref();
                Failure::Final(scope::with_way_out(failure.into_error(), supported))
            }
            Failure::Refused(..) | Failure::Final(_) => {
                Failure::Final(by_hand(failure.into_error(), wanted))
            }
        });
    }
    let object = response.object().unwrap_or_default();
    let mut info = ClientInfo::from_object(object).map_err(|member| {
        Failure::new(format!(
            "{doing} failed: {} responded without a \"{member}\"",
            crate::url::shown(endpoint)
        ))
    })?;
    // A response may leave out what was requested (RFC 7591 3.2.1); npm ignores a record without the URIs.
    if info.redirect_uris.is_empty() {
        info.redirect_uris = wanted.redirect_uri.map(str::to_owned).into_iter().collect();
    }
    info.issuer = Some(discovered.issuer().to_owned());
    store.save_client_info(&info);
    Ok(Client::new(&info, Origin::Fresh))
}

/// The known client, or a new registration.
pub fn obtain(
    env: &dyn Environment,
    oauth: &OAuth,
    store: &Store,
    discovered: &Discovered,
    wanted: Wanted<'_>,
) -> Step<Client> {
    let client = match known(oauth, store, discovered, wanted.redirect_uri, env.now())? {
        Some(client) => client,
        None => register(env, oauth, store, discovered, wanted)?,
    };
    let origin = match client.origin {
        Origin::Static => "as given with --static-oauth-client-info",
        Origin::Document => "the metadata document given with --client-metadata-url",
        Origin::Stored => "made earlier",
        Origin::Fresh => "made now",
    };
    env.found("registration", origin);
    Ok(client)
}

/// The requested scope and all scopes of the resource, which a step-up may need.
fn whole_scope(discovered: &Discovered, wanted: Wanted<'_>) -> Option<String> {
    let resource = discovered.resource();
    let listed = resource.and_then(|resource| resource.scopes.as_deref());
    let listed = listed.unwrap_or_default().iter().map(String::as_str);
    scope::joined(wanted.scope?.split(' ').chain(listed))
}

/// The scopes to register with, one after the other until the server accepts one: servers refuse scopes that a client must not
/// register for, and some require one.
fn scopes_to_try(
    oauth: &OAuth,
    discovered: &Discovered,
    wanted: Wanted<'_>,
) -> Vec<Option<String>> {
    let requested = wanted.scope.map(str::to_owned);
    if scope::in_metadata(oauth).is_some() && oauth.scope.is_none() {
        return vec![requested];
    }
    let mut scopes = vec![requested, None];
    if scope::pinned(oauth).is_none() {
        scopes.insert(0, whole_scope(discovered, wanted));
        let resource = discovered.resource();
        let resource = resource.and_then(|resource| resource.scopes.as_deref());
        let supported = discovered.server.scopes.as_deref();
        scopes.push(scope::instead_of(wanted.scope, resource, supported));
    }
    let mut tried = Vec::new();
    scopes.retain(|scope| {
        let is_new = !tried.contains(scope);
        tried.push(scope.clone());
        is_new
    });
    scopes
}

/// Whether a new registration may help: the server no longer knows `client`, or it was registered for less than this scope.
pub fn needs_replacement(
    store: &Store,
    client: &Client,
    failure: &Failure,
    scope: Option<&str>,
) -> bool {
    let is_unknown = failure.is_unknown_client();
    let is_narrow = failure.code() == Some("invalid_scope") && is_too_narrow(store, scope);
    client.origin == Origin::Stored && (is_unknown || is_narrow)
}

/// Whether the stored registration was made for less than this scope.
fn is_too_narrow(store: &Store, scope: Option<&str>) -> bool {
    let info = store.client_info();
    let registered = info
        .as_ref()
        .and_then(|info| info.more.get("scope")?.as_str());
    match (registered, scope) {
        (Some(registered), Some(scope)) => !scope::holds_all(Some(registered), scope),
        (None, _) | (_, None) => false,
    }
}

/// The registration request.
fn body(oauth: &OAuth, listed: Option<&[String]>, wanted: Wanted<'_>) -> Map<String, Value> {
    let offers = |name: &str| listed.is_some_and(|all| all.iter().any(|one| one == name));
    let methods = ["none", "client_secret_post", "client_secret_basic"];
    let method = methods.into_iter().find(|name| offers(name));
    let grants: Vec<&str> = match wanted.grant {
        "client_credentials" => vec!["client_credentials"],
        grant => vec![grant, "refresh_token"],
    };
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("client_name", json!("mcp-remote"));
    put("client_uri", json!(env!("CARGO_PKG_REPOSITORY")));
    put("software_version", json!(env!("CARGO_PKG_VERSION")));
    put("application_type", json!("native"));
    put("grant_types", json!(grants));
    put(
        "token_endpoint_auth_method",
        json!(method.unwrap_or("none")),
    );
    match wanted.redirect_uri {
        Some(uri) => {
            put("redirect_uris", json!([uri]));
            put("response_types", json!(["code"]));
        }
        // RFC 7591 2: left out it means "code", and a redirect URI is demanded.
        None => drop(put("response_types", json!([]))),
    }
    if let Some(scope) = wanted.scope {
        put("scope", json!(scope));
    }
    let mut own: Object = oauth
        .static_client_metadata
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    if oauth.scope.is_some() {
        own.remove("scope");
    }
    body.extend(own);
    body
}

fn nowhere_to_register(oauth: &OAuth, discovered: &Discovered, wanted: Wanted<'_>) -> Failure {
    let name = discovered.server.name();
    let what = match &oauth.client_metadata_url {
        Some(_) => format!(
            "authorization server {name} supports neither client metadata documents nor registration"
        ),
        None => format!("authorization server {name} does not support client registration"),
    };
    Failure::Final(by_hand(Error::new(Kind::SignIn, what), wanted))
}

/// For an endpoint that was not in metadata, but derived as in 2025-03-26.
fn no_way_to_sign_in(endpoint: &Url, status: u16) -> Error {
    let what = format!(
        "the server requires a sign-in but publishes no OAuth metadata, and {} answered {status}",
        crate::url::shown(endpoint)
    );
    Error::new(Kind::SignIn, what).with_hint(
        "if it takes a token or key, pass it with --header 'Authorization: Bearer ${TOKEN}'; or check the path of the URL",
    )
}

fn by_hand(error: Error, wanted: Wanted<'_>) -> Error {
    let redirect = match wanted.redirect_uri {
        Some(uri) => format!(" with the redirect URI {uri}"),
        None => String::new(),
    };
    error.with_hint(format!(
        "register a client with its operator{redirect}, and pass it with --static-oauth-client-info '{{\"client_id\":\"…\"}}'"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::scripted_environment;
    use url::Url;

    use super::*;
    use crate::oauth::discovery::resource_metadata::ResourceMetadata;
    use crate::oauth::discovery::server_metadata::ServerMetadata;
    use crate::oauth::scripted_environment::{Scripted, authorizer};

    fn wanted<'a>() -> Wanted<'a> {
        Wanted {
            redirect_uri: Some("http://localhost:1/oauth/callback"),
            grant: "authorization_code",
            scope: Some("a b"),
        }
    }

    #[test]
    fn a_registration_asks_for_a_native_client_and_the_weakest_proof_that_is_listed() {
        let oauth = OAuth::default();
        let body_of = |listed: &[&str]| {
            let listed: Vec<String> = listed.iter().map(|one| (*one).to_owned()).collect();
            body(&oauth, Some(&listed), wanted())
        };
        let body = body_of(&["client_secret_basic", "client_secret_post"]);
        assert_eq!(body["application_type"], "native");
        assert_eq!(
            body["grant_types"],
            json!(["authorization_code", "refresh_token"])
        );
        assert_eq!(
            body["redirect_uris"],
            json!(["http://localhost:1/oauth/callback"])
        );
        assert_eq!(body["token_endpoint_auth_method"], "client_secret_post");
        assert_eq!(
            body_of(&["none", "client_secret_post"])["token_endpoint_auth_method"],
            "none"
        );
        assert_eq!(
            body_of(&["private_key_jwt"])["token_endpoint_auth_method"],
            "none"
        );
    }

    #[test]
    fn a_client_without_a_browser_registers_for_no_response_type() {
        let wanted = Wanted {
            redirect_uri: None,
            grant: "urn:ietf:params:oauth:grant-type:device_code",
            scope: None,
        };
        let body = body(&OAuth::default(), None, wanted);
        assert_eq!(body["response_types"], json!([]));
        assert!(!body.contains_key("redirect_uris"));
    }

    fn discovered() -> Discovered {
        let place = Url::parse("https://a.test/.well-known/oauth-protected-resource").unwrap();
        Discovered {
            resource: Some((
                place,
                ResourceMetadata {
                    resource: "https://a.test/mcp".to_owned(),
                    authorization_server: None,
                    scopes: Some(vec!["b".to_owned(), "c".to_owned()]),
                    requires_dpop: false,
                },
            )),
            server: ServerMetadata {
                registration_endpoint: Some(Url::parse("https://as.test/register").unwrap()),
                ..ServerMetadata::default()
            },
            authorization_server: "https://as.test".to_owned(),
        }
    }

    #[test]
    fn a_client_registers_for_every_scope_of_the_resource_or_for_what_it_asks_for() {
        let env = Scripted::new();
        let store = &authorizer(&env).store;
        env.answer(400, r#"{"error":"invalid_client_metadata"}"#);
        env.answer(201, r#"{"client_id":"id","scope":"a b"}"#);
        register(&env, &OAuth::default(), store, &discovered(), wanted()).unwrap();
        let scopes: Vec<Value> = env
            .sent()
            .iter()
            .map(|sent| match &sent.body {
                Content::Json(body) => {
                    serde_json::from_str::<Value>(body.expose()).unwrap()["scope"].clone()
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(scopes, ["a b c", "a b"]);
        assert!(is_too_narrow(store, Some("c")));
        assert!(!is_too_narrow(store, Some("b")) && !is_too_narrow(store, None));
    }

    #[test]
    fn the_metadata_of_the_user_overrides_ours() {
        let oauth = OAuth {
            static_client_metadata: Some(r#"{"client_name":"mine","scope":"x"}"#.to_owned()),
            ..OAuth::default()
        };
        let body = body(&oauth, None, wanted());
        assert_eq!(body["client_name"], "mine");
        assert_eq!(body["scope"], "x");
        assert_eq!(scope::pinned(&oauth).as_deref(), Some("x"));
    }

    #[test]
    fn a_client_given_by_hand_stays_with_the_server_it_has_signed_in_at() {
        let store = scripted_environment::authorizer(&Scripted::new()).store;
        let mut oauth = OAuth {
            static_client_info: Some(Secret::new(r#"{"client_id":"c","client_secret":"s"}"#)),
            ..OAuth::default()
        };
        let at = |issuer: &str| Discovered {
            resource: None,
            server: ServerMetadata::default(),
            authorization_server: issuer.to_owned(),
        };
        let (one, other) = (at("https://one.test"), at("https://other.test"));
        let client = known(&oauth, &store, &one, None, 0).unwrap().unwrap();
        bind(&store, &one, &client);
        assert!(known(&oauth, &store, &one, None, 0).is_ok());
        let error = known(&oauth, &store, &other, None, 0)
            .unwrap_err()
            .into_error();
        assert!(error.what().contains("belongs to \"https://one.test\""));
        oauth.accept_issuer = Some("https://other.test".to_owned());
        assert!(known(&oauth, &store, &other, None, 0).is_ok());
        oauth.accept_issuer = None;
        oauth.static_client_info = Some(Secret::new(r#"{"client_id":"another"}"#));
        assert!(known(&oauth, &store, &other, None, 0).is_ok());
    }
}
