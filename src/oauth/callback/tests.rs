use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::server::bind;
use super::*;

const SOON: Duration = Duration::from_secs(10);

fn hash() -> ServerHash {
    ServerHash::parse("94baabe3c3fadb285b26c035e4e86046").unwrap()
}

fn other_hash() -> ServerHash {
    ServerHash::parse("494d19bc05f3885edf847e391b7f9153").unwrap()
}

fn place(port: u16, strict: bool) -> Place {
    Place {
        port,
        strict,
        host: "localhost".to_owned(),
        path: "/oauth/callback".to_owned(),
        address: None,
        redirect_uri: None,
        server: "https://a.test/mcp".to_owned(),
    }
}

fn listening(bound: Bound) -> Listener {
    match bound {
        Bound::Listening(listener) => listener,
        other => panic!("{other:?}"),
    }
}

fn listener() -> Listener {
    listening(Listener::bind(&place(0, true), &hash()).unwrap())
}

/// Eight free ports in a row, below those the system hands out.
fn free_ports() -> u16 {
    let seed = crate::store::test_dir::TestDir::new();
    let name = seed.path().to_string_lossy().into_owned();
    let start = name.bytes().fold(0u16, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    (0..1000)
        .map(|step| 10_000 + (start % 1000 + step) * 20 % 20_000)
        .find(|first| (*first..first + PORTS).all(|port| bind(port, false, None).is_ok()))
        .unwrap()
}

fn connect(listener: &Listener) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", listener.port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn send(listener: &Listener, line: &str) -> TcpStream {
    let mut stream = connect(listener);
    let port = listener.port();
    // In one piece: tiny_http closes at an invalid line, and unread bytes would take its response back.
    let head = format!("{line} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn response(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn status(text: &str) -> &str {
    text.split(' ').nth(1).unwrap_or_default()
}

fn ask(listener: &Listener, line: &str) -> String {
    response(send(listener, line))
}

#[test]
fn a_callback_is_handed_over_and_the_browser_waits_for_its_page() {
    let listener = listener();
    let browser = send(
        &listener,
        "GET /oauth/callback?code=c%2B1+2&state=s&iss=https%3A%2F%2Fas.test&x=y",
    );
    let callback = listener.next(SOON).unwrap();
    assert_eq!(callback.code.as_ref().unwrap().expose(), "c+1 2");
    assert_eq!(callback.state.as_deref(), Some("s"));
    assert_eq!(callback.iss.as_deref(), Some("https://as.test"));
    assert!(callback.error.is_none());
    assert!(!format!("{callback:?}").contains("c+1"));
    callback
        .responder
        .page(&Page::signed_in("https://a.test/mcp"));
    let text = response(browser);
    assert_eq!(status(&text), "200");
    assert!(text.contains("You are signed in"));
}

#[test]
fn an_error_is_handed_over_with_its_description() {
    let listener = listener();
    let browser = send(
        &listener,
        "GET /oauth/callback?error=access_denied&error_description=not+today&state=s",
    );
    let callback = listener.next(SOON).unwrap();
    assert_eq!(callback.error.as_deref(), Some("access_denied"));
    assert_eq!(callback.error_description.as_deref(), Some("not today"));
    callback
        .responder
        .page(&Page::declined("s", Some("not today")));
    assert_eq!(status(&response(browser)), "400");
}

#[test]
fn a_refused_callback_leaves_the_next_one_its_turn() {
    let listener = listener();
    let stranger = send(&listener, "GET /oauth/callback?code=evil&state=guess");
    listener
        .next(SOON)
        .unwrap()
        .responder
        .page(&Page::unknown("s"));
    assert_eq!(status(&response(stranger)), "400");
    let browser = send(&listener, "GET /oauth/callback?code=c&state=s");
    let to = Url::parse("https://a.test/done").unwrap();
    listener.next(SOON).unwrap().responder.redirect(&to);
    let text = response(browser);
    assert_eq!(status(&text), "303");
    assert!(text.contains("\r\nLocation: https://a.test/done\r\n"));
}

#[test]
fn what_is_no_authorization_response_is_refused_without_the_flow() {
    let listener = listener();
    for query in [
        "",
        "?",
        "?state=s",
        "?code=&state=s",
        "?code=a&code=b&state=s",
        "?code=a&state=s&state=t",
        "?code=a&state=s&iss=i&iss=j",
    ] {
        let text = ask(&listener, &format!("GET /oauth/callback{query}"));
        assert_eq!(status(&text), "400", "{query}");
    }
    let head = ask(&listener, "HEAD /oauth/callback?code=c&state=s");
    assert!(status(&head) == "200" && head.ends_with("\r\n\r\n"));
    assert!(listener.next(Duration::ZERO).is_none());
}

#[test]
fn other_paths_methods_and_hosts_get_nothing() {
    let listener = listener();
    for (line, expected) in [
        ("GET /", "404"),
        ("GET /oauth/callback/?code=c&state=s", "404"),
        ("GET /favicon.ico", "404"),
        ("POST /oauth/callback?code=c&state=s", "405"),
        ("OPTIONS /.mcp-remote/id", "405"),
        ("GET http://evil.test/", "400"),
        ("nonsense", "400"),
    ] {
        assert_eq!(status(&ask(&listener, line)), expected, "{line}");
    }
    let mut rebound = connect(&listener);
    let port = listener.port();
    write!(
        rebound,
        "GET /oauth/callback?code=c&state=s HTTP/1.1\r\nHost: evil.test:{port}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    assert_eq!(status(&response(rebound)), "421");
    assert!(listener.next(Duration::ZERO).is_none());
}

#[test]
fn nothing_of_a_request_is_repeated() {
    let listener = listener();
    for line in [
        "GET /reflect-me?reflect-me",
        "reflect-me /",
        "GET /oauth/callback?reflect-me=1",
    ] {
        assert!(!ask(&listener, line).contains("reflect"), "{line}");
    }
}

#[test]
fn another_instance_learns_whose_sign_in_this_is() {
    let listener = listener();
    let text = ask(&listener, "GET /.mcp-remote/id");
    assert!(text.contains("application/json"));
    assert!(
        text.ends_with(r#"{"mcpRemote":true,"serverUrlHash":"94baabe3c3fadb285b26c035e4e86046"}"#)
    );
    assert!(is_sibling(listener.port(), &hash()));
    assert!(!is_sibling(listener.port(), &other_hash()));
}

#[test]
fn whoever_comes_second_finds_the_sibling() {
    let first = free_ports();
    let leader = listening(Listener::bind(&place(first, false), &hash()).unwrap());
    assert_eq!(leader.port(), first);
    for strict in [true, false] {
        let bound = Listener::bind(&place(first, strict), &hash()).unwrap();
        assert!(matches!(bound, Bound::SiblingAt(port) if port == first));
    }
    drop(leader);
    let next = listening(Listener::bind(&place(first, true), &hash()).unwrap());
    assert_eq!(next.port(), first);
}

#[test]
fn a_strangers_port_is_walked_around_unless_it_was_asked_for() {
    let first = free_ports();
    let _stranger = bind(first, false, None).unwrap();
    let of_another_server =
        listening(Listener::bind(&place(first + 1, true), &other_hash()).unwrap());
    let walked = listening(Listener::bind(&place(first, false), &hash()).unwrap());
    assert_eq!(walked.port(), first + 2);
    let bound = Listener::bind(&place(first, false), &hash()).unwrap();
    assert!(matches!(bound, Bound::SiblingAt(port) if port == first + 2));
    let error = Listener::bind(&place(first + 1, true), &hash()).unwrap_err();
    assert_eq!(error.kind(), Kind::SignIn);
    assert_eq!(
        error.what(),
        format!("callback port {} is in use by another program", first + 1)
    );
    drop(of_another_server);
}

#[test]
fn with_all_ports_taken_the_range_is_named() {
    let first = free_ports();
    let _taken: Vec<_> = (first..first + PORTS)
        .map(|port| listening(Listener::bind(&place(port, true), &other_hash()).unwrap()))
        .collect();
    let error = Listener::bind(&place(first, false), &hash()).unwrap_err();
    let last = first + PORTS - 1;
    assert_eq!(
        error.what(),
        format!("none of the callback ports {first} to {last} is free")
    );
    assert!(error.hint().is_some());
}

#[test]
fn an_earlier_siblings_port_wins_after_we_have_bound() {
    // A stranger on the first port goes, and a sibling comes there, while we walk on to the second.
    let first = free_ports();
    let stranger = bind(first, false, None).unwrap();
    let sibling = thread::spawn(move || {
        // Holds the probe of the port up until the stranger is replaced.
        let (stream, _) = stranger[0].0.accept().unwrap();
        drop(stranger);
        let listener = listening(Listener::bind(&place(first, true), &hash()).unwrap());
        drop(stream);
        thread::sleep(Duration::from_secs(2));
        drop(listener);
    });
    let bound = Listener::bind(&place(first, false), &hash()).unwrap();
    assert!(
        matches!(bound, Bound::SiblingAt(port) if port == first),
        "{bound:?}"
    );
    sibling.join().unwrap();
}

#[test]
fn localhost_is_also_the_ipv6_address() {
    let listener = listener();
    let Ok(mut stream) = TcpStream::connect(("::1", listener.port())) else {
        assert!(TcpListener::bind(("::1", 0)).is_err(), "there is IPv6 here");
        return;
    };
    let port = listener.port();
    write!(
        stream,
        "GET /.mcp-remote/id HTTP/1.1\r\nHost: [::1]:{port}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    assert_eq!(status(&response(stream)), "200");
}

#[test]
fn idle_and_broken_connections_do_not_keep_the_browser_out() {
    let listener = listener();
    let mut idle: Vec<TcpStream> = (0..100).map(|_| connect(&listener)).collect();
    for stream in idle.iter_mut().skip(50) {
        write!(stream, "GET /oauth/call").ok();
    }
    for _ in 0..20 {
        assert_eq!(status(&ask(&listener, "GET /.mcp-remote/id")), "200");
    }
    // These go without reading their response.
    for _ in 0..100 {
        connect(&listener).write_all(b"GET / HTTP/1.1\r\n\r\n").ok();
    }
    let begun = Instant::now();
    let browser = send(&listener, "GET /oauth/callback?code=c&state=s");
    let callback = listener.next(SOON).unwrap();
    callback.responder.page(&Page::signed_in("s"));
    assert_eq!(status(&response(browser)), "200");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_peer_that_sends_requests_and_reads_nothing_does_not_keep_the_browser_out() {
    let listener = listener();
    let mut greedy = connect(&listener);
    let timeout = Some(Duration::from_secs(1));
    greedy.set_write_timeout(timeout).unwrap();
    let port = listener.port();
    let request = format!("GET /oauth/callback HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    // More responses than the buffers of the connection take.
    greedy.write_all(request.repeat(3000).as_bytes()).ok();
    for code in ["c", "d"] {
        let browser = send(
            &listener,
            &format!("GET /oauth/callback?code={code}&state=s"),
        );
        let callback = listener.next(SOON).unwrap();
        callback.responder.page(&Page::signed_in("s"));
        assert_eq!(status(&response(browser)), "200");
    }
}

#[test]
fn without_a_sign_in_the_port_says_so_and_leads_nothing() {
    let listener = listener();
    let mut early = connect(&listener);
    let port = listener.port();
    drop(listener);
    assert!(!is_sibling(port, &hash()));
    write!(
        early,
        "GET /oauth/callback?code=c&state=s HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let text = response(early);
    assert_eq!(status(&text), "400");
    assert!(text.contains("not valid any more"), "{text}");
}

#[test]
fn a_connection_that_was_opened_before_carries_the_next_callback() {
    let first = listener();
    let port = first.port();
    let mut browsers: Vec<TcpStream> = (0..6).map(|_| connect(&first)).collect();
    drop(first);
    let second = listening(Listener::bind(&place(port, true), &other_hash()).unwrap());
    assert!(is_sibling(port, &other_hash()));
    for browser in &mut browsers {
        write!(
            browser,
            "GET /oauth/callback?code=c&state=s HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let callback = second.next(SOON).unwrap();
        callback.responder.page(&Page::signed_in("s"));
    }
    for browser in browsers {
        assert_eq!(status(&response(browser)), "200");
    }
}

#[test]
fn a_port_without_a_sign_in_is_given_to_an_instance_that_asks_for_it() {
    let listener = listener();
    let port = listener.port();
    assert_eq!(sibling::claim(port, &other_hash()), Holder::Other);
    drop(listener);
    assert!(bind(port, true, None).is_err());
    assert_eq!(sibling::claim(port, &other_hash()), Holder::Leaving);
    let begun = Instant::now();
    while bind(port, true, None).is_err() {
        assert!(begun.elapsed() < LEAVING_TIMEOUT);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_flood_of_callbacks_ends_in_answers() {
    let listener = listener();
    let browsers: Vec<TcpStream> = (0..MAX_WAITING + 8)
        .map(|n| send(&listener, &format!("GET /oauth/callback?code={n}&state=s")))
        .collect();
    thread::sleep(Duration::from_millis(300));
    drop(listener);
    for browser in browsers {
        assert_eq!(status(&response(browser)), "503");
    }
}

#[test]
fn an_answer_under_way_outlives_the_listener_and_a_forgotten_one_says_so() {
    let listener = listener();
    let (first, second) = (
        send(&listener, "GET /oauth/callback?code=1&state=s"),
        send(&listener, "GET /oauth/callback?code=2&state=s"),
    );
    let (one, two) = (listener.next(SOON).unwrap(), listener.next(SOON).unwrap());
    drop(listener);
    let (kept, forgotten, kept_browser, forgotten_browser) =
        if one.code.as_ref().unwrap().expose() == "1" {
            (one, two, first, second)
        } else {
            (two, one, first, second)
        };
    drop(forgotten);
    kept.responder.page(&Page::signed_in("s"));
    assert_eq!(status(&response(kept_browser)), "200");
    let text = response(forgotten_browser);
    assert!(status(&text) == "503" && text.contains("interrupted"));
}

#[test]
fn a_browser_that_left_is_no_trouble() {
    let listener = listener();
    drop(send(&listener, "GET /oauth/callback?code=c&state=s"));
    listener
        .next(SOON)
        .unwrap()
        .responder
        .page(&Page::signed_in("s"));
}

#[test]
fn waiting_ends_with_its_time() {
    let listener = listener();
    assert!(listener.next(Duration::from_millis(20)).is_none());
}

#[test]
fn a_port_that_cannot_be_had_is_told_with_what_helps() {
    let said = |kind: io::ErrorKind| {
        let error = port_refused(80, &kind.into());
        (
            error.what().to_owned(),
            error.hint().unwrap_or_default().to_owned(),
        )
    };
    let (taken, hint) = said(io::ErrorKind::AddrInUse);
    assert_eq!(taken, "callback port 80 is in use by another program");
    assert!(hint.starts_with("close that program"));
    let (refused, hint) = said(io::ErrorKind::PermissionDenied);
    assert_eq!(
        refused,
        "cannot listen on callback port 80: permission denied"
    );
    assert!(!hint.contains("close"), "{hint}");
}
