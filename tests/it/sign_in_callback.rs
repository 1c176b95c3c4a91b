//! What comes to the loopback listener, from the person's browser and from others.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::Gate;
use crate::support::authorization_server::{Site, query};
use crate::support::browser::{Browser, altered, answer_of, get, request, try_get, wait_until};
use crate::support::mcp::INITIALIZE;
use crate::support::sign_in::{authorization, bridge, error_of, says, signed_in, works};

/// The port of a redirect URI.
fn port_of(redirect: &str) -> u16 {
    url::Url::parse(redirect).unwrap().port().unwrap()
}

#[test]
fn a_wrong_or_missing_state_is_refused_and_changes_nothing() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let answer = answer_of(&browser.wait_for(1));
    let state = query(&answer)["state"].clone();
    let longer = format!("{state}x");
    for wrong in [None, Some(""), Some("x"), Some(&state[1..]), Some(&longer)] {
        let page = get(&altered(&answer, "state", wrong));
        assert_eq!(page.status, 400, "{wrong:?}");
        says(&page.text, &["not valid"]);
    }
    // An error without the state is nobody's, too.
    let error = altered(
        &altered(&answer, "code", None),
        "error",
        Some("access_denied"),
    );
    assert_eq!(get(&altered(&error, "state", None)).status, 400);
    assert_eq!(site.requests("/token").len(), 0);
    assert_eq!(get(&answer).status, 200);
    assert!(process.recv()["result"].is_object());
    process.finish();
    assert_eq!(site.requests("/token").len(), 1);
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn a_person_who_declines_gets_a_page_and_the_client_the_reason_at_once() {
    let site = Site::start(|rules| rules.denies = true);
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let page = browser.sign_in(1);
    assert_eq!(page.status, 400);
    says(&page.text, &["not signed in", "declined"]);
    let answer = process.recv();
    says(
        &answer["error"]["message"].to_string(),
        &["access_denied", "the owner said no"],
    );
    process.finish();
    assert_eq!(site.requests("/token").len(), 0);
}

#[test]
fn text_from_the_authorization_server_becomes_no_markup_and_no_control_characters() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let answer = answer_of(&browser.wait_for(1));
    let error = altered(
        &altered(&answer, "code", None),
        "error",
        Some("access_denied"),
    );
    let evil = "<img src=x onerror=alert(1)>\u{1b}[31m\nInjected: line";
    let page = get(&altered(&error, "error_description", Some(evil)));
    assert!(!page.text.contains("<img"), "{}", page.text);
    assert!(!page.headers.contains("Injected"), "{}", page.headers);
    let text = process.recv().to_string();
    assert!(
        !text.contains('\u{1b}') && !text.contains("\\u001b"),
        "{text}"
    );
    process.finish();
    let stderr = process.stderr();
    assert!(
        !stderr.contains('\u{1b}') && !stderr.contains("\nInjected"),
        "{stderr}"
    );
}

#[test]
fn an_answer_from_another_issuer_is_not_used() {
    for iss in [Some("https://evil.example"), Some(""), None] {
        let site = Site::start(|_| {});
        let browser = Browser::new();
        let mut process = bridge(&site, &browser, &["--auth-timeout", "2"]);
        process.send(INITIALIZE);
        let answer = answer_of(&browser.wait_for(1));
        let page = get(&altered(&answer, "iss", iss));
        assert!(page.status >= 400, "{iss:?}: {page:?}");
        let answer = process.recv();
        assert!(answer["error"].is_object(), "{answer}");
        process.finish();
        assert_eq!(site.requests("/token").len(), 0, "{iss:?}");
    }
}

#[test]
fn an_error_from_another_issuer_is_not_shown() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--auth-timeout", "2"]);
    process.send(INITIALIZE);
    let answer = altered(&answer_of(&browser.wait_for(1)), "code", None);
    let answer = altered(&answer, "error", Some("access_denied"));
    let answer = altered(&answer, "error_description", Some("call 555-0100"));
    let page = get(&altered(&answer, "iss", Some("https://evil.example")));
    assert!(page.status >= 400);
    assert!(!page.text.contains("555-0100"), "{}", page.text);
    let text = process.recv().to_string();
    assert!(!text.contains("555-0100"), "{text}");
    process.finish();
    assert!(!process.stderr().contains("555-0100"));
}

