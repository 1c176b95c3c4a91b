//! Staying signed in: refresh ahead of time and on 401, one at a time, and never a browser without need.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, wait_until};
use crate::support::http::Reply;
use crate::support::mcp::INITIALIZE;
use crate::support::process::Process;
use crate::support::sign_in::{bridge, error_of, says, sign_in, signed_in, start, works};
use crate::support::store;
use crate::support::{Gate, TempDir};

/// Signed in, and then the access token is refused.
fn expired(site: &Site, browser: &Browser, args: &[&str]) -> Process {
    let process = signed_in(site, browser, args);
    site.expire_access_tokens();
    process
}

#[test]
fn a_refused_token_is_refreshed_and_the_request_repeated() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = expired(&site, &browser, &[]);
    works(&mut first);
    first.finish();
    // The second time with the token the first refresh gave.
    site.expire_access_tokens();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.handshake();
    works(&mut second);
    second.finish();
    let refreshed = site.grants("refresh_token");
    assert_eq!(refreshed.len(), 2);
    assert_ne!(refreshed[0]["refresh_token"], refreshed[1]["refresh_token"]);
    assert_eq!(browser.urls().len(), 1);
}

/// A code is good for once: it is not given up after the 10 s that a document gets.
#[test]
fn a_token_request_has_the_time_limit_of_a_response() {
    let site = Site::start(|_| {});
    let slow = Gate::default();
    let waits = slow.clone();
    site.on("/token", move |_, _| {
        waits.wait_for(Duration::from_secs(3));
        false
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--headers-timeout", "1"]);
    process.send(INITIALIZE);
    browser.sign_in(1);
    says(&error_of(&process.recv()), &["/token", "in time"]);
    slow.open();
    process.finish();
    assert_eq!(site.forms("/token").len(), 1);
}

#[test]
fn a_refresh_token_that_is_not_replaced_is_kept() {
    let site = Site::start(|rules| rules.rotates = false);
    let browser = Browser::new();
    let mut first = expired(&site, &browser, &[]);
    works(&mut first);
    first.finish();
    site.expire_access_tokens();
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.handshake();
    works(&mut second);
    second.finish();
    assert_eq!(site.grants("refresh_token").len(), 2);
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn a_token_that_worked_is_refreshed_again_however_short_it_lived() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = expired(&site, &browser, &[]);
    works(&mut process);
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    assert_eq!(browser.urls().len(), 1);
    assert_eq!(site.grants("refresh_token").len(), 2);
}

/// The process is stopped as a sleeping machine stops it. What a night does to it has happened when it wakes up.
#[cfg(unix)]
#[test]
fn after_a_night_streams_are_open_again_tokens_refreshed_once_and_nobody_is_asked() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let (morning, streams) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let (to_stream, opened) = (morning.clone(), Arc::clone(&streams));
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let token = Arc::clone(&accepted);
    site.on("/mcp", move |request, reply| {
        let is_stream = request.method == "GET";
        if is_stream && request.header("authorization").is_some() {
            let bearer = request.header("authorization").map(str::to_owned);
            let yesterday = token.lock().unwrap().first() == Some(&bearer);
            if to_stream.is_open() && yesterday {
                return false;
            }
            token.lock().unwrap().push(bearer);
            opened.fetch_add(1, Ordering::SeqCst);
            reply.sse();
            reply.chunk(": good evening\n\n");
            if to_stream.is_open() {
                reply.event(r#"{"jsonrpc":"2.0","method":"notifications/good_morning"}"#);
                reply.wait_until_peer_leaves();
            } else {
                to_stream.wait();
                reply.hang_up();
            }
        }
        is_stream
    });
    let mut process = signed_in(&site, &browser, &[]);
    wait_until("the first stream", || {
        (streams.load(Ordering::SeqCst) == 1).then_some(())
    });
    works(&mut process);
    process.signal("STOP");
    site.expire_access_tokens();
    morning.open();
    // The server has closed its streams when the machine wakes up.
    Gate::default().wait_for(Duration::from_secs(2));
    process.signal("CONT");
    // Nothing is asked by the client: the stream comes back by itself, with another token.
    assert_eq!(process.recv()["method"], "notifications/good_morning");
    works(&mut process);
    process.finish();
    assert_eq!(site.grants("refresh_token").len(), 1);
    assert_eq!(browser.urls().len(), 1);
    let tokens = accepted.lock().unwrap();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{tokens:?}");
}

#[test]
fn ten_refused_requests_cause_one_refresh_and_get_ten_answers() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = expired(&site, &browser, &[]);
    // None is refused before all have come.
    let waiting = Arc::new(AtomicUsize::new(0));
    site.on("/mcp", move |request, _| {
        if request.rpc() == "ask" && waiting.fetch_add(1, Ordering::SeqCst) < 10 {
            wait_until("ten requests at once", || {
                (waiting.load(Ordering::SeqCst) >= 10).then_some(())
            });
        }
        false
    });
    for id in 0..10 {
        process.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#));
    }
    let mut ids: Vec<i64> = (0..10)
        .map(|_| {
            let answer = process.recv();
            assert_eq!(answer["result"]["asked"], true, "{answer}");
            answer["id"].as_i64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..10).collect::<Vec<i64>>());
    process.finish();
    assert_eq!(site.grants("refresh_token").len(), 1);
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn the_newest_token_is_on_disk_before_it_is_used() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let home = Arc::new(TempDir::new());
    let (dir, url) = (Arc::clone(&home), site.url());
    site.on("/mcp", move |request, _| {
        if let Some(bearer) = request.header("authorization") {
            let stored = store::read(&dir, &url, "tokens.json");
            let stored = stored["access_token"].as_str().unwrap_or("nothing");
            assert_eq!(bearer, format!("Bearer {stored}"));
        }
        false
    });
    let mut process = start(&site, &[]).browser(&browser).home(&home).go();
    sign_in(&mut process, &browser);
    site.change(|rules| rules.token = json!({"expires_in": 1}));
    works(&mut process);
    process.finish();
}

/// Makes the stored token end in so many seconds; its life is an hour.
fn ends_in(home: &TempDir, url: &str, seconds: i64) {
    let mut tokens = store::read(home, url, "tokens.json");
    let at = tokens["expires_at"].as_i64().unwrap();
    tokens["expires_at"] = json!(at - (3600 - seconds) * 1000);
    store::write(home, url, "tokens.json", &tokens.to_string());
}

#[test]
fn a_token_near_its_end_is_refreshed_before_it_is_refused() {
    for seconds in [10, -1000] {
        let site = Site::start(|_| {});
        let browser = Browser::new();
        let mut first = signed_in(&site, &browser, &[]);
        first.finish();
        ends_in(&first.home, &site.url(), seconds);
        let asked = site.requests("/mcp").len();
        let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
        second.handshake();
        second.finish();
        assert_eq!(site.grants("refresh_token").len(), 1);
        let fresh = store::read(&second.home, &site.url(), "tokens.json");
        let bearer = format!("Bearer {}", fresh["access_token"].as_str().unwrap());
        let requests = site.requests("/mcp").split_off(asked);
        for request in requests {
            let sent = request.header("authorization");
            assert_eq!(sent, Some(bearer.as_str()), "{}", request.what());
        }
        assert_eq!(browser.urls().len(), 1);
    }
}

#[test]
fn a_short_lived_token_is_not_refreshed_with_every_request() {
    let site = Site::start(|rules| rules.token = json!({"expires_in": 60}));
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    for _ in 0..5 {
        works(&mut process);
    }
    process.finish();
    assert_eq!(site.grants("refresh_token").len(), 0);
}

#[test]
fn the_life_of_a_token_may_be_written_in_any_way() {
    for life in [
        json!("3600"),
        json!(null),
        json!(0),
        json!(9_007_199_254_740_993_u64),
        json!(3599.9),
        json!("soon"),
        json!(-5),
    ] {
        let site = Site::start(|rules| rules.token = json!({"expires_in": life}));
        let browser = Browser::new();
        let mut process = signed_in(&site, &browser, &[]);
        works(&mut process);
        process.finish();
        let tokens = store::read(&process.home, &site.url(), "tokens.json");
        assert!(tokens["access_token"].is_string(), "{life}: {tokens}");
        assert_eq!(browser.urls().len(), 1, "{life}");
    }
}

#[test]
fn a_token_endpoint_with_a_hiccup_is_asked_again() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = expired(&site, &browser, &[]);
    let count = AtomicUsize::new(0);
    site.on("/token", move |_, reply| {
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => reply.full(503, "content-type: text/html\r\n", "<h1>busy</h1>"),
            1 => reply.hang_up(),
            _ => return false,
        }
        true
    });
    works(&mut process);
    process.finish();
    assert_eq!(browser.urls().len(), 1);
}

