//! The authorization server the other tests stand on, by itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::authorization_server::{Site, query};
use crate::support::browser::{answer_of, get, post_form, request};

/// A registered client and a code for it, with the verifier "v".
fn code(site: &Site) -> (String, String) {
    let body = r#"{"redirect_uris":["http://localhost:1/cb"],"token_endpoint_auth_method":"none"}"#;
    let rest = format!("content-length: {}\r\n\r\n{body}", body.len());
    let client = request("POST", &site.issuer.url("/register"), &rest).unwrap();
    assert_eq!(client.status, 201);
    let client: Value = serde_json::from_str(&client.text).unwrap();
    let id = client["client_id"].as_str().unwrap().to_owned();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest("v"));
    let url = site.issuer.url(&format!(
        "/authorize?response_type=code&client_id={id}&redirect_uri=http://localhost:1/cb&state=s\
         &code_challenge={challenge}&code_challenge_method=S256&scope=a"
    ));
    let answer = query(&answer_of(&url));
    assert_eq!(answer["state"], "s");
    (id, answer["code"].clone())
}

fn redeem(site: &Site, id: &str, code: &str, verifier: &str) -> (u16, Value) {
    let page = post_form(
        &site.issuer.url("/token"),
        &[
            ("grant_type", "authorization_code"),
            ("client_id", id),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", "http://localhost:1/cb"),
        ],
    );
    (page.status, serde_json::from_str(&page.text).unwrap())
}

#[test]
fn a_code_is_redeemed_once_and_with_its_verifier() {
    let site = Site::start(|_| {});
    let (id, first) = code(&site);
    assert_eq!(redeem(&site, &id, &first, "wrong").0, 400);
    assert_eq!(site.pardon().len(), 1);
    let (id, second) = code(&site);
    let (status, tokens) = redeem(&site, &id, &second, "v");
    assert_eq!((status, &tokens["scope"]), (200, &"a".into()), "{tokens}");
    assert_eq!(redeem(&site, &id, &second, "v").0, 400);
    assert_eq!(site.pardon().len(), 1);
    let secrets = site.secrets();
    assert!(secrets.contains(&tokens["access_token"].as_str().unwrap().to_owned()));
    assert_eq!(site.grants("authorization_code").len(), 3);
}

#[test]
fn a_refresh_token_is_redeemed_once() {
    let site = Site::start(|_| {});
    site.add_client("c", None);
    site.add_refresh_token("r", "c", "a");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "c"),
        ("refresh_token", "r"),
    ];
    assert_eq!(post_form(&site.issuer.url("/token"), &form).status, 200);
    assert_eq!(post_form(&site.issuer.url("/token"), &form).status, 400);
    assert_eq!(
        site.pardon(),
        ["a refresh token that is used a second time"]
    );
}

#[test]
fn documents_are_where_the_rules_say_and_nowhere_else() {
    let site = Site::start(|_| {});
    for (url, status) in [
        (
            site.server.url("/.well-known/oauth-protected-resource/mcp"),
            200,
        ),
        (
            site.server.url("/.well-known/oauth-protected-resource"),
            404,
        ),
        (
            site.issuer.url("/.well-known/oauth-authorization-server"),
            200,
        ),
        (
            site.server.url("/.well-known/oauth-authorization-server"),
            404,
        ),
    ] {
        assert_eq!(get(&url).status, status, "{url}");
    }
}
