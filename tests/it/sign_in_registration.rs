//! Which client signs in: static, metadata document, cached, dynamic; and what becomes of stale registrations.

use serde_json::json;

use crate::support::authorization_server::{Site, server_metadata};
use crate::support::browser::{Browser, visit};
use crate::support::mcp::INITIALIZE;
use crate::support::process::Start;
use crate::support::sign_in::{
    authorization, bridge, free_port, refused, says, sign_in, signed_in, start, works,
};
use crate::support::store;

const STATIC: &str = r#"{"client_id":"by-hand"}"#;
const DOCUMENT: &str = "https://client.example/mcp.json";

#[test]
fn a_registration_says_what_this_client_is() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let sent = site.requests("/register")[0].json();
    assert_eq!(sent["application_type"], "native");
    assert_eq!(
        sent["redirect_uris"],
        json!([authorization(&browser, 1)["redirect_uri"]])
    );
    assert_eq!(
        sent["grant_types"],
        json!(["authorization_code", "refresh_token"])
    );
    assert_eq!(sent["response_types"], json!(["code"]));
    assert_eq!(sent["token_endpoint_auth_method"], "none");
    assert!(sent["client_name"].is_string());
}

#[test]
fn static_client_metadata_changes_the_registration() {
    let site = Site::start(|_| {});
    let metadata = r#"{"client_name":"Mine","scope":"a b","x":1}"#;
    let browser = Browser::new();
    let mut process = signed_in(
        &site,
        &browser,
        &["--static-oauth-client-metadata", metadata],
    );
    process.finish();
    let sent = site.requests("/register")[0].json();
    assert_eq!(sent["client_name"], "Mine");
    assert_eq!(sent["x"], 1);
    assert_eq!(authorization(&browser, 1)["scope"], "a b");
}

#[test]
fn a_static_client_comes_before_all_others() {
    let site = Site::start(|rules| {
        rules.server_document()["client_id_metadata_document_supported"] = json!(true);
    });
    site.add_client("by-hand", None);
    let browser = Browser::new();
    let mut process = signed_in(
        &site,
        &browser,
        &[
            &free_port(),
            "--static-oauth-client-info",
            STATIC,
            "--client-metadata-url",
            DOCUMENT,
        ],
    );
    process.finish();
    assert_eq!(authorization(&browser, 1)["client_id"], "by-hand");
    assert_eq!(site.requests("/register").len(), 0);
}

#[test]
fn a_static_client_is_read_from_a_file_and_the_environment() {
    let site = Site::start(|_| {});
    site.add_client("by-hand", Some("se\"cret"));
    let home = crate::support::TempDir::new();
    let file = home.0.join("client.json");
    let text = r#"{"client_id":"by-hand","client_secret":"${THE_SECRET}","token_endpoint_auth_method":"client_secret_post"}"#;
    std::fs::write(&file, text).unwrap();
    let browser = Browser::new();
    let file = format!("@{}", file.display());
    let mut process = start(&site, &["--static-oauth-client-info", &file])
        .browser(&browser)
        .env("THE_SECRET", "se\"cret")
        .go();
    sign_in(&mut process, &browser);
    process.finish();
    assert_eq!(
        site.grants("authorization_code")[0]["client_secret"],
        "se\"cret"
    );
}

#[test]
fn a_metadata_document_is_the_client_id_where_it_is_supported() {
    let site = Site::start(|rules| {
        rules.server_document()["client_id_metadata_document_supported"] = json!(true);
    });
    let browser = Browser::new();
    let mut process = signed_in(
        &site,
        &browser,
        &[&free_port(), "--client-metadata-url", DOCUMENT],
    );
    process.finish();
    assert_eq!(authorization(&browser, 1)["client_id"], DOCUMENT);
    assert_eq!(site.requests("/register").len(), 0);
    assert_eq!(site.grants("authorization_code")[0]["client_id"], DOCUMENT);
}

