//! The jwt-bearer grant with the JWT of a workload: from the file, once, and again when the file has changed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::TempDir;
use crate::support::authorization_server::Site;
use crate::support::browser::Browser;
use crate::support::mcp::INITIALIZE;
use crate::support::sign_in::{bridge, error, error_of, says, start, works};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const FLAG: &str = "--workload-token";

/// A JWT for this audience and subject; its end is far away.
pub fn jwt(audience: &str, subject: &str) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"aud": audience, "sub": subject, "exp": 4_000_000_000_u64});
    let signature = URL_SAFE_NO_PAD.encode(format!("the signature for {subject}"));
    format!(
        "{}.{}.{signature}",
        part(json!({"alg": "RS256"})),
        part(claims)
    )
}

/// The file that a platform keeps the JWT in.
pub fn token_file(dir: &TempDir, audience: &str, subject: &str) -> String {
    let path = dir.0.join("token");
    std::fs::write(&path, format!("{}\n", jwt(audience, subject))).unwrap();
    path.display().to_string()
}

#[test]
fn a_workload_signs_in_with_the_token_that_the_file_holds_now() {
    let site = Site::start(|rules| rules.challenge_with("scope=\"jobs:run\""));
    let (dir, browser) = (TempDir::new(), Browser::new());
    let issuer = site.issuer.url("");
    let file = token_file(&dir, &issuer, "first");
    let mut process = bridge(&site, &browser, &[FLAG, &file]);
    process.handshake();
    works(&mut process);
    // The platform has renewed it.
    token_file(&dir, &issuer, "second");
    site.expire_access_tokens();
    works(&mut process);
    says(
        &process.stderr(),
        &["--workload-token", &issuer, "--accept-issuer"],
    );
    process.finish();
    let forms = site.grants(GRANT);
    let sent: Vec<&str> = forms.iter().map(|form| &*form["assertion"]).collect();
    assert_eq!(sent, [jwt(&issuer, "first"), jwt(&issuer, "second")]);
    for form in &forms {
        assert_eq!(
            (&*form["scope"], &*form["resource"]),
            ("jobs:run", &*site.url())
        );
        assert!(!form.contains_key("client_id"));
    }
    assert_eq!(site.requests("/token").len(), 2);
    assert!(site.requests("/register").is_empty() && browser.urls().is_empty());
}

#[test]
fn the_client_of_a_workload_is_named_as_it_is_registered() {
    let site = Site::start(|_| {});
    site.add_client("job", Some("hush"));
    let (dir, browser) = (TempDir::new(), Browser::new());
    let file = token_file(&dir, &site.issuer.url(""), "a job");
    let info = r#"{"client_id":"job","client_secret":"hush"}"#;
    let args = [FLAG, &file, "--static-oauth-client-info", info];
    let mut process = bridge(&site, &browser, &args);
    process.handshake();
    works(&mut process);
    process.finish();
    assert!(site.requests("/token")[0].header("authorization").is_some());
}

#[test]
fn a_refused_token_is_not_sent_again_before_the_file_has_changed() {
    let site = Site::start(|_| {});
    let (dir, browser) = (TempDir::new(), Browser::new());
    let file = token_file(&dir, "https://other.test", "a job");
    let mut process = bridge(&site, &browser, &[FLAG, &file]);
    let text = error(&mut process);
    says(
        &text,
        &[
            "invalid_grant",
            "https://other.test",
            "\"a job\"",
            "expires in",
            "audience",
        ],
    );
    assert!(
        !text.contains(&jwt("https://other.test", "a job")),
        "{text}"
    );
    // Longer than a failure is returned without another attempt.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    process.send(INITIALIZE);
    assert_eq!(error_of(&process.recv()), text);
    assert_eq!(site.requests("/token").len(), 1);
    token_file(&dir, &site.issuer.url(""), "a job");
    std::thread::sleep(std::time::Duration::from_millis(4_500));
    process.handshake();
    works(&mut process);
    process.finish();
    assert_eq!(site.grants(GRANT).len(), site.requests("/token").len());
    assert!(browser.urls().is_empty());
}

#[test]
fn a_file_without_a_jwt_is_not_sent_anywhere() {
    let dir = TempDir::new();
    let path = dir.0.join("token");
    for content in [
        "",
        "hush-hush",
        "-----BEGIN PRIVATE KEY-----",
        "a.b.c",
        "e30.e30.x y",
    ] {
        std::fs::write(&path, content).unwrap();
        let site = Site::start(|_| {});
        let text = error(&mut bridge(
            &site,
            &Browser::new(),
            &[FLAG, &path.display().to_string()],
        ));
        says(&text, &[FLAG, "holds no JWT"]);
        assert!(!text.contains("hush-hush"));
        assert!(site.requests("/token").is_empty());
    }
    let site = Site::start(|_| {});
    let text = error(&mut bridge(
        &site,
        &Browser::new(),
        &[FLAG, "/nowhere/token"],
    ));
    says(&text, &["cannot read", "/nowhere/token", FLAG]);
}

#[test]
fn another_authorization_server_does_not_get_the_workloads_token() {
    let site = Site::start(|_| {});
    let other = Site::start(|_| {});
    let (dir, browser) = (TempDir::new(), Browser::new());
    let file = token_file(&dir, &site.issuer.url(""), "a job");
    let home = std::sync::Arc::new(TempDir::new());
    let again = || start(&site, &[FLAG, &file]).browser(&browser).home(&home);
    let mut process = again().go();
    process.handshake();
    process.finish();
    site.expire_access_tokens();
    let issuer = other.issuer.url("");
    site.change(|rules| {
        rules.resource_document()["authorization_servers"] = json!([issuer]);
    });
    let mut process = again().go();
    says(
        &error(&mut process),
        &["another authorization server", FLAG],
    );
    process.finish();
    assert!(other.requests("/token").is_empty());
}
