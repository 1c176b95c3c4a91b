//! The callback listener under attack from the same machine: floods, resets, stalls, long heads, no descriptors left. The
//! sign-in still completes, and nothing else of the process notices.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, altered, answer_of, get, try_get, wait_until};
use crate::support::mcp::{INITIALIZE, INITIALIZED};
use crate::support::process::{Process, Start};
use crate::support::sign_in::{bridge, works};

/// A connection whose end is a reset.
fn abrupt(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&stream.as_fd(), sockopt::Linger, &linger).unwrap();
    Some(stream)
}

/// The process still reads its client's lines and answers them.
fn notices_nothing(process: &mut Process) {
    process.send("{");
    assert_eq!(process.recv()["error"]["code"], -32700);
}

#[test]
fn a_listener_that_is_flooded_reset_and_stalled_still_completes_the_sign_in() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--auth-timeout", "60"]);
    process.send(INITIALIZE);
    let answer = answer_of(&browser.wait_for(1));
    let before = process.threads();
    let redirect = url::Url::parse(&answer).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], redirect.port().unwrap()));
    let request = format!("GET /oauth/callback?state=x HTTP/1.1\r\nhost: {address}\r\n\r\n");

    for part in ["", "G", "GET / HTTP/1.1\r\nhost", &request] {
        for _ in 0..100 {
            if let Some(mut stream) = abrupt(address) {
                stream.write_all(part.as_bytes()).ok();
            }
        }
    }
    notices_nothing(&mut process);
    // These stay to the end.
    let mut stalled: Vec<TcpStream> = (0..200)
        .filter_map(|_| TcpStream::connect(address).ok())
        .collect();
    for stream in &mut stalled[..100] {
        stream.write_all(b"GET /oauth/callback?state=").ok();
    }
    // tiny_http has no limit for a head: what it costs is the memory of it, until the peer closes.
    let mut long = TcpStream::connect(address).unwrap();
    long.write_all(b"GET / HTTP/1.1\r\nx: ").unwrap();
    for _ in 0..1024 {
        long.write_all(&[b'x'; 4096]).unwrap();
    }
    drop(long);
    let wrong = altered(&answer, "state", Some("wrong"));
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let wrong = wrong.clone();
            std::thread::spawn(move || {
                let pages = (0..50).filter_map(|_| try_get(&wrong).ok());
                assert!(pages.into_iter().all(|page| page.status != 200));
            })
        })
        .collect();
    notices_nothing(&mut process);
    for one in flood {
        one.join().unwrap();
    }

    assert_eq!(get(&answer).status, 200);
    assert!(process.recv()["result"].is_object());
    process.send(INITIALIZED);
    works(&mut process);
    assert_eq!(site.requests("/token").len(), 1);
    drop(stalled);
    if cfg!(target_os = "linux") {
        wait_until("the threads of the connections to leave", || {
            (process.threads() <= before).then_some(())
        });
        let peak = process.peak_memory();
        assert!(peak < 64 * 1024, "{peak} KiB");
    }
    process.finish();
    assert!(!process.stderr().contains("panic"), "{}", process.stderr());
}

/// tiny_http's accept thread ends there; the port is opened anew.
#[test]
fn a_listener_that_ran_out_of_descriptors_completes_the_sign_in() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let url = site.url();
    let mut process = Start::limited("-n 64", &[&url, "--auth-timeout", "60"])
        .browser(&browser)
        .go();
    process.send(INITIALIZE);
    let callback = answer_of(&browser.wait_for(1));
    let port = url::Url::parse(&callback).unwrap().port().unwrap();
    for _ in 0..2 {
        let many: Vec<TcpStream> = (0..100)
            .filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok())
            .collect();
        notices_nothing(&mut process);
        std::thread::sleep(Duration::from_secs(4));
        notices_nothing(&mut process);
        drop(many);
    }
    assert_eq!(get(&callback).status, 200);
    assert!(process.recv()["result"].is_object());
    process.send(INITIALIZED);
    works(&mut process);
    process.finish();
    assert!(!process.stderr().contains("panic"), "{}", process.stderr());
}

#[test]
fn a_second_sign_in_gets_its_callback_over_connections_opened_before_the_first_one_ended() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    process.send(INITIALIZE);
    let callback = answer_of(&browser.wait_for(1));
    let port = url::Url::parse(&callback).unwrap().port().unwrap();
    let early: Vec<TcpStream> = (0..6)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    let refused = altered(&altered(&callback, "code", None), "error", Some("no"));
    assert_eq!(get(&refused).status, 502);
    assert!(process.recv()["error"].is_object());

    process.send(&INITIALIZE.replace("\"id\":0", "\"id\":1"));
    let callback = answer_of(&browser.wait_for(2));
    let url = url::Url::parse(&callback).unwrap();
    assert_eq!(url.port(), Some(port));
    let target = &url[url::Position::BeforePath..];
    let mut early = early.into_iter();
    let mut first = early.next().unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n");
    first.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    first.read_exact(&mut status).unwrap();
    assert_eq!(&status[9..], b"200");
    assert!(process.recv()["result"].is_object());
    process.finish();
    drop(early);
}