#[test]
fn a_metadata_document_that_is_not_supported_leads_to_a_registration() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(
        &site,
        &browser,
        &[&free_port(), "--client-metadata-url", DOCUMENT],
    );
    process.finish();
    assert_eq!(site.requests("/register").len(), 1);
}

#[test]
fn a_cached_registration_is_used_again() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = signed_in(&site, &browser, &[]);
    first.finish();
    std::fs::remove_file(store::path(&first.home, &site.url(), "tokens.json")).unwrap();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.send(INITIALIZE);
    assert_eq!(browser.sign_in(2).status, 200);
    assert!(second.recv()["result"].is_object());
    second.finish();
    assert_eq!(site.requests("/register").len(), 1);
    assert_eq!(
        authorization(&browser, 1)["client_id"],
        authorization(&browser, 2)["client_id"]
    );
}

#[test]
fn without_any_way_to_a_client_the_person_is_told_what_to_get() {
    let site = Site::start(|rules| {
        let document = rules.server_document().as_object_mut().unwrap();
        document.remove("registration_endpoint");
    });
    let text = refused(&site, &[]);
    says(&text, &["client", "--static-oauth-client-info"]);
}

#[test]
fn a_registration_that_is_refused_for_its_scope_is_tried_without_one() {
    for (status, code) in [
        (400, "invalid_client_metadata"),
        (403, "insufficient_scope"),
    ] {
        let site = Site::start(|rules| {
            rules.resource_document()["scopes_supported"] = json!(["x", "y"]);
        });
        site.on("/register", move |request, reply| {
            let has_scope = request.json()["scope"].is_string();
            if has_scope {
                let body = json!({"error": code}).to_string();
                reply.full(status, "content-type: application/json\r\n", body);
            }
            has_scope
        });
        let browser = Browser::new();
        signed_in(&site, &browser, &[]).finish();
        assert_eq!(authorization(&browser, 1)["scope"], "x y");
        assert_eq!(site.requests("/register").len(), 2);
    }
}

#[test]
fn a_refused_registration_is_explained() {
    let site = Site::start(|_| {});
    site.on("/register", |_, reply| {
        let body = r#"{"error":"invalid_client_metadata","error_description":"only friends"}"#;
        reply.full(400, "content-type: application/json\r\n", body);
        true
    });
    let text = refused(&site, &[]);
    says(&text, &["regist", "only friends"]);
    let site = Site::start(|_| {});
    site.on("/register", |_, reply| {
        reply.full(
            403,
            "content-type: text/html\r\n",
            "<html><h1>Forbidden</h1></html>",
        );
        true
    });
    let text = refused(&site, &[]);
    says(&text, &["regist", "403", "--static-oauth-client-info"]);
}

#[test]
fn another_issuer_means_another_registration_and_no_old_token() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = signed_in(&site, &browser, &[]);
    first.finish();
    // The server moves to an authorization server of its own.
    site.expire_access_tokens();
    let other = format!("{}/new", site.issuer.url(""));
    site.change(|rules| {
        rules.resource_document()["authorization_servers"] = json!([other]);
        let place = format!(
            "{}/.well-known/oauth-authorization-server/new",
            rules.issuer_origin
        );
        rules
            .documents
            .insert(place, server_metadata(&other, &other));
        rules.iss = Some(other.clone());
    });
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.send(INITIALIZE);
    assert_eq!(browser.sign_in(2).status, 200);
    assert!(second.recv()["result"].is_object());
    second.finish();
    assert_eq!(site.requests("/new/register").len(), 1);
    let went_there = site.forms("/new/token");
    assert_eq!(went_there.len(), 1, "{went_there:?}");
    assert_eq!(went_there[0]["grant_type"], "authorization_code");
    assert_ne!(
        authorization(&browser, 1)["client_id"],
        authorization(&browser, 2)["client_id"]
    );
}

