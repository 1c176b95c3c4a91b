//! The endpoints of the authorization server.

use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client_auth::client_of;
use super::{Client, Code, Form, Grant, Request, Rules, State, form, path_of, query};
use crate::support::http::Reply;

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// What Entra says to a resource parameter.
const ENTRA: &str = "AADSTS9010010: The resource parameter provided in the request doesn't match with the requested scopes.";

pub fn answer(state: &State, rules: &Rules, request: &Request, reply: &mut Reply<'_>) {
    let path = path_of(request);
    let last = path.rsplit('/').next().unwrap_or_default();
    match (request.method.as_str(), last) {
        ("GET", "authorize") => authorize(state, rules, request, reply),
        ("POST", "register") => register(state, rules, request, reply),
        ("POST", "token") => token(state, rules, request, reply),
        ("POST", "device_authorization") => device(state, rules, request, reply),
        ("POST", "revoke") => revoke(state, request, reply),
        _ => reply.full(404, "content-type: text/html\r\n", "<h1>Not found</h1>"),
    }
}

fn refuse(reply: &mut Reply<'_>, status: u16, error: &str, description: &str) {
    let body = json!({"error": error, "error_description": description});
    reply.full(
        status,
        "content-type: application/json\r\n",
        body.to_string(),
    );
}

fn register(state: &State, rules: &Rules, request: &Request, reply: &mut Reply<'_>) {
    let mut client = request.json();
    let uris = client["redirect_uris"].as_array().cloned();
    let uris: Vec<String> = uris
        .unwrap_or_default()
        .iter()
        .filter_map(|uri| uri.as_str().map(str::to_owned))
        .collect();
    let count = state.count.fetch_add(1, Ordering::Relaxed);
    let id = format!("client-{count}");
    if let Some(method) = &rules.registered_method {
        client["token_endpoint_auth_method"] = json!(method);
    }
    let method = client["token_endpoint_auth_method"].as_str();
    let is_public = method.unwrap_or("client_secret_basic") == "none";
    // A secret that only survives the encoding of RFC 6749 2.3.1.
    let secret = (!is_public).then(|| format!("{} +%/:&=", state.secret("client-secret")));
    state.note_secrets(secret.as_deref());
    client["client_id"] = json!(id);
    client["client_id_issued_at"] = json!(1_700_000_000);
    if let Some(secret) = &secret {
        client["client_secret"] = json!(secret);
        client["client_secret_expires_at"] = json!(0);
    }
    let known = Client {
        secret,
        redirect_uris: uris,
    };
    state.clients.lock().unwrap().insert(id, known);
    reply.full(
        201,
        "content-type: application/json\r\n",
        client.to_string(),
    );
}

fn authorize(state: &State, rules: &Rules, request: &Request, reply: &mut Reply<'_>) {
    let asked = query(&request.path);
    let (Some(id), Some(redirect_uri)) = (asked.get("client_id"), asked.get("redirect_uri")) else {
        return reply.full(400, "", "client_id or redirect_uri is missing");
    };
    let known = state.clients.lock().unwrap().get(id).cloned();
    let fits = known.map_or(id.starts_with("https://"), |client| {
        client.redirect_uris.is_empty() || client.redirect_uris.contains(redirect_uri)
    });
    if !fits {
        // In the shape that tells a program what is wrong, as some authorization servers do.
        return refuse(
            reply,
            400,
            "invalid_client",
            "unknown client or redirect_uri",
        );
    }
    let mut back = url::Url::parse(redirect_uri).unwrap();
    let mut answer = back.query_pairs_mut();
    for name in ["state", "code_challenge"] {
        if asked.get(name).is_none_or(String::is_empty) {
            state.violation(format!("an authorization request without {name}"));
        }
    }
    let is_s256 = asked
        .get("code_challenge_method")
        .is_some_and(|m| m == "S256");
    if !is_s256 || asked.get("response_type").map(String::as_str) != Some("code") {
        state.violation("an authorization request without S256 or response_type=code");
    }
    if let Some(value) = asked.get("state") {
        answer.append_pair("state", value);
    }
    if let Some(iss) = &rules.iss {
        answer.append_pair("iss", iss);
    }
    if rules.denies {
        answer.append_pair("error", "access_denied");
        answer.append_pair("error_description", "the owner said no");
    } else {
        let code = state.secret("code");
        answer.append_pair("code", &code);
        let text = |name: &str| asked.get(name).cloned().unwrap_or_default();
        let handed_out = Code {
            client: id.clone(),
            redirect_uri: redirect_uri.clone(),
            challenge: text("code_challenge"),
            scope: text("scope"),
            resource: asked.get("resource").cloned(),
            used: false,
        };
        state.codes.lock().unwrap().insert(code, handed_out);
    }
    drop(answer);
    reply.full(302, &format!("location: {back}\r\n"), "");
}

