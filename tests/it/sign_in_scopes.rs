//! Which scopes are asked for, step-up, and the resource parameter.

use serde_json::json;

use crate::support::authorization_server::{Rules, Site, query};
use crate::support::browser::Browser;
use crate::support::sign_in::{authorization, error_of, says, signed_in, start, works};

/// The scope that is asked for if the site is like this.
fn scope(change: impl FnOnce(&mut Rules)) -> Option<String> {
    let site = Site::start(change);
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    authorization(&browser, 1).get("scope").cloned()
}

#[test]
fn the_scope_of_the_challenge_comes_first() {
    let asked = scope(|rules| {
        rules.challenge_with("scope=\"files:read files:list\"");
        rules.resource_document()["scopes_supported"] = json!(["x", "y"]);
    });
    assert_eq!(asked.as_deref(), Some("files:read files:list"));
}

#[test]
fn the_scopes_of_the_resource_come_second() {
    let asked = scope(|rules| {
        rules.resource_document()["scopes_supported"] = json!(["x", "y"]);
        rules.server_document()["scopes_supported"] = json!(["x", "y", "z"]);
    });
    assert_eq!(asked.as_deref(), Some("x y"));
}

#[test]
fn offline_access_is_added_where_it_is_listed() {
    let asked = scope(|rules| {
        rules.challenge_with("scope=\"files:read\"");
        rules.server_document()["scopes_supported"] = json!(["files:read", "offline_access"]);
    });
    assert_eq!(asked.as_deref(), Some("files:read offline_access"));
}

#[test]
fn without_any_hint_all_scopes_of_the_world_are_not_asked_for() {
    let asked = scope(|_| {});
    assert!(
        asked
            .as_deref()
            .is_none_or(|scope| scope == "openid email profile"),
        "{asked:?}"
    );
}

/// The site refuses an authorization request unless its scope is this one.
fn grants_only(site: &Site, granted: &'static str) {
    let issuer = site.issuer.url("");
    site.on("/authorize", move |request, reply| {
        let asked = query(&request.path);
        let is_right = asked.get("scope").is_some_and(|scope| scope == granted);
        if !is_right {
            let to = format!(
                "{}?error=invalid_scope&error_description=bad+scope&iss={issuer}&state={}",
                asked["redirect_uri"], asked["state"]
            );
            reply.full(302, &format!("location: {to}\r\n"), "");
        }
        !is_right
    });
}