#[test]
fn a_registration_that_was_forgotten_is_replaced_once() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = signed_in(&site, &browser, &[]);
    first.finish();
    site.expire_access_tokens();
    site.expire_refresh_tokens();
    site.forget_clients();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.send(INITIALIZE);
    let url = browser.wait_for(2);
    let page = visit(&url);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(second.recv()["result"].is_object());
    works(&mut second);
    second.finish();
    assert_eq!(site.requests("/register").len(), 2);
    assert_eq!(browser.urls().len(), 2);
}

/// RFC 6749 4.1.2.1: the user is told, and nothing is redirected; how the user is told is up to the server.
#[test]
fn a_registration_that_was_forgotten_is_replaced_however_the_server_says_so() {
    for (status, kind, body) in [
        (
            400,
            "application/json",
            r#"{"error":"invalid_request","error_description":"no such client"}"#,
        ),
        (401, "text/html", "<title>Unknown client</title>"),
        (404, "application/json", r#"{"detail":"not found"}"#),
    ] {
        let site = Site::start(|_| {});
        let browser = Browser::new();
        let mut first = signed_in(&site, &browser, &[]);
        first.finish();
        site.expire_access_tokens();
        site.expire_refresh_tokens();
        let forgotten = authorization(&browser, 1)["client_id"].clone();
        site.on("/authorize", move |request, reply| {
            let is_forgotten = request.path.contains(&forgotten);
            if is_forgotten {
                reply.full(status, &format!("content-type: {kind}\r\n"), body);
            }
            is_forgotten
        });
        let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
        second.send(INITIALIZE);
        assert_eq!(browser.sign_in(2).status, 200);
        assert!(second.recv()["result"].is_object());
        second.finish();
        assert_eq!(site.requests("/register").len(), 2, "{status} {body}");
    }
}

#[test]
fn a_client_that_is_never_known_ends_in_words_not_in_a_loop() {
    let site = Site::start(|_| {});
    site.on("/token", |_, reply| {
        let body = r#"{"error":"invalid_client","error_description":"never heard of you"}"#;
        reply.full(401, "content-type: application/json\r\n", body);
        true
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--auth-timeout", "3"]);
    process.send(INITIALIZE);
    assert!(browser.sign_in(1).status >= 400);
    says(
        &process.recv()["error"]["message"].to_string(),
        &["invalid_client", "never heard of you"],
    );
    process.finish();
    assert!(site.requests("/register").len() <= 2);
    assert!(site.requests("/token").len() <= 2);
}

#[test]
fn a_static_client_that_is_refused_is_named_and_not_replaced() {
    let site = Site::start(|_| {});
    site.add_client("by-hand", Some("right"));
    let url = site.url();
    let info = r#"{"client_id":"by-hand","client_secret":"wrong-secret"}"#;
    let browser = Browser::new();
    let mut process = Start::bridge(&[&url, "--static-oauth-client-info", info])
        .browser(&browser)
        .go();
    process.send(INITIALIZE);
    assert!(browser.sign_in(1).status >= 400);
    let text = process.recv()["error"].to_string();
    says(&text, &["invalid_client", "--static-oauth-client-info"]);
    assert!(!text.contains("wrong-secret"));
    process.finish();
    assert_eq!(site.requests("/register").len(), 0);
}

#[test]
fn an_expired_client_secret_leads_to_a_new_registration() {
    let site = Site::start(|rules| {
        rules.registered_method = Some("client_secret_post".to_owned());
    });
    let browser = Browser::new();
    let mut first = signed_in(&site, &browser, &[]);
    first.finish();
    let mut client = store::read(&first.home, &site.url(), "client_info.json");
    client["client_secret_expires_at"] = json!(1_000_000_000);
    let text = client.to_string();
    store::write(&first.home, &site.url(), "client_info.json", &text);
    std::fs::remove_file(store::path(&first.home, &site.url(), "tokens.json")).unwrap();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.send(INITIALIZE);
    assert_eq!(browser.sign_in(2).status, 200);
    assert!(second.recv()["result"].is_object());
    second.finish();
    assert_eq!(site.requests("/register").len(), 2);
}