/// What a token endpoint in trouble does.
type Trouble = fn(&mut Reply<'_>);

/// A site whose token endpoint gets into this trouble after the sign-in.
fn in_trouble(browser: &Browser, trouble: Trouble) -> (Site, Process) {
    let site = Site::start(|_| {});
    let process = expired(&site, browser, &[]);
    site.on("/token", move |_, reply| {
        trouble(reply);
        true
    });
    (site, process)
}

fn refresh_token(site: &Site, process: &Process) -> String {
    let tokens = store::read(&process.home, &site.url(), "tokens.json");
    tokens["refresh_token"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_endpoint_in_trouble_opens_no_browser_and_costs_no_token() {
    let troubles: [Trouble; 4] = [
        |reply| reply.full(500, "", "down"),
        |reply| reply.hang_up(),
        |reply| {
            let body = r#"{"error":"temporarily_unavailable"}"#;
            reply.full(400, "content-type: application/json\r\n", body);
        },
        |reply| reply.full(429, "retry-after: 0\r\n", "later"),
    ];
    // Side by side: each waits for a second attempt.
    std::thread::scope(|scope| {
        for trouble in troubles {
            scope.spawn(move || {
                let browser = Browser::new();
                let site = Site::start(|_| {});
                let mut process = expired(&site, &browser, &[]);
                let before = refresh_token(&site, &process);
                // The trouble passes; what is redeemed then is what was stored before it.
                let (count, redeemed) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
                let seen = Arc::clone(&redeemed);
                site.on("/token", move |request, reply| {
                    let mut form = url::form_urlencoded::parse(request.body.as_bytes());
                    let token = form.find(|(name, _)| name == "refresh_token");
                    seen.lock()
                        .unwrap()
                        .extend(token.map(|token| token.1.into_owned()));
                    let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
                    if is_first {
                        trouble(reply);
                    }
                    is_first
                });
                let answer = process.ask("1");
                assert_eq!(answer["result"]["asked"], true, "{answer}");
                assert_eq!(*redeemed.lock().unwrap(), [before.clone(), before]);
                process.finish();
                assert_eq!(browser.urls().len(), 1);
            });
        }
    });
}

#[test]
fn a_token_endpoint_that_stays_in_trouble_is_named_and_the_tokens_are_kept() {
    let browser = Browser::new();
    let (site, mut process) = in_trouble(&browser, |reply| reply.hang_up());
    let before = refresh_token(&site, &process);
    says(&error_of(&process.ask("1")), &["/token"]);
    assert_eq!(refresh_token(&site, &process), before);
    site.off("/token");
    works(&mut process);
    process.finish();
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn a_dead_grant_leads_to_one_new_sign_in() {
    for code in ["invalid_grant", "invalid_client"] {
        let site = Site::start(|_| {});
        let browser = Browser::new();
        let mut process = expired(&site, &browser, &[]);
        site.change(|rules| rules.refuses_refresh = Some(code.to_owned()));
        process.send(r#"{"jsonrpc":"2.0","id":1,"method":"ask"}"#);
        assert_eq!(browser.sign_in(2).status, 200, "{code}");
        let answer = process.recv();
        assert_eq!(answer["result"]["asked"], true, "{answer}");
        process.finish();
        assert_eq!(browser.urls().len(), 2);
        assert_eq!(site.grants("refresh_token").len(), 1, "{code}");
    }
}

#[test]
fn a_token_that_is_refused_at_once_ends_in_words_not_in_a_loop() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    site.on("/mcp", |_, reply| {
        reply.full(
            401,
            "www-authenticate: Bearer error=\"invalid_token\"\r\n",
            "",
        );
        true
    });
    let mut process = bridge(&site, &browser, &["--auth-timeout", "2"]);
    process.send(INITIALIZE);
    let mut windows = 0;
    let answer = loop {
        if browser.urls().len() > windows {
            windows += 1;
            browser.sign_in(windows);
        }
        if let Some(answer) = process.try_recv(std::time::Duration::from_millis(100)) {
            break answer;
        }
        assert!(windows < 4, "{windows} windows");
    };
    says(&error_of(&answer), &["401"]);
    process.finish();
    assert!(windows <= 2, "{windows} windows");
    assert!(site.requests("/token").len() <= 5);
}

#[test]
fn a_refused_stream_is_refreshed_without_a_person() {
    let site = Site::start(|_| {});
    let count = AtomicUsize::new(0);
    site.on("/mcp", move |request, reply| {
        if request.method != "GET" {
            return false;
        }
        match count.fetch_add(1, Ordering::Relaxed) {
            0 => {
                reply.sse();
                reply.chunk("retry: 10\n\n");
            }
            1 => reply.full(
                401,
                "www-authenticate: Bearer error=\"invalid_token\"\r\n",
                "",
            ),
            _ => {
                reply.sse();
                reply.event(r#"{"jsonrpc":"2.0","method":"notifications/again"}"#);
                reply.wait_until_peer_leaves();
            }
        }
        true
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    assert_eq!(process.recv()["method"], "notifications/again");
    assert_eq!(site.grants("refresh_token").len(), 1);
    assert_eq!(browser.urls().len(), 1);
    process.finish();
}

#[test]
fn a_refused_stream_opens_no_browser_by_itself() {
    let site = Site::start(|rules| rules.refuses_refresh = Some("invalid_grant".to_owned()));
    let count = AtomicUsize::new(0);
    let browser = Browser::new();
    site.on("/mcp", move |request, reply| {
        let is_stream = request.method == "GET";
        if is_stream && count.fetch_add(1, Ordering::Relaxed) == 0 {
            reply.sse();
            reply.chunk("retry: 10\n\n");
        } else if is_stream {
            reply.full(
                401,
                "www-authenticate: Bearer error=\"invalid_token\"\r\n",
                "",
            );
        }
        is_stream
    });
    let mut process = signed_in(&site, &browser, &[]);
    site.expire_access_tokens();
    wait_until("the refresh", || {
        (!site.grants("refresh_token").is_empty()).then_some(())
    });
    assert!(
        process
            .try_recv(std::time::Duration::from_millis(300))
            .is_none()
    );
    assert_eq!(browser.urls().len(), 1);
    // The next request is a person's.
    process.send(r#"{"jsonrpc":"2.0","id":1,"method":"ask"}"#);
    assert_eq!(browser.sign_in(2).status, 200);
    assert_eq!(process.recv()["result"]["asked"], true);
    process.finish();
}
