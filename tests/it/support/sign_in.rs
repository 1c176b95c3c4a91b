//! Steps that tests about signing in share.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use super::authorization_server::{Form, Site, query};
use super::browser::{Browser, Page};
use super::mcp::{INITIALIZE, INITIALIZED};
use super::process::{Process, Start};

/// A bridge to the site with more arguments; nothing was sent yet.
pub fn bridge(site: &Site, browser: &Browser, args: &[&str]) -> Process {
    start(site, args).browser(browser).go()
}

/// The same, not yet started.
pub fn start(site: &Site, args: &[&str]) -> Start {
    let url = site.url();
    let mut all = vec![url.as_str()];
    all.extend(args);
    Start::bridge(&all)
}

/// A bridge that is signed in and has shaken hands.
pub fn signed_in(site: &Site, browser: &Browser, args: &[&str]) -> Process {
    let mut process = bridge(site, browser, args);
    sign_in(&mut process, browser);
    site.settle(1);
    process
}

/// A port that is free, below those that the system gives out.
pub fn free_port() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = 20_000 + first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port.to_string();
        }
    }
}

/// The first sign-in and the handshake; the page at its end.
pub fn sign_in(process: &mut Process, browser: &Browser) -> Page {
    process.send(INITIALIZE);
    let page = browser.sign_in(1);
    assert_eq!(page.status, 200, "{page:?}");
    let answer = process.recv();
    assert!(answer["result"].is_object(), "{answer}");
    process.send(INITIALIZED);
    page
}

/// Asks once and wants the ordinary answer.
pub fn works(process: &mut Process) {
    let answer = process.ask("\"works\"");
    assert_eq!(answer["result"]["asked"], true, "{answer}");
}

/// A sign-in that cannot be: the error that `initialize` is answered with. No browser, no authorization.
pub fn refused(site: &Site, args: &[&str]) -> String {
    let browser = Browser::new();
    let mut process = bridge(site, &browser, args);
    let text = error(&mut process);
    assert_eq!(browser.urls(), [] as [String; 0]);
    assert_eq!(site.requests("/authorize").len(), 0);
    process.finish();
    text
}

/// `initialize`, and the error it is answered with.
pub fn error(process: &mut Process) -> String {
    process.send(INITIALIZE);
    error_of(&process.recv())
}

/// The message of an error answer.
pub fn error_of(answer: &Value) -> String {
    let message = answer["error"]["message"].as_str();
    message.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Wants all of these in the text, in any case.
#[track_caller]
pub fn says(text: &str, words: &[&str]) {
    let low = text.to_lowercase();
    for word in words {
        assert!(low.contains(&word.to_lowercase()), "no {word:?} in: {text}");
    }
}

/// The parameters the browser was sent to the authorization endpoint with, the `count`-th time.
pub fn authorization(browser: &Browser, count: usize) -> Form {
    query(&browser.wait_for(count))
}
