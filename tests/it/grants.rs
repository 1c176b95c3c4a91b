//! Client authentication at the token endpoint, and the grants without a browser.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

use crate::support::TempDir;
use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, wait_until};
use crate::support::mcp::INITIALIZE;
use crate::support::process::Process;
use crate::support::sign_in::{bridge, error, says, signed_in, start, works};

const CREDENTIALS: &str = "--client-credentials";
const INFO: &str = "--static-oauth-client-info";
const PROGRAM: &str = r#"{"client_id":"a program","client_secret":"s:e c%r+et"}"#;

/// The site with the client of [`PROGRAM`].
fn with_program(methods: &[&str]) -> Site {
    let site = Site::start(|rules| {
        rules.server_document()["token_endpoint_auth_methods_supported"] = json!(methods);
    });
    site.add_client("a program", Some("s:e c%r+et"));
    site
}

/// Connects with no person near; nothing must be opened.
fn alone(site: &Site, args: &[&str]) -> Process {
    let browser = Browser::new();
    let mut process = bridge(site, &browser, args);
    process.handshake();
    works(&mut process);
    assert_eq!(browser.urls(), [] as [String; 0]);
    process
}

#[test]
fn a_registered_client_proves_itself_in_the_way_it_was_told() {
    for method in ["none", "client_secret_basic", "client_secret_post"] {
        let site = Site::start(|rules| rules.registered_method = Some(method.to_owned()));
        let browser = Browser::new();
        let mut process = signed_in(&site, &browser, &[]);
        site.expire_access_tokens();
        works(&mut process);
        process.finish();
        let requests = site.requests("/token");
        assert_eq!(requests.len(), 2);
        for (request, form) in requests.iter().zip(site.forms("/token")) {
            let basic = request.header("authorization").is_some();
            assert_eq!(basic, method == "client_secret_basic", "{method}");
            let post = form.contains_key("client_secret");
            assert_eq!(post, method == "client_secret_post", "{method}");
            let kind = request.header("content-type").unwrap_or_default();
            assert!(kind.starts_with("application/x-www-form-urlencoded"));
        }
    }
}

#[test]
fn a_registration_asks_for_a_method_the_server_has() {
    for methods in [
        &["client_secret_basic"][..],
        &["client_secret_post"],
        &["client_secret_basic", "client_secret_post", "none"],
    ] {
        let site = Site::start(|rules| {
            rules.server_document()["token_endpoint_auth_methods_supported"] = json!(methods);
        });
        signed_in(&site, &Browser::new(), &[]).finish();
        let asked = site.requests("/register")[0].json();
        let asked = asked["token_endpoint_auth_method"].as_str().unwrap();
        assert!(methods.contains(&asked), "{asked} of {methods:?}");
        assert!(!methods.contains(&"none") || asked == "none");
    }
}

#[test]
fn a_program_signs_in_with_its_secret() {
    for methods in [
        &["client_secret_basic"][..],
        &["client_secret_post"],
        &["client_secret_basic", "client_secret_post"],
    ] {
        let site = with_program(methods);
        let mut process = alone(&site, &[CREDENTIALS, INFO, PROGRAM]);
        // Once, and with the way to settle it.
        let stderr = process.stderr();
        says(&stderr, &[&site.issuer.url(""), "--accept-issuer"]);
        assert_eq!(stderr.matches("--accept-issuer").count(), 1, "{stderr}");
        process.finish();
        let form = site.grants("client_credentials").remove(0);
        assert_eq!(form["resource"], site.url());
        let post = form.contains_key("client_secret");
        assert_eq!(post, methods == ["client_secret_post"], "{methods:?}");
    }
}

#[test]
fn a_program_signs_in_again_by_itself() {
    let site = with_program(&["client_secret_basic"]);
    let mut process = alone(&site, &[CREDENTIALS, INFO, PROGRAM]);
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    assert_eq!(site.grants("client_credentials").len(), 2);
    assert_eq!(site.requests("/token").len(), 2);
}

#[test]
fn a_program_asks_for_its_scope() {
    let site = with_program(&["client_secret_basic"]);
    let metadata = r#"{"scope":"jobs:run"}"#;
    let scope = ["--static-oauth-client-metadata", metadata];
    alone(&site, &[CREDENTIALS, INFO, PROGRAM, scope[0], scope[1]]).finish();
    assert_eq!(site.grants("client_credentials")[0]["scope"], "jobs:run");
}

#[test]
fn a_given_token_endpoint_needs_no_discovery() {
    let site = with_program(&["client_secret_basic"]);
    site.change(|rules| rules.documents.clear());
    let endpoint = site.issuer.url("/own/token");
    let args = [CREDENTIALS, INFO, PROGRAM, "--token-endpoint", &endpoint];
    alone(&site, &args).finish();
    let log = site.sign_in_log();
    assert_eq!(log, ["POST /own/token"]);
}

