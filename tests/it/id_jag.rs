//! Enterprise-managed authorization: one sign-in at the company's identity provider, which decides about each server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::jwt_bearer::{jwt, token_file};
use crate::support::TempDir;
use crate::support::authorization_server::Site;
use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::sign_in::{authorization, bridge, error, says, sign_in, start, works};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXPIRED: &str = "e30.eyJleHAiOjF9.c2ln";

/// The identity provider, and the client that the company has registered there.
pub struct Company {
    pub site: Site,
    dir: TempDir,
    forbids: Arc<AtomicBool>,
}

impl Company {
    pub fn start() -> Company {
        let site = Site::start(|rules| {
            rules.wants_id_token = true;
            // As many providers do, it does not list S256.
            let document = rules.server_document().as_object_mut().unwrap();
            document.remove("code_challenge_methods_supported");
        });
        site.add_client("desk", Some("de5k-secret"));
        let dir = TempDir::new();
        let info = r#"{"client_id":"desk","client_secret":"de5k-secret"}"#;
        std::fs::write(dir.0.join("client.json"), info).unwrap();
        let forbids = Arc::new(AtomicBool::new(false));
        let policy = Arc::clone(&forbids);
        let count = AtomicUsize::new(0);
        site.on("/token", move |request, reply| {
            let form: std::collections::HashMap<String, String> =
                url::form_urlencoded::parse(request.body.as_bytes()).into_owned().collect();
            if form["grant_type"] != EXCHANGE {
                return false;
            }
            if policy.load(Ordering::SeqCst) {
                let body = json!({"error": "access_denied", "error_description": format!("not for you, {}", form["subject_token"])});
                reply.full(400, "content-type: application/json\r\n", body.to_string());
                return true;
            }
            let id = count.fetch_add(1, Ordering::SeqCst);
            let grant = json!({
                "access_token": jwt(&form["audience"], &format!("grant {id}")),
                "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag",
                "token_type": "N_A",
            });
            reply.json(grant.to_string());
            true
        });
        Company { site, dir, forbids }
    }

    pub fn forbids(&self, forbids: bool) {
        self.forbids.store(forbids, Ordering::SeqCst);
    }

    pub fn issuer(&self) -> String {
        self.site.issuer.url("")
    }

