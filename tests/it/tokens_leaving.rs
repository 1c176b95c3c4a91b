//! Tokens and the end of things: a request that is given up, a session that ends, a process that is told to leave.

use std::time::Duration;

use serde_json::json;

use crate::support::authorization_server::Site;
use crate::support::browser::Browser;
use crate::support::process::Process;
use crate::support::sign_in::{error_of, signed_in};
use crate::support::{Gate, store};

/// Signed in, with an access token that has ended, which the process has not met yet.
fn ended(site: &Site, browser: &Browser, args: &[&str]) -> Process {
    let process = signed_in(site, browser, args);
    let mut tokens = store::read(&process.home, &site.url(), "tokens.json");
    tokens["expires_at"] = json!(1000);
    store::write(
        &process.home,
        &site.url(),
        "tokens.json",
        &tokens.to_string(),
    );
    // Tokens are read again after a second.
    std::thread::sleep(Duration::from_millis(1100));
    process
}

#[test]
fn the_end_of_a_session_refreshes_nothing() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = ended(&site, &browser, &[]);
    process.finish();
    assert_eq!(site.requests("/mcp").last().unwrap().method, "DELETE");
    assert_eq!(site.grants("refresh_token").len(), 0);
}

#[test]
fn a_request_that_was_given_up_during_a_refresh_is_never_sent() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = ended(&site, &browser, &["--request-timeout", "1"]);
    let gate = Gate::default();
    let at_token = gate.clone();
    site.on("/token", move |_, _| {
        at_token.wait();
        false
    });
    let answer = process.ask("7");
    assert!(error_of(&answer).contains("no answer"), "{answer}");
    gate.open();
    site.off("/token");
    // The next one goes out with the new token.
    assert!(process.ask("8")["result"].is_object());
    process.finish();
    let asked = site.requests("/mcp");
    let asked = asked.iter().filter(|request| request.rpc() == "ask");
    assert_eq!(asked.map(|request| request.id()).collect::<Vec<_>>(), ["8"]);
    assert_eq!(site.grants("refresh_token").len(), 1);
}

#[cfg(unix)]
#[test]
fn a_signal_during_a_refresh_does_not_lose_the_new_tokens() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = ended(&site, &browser, &[]);
    let before = store::read(&process.home, &site.url(), "tokens.json");
    let asked = Gate::default();
    let at_token = asked.clone();
    site.on("/token", move |_, _| {
        at_token.open();
        std::thread::sleep(Duration::from_millis(300));
        false
    });
    process.send(r#"{"jsonrpc":"2.0","id":7,"method":"ask"}"#);
    asked.wait();
    process.signal("TERM");
    process.wait_exit();
    let after = store::read(&process.home, &site.url(), "tokens.json");
    assert_ne!(before["refresh_token"], after["refresh_token"]);
}