#[test]
fn a_refused_program_is_told_why() {
    let site = with_program(&["client_secret_basic"]);
    site.on("/token", |_, reply| {
        let body = r#"{"error":"unauthorized_client","error_description":"not before nine"}"#;
        reply.full(400, "content-type: application/json\r\n", body);
        true
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[CREDENTIALS, INFO, PROGRAM]);
    says(
        &error(&mut process),
        &["unauthorized_client", "not before nine"],
    );
    process.finish();
    assert_eq!(browser.urls(), [] as [String; 0]);
    assert!(site.requests("/token").len() <= 2);
}

#[test]
fn a_program_without_a_client_is_told_which_flag_takes_it() {
    let site = with_program(&["client_secret_basic"]);
    let url = site.url();
    let mut process = crate::support::process::Start::bridge(&[&url, CREDENTIALS]).go();
    process.send_if_alive(INITIALIZE);
    // At the start or with the first answer.
    let text = match process.try_recv(std::time::Duration::from_secs(5)) {
        Some(answer) => answer.to_string(),
        None => process.stderr(),
    };
    says(&text, &[INFO]);
}

/// A new key, in a PEM file and as the other side needs it.
fn key(dir: &TempDir) -> (String, Vec<u8>) {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let path = dir.0.join("key.pem");
    std::fs::write(&path, pem).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    (path.display().to_string(), public)
}

#[test]
fn a_program_signs_in_with_a_signed_assertion() {
    let dir = TempDir::new();
    let (file, public) = key(&dir);
    let site = Site::start(|rules| rules.assertion_key = Some(public));
    let info = r#"{"client_id":"signer"}"#;
    let args = [CREDENTIALS, INFO, info, "--client-assertion-key", &file];
    let mut process = alone(&site, &args);
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    let forms = site.grants("client_credentials");
    assert_eq!(forms.len(), 2);
    assert_ne!(forms[0]["client_assertion"], forms[1]["client_assertion"]);
    assert!(!forms[0].contains_key("client_secret"));
}

#[test]
fn a_person_may_sign_in_with_a_client_that_signs_assertions() {
    let dir = TempDir::new();
    let (file, public) = key(&dir);
    let site = Site::start(|rules| rules.assertion_key = Some(public));
    site.add_client("signer", None);
    let info = r#"{"client_id":"signer","token_endpoint_auth_method":"private_key_jwt"}"#;
    let browser = Browser::new();
    let mut process = signed_in(
        &site,
        &browser,
        &[INFO, info, "--client-assertion-key", &file],
    );
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    for form in site.forms("/token") {
        assert!(form.contains_key("client_assertion"), "{form:?}");
    }
    assert_eq!(site.forms("/token").len(), 2);
}

#[test]
fn a_key_that_is_none_is_named() {
    let dir = TempDir::new();
    let file = dir.0.join("key.pem");
    std::fs::write(&file, "no key at all: hush-hush").unwrap();
    let file = file.display().to_string();
    let site = Site::start(|_| {});
    let info = r#"{"client_id":"signer"}"#;
    let mut process = start(
        &site,
        &[CREDENTIALS, INFO, info, "--client-assertion-key", &file],
    )
    .go();
    process.send_if_alive(INITIALIZE);
    let text = match process.try_recv(std::time::Duration::from_secs(5)) {
        Some(answer) => answer.to_string(),
        None => process.stderr(),
    };
    says(&text, &["key"]);
    assert!(!text.contains("hush-hush"), "{text}");
}

#[test]
fn a_code_on_another_device_signs_in() {
    let site = Site::start(|rules| rules.device_pending = 1);
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--device-code"]);
    process.send(INITIALIZE);
    wait_until("the code on stderr", || {
        let text = process.stderr();
        (text.contains("WDJB-MJHT") && text.contains("/device")).then_some(())
    });
    let answer = process.recv();
    assert!(answer["result"].is_object(), "{answer}");
    works(&mut process);
    process.finish();
    let polls = site.grants("urn:ietf:params:oauth:grant-type:device_code");
    assert_eq!(polls.len(), 2);
    assert_eq!(
        site.forms("/device_authorization")[0]["resource"],
        site.url()
    );
    assert_eq!(site.requests("/authorize").len(), 0);
    let registered = site.requests("/register")[0].json();
    says(
        &registered["grant_types"].to_string(),
        &["device_code", "refresh_token"],
    );
}

#[test]
fn a_device_sign_in_that_is_declined_or_runs_out_ends_in_words() {
    for (code, word) in [
        ("access_denied", "access_denied"),
        ("expired_token", "time"),
    ] {
        let site = Site::start(|rules| rules.device_error = Some(code.to_owned()));
        let browser = Browser::new();
        let mut process = bridge(&site, &browser, &["--device-code", "--auth-timeout", "10"]);
        says(&error(&mut process), &[word]);
        process.finish();
    }
}

#[test]
fn a_server_without_device_codes_is_named() {
    let site = Site::start(|rules| {
        let document = rules.server_document().as_object_mut().unwrap();
        document.remove("device_authorization_endpoint");
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--device-code"]);
    says(&error(&mut process), &["device"]);
    process.finish();
    assert_eq!(browser.urls(), [] as [String; 0]);
}
