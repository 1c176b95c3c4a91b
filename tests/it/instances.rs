//! Several instances for one server: one window, one refresh, all of them signed in.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, try_get, visit, wait_until};
use crate::support::mcp::{INITIALIZE, INITIALIZED};
use crate::support::process::Process;
use crate::support::sign_in::{
    authorization, bridge, error_of, says, sign_in, signed_in, start, works,
};
use crate::support::{Gate, TempDir, store};

/// A second instance in the home of the first, after `initialize` was refused by the server.
fn follower(site: &Site, browser: &Browser, home: &Arc<TempDir>) -> Process {
    let before = site.requests("/mcp").len();
    let mut process = start(site, &[]).browser(browser).home(home).go();
    process.send(INITIALIZE);
    site.wait_for("/mcp", before + 1);
    process
}

fn connected(process: &mut Process) {
    let answer = process.recv();
    assert!(answer["result"].is_object(), "{answer}");
    process.send(INITIALIZED);
    works(process);
    process.finish();
}

#[test]
fn two_instances_open_one_window_and_are_both_signed_in() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut leader = bridge(&site, &browser, &[]);
    leader.send(INITIALIZE);
    let url = browser.wait_for(1);
    let mut second = follower(&site, &browser, &leader.home);
    let mut third = follower(&site, &browser, &leader.home);
    assert!(
        second
            .try_recv(std::time::Duration::from_millis(300))
            .is_none()
    );
    assert_eq!(visit(&url).status, 200);
    for process in [&mut leader, &mut second, &mut third] {
        connected(process);
    }
    assert_eq!(browser.urls().len(), 1);
    assert_eq!(site.requests("/register").len(), 1);
    assert_eq!(site.requests("/token").len(), 1);
}

#[test]
fn instances_that_start_together_open_one_window() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let home = Arc::new(TempDir::new());
    let mut all: Vec<Process> = (0..3)
        .map(|_| start(&site, &[]).browser(&browser).home(&home).go())
        .collect();
    for process in &mut all {
        process.send(INITIALIZE);
    }
    site.wait_for("/mcp", 3);
    let url = browser.wait_for(1);
    assert!(
        all[0]
            .try_recv(std::time::Duration::from_millis(500))
            .is_none()
    );
    assert_eq!(visit(&url).status, 200);
    for process in &mut all {
        connected(process);
    }
    assert_eq!(browser.urls().len(), 1);
    assert_eq!(site.grants("authorization_code").len(), 1);
}

#[test]
fn when_the_leader_dies_another_takes_over_and_the_open_tab_still_works() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut leader = bridge(&site, &browser, &[]);
    leader.send(INITIALIZE);
    let url = browser.wait_for(1);
    let mut second = follower(&site, &browser, &leader.home);
    assert!(
        second
            .try_recv(std::time::Duration::from_millis(300))
            .is_none()
    );
    leader.kill();
    let redirect = authorization(&browser, 1)["redirect_uri"].clone();
    wait_until("the listener of the second", || try_get(&redirect).ok());
    let page = visit(&url);
    assert_eq!(page.status, 200, "{page:?}");
    connected(&mut second);
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn two_processes_refresh_once() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = signed_in(&site, &browser, &[]);
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.handshake();
    site.settle(2);
    site.expire_access_tokens();
    let (asked, go_on) = (Gate::default(), Gate::default());
    let (tell, wait) = (asked.clone(), go_on.clone());
    site.on("/token", move |_, _| {
        tell.open();
        wait.wait();
        false
    });
    let before = site.requests("/mcp").len();
    for process in [&mut first, &mut second] {
        process.send(r#"{"jsonrpc":"2.0","id":1,"method":"ask"}"#);
    }
    asked.wait();
    site.wait_for("/mcp", before + 2);
    // The other one has the time to do it wrong.
    assert!(
        second
            .try_recv(std::time::Duration::from_millis(300))
            .is_none()
    );
    go_on.open();
    for process in [&mut first, &mut second] {
        let answer = process.recv();
        assert_eq!(answer["result"]["asked"], true, "{answer}");
        process.finish();
    }
    assert_eq!(site.grants("refresh_token").len(), 1);
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn a_sibling_that_refreshed_is_believed() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut first = signed_in(&site, &browser, &[]);
    let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
    second.handshake();
    site.settle(2);
    site.expire_access_tokens();
    works(&mut first);
    works(&mut second);
    first.finish();
    second.finish();
    assert_eq!(site.grants("refresh_token").len(), 1);
}

/// Something on a port that answers every request with this body, until told to leave.
struct Neighbour {
    port: u16,
    leave: Arc<AtomicBool>,
}

impl Neighbour {
    fn at(port: u16, body: String) -> Neighbour {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let leave = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&leave);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if told.load(Ordering::SeqCst) {
                    break;
                }
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {}
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").ok();
            }
        });
        Neighbour { port, leave }
    }

    fn leave(&self) {
        self.leave.store(true, Ordering::SeqCst);
        std::net::TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

#[test]
fn an_npm_instance_that_signs_in_is_followed() {
    let site = Site::start(|_| {});
    let url = site.url();
    let id = json!({"mcpRemote": true, "serverUrlHash": store::hash(&url)}).to_string();
    let npm = Neighbour::at(store::port(&url), id);
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    assert!(
        process
            .try_recv(std::time::Duration::from_millis(700))
            .is_none()
    );
    site.add_access_token("from-npm", "");
    let tokens = r#"{"access_token":"from-npm","token_type":"Bearer"}"#;
    store::write(&process.home, &url, "tokens.json", tokens);
    connected(&mut process);
    npm.leave();
    assert_eq!(browser.urls(), [] as [String; 0]);
    assert_eq!(site.requests("/token").len(), 0);
}

#[test]
fn a_stranger_on_the_port_is_walked_around() {
    let site = Site::start(|_| {});
    let port = store::port(&site.url());
    let stranger = Neighbour::at(port, "{}".to_owned());
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    sign_in(&mut process, &browser);
    site.settle(1);
    process.finish();
    let redirect = authorization(&browser, 1)["redirect_uri"].clone();
    let used = url::Url::parse(&redirect).unwrap().port().unwrap();
    assert!((port + 1..port + 8).contains(&used), "{used}");
    stranger.leave();
    // The registration for the other port is no reason to sign in again.
    let mut second = start(&site, &[]).browser(&browser).home(&process.home).go();
    second.handshake();
    site.settle(2);
    site.expire_access_tokens();
    works(&mut second);
    second.finish();
    assert_eq!(browser.urls().len(), 1);
    assert_eq!(site.requests("/register").len(), 1);
}

#[test]
fn a_stranger_on_the_given_port_is_named() {
    let site = Site::start(|_| {});
    let stranger = Neighbour::at(0, "{}".to_owned());
    let port = stranger.port.to_string();
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[&port]);
    process.send(INITIALIZE);
    says(&error_of(&process.recv()), &[&port, "port"]);
    process.finish();
    stranger.leave();
    assert_eq!(browser.urls(), [] as [String; 0]);
}
