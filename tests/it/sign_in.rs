//! Signing in with the authorization code: what the person and the client see.

use crate::support::Gate;
use crate::support::authorization_server::{Site, path_of};
use crate::support::browser::{Browser, printed_url, visit};
use crate::support::mcp::INITIALIZE;
use crate::support::process::{Process, Start};
use crate::support::sign_in::{
    authorization, bridge, error, free_port, says, sign_in, signed_in, start, works,
};

#[test]
fn a_server_that_needs_no_sign_in_is_asked_for_nothing_else() {
    let site = Site::start(|rules| rules.guarded = false);
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.handshake();
    works(&mut process);
    process.finish();
    assert_eq!(site.sign_in_log(), [] as [String; 0]);
    assert_eq!(site.seen()[0].request.what(), "POST initialize");
    assert_eq!(browser.urls(), [] as [String; 0]);
}

#[test]
fn a_person_signs_in_once_and_everything_after_carries_the_token() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    works(&mut process);
    process.finish();
    // Nothing before the first refusal, and each document once.
    assert_eq!(site.seen()[0].request.what(), "POST initialize");
    assert_eq!(
        site.sign_in_log(),
        [
            "GET /.well-known/oauth-protected-resource/mcp",
            "GET /.well-known/oauth-authorization-server",
            "POST /register",
            "GET /authorize",
            "POST /token"
        ]
    );
    let mut asked = site.requests("/mcp");
    assert_eq!(asked.remove(0).header("authorization"), None);
    let bearer = asked[0].header("authorization").unwrap_or_default();
    assert!(bearer.starts_with("Bearer access-token-"));
    for request in &asked {
        let sent = request.header("authorization");
        assert_eq!(sent, Some(bearer), "{}", request.what());
    }
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn the_second_run_needs_no_browser_and_no_discovery() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = signed_in(&site, &browser, &[]);
    first.finish();
    let before = site.sign_in_log();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.handshake();
    works(&mut second);
    second.finish();
    assert_eq!(site.sign_in_log(), before);
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn the_authorization_request_is_complete() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let asked = authorization(&browser, 1);
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(asked["code_challenge"].len(), 43);
    assert!(asked["state"].len() >= 22, "{}", asked["state"]);
    assert_eq!(asked["resource"], site.url());
    assert!(asked["redirect_uri"].starts_with("http://localhost:"));
    assert!(asked["redirect_uri"].ends_with("/oauth/callback"));
    let redeemed = &site.grants("authorization_code")[0];
    assert_eq!(redeemed["redirect_uri"], asked["redirect_uri"]);
    assert_eq!(redeemed["resource"], asked["resource"]);
}

#[test]
fn flags_change_the_redirect_uri_and_add_to_the_authorization_request() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let port = free_port();
    let mut process = signed_in(
        &site,
        &browser,
        &[
            &port,
            "--host",
            "127.0.0.1",
            "--callback-path",
            "/back",
            "--authorize-param",
            "prompt=login",
            "--authorize-param",
            "audience=https://api.example/x y",
        ],
    );
    process.finish();
    let asked = authorization(&browser, 1);
    assert_eq!(
        asked["redirect_uri"],
        format!("http://127.0.0.1:{port}/back")
    );
    assert_eq!(asked["prompt"], "login");
    assert_eq!(asked["audience"], "https://api.example/x y");
}

#[test]
fn the_address_is_on_stderr_before_the_browser_opens() {
    let site = Site::start(|_| {});
    let home = crate::support::TempDir::new();
    let stderr = home.0.join("stderr");
    let look = format!(
        "seen=no; while read -r line; do case \"$line\" in *\"$1\"*) seen=yes;; esac; done < {}",
        stderr.display()
    );
    let browser = Browser::with_script(&look);
    let mut process = start(&site, &[]).browser(&browser).stderr_to(&stderr).go();
    sign_in(&mut process, &browser);
    assert_eq!(browser.lines()[0].0, "yes");
    process.finish();
}

#[test]
fn without_a_browser_the_printed_address_works() {
    let site = Site::start(|_| {});
    for (args, browser) in [
        (&["--no-browser"][..], "/bin/false"),
        (&[], "/no/such/browser"),
        (&[], "/bin/false"),
        (&[], ""),
    ] {
        let mut process = start(&site, args).env("BROWSER", browser).go();
        process.send(INITIALIZE);
        let url = printed_url(&mut process);
        assert_eq!(visit(&url).status, 200);
        let answer = process.recv();
        assert!(answer["result"].is_object(), "{answer}");
        process.finish();
    }
}