    pub fn flags(&self) -> Vec<String> {
        let info = format!("@{}", self.dir.0.join("client.json").display());
        [
            "--enterprise-idp",
            &self.issuer(),
            "--enterprise-client-info",
            &info,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// A bridge to a server of the company.
fn employee(company: &Company, server: &Site, browser: &Browser, home: &Arc<TempDir>) -> Process {
    let flags = company.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    start(server, &flags).browser(browser).home(home).go()
}

#[test]
fn one_sign_in_at_the_company_is_enough_for_all_its_servers() {
    let (company, browser) = (Company::start(), Browser::new());
    let home = Arc::new(TempDir::new());
    let first = Site::start(|rules| rules.challenge_with("scope=\"mail:read\""));
    let second = Site::start(|_| {});
    let mut process = employee(&company, &first, &browser, &home);
    sign_in(&mut process, &browser);
    works(&mut process);
    // Its end needs nobody.
    first.expire_access_tokens();
    works(&mut process);
    process.finish();
    let mut process = employee(&company, &second, &browser, &home);
    process.handshake();
    works(&mut process);
    process.finish();
    assert_eq!(browser.urls().len(), 1);
    let asked = authorization(&browser, 1);
    assert_eq!(asked["scope"], "openid offline_access");
    assert!(asked.contains_key("code_challenge") && !asked.contains_key("resource"));
    let exchanges = company.site.grants(EXCHANGE);
    assert_eq!(exchanges.len(), 3);
    for (form, server) in exchanges.iter().zip([&first, &first, &second]) {
        let member = |name: &str| form[name].as_str();
        assert_eq!(member("audience"), server.issuer.url(""));
        assert_eq!(member("resource"), server.url());
        assert_eq!(
            member("subject_token_type"),
            "urn:ietf:params:oauth:token-type:id_token"
        );
        assert_eq!(
            member("requested_token_type"),
            "urn:ietf:params:oauth:token-type:id-jag"
        );
    }
    assert_eq!(exchanges[0]["scope"], "mail:read");
    let redeemed = first.grants(GRANT);
    assert_eq!(
        redeemed[0]["assertion"],
        jwt(&first.issuer.url(""), "grant 0")
    );
    for server in [&first, &second] {
        assert!(server.requests("/authorize").is_empty());
        let tokens = server.grants(GRANT).len();
        assert_eq!(server.requests("/token").len(), tokens);
    }
}

#[test]
fn an_id_token_that_has_ended_is_refreshed_at_the_company() {
    let (company, browser) = (Company::start(), Browser::new());
    let (home, server) = (Arc::new(TempDir::new()), Site::start(|_| {}));
    company
        .site
        .change(|rules| rules.token = json!({"id_token": EXPIRED}));
    let mut process = employee(&company, &server, &browser, &home);
    process.send(crate::support::mcp::INITIALIZE);
    browser.sign_in(1);
    // Refreshed at once, and still not valid.
    says(
        &process.recv().to_string(),
        &["identity provider", "no valid id token"],
    );
    process.finish();
    company.site.change(|rules| rules.token = json!({}));
    let mut process = employee(&company, &server, &browser, &home);
    process.handshake();
    works(&mut process);
    process.finish();
    assert_eq!(browser.urls().len(), 1);
    let exchanges = company.site.grants(EXCHANGE);
    assert_eq!(exchanges.len(), 1);
    assert_ne!(exchanges[0]["subject_token"], EXPIRED);
}

#[test]
fn a_refusal_by_the_companys_policy_says_who_decided_and_opens_nothing_more() {
    let (company, browser) = (Company::start(), Browser::new());
    let (home, server) = (Arc::new(TempDir::new()), Site::start(|_| {}));
    company.forbids(true);
    let mut process = employee(&company, &server, &browser, &home);
    process.send(crate::support::mcp::INITIALIZE);
    browser.sign_in(1);
    let text = process.recv().to_string();
    says(
        &text,
        &[
            "access_denied",
            "not for you",
            "policy",
            &company.issuer(),
            "desk",
            &server.url(),
        ],
    );
    process.finish();
    assert!(!text.contains("eyJ"), "{text}");
    let mut process = employee(&company, &server, &browser, &home);
    says(&error(&mut process), &["access_denied"]);
    process.finish();
    assert_eq!(browser.urls().len(), 1);
    assert!(server.requests("/token").is_empty());
}

#[test]
fn a_refusal_by_the_server_says_who_decided() {
    let (company, browser) = (Company::start(), Browser::new());
    let server = Site::start(|_| {});
    server.on("/token", |_, reply| {
        let body = r#"{"error":"invalid_grant","error_description":"unknown company"}"#;
        reply.full(400, "content-type: application/json\r\n", body);
        true
    });
    let dir = TempDir::new();
    let mut flags = company.flags();
    flags.extend([
        "--enterprise-id-token".to_owned(),
        token_file(&dir, "desk", "person"),
    ]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut process = bridge(&server, &browser, &flags);
    let issuer = server.issuer.url("");
    says(
        &error(&mut process),
        &[
            "ID-JAG",
            "unknown company",
            &issuer,
            "must trust",
            &company.issuer(),
        ],
    );
    process.finish();
    assert!(browser.urls().is_empty());
    assert_eq!(
        company.site.grants(EXCHANGE)[0]["subject_token"],
        jwt("desk", "person")
    );
}

#[test]
fn only_an_id_jag_leaves_the_company() {
    let (company, server) = (Company::start(), Site::start(|_| {}));
    let dir = TempDir::new();
    let mut flags = company.flags();
    flags.extend([
        "--enterprise-id-token".to_owned(),
        token_file(&dir, "desk", "person"),
    ]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    for kind in [
        json!("urn:ietf:params:oauth:token-type:access_token"),
        json!(null),
    ] {
        company.site.on("/token", move |_, reply| {
            let body = json!({"access_token": "inter-nal", "issued_token_type": kind, "token_type": "Bearer"});
            reply.json(body.to_string());
            true
        });
        let mut process = bridge(&server, &Browser::new(), &flags);
        let text = error(&mut process);
        says(&text, &["no ID-JAG", &company.issuer()]);
        assert!(!text.contains("inter-nal"));
        process.finish();
    }
    assert!(server.requests("/token").is_empty());
}

#[test]
fn a_wrong_client_at_the_company_is_named_by_its_own_flag() {
    let (company, browser) = (Company::start(), Browser::new());
    let server = Site::start(|_| {});
    company.site.forget_clients();
    company.site.add_client("desk", Some("an-other"));
    let mut process = employee(&company, &server, &browser, &Arc::new(TempDir::new()));
    process.send(crate::support::mcp::INITIALIZE);
    browser.sign_in(1);
    let text = process.recv().to_string();
    says(&text, &["identity provider", "--enterprise-client-info"]);
    assert!(!text.contains("--static-oauth-client-info"), "{text}");
    process.finish();
}
