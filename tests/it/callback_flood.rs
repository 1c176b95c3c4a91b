//! A listener of a sign-in under attack from the same machine: floods, resets, stalls, endless heads. The sign-in still
//! ends well, and nothing else of the process notices.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

use crate::support::authorization_server::Site;
use crate::support::browser::{Browser, altered, answer_of, get, try_get, wait_until};
use crate::support::mcp::{INITIALIZE, INITIALIZED};
use crate::support::process::Process;
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
    let endless: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nx: ").ok();
                let more = [b'x'; 4096];
                let room = (0..2048).take_while(|_| stream.write_all(&more).is_ok());
                assert!(room.count() < 2048, "it reads a header without end");
            })
        })
        .collect();
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
    for one in endless.into_iter().chain(flood) {
        one.join().unwrap();
    }

    assert_eq!(get(&answer).status, 200);
    assert!(process.recv()["result"].is_object());
    process.send(INITIALIZED);
    works(&mut process);
    assert_eq!(site.requests("/token").len(), 1);
    if cfg!(target_os = "linux") {
        wait_until("the threads of the listener to leave", || {
            (process.threads() <= before).then_some(())
        });
        let peak = process.peak_memory();
        assert!(peak < 64 * 1024, "{peak} KiB");
    }
    drop(stalled);
    process.finish();
    assert!(!process.stderr().contains("panic"), "{}", process.stderr());
}