#[test]
fn no_browser_means_that_none_is_opened() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--no-browser"]);
    process.send(INITIALIZE);
    assert_eq!(visit(&printed_url(&mut process)).status, 200);
    assert!(process.recv()["result"].is_object());
    process.finish();
    assert_eq!(browser.urls(), [] as [String; 0]);
}

#[test]
fn the_page_comes_after_the_exchange_and_says_which_server() {
    let site = Site::start(|_| {});
    let (asked, go_on) = (Gate::default(), Gate::default());
    let (tell, wait) = (asked.clone(), go_on.clone());
    site.on("/token", move |_, _| {
        tell.open();
        wait.wait();
        false
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let url = browser.wait_for(1);
    let page = std::thread::spawn(move || visit(&url));
    asked.wait();
    assert!(!page.is_finished());
    go_on.open();
    let page = page.join().unwrap();
    assert_eq!(page.status, 200, "{page:?}");
    says(&page.text, &["signed in", &site.url(), "viewport"]);
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'"),
    ] {
        says(page.header(name).unwrap_or_default(), &[value]);
    }
    assert!(process.recv()["result"].is_object());
    process.finish();
}

#[test]
fn a_failed_exchange_is_told_to_the_person_and_to_the_client() {
    let site = Site::start(|_| {});
    site.on("/token", |_, reply| {
        let body =
            r#"{"error":"invalid_scope","error_description":"<script>no such</script> scope"}"#;
        reply.full(400, "content-type: application/json\r\n", body);
        true
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let page = browser.sign_in(1);
    assert!(page.status >= 400, "{page:?}");
    says(&page.text, &["failed", "invalid_scope"]);
    assert!(!page.text.contains("<script"), "{}", page.text);
    says(
        &process.recv()["error"]["message"].to_string(),
        &["invalid_scope", "no such"],
    );
    process.finish();
}

#[test]
fn the_browser_is_sent_to_the_success_address_after_the_exchange() {
    let site = Site::start(|_| {});
    site.on("/welcome", |_, reply| {
        reply.full(200, "", "welcome");
        true
    });
    let url = site.issuer.url("/welcome");
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--auth-success-url", &url]);
    assert_eq!(sign_in(&mut process, &browser).text, "welcome");
    process.finish();
    let log = site.sign_in_log();
    assert_eq!(log[log.len() - 2..], ["POST /token", "GET /welcome"]);
    // Nothing of the sign-in goes along.
    let seen = site.requests("/welcome").remove(0);
    assert_eq!(
        (seen.path.as_str(), seen.header("referer")),
        ("/welcome", None)
    );
}

#[test]
fn with_a_header_of_ones_own_there_is_no_sign_in_but_the_reason() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let url = site.url();
    for header in ["Authorization: Bearer mine", "authorization:Basic bWluZQ=="] {
        let mut process = Start::bridge(&[&url, "--header", header])
            .browser(&browser)
            .go();
        let text = error(&mut process);
        says(&text, &["401"]);
        assert!(!text.contains("mine") && !text.contains("bWluZQ"), "{text}");
        process.finish();
    }
    assert_eq!(site.sign_in_log(), [] as [String; 0]);
    assert_eq!(browser.urls(), [] as [String; 0]);
    site.add_access_token("mine", "");
    let mut process = Process::connected(&[&url, "--header", "Authorization: Bearer mine"]);
    works(&mut process);
    process.finish();
}

#[test]
fn configured_headers_do_not_go_to_the_authorization_server() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &["--header", "X-Key: k-secret"]);
    process.finish();
    for seen in site.seen() {
        let is_mcp = path_of(&seen.request) == "/mcp";
        let has_key = seen.request.header("x-key").is_some();
        assert!(!(has_key && seen.at_issuer), "{}", seen.what());
        assert!(has_key || !is_mcp, "{}", seen.what());
        let sends_token = seen.request.header("authorization").is_some();
        assert!(is_mcp || !sends_token, "{}", seen.what());
    }
}

#[test]
fn the_id_token_is_sent_if_it_is_asked_for() {
    let site = Site::start(|rules| rules.wants_id_token = true);
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &["--use-id-token"]);
    works(&mut process);
    process.finish();
    let last = site.requests("/mcp").pop().unwrap();
    let bearer = last.header("authorization").unwrap();
    assert_eq!(bearer.matches('.').count(), 2, "{bearer}");
}

#[test]
fn without_an_id_token_the_access_token_is_sent_and_a_warning_said() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &["--use-id-token"]);
    works(&mut process);
    process.finish();
    says(&process.stderr(), &["id token"]);
}
