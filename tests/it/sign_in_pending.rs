//! A person who takes their time, and hosts that do not.

use crate::support::authorization_server::{Site, query};
use crate::support::browser::{Browser, answer_of, get, printed_url, try_get, visit, wait_until};
use crate::support::mcp::{INITIALIZE, INITIALIZED};
use crate::support::sign_in::{authorization, bridge, error_of, says, start, works};
use crate::support::store;

#[test]
fn initialize_waits_for_the_sign_in_and_nobody_else_is_answered_with_silence() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    process.send(r#"{"jsonrpc":"2.0","id":1,"method":"ask"}"#);
    browser.wait_for(1);
    assert!(
        process
            .try_recv(std::time::Duration::from_millis(200))
            .is_none()
    );
    assert_eq!(browser.sign_in(1).status, 200);
    let mut answers = [process.recv(), process.recv()];
    answers.sort_by_key(|answer| answer["id"].as_i64());
    assert!(answers[0]["result"].is_object(), "{}", answers[0]);
    assert_eq!(answers[1]["id"], 1);
    process.finish();
}

#[test]
fn after_the_timeout_the_client_gets_the_address_and_the_sign_in_stays_open() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--auth-timeout", "1"]);
    process.send(INITIALIZE);
    let url = browser.wait_for(1);
    let answer = process.recv();
    assert!(error_of(&answer).contains(&url), "{answer}");
    // Asked again meanwhile: the same address, no second window.
    process.send(INITIALIZE);
    let answer = process.recv();
    assert!(error_of(&answer).contains(&url), "{answer}");
    assert_eq!(visit(&url).status, 200);
    process.handshake();
    works(&mut process);
    process.finish();
    assert_eq!(browser.urls().len(), 1);
    assert_eq!(site.requests("/register").len(), 1);
}

#[test]
fn a_host_that_restarts_the_process_finds_the_same_sign_in_again() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = bridge(&site, &browser, &[]);
    first.send(INITIALIZE);
    let tab = browser.wait_for(1);
    first.kill();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.send(INITIALIZE);
    let redirect = authorization(&browser, 1)["redirect_uri"].clone();
    wait_until("the listener of the second process", || {
        try_get(&redirect).ok()
    });
    // The tab that is already open.
    let page = visit(&tab);
    assert_eq!(page.status, 200, "{page:?}");
    let answer = second.recv();
    assert!(answer["result"].is_object(), "{answer}");
    second.send(INITIALIZED);
    works(&mut second);
    second.finish();
    assert_eq!(browser.urls().len(), 1);
    assert_eq!(site.requests("/register").len(), 1);
    // Nothing of the sign-in stays.
    let left: Vec<String> = store::files(&store::dir(&second.home))
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| name.contains("pending") || name.contains("verifier"))
        .collect();
    assert_eq!(left, [] as [String; 0]);
}

#[test]
fn the_tab_completes_also_if_it_was_answered_before_the_restart() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = bridge(&site, &browser, &[]);
    first.send(INITIALIZE);
    let answer = answer_of(&browser.wait_for(1));
    first.kill();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.send(INITIALIZE);
    let page = wait_until("the listener of the second process", || {
        try_get(&answer).ok()
    });
    assert_eq!(page.status, 200, "{page:?}");
    assert!(second.recv()["result"].is_object());
    second.finish();
}

#[test]
fn a_sign_in_that_was_given_up_is_begun_anew() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = bridge(&site, &browser, &[]);
    first.send(INITIALIZE);
    browser.wait_for(1);
    first.kill();
    let mut pending = store::read(&first.home, &site.url(), "pending_sign_in.json");
    assert!(pending.is_object(), "{pending}");
    let eleven_minutes = 660_000;
    pending["created_at"] = (pending["created_at"].as_u64().unwrap() - eleven_minutes).into();
    let text = pending.to_string();
    store::write(&first.home, &site.url(), "pending_sign_in.json", &text);
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.send(INITIALIZE);
    // A window may open or not: the last one was opened less than an hour ago, and may have been noted before the end.
    let url = printed_url(&mut second);
    assert_eq!(visit(&url).status, 200);
    assert!(second.recv()["result"].is_object());
    second.finish();
    assert_ne!(authorization(&browser, 1)["state"], query(&url)["state"]);
}

#[test]
fn end_of_input_during_a_sign_in_ends_the_process() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    browser.wait_for(1);
    process.close_stdin();
    assert_eq!(process.wait_exit().code(), Some(0));
    // What was asked is answered, not dropped.
    let rest = process.rest();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert!(rest[0]["error"].is_object(), "{rest:?}");
}

#[cfg(unix)]
#[test]
fn a_signal_during_a_sign_in_ends_the_process() {
    let site = Site::start(|_| {});
    for signal in ["TERM", "INT"] {
        let browser = Browser::new();
        let mut process = bridge(&site, &browser, &[]);
        process.send(INITIALIZE);
        browser.wait_for(1);
        process.signal(signal);
        process.wait_exit();
        let redirect = authorization(&browser, 1)["redirect_uri"].clone();
        assert!(try_get(&redirect).is_err());
    }
}

#[test]
fn a_person_who_declined_can_sign_in_with_the_next_request() {
    let site = Site::start(|rules| rules.denies = true);
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    browser.sign_in(1);
    says(&error_of(&process.recv()), &["access_denied"]);
    site.change(|rules| rules.denies = false);
    // A window by itself, or an address to go to: either way it can be done.
    process.send(INITIALIZE);
    let url = wait_until("another sign-in", || {
        let opened = browser.urls().get(1).cloned();
        opened.or_else(|| {
            let text = process.stderr();
            let urls: Vec<&str> = text
                .split_whitespace()
                .filter(|word| word.contains("response_type=code"))
                .collect();
            let last = urls.last().copied()?;
            (last != browser.urls()[0]).then(|| last.to_owned())
        })
    });
    assert_eq!(visit(&url).status, 200);
    let mut answer = process.recv();
    if answer["error"].is_object() {
        process.send(INITIALIZE);
        answer = process.recv();
    }
    assert!(answer["result"].is_object(), "{answer}");
    process.finish();
}

#[test]
fn a_second_visit_to_a_finished_sign_in_is_answered_or_refused_but_harmless() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let answer = answer_of(&browser.wait_for(1));
    assert_eq!(get(&answer).status, 200);
    assert!(process.recv()["result"].is_object());
    if let Ok(page) = try_get(&answer) {
        assert!(page.status == 400 || page.status == 503 || page.status == 200);
    }
    process.send(INITIALIZED);
    works(&mut process);
    process.finish();
    assert_eq!(site.requests("/token").len(), 1);
}