fn token(state: &State, rules: &Rules, request: &Request, reply: &mut Reply<'_>) {
    let asked = form(&request.body);
    let text = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    for name in ["code_verifier", "client_secret", "assertion"] {
        state.note_secrets(asked.get(name).map(String::as_str));
    }
    let client = match client_of(state, rules, request, &asked) {
        Ok(client) => client,
        Err(why) => return refuse(reply, 401, "invalid_client", &why),
    };
    if rules.refuses_resource && asked.contains_key("resource") {
        return refuse(reply, 400, "invalid_target", ENTRA);
    }
    let granted = match text("grant_type") {
        "authorization_code" => redeem_code(state, &client, &asked),
        "refresh_token" => redeem_refresh(state, rules, &client, &asked),
        "client_credentials" => Ok(text("scope").to_owned()),
        JWT_BEARER => redeem_assertion(rules, text("assertion"), text("scope")),
        DEVICE => poll(state, rules, &asked),
        other => Err(("unsupported_grant_type", other.to_owned())),
    };
    match granted {
        Ok(scope) => give(state, rules, &client, &scope, &asked, reply),
        Err((error, why)) => refuse(reply, 400, error, &why),
    }
}

type Granted = Result<String, (&'static str, String)>;

fn redeem_code(state: &State, client: &str, asked: &Form) -> Granted {
    let wrong = |why: &str| {
        state.violation(format!("a code that is redeemed with {why}"));
        Err(("invalid_grant", why.to_owned()))
    };
    let text = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let mut codes = state.codes.lock().unwrap();
    let Some(code) = codes.get_mut(text("code")) else {
        return Err(("invalid_grant", "unknown code".to_owned()));
    };
    if std::mem::replace(&mut code.used, true) {
        return wrong("a second request");
    }
    let digest = Sha256::digest(text("code_verifier").as_bytes());
    if URL_SAFE_NO_PAD.encode(digest) != code.challenge {
        return wrong("a wrong verifier");
    }
    if code.client != client || code.redirect_uri != text("redirect_uri") {
        return wrong("another client or redirect URI");
    }
    if code.resource.as_deref() != asked.get("resource").map(String::as_str)
        && code.resource.is_none()
    {
        return wrong("another resource");
    }
    Ok(code.scope.clone())
}

/// Only the audience is checked here.
fn redeem_assertion(rules: &Rules, assertion: &str, scope: &str) -> Granted {
    let claims = assertion.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    if claims["aud"] != rules.issuer_origin.as_str() {
        return Err(("invalid_grant", format!("not for {assertion}")));
    }
    Ok(scope.to_owned())
}

fn redeem_refresh(state: &State, rules: &Rules, client: &str, asked: &Form) -> Granted {
    let token = asked
        .get("refresh_token")
        .map(String::as_str)
        .unwrap_or_default();
    if let Some(error) = &rules.refuses_refresh {
        return Err((error.clone().leak(), "as the test wants it".to_owned()));
    }
    let mut known = state.refresh.lock().unwrap();
    let Some(grant) = known.get_mut(token) else {
        return Err(("invalid_grant", "unknown refresh token".to_owned()));
    };
    if grant.used {
        state.violation("a refresh token that is used a second time");
        return Err(("invalid_grant", "used refresh token".to_owned()));
    }
    if grant.client != client {
        state.violation("a refresh token of another client");
        return Err(("invalid_grant", "another client".to_owned()));
    }
    grant.used = rules.rotates;
    Ok(grant.scope.clone())
}

fn poll(state: &State, rules: &Rules, asked: &Form) -> Granted {
    if asked
        .get("device_code")
        .is_none_or(|c| !c.starts_with("device-code-"))
    {
        return Err(("invalid_grant", "unknown device code".to_owned()));
    }
    if state.device_polls.fetch_add(1, Ordering::Relaxed) < rules.device_pending {
        return Err(("authorization_pending", "not yet".to_owned()));
    }
    match &rules.device_error {
        Some(error) => Err((error.clone().leak(), "as the test wants it".to_owned())),
        None => Ok(String::new()),
    }
}

fn give(
    state: &State,
    rules: &Rules,
    client: &str,
    scope: &str,
    asked: &Form,
    reply: &mut Reply<'_>,
) {
    let access = state.secret("access-token");
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let id_token = format!(
        "{}.{}.{}",
        encode(json!({"alg": "ES256"})),
        encode(json!({"exp": 4_000_000_000_u64, "sub": "person", "aud": client})),
        URL_SAFE_NO_PAD.encode(state.secret("id-token"))
    );
    state.note_secrets([id_token.as_str()]);
    let mut answer = json!({
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": 3600,
    });
    let valid = if rules.wants_id_token {
        &id_token
    } else {
        &access
    };
    let mut known = state.access.lock().unwrap();
    known.insert(valid.clone(), scope.to_owned());
    drop(known);
    if rules.wants_id_token {
        answer["id_token"] = json!(id_token);
    }
    if !scope.is_empty() {
        answer["scope"] = json!(scope);
    }
    let is_refresh = asked
        .get("grant_type")
        .is_some_and(|g| g == "refresh_token");
    let is_program = asked
        .get("grant_type")
        .is_some_and(|g| g == "client_credentials" || g == JWT_BEARER);
    if !is_program && (rules.rotates || !is_refresh) {
        let refresh = state.secret("refresh-token");
        let grant = Grant {
            client: client.to_owned(),
            scope: scope.to_owned(),
            used: false,
        };
        answer["refresh_token"] = json!(refresh);
        state.refresh.lock().unwrap().insert(refresh, grant);
    }
    for (name, value) in rules.token.as_object().unwrap() {
        if value.is_null() {
            answer.as_object_mut().unwrap().remove(name);
        } else {
            answer[name] = value.clone();
        }
    }
    reply.full(
        200,
        "content-type: application/json\r\ncache-control: no-store\r\n",
        answer.to_string(),
    );
}

fn device(state: &State, rules: &Rules, request: &Request, reply: &mut Reply<'_>) {
    if let Err(why) = client_of(state, rules, request, &form(&request.body)) {
        return refuse(reply, 401, "invalid_client", &why);
    }
    let issuer = &rules.issuer_origin;
    reply.json(
        json!({
            "device_code": state.secret("device-code"),
            "user_code": "WDJB-MJHT",
            "verification_uri": format!("{issuer}/device"),
            "verification_uri_complete": format!("{issuer}/device?user_code=WDJB-MJHT"),
            "expires_in": 600,
            "interval": 1,
        })
        .to_string(),
    );
}

fn revoke(state: &State, request: &Request, reply: &mut Reply<'_>) {
    let asked = form(&request.body);
    if let Some(token) = asked.get("token") {
        state.access.lock().unwrap().remove(token);
        state.refresh.lock().unwrap().remove(token);
    }
    reply.status(200);
}
