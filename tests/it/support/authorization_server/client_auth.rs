//! Who makes a token request (RFC 6749 2.3, RFC 7523 2.2).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{Form, Request, Rules, State};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client id, or why there is none.
pub fn client_of(
    state: &State,
    rules: &Rules,
    request: &Request,
    form: &Form,
) -> Result<String, String> {
    if let Some(assertion) = form.get("client_assertion") {
        state.note_secrets([assertion.as_str()]);
        if form.get("client_assertion_type").map(String::as_str) != Some(ASSERTION) {
            return Err("client_assertion_type".to_owned());
        }
        return from_assertion(rules, assertion);
    }
    let is_by_assertion = form.contains_key("assertion");
    if is_by_assertion
        && request.header("authorization").is_none()
        && !form.contains_key("client_id")
    {
        // RFC 7523 3.1.
        return Ok(String::new());
    }
    let (id, secret) = if let Some(value) = request.header("authorization") {
        if form.contains_key("client_secret") {
            state.violation("two ways of client authentication at once");
        }
        state.note_secrets(value.split(' ').skip(1));
        from_basic(value).ok_or("the basic credentials cannot be read")?
    } else {
        let id = form.get("client_id").ok_or("no client_id")?;
        (id.clone(), form.get("client_secret").cloned())
    };
    let clients = state.clients.lock().unwrap();
    let is_document = id.starts_with("https://");
    match clients.get(&id) {
        Some(client) if client.secret == secret => Ok(id),
        Some(_) => Err(format!("wrong secret for {id}")),
        None if is_document && secret.is_none() => Ok(id),
        None => Err(format!("unknown client {id}")),
    }
}

fn from_basic(value: &str) -> Option<(String, Option<String>)> {
    let text = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (id, secret) = text.split_once(':')?;
    // RFC 6749 2.3.1: each is form-encoded first.
    let decode = |text: &str| {
        let text = format!("a={text}");
        url::form_urlencoded::parse(text.as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
    };
    Some((decode(id)?, Some(decode(secret)?)))
}

fn from_assertion(rules: &Rules, assertion: &str) -> Result<String, String> {
    let parts: Vec<&str> = assertion.split('.').collect();
    let [head, body, signature] = parts[..] else {
        return Err("the assertion has not three parts".to_owned());
    };
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|e| e.to_string());
    let json = |part: &str| -> Result<Value, String> {
        serde_json::from_slice(&bytes(part)?).map_err(|e| e.to_string())
    };
    let (head, body, signature) = (json(head)?, json(body)?, bytes(signature)?);
    let key = rules.assertion_key.as_ref().ok_or("no key is known")?;
    if head["alg"] != "ES256" {
        return Err(format!("alg is {}", head["alg"]));
    }
    let signed = assertion.rsplit_once('.').unwrap().0;
    ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "the signature is wrong")?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    if body["exp"].as_u64().is_none_or(|exp| exp <= now.as_secs()) {
        return Err("exp".to_owned());
    }
    if body["jti"].as_str().is_none_or(str::is_empty) {
        return Err("jti".to_owned());
    }
    let is_ours = |aud: &Value| {
        aud.as_str()
            .is_some_and(|aud| aud.starts_with(&rules.issuer_origin))
    };
    let aud = &body["aud"];
    if !is_ours(aud) && !aud.as_array().is_some_and(|list| list.iter().any(is_ours)) {
        return Err(format!("aud is {aud}"));
    }
    match (body["iss"].as_str(), body["sub"].as_str()) {
        (Some(iss), Some(sub)) if iss == sub => Ok(iss.to_owned()),
        _ => Err("iss and sub".to_owned()),
    }
}
