//! A redirect that reaches the listener from elsewhere: a published port of a container, a proxy, a fixed registration.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, answer_of, get, try_get};
use crate::support::mcp::INITIALIZE;
use crate::support::sign_in::{
    authorization, bridge, error, free_port, says, sign_in, start, works,
};

/// GET as a proxy sends it; the status.
fn forwarded(port: &str, host: &str, target: &str) -> String {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    String::from_utf8_lossy(&head[9..]).into_owned()
}

/// The path and the query.
fn target(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url[url::Position::BeforePath..].to_owned()
}

#[test]
fn a_published_port_is_reached_by_address_and_by_no_other_name() {
    if !cfg!(target_os = "linux") {
        // Elsewhere 127.0.0.2 is not an address of the machine.
        return;
    }
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let port = free_port();
    let mut process = bridge(&site, &browser, &[&port, "--callback-bind", "0.0.0.0"]);
    process.send(INITIALIZE);
    let answer = answer_of(&browser.wait_for(1));
    assert!(answer.starts_with(&format!("http://localhost:{port}/oauth/callback?")));
    assert_eq!(
        forwarded(&port, &format!("evil.example:{port}"), &target(&answer)),
        "421"
    );
    let page = get(&answer.replace("localhost", "127.0.0.2"));
    assert_eq!(page.status, 200, "{page:?}");
    assert!(process.recv()["result"].is_object());
    process.finish();
    says(
        &process.stderr(),
        &["warning", "--callback-bind 0.0.0.0", "other machines"],
    );
}

#[test]
fn one_address_more_leaves_the_loopback_as_it_is() {
    if !cfg!(target_os = "linux") {
        // Elsewhere 127.0.0.2 is not an address of the machine.
        return;
    }
    for address in ["127.0.0.2", "::", "localhost"] {
        let site = Site::start(|_| {});
        let browser = Browser::new();
        let port = free_port();
        let mut process = bridge(&site, &browser, &[&port, "--callback-bind", address]);
        process.send(INITIALIZE);
        browser.wait_for(1);
        let there = try_get(&format!("http://127.0.0.2:{port}/")).map(|page| page.status);
        match address {
            "localhost" => drop(there.unwrap_err()),
            _ => assert_eq!(there.unwrap(), 404, "{address}"),
        }
        assert_eq!(browser.sign_in(1).status, 200, "{address}");
        assert!(process.recv()["result"].is_object());
        process.finish();
        let warns = process.stderr().contains("other machines");
        assert_eq!(warns, address == "::", "{address}");
    }
}

#[test]
fn instances_on_all_addresses_share_one_sign_in() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let port = free_port();
    let args = [port.as_str(), "--callback-bind", "0.0.0.0"];
    let mut leader = bridge(&site, &browser, &args);
    leader.send(INITIALIZE);
    browser.wait_for(1);
    let mut follower = start(&site, &args)
        .home(&leader.home)
        .browser(&browser)
        .go();
    follower.send(INITIALIZE);
    assert_eq!(browser.sign_in(1).status, 200);
    assert!(leader.recv()["result"].is_object());
    assert!(follower.recv()["result"].is_object());
    leader.finish();
    follower.finish();
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn an_address_of_another_machine_is_an_error_that_names_the_flag() {
    let site = Site::start(|_| {});
    let args = ["--callback-bind", "192.0.2.1"];
    let mut process = bridge(&site, &Browser::new(), &args);
    let text = error(&mut process);
    says(&text, &["no such address", "--callback-bind"]);
    process.finish();
}

#[test]
fn a_proxy_takes_the_redirect_to_the_listener() {
    const URI: &str = "https://proxy.example/mcp/cb";
    for (host, path) in [
        ("proxy.example", "/mcp/cb"),
        ("proxy.example:443", "/oauth/callback"),
        ("127.0.0.1:PORT", "/mcp/cb"),
        ("localhost:PORT", "/oauth/callback"),
    ] {
        let site = Site::start(|_| {});
        let browser = Browser::new();
        let port = free_port();
        let mut process = bridge(&site, &browser, &[&port, "--redirect-uri", URI]);
        process.send(INITIALIZE);
        assert_eq!(authorization(&browser, 1)["redirect_uri"], URI);
        let answer = answer_of(&browser.wait_for(1));
        assert!(answer.starts_with(URI), "{answer}");
        let target = target(&answer).replace("/mcp/cb", path);
        assert_eq!(forwarded(&port, "evil.example", &target), "421");
        let host = host.replace("PORT", &port);
        assert_eq!(forwarded(&port, &host, &target), "200", "{host}{path}");
        assert!(process.recv()["result"].is_object());
        process.finish();
        assert_eq!(site.forms("/token")[0]["redirect_uri"], URI);
    }
}

#[test]
fn the_listener_is_where_a_registration_for_this_machine_says() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let uri = format!("http://localhost:{}/registered/by?hand=1", free_port());
    let mut process = bridge(&site, &browser, &["--redirect-uri", &uri]);
    sign_in(&mut process, &browser);
    works(&mut process);
    process.finish();
    assert_eq!(authorization(&browser, 1)["redirect_uri"], uri);
    assert!(!process.stderr().contains("callback port may change"));
}

#[test]
fn another_redirect_uri_leads_to_another_registration() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    sign_in(&mut process, &browser);
    process.finish();
    site.expire_access_tokens();
    site.expire_refresh_tokens();
    let uri = format!("http://127.0.0.1:{}/cb", free_port());
    let mut process = start(&site, &["--redirect-uri", &uri])
        .home(&process.home)
        .browser(&browser)
        .go();
    process.send(INITIALIZE);
    assert_eq!(browser.sign_in(2).status, 200);
    assert!(process.recv()["result"].is_object());
    process.finish();
    site.pardon();
    assert_eq!(site.requests("/register").len(), 2);
}