#[test]
fn a_refused_scope_is_replaced_by_what_both_documents_list_in_the_same_tab() {
    let site = Site::start(|rules| {
        rules.resource_document()["scopes_supported"] = json!(["x", "gone"]);
        rules.server_document()["scopes_supported"] = json!(["x", "y"]);
    });
    grants_only(&site, "x");
    let browser = Browser::new();
    signed_in(&site, &browser, &[]).finish();
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn a_server_that_requires_a_scope_is_asked_for_what_it_lists() {
    let site = Site::start(|rules| {
        rules.server_document()["scopes_supported"] = json!(["x", "y"]);
    });
    grants_only(&site, "x y");
    site.on("/register", |request, reply| {
        let has_none = request.json()["scope"].is_null();
        if has_none {
            let body = r#"{"error":"invalid_request","error_description":"nothing requested"}"#;
            reply.full(400, "content-type: application/json\r\n", body);
        }
        has_none
    });
    let browser = Browser::new();
    signed_in(&site, &browser, &[]).finish();
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn a_scope_for_which_nothing_else_is_listed_ends_in_an_error_that_names_the_flag() {
    let site = Site::start(|rules| {
        rules.resource_document()["scopes_supported"] = json!(["x"]);
        rules.server_document()["scopes_supported"] = json!(["x", "y"]);
    });
    grants_only(&site, "z");
    let browser = Browser::new();
    let mut process = start(&site, &[]).browser(&browser).go();
    process.send(crate::support::mcp::INITIALIZE);
    assert!(browser.sign_in(1).status >= 400);
    let text = error_of(&process.recv());
    says(&text, &["invalid_scope", "--scope", "lists: x y"]);
    process.finish();
}

#[test]
fn the_scope_of_the_flag_is_requested_exactly() {
    let site = Site::start(|rules| {
        rules.challenge_with("scope=\"files:read\"");
        rules.server_document()["scopes_supported"] = json!(["files:read", "offline_access"]);
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &["--scope", "a b"]);
    process.finish();
    assert_eq!(authorization(&browser, 1)["scope"], "a b");
    assert!(!authorization(&browser, 1).contains_key("prompt"));
    assert_eq!(site.requests("/register")[0].json()["scope"], "a b");
    // npm does not know the flag, and would discard tokens for another scope than its own.
    let tokens = crate::support::store::read(&process.home, &site.url(), "tokens.json");
    assert!(tokens.get("requested_scope").is_none(), "{tokens}");
}

#[test]
fn a_request_that_needs_more_scope_asks_for_the_union_and_is_repeated() {
    let site = Site::start(|rules| {
        rules.challenge_with("scope=\"read\"");
        rules.needs = Some("write".to_owned());
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.send(r#"{"jsonrpc":"2.0","id":5,"method":"ask"}"#);
    assert_eq!(browser.sign_in(2).status, 200);
    let answer = process.recv();
    assert_eq!(answer["result"]["asked"], true, "{answer}");
    process.finish();
    let mut scopes: Vec<String> = authorization(&browser, 2)["scope"]
        .split(' ')
        .map(str::to_owned)
        .collect();
    scopes.sort();
    assert_eq!(scopes, ["read", "write"]);
    assert_eq!(site.grants("refresh_token").len(), 0);
    // Remembered: the next sign-in asks for both at once.
    site.expire_access_tokens();
    site.expire_refresh_tokens();
    let mut next = start(&site, &[]).browser(&browser).home(&process.home).go();
    next.send(crate::support::mcp::INITIALIZE);
    assert_eq!(browser.sign_in(3).status, 200);
    assert!(next.recv()["result"].is_object());
    works(&mut next);
    next.finish();
    says(&authorization(&browser, 3)["scope"], &["read", "write"]);
}

#[test]
fn requests_that_need_no_more_scope_do_not_wait_for_a_step_up() {
    let site = Site::start(|rules| {
        rules.challenge_with("scope=\"read\"");
        rules.needs = Some("write".to_owned());
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.send(r#"{"jsonrpc":"2.0","id":5,"method":"ask"}"#);
    browser.wait_for(2);
    process.send(r#"{"jsonrpc":"2.0","id":6,"method":"tools/list"}"#);
    let answer = process.recv();
    assert!(
        answer["id"] == 6 && answer["result"].is_object(),
        "{answer}"
    );
    assert_eq!(browser.sign_in(2).status, 200);
    let answer = process.recv();
    assert!(
        answer["id"] == 5 && answer["result"].is_object(),
        "{answer}"
    );
    process.finish();
}

#[test]
fn scope_that_is_never_enough_ends_in_words() {
    let site = Site::start(|rules| {
        rules.needs = Some("moon".to_owned());
        rules.never_enough = true;
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.send(r#"{"jsonrpc":"2.0","id":5,"method":"ask"}"#);
    // However often it asks: it stops by itself, and soon.
    let mut windows = 1;
    let answer = loop {
        if let Some(answer) = process.try_recv(std::time::Duration::from_millis(500)) {
            break answer;
        }
        if browser.urls().len() > windows {
            windows += 1;
            browser.sign_in(windows);
        }
        assert!(windows < 6, "{windows} windows");
    };
    says(&error_of(&answer), &["scope", "moon"]);
    let windows = browser.urls().len();
    assert!(windows <= 3, "{windows} windows");
    // The next one is told at once.
    let answer = process.ask("6");
    says(&error_of(&answer), &["scope"]);
    assert_eq!(browser.urls().len(), windows);
    process.finish();
    // So is the next process: some hosts start one for each question.
    let mut next = start(&site, &[]).browser(&browser).home(&process.home).go();
    next.handshake();
    let answer = next.ask("7");
    says(&error_of(&answer), &["scope", "moon"]);
    assert_eq!(browser.urls().len(), windows);
    next.finish();
}

#[test]
fn the_resource_goes_on_authorize_token_and_refresh_alike() {
    let site = Site::start(|rules| rules.token = json!({"expires_in": 3600}));
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    let resource = site.url();
    assert_eq!(authorization(&browser, 1)["resource"], resource);
    assert_eq!(site.grants("authorization_code")[0]["resource"], resource);
    assert_eq!(site.grants("refresh_token")[0]["resource"], resource);
}

#[test]
fn the_resource_parameter_is_what_the_flags_say() {
    for (args, expected) in [
        (
            &["--resource", "https://tenant.example/"][..],
            Some("https://tenant.example/"),
        ),
        (&["--resource", ""], None),
        (&["--disable-resource-parameter"], None),
    ] {
        let site = Site::start(|_| {});
        let browser = Browser::new();
        let mut process = signed_in(&site, &browser, args);
        site.expire_access_tokens();
        works(&mut process);
        process.finish();
        let all = [
            authorization(&browser, 1),
            site.grants("authorization_code").remove(0),
            site.grants("refresh_token").remove(0),
        ];
        for form in all {
            assert_eq!(
                form.get("resource").map(String::as_str),
                expected,
                "{args:?}"
            );
        }
    }
}

#[test]
fn an_authorization_server_that_refuses_the_resource_is_asked_once_without_and_remembered() {
    let site = Site::start(|rules| rules.refuses_resource = true);
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    let codes = site.grants("authorization_code");
    assert_eq!(
        codes.iter().filter(|f| f.contains_key("resource")).count(),
        1
    );
    assert!(!codes.last().unwrap().contains_key("resource"));
    assert_eq!(browser.urls().len(), 1);
    let refreshed = site.grants("refresh_token");
    assert_eq!(refreshed.len(), 1);
    assert!(!refreshed[0].contains_key("resource"));
    // The next process knows it.
    site.expire_access_tokens();
    site.expire_refresh_tokens();
    let mut next = start(&site, &[]).browser(&browser).home(&process.home).go();
    next.send(crate::support::mcp::INITIALIZE);
    assert_eq!(browser.sign_in(2).status, 200);
    assert!(next.recv()["result"].is_object());
    next.finish();
    assert!(!authorization(&browser, 2).contains_key("resource"));
}
