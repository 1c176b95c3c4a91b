//! Sign-ins in the middle of things: during a session, over the older transport, for several servers.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, visit};
use crate::support::mcp::{INITIALIZE, INITIALIZED, initialize_result, result};
use crate::support::sign_in::{authorization, bridge, error_of, sign_in, signed_in, start, works};
use crate::support::{LIMIT, TempDir};

const ASK: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ask"}"#;

#[test]
fn a_grant_that_dies_in_a_session_is_replaced_without_losing_the_session() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &["--auth-timeout", "1"]);
    site.expire_access_tokens();
    site.expire_refresh_tokens();
    process.send(ASK);
    let url = browser.wait_for(2);
    let answer = process.recv();
    assert!(error_of(&answer).contains(&url), "{answer}");
    assert_eq!(visit(&url).status, 200);
    works(&mut process);
    process.finish();
    assert_eq!(browser.urls().len(), 2);
    let initialized = site.requests("/mcp");
    let initialized = initialized.iter().filter(|r| r.rpc() == "initialize");
    // Refused once, accepted once.
    assert_eq!(initialized.count(), 2);
}

#[test]
fn several_requests_wait_for_one_sign_in_and_all_are_answered() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    site.expire_access_tokens();
    site.expire_refresh_tokens();
    for id in 0..5 {
        process.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#));
    }
    process.send(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#);
    assert_eq!(browser.sign_in(2).status, 200);
    let mut ids: Vec<i64> = (0..5)
        .map(|_| {
            let answer = process.recv();
            assert_eq!(answer["result"]["asked"], true, "{answer}");
            answer["id"].as_i64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    process.finish();
    assert_eq!(browser.urls().len(), 2);
}

#[test]
fn tokens_of_one_server_are_not_sent_to_another() {
    let (first, second) = (Site::start(|_| {}), Site::start(|_| {}));
    let home = Arc::new(TempDir::new());
    for site in [&first, &second] {
        let browser = Browser::new();
        let mut process = start(site, &[]).browser(&browser).home(&home).go();
        sign_in(&mut process, &browser);
        process.finish();
    }
    let strange = first.secrets();
    for seen in second.seen() {
        let bearer = seen.request.header("authorization").unwrap_or_default();
        let body = &seen.request.body;
        let leaks = |secret: &String| bearer.contains(secret) || body.contains(secret);
        assert!(!strange.iter().any(leaks), "{}", seen.what());
    }
}

#[test]
fn an_orderly_restart_in_the_middle_of_a_sign_in_keeps_the_tab_alive() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = bridge(&site, &browser, &[]);
    first.send(INITIALIZE);
    let tab = browser.wait_for(1);
    first.close_stdin();
    first.wait_exit();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.send(INITIALIZE);
    let redirect = authorization(&browser, 1)["redirect_uri"].clone();
    crate::support::browser::wait_until("the listener", || {
        crate::support::browser::try_get(&redirect).ok()
    });
    assert_eq!(visit(&tab).status, 200);
    assert!(second.recv()["result"].is_object());
    second.finish();
    assert_eq!(browser.urls().len(), 1);
}

/// Makes the site speak HTTP+SSE (2024-11-05) to those who are signed in.
fn older_transport(site: &Site) {
    let (say, said): (Sender<String>, Receiver<String>) = channel();
    let (say, said) = (Mutex::new(say), Mutex::new(said));
    site.on("/mcp", move |request, reply| {
        if request.header("authorization").is_none() {
            return false;
        }
        if request.method != "GET" {
            reply.status(405);
            return true;
        }
        reply.sse();
        reply.chunk("event: endpoint\ndata: /messages\n\n");
        while let Ok(event) = said.lock().unwrap().recv_timeout(LIMIT) {
            if event.is_empty() {
                break;
            }
            reply.event(&event);
        }
        true
    });
    site.on("/messages", move |request, reply| {
        let say = say.lock().unwrap();
        assert!(request.header("authorization").is_some());
        reply.status(202);
        match request.rpc().as_str() {
            "initialize" => say
                .send(result(&request.id(), initialize_result()))
                .unwrap(),
            "ask" => {
                say.send(result(&request.id(), r#"{"asked":true}"#))
                    .unwrap();
                // The test asks last.
                say.send(String::new()).unwrap();
            }
            _ => {}
        }
        true
    });
}

#[test]
fn servers_of_the_older_transport_are_signed_in_to_as_well() {
    for strategy in ["http-first", "sse-first", "sse-only"] {
        let site = Site::start(|_| {});
        older_transport(&site);
        let browser = Browser::new();
        let mut process = bridge(&site, &browser, &["--transport", strategy]);
        process.send(INITIALIZE);
        assert_eq!(browser.sign_in(1).status, 200, "{strategy}");
        let answer = process.recv();
        assert!(answer["result"].is_object(), "{strategy}: {answer}");
        process.send(INITIALIZED);
        works(&mut process);
        process.close_stdin();
        process.wait_exit();
        assert_eq!(browser.urls().len(), 1, "{strategy}");
    }
}