#[test]
fn without_iss_support_an_answer_needs_no_iss() {
    let site = Site::start(|rules| {
        rules.iss = None;
        rules.server_document()["authorization_response_iss_parameter_supported"] = false.into();
    });
    let mut process = signed_in(&site, &Browser::new(), &[]);
    process.finish();
}

#[test]
fn a_callback_that_comes_twice_redeems_one_code() {
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
    let answer = answer_of(&browser.wait_for(1));
    let visit = |url: String| std::thread::spawn(move || try_get(&url));
    let first = visit(answer.clone());
    asked.wait();
    let second = visit(answer);
    go_on.open();
    assert_eq!(first.join().unwrap().unwrap().status, 200);
    // It is answered, however that may be, or comes after the end and finds nobody.
    match second.join().unwrap() {
        Ok(page) => assert!(page.status > 0),
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}"),
    }
    assert!(process.recv()["result"].is_object());
    process.finish();
    assert_eq!(site.requests("/token").len(), 1);
}

#[test]
fn the_listener_knows_its_paths_its_host_and_get_only() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let answer = answer_of(&browser.wait_for(1));
    let port = port_of(&answer);
    assert_eq!(get(&format!("http://127.0.0.1:{port}/")).status, 404);
    assert!(
        request("POST", &answer, "content-length: 0\r\n\r\n")
            .unwrap()
            .status
            >= 400
    );
    // A page whose name was made to point here: everything is right but the name.
    let target = answer.split_once(&format!(":{port}")).unwrap().1;
    for host in ["evil.example".to_owned(), format!("evil.example:{port}")] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status[9..], b"421");
    }
    let id = get(&format!("http://127.0.0.1:{port}/.mcp-remote/id"));
    says(
        &id.text,
        &["mcpRemote", &crate::support::store::hash(&site.url())],
    );
    assert_eq!(get(&answer).status, 200);
    assert!(process.recv()["result"].is_object());
    process.finish();
}

#[test]
fn the_listener_is_there_before_the_browser_and_accepts_no_code_after_the_sign_in() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let redirect = authorization(&browser, 1)["redirect_uri"].clone();
    let port = port_of(&redirect);
    for host in ["127.0.0.1", "[::1]"] {
        let page = try_get(&format!("http://{host}:{port}/oauth/callback"));
        // There may be no IPv6 here.
        let is_refused = page.as_ref().is_ok_and(|page| page.status == 400);
        assert!(is_refused || host == "[::1]", "{host}: {page:?}");
    }
    assert_eq!(browser.sign_in(1).status, 200);
    assert!(process.recv()["result"].is_object());
    works(&mut process);
    let late = get(&format!("{redirect}?code=c&state=s"));
    assert_eq!(late.status, 400);
    says(&late.text, &["not valid any more"]);
    let id = format!("http://127.0.0.1:{port}/.mcp-remote/id");
    assert_eq!(get(&id).text, "{\"mcpRemote\":false}");
    // An instance that wants the port gets it.
    request("GET", &id, "mcp-remote-claim: 1\r\n\r\n").unwrap();
    wait_until("the port to be free", || {
        try_get(&redirect).is_err().then_some(())
    });
    process.finish();
}

#[test]
fn a_silent_connection_does_not_keep_the_person_out() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let answer = answer_of(&browser.wait_for(1));
    let silent: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", port_of(&answer))).unwrap())
        .collect();
    assert_eq!(get(&answer).status, 200);
    assert!(process.recv()["result"].is_object());
    drop(silent);
    process.finish();
}

/// The server may have redeemed it: a second one is a theft to it, and ends what the first one gave (RFC 6749 4.1.2).
#[test]
fn a_code_whose_answer_was_lost_is_not_sent_again() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    site.on("/token", |_, reply| {
        reply.hang_up();
        true
    });
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let page = browser.sign_in(1);
    says(&page.text, &["closed the connection without an answer"]);
    let answer = process.recv();
    says(
        &error_of(&answer),
        &["closed the connection without an answer"],
    );
    assert_eq!(site.requests("/token").len(), 1);
    // And the next sign-in works.
    site.off("/token");
    process.send(&INITIALIZE.replace("\"id\":0", "\"id\":1"));
    browser.sign_in(2);
    assert!(process.recv()["result"].is_object());
    process.finish();
}
