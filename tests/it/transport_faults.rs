//! Faults of the network and the server at every point of an exchange: one answer for each id, in bounded time and
//! memory, and the next request works.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Gate;
use crate::support::faulty::{self, Ending};
use crate::support::http::{Reply, Request, Server};
use crate::support::mcp::{answering, ordinary, result};
use crate::support::process::Process;
#[cfg(target_os = "linux")]
use crate::support::process::Start;

/// Whatever the answer to 1 is, it is one, and 2 works.
fn survives(
    flags: &[&str],
    spoil: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static,
) -> Value {
    survives_in(flags, spoil, u64::MAX)
}

fn survives_in(
    flags: &[&str],
    spoil: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static,
    most_kib: u64,
) -> Value {
    let server = answering(move |request, reply| match request.id().as_str() {
        "2" => reply.json(result("2", "{}")),
        _ => spoil(request, reply),
    });
    let url = server.url("/mcp");
    let mut bridge = Process::connected(&[&[url.as_str()], flags].concat());
    let answer = bridge.ask("1");
    assert_eq!(answer["id"], 1, "{answer}");
    assert_eq!(bridge.ask("2")["result"], json!({}));
    if cfg!(target_os = "linux") {
        let most = bridge.peak_memory();
        assert!(most < most_kib, "{most} KiB");
    }
    bridge.finish();
    answer
}

const MIB: u64 = 1024;

#[test]
fn a_reset_a_close_or_a_stall_at_any_point_of_an_answer_is_one_error() {
    const POINTS: &[&[u8]] = &[
        b"",
        b"HT",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: applica",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"id\":1,",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n8\r\ndata: {\"\r\n",
        b"HTTP/1.1 500 X\r\ncontent-length: 100\r\n\r\nhalf an expl",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ];
    for ending in [Ending::Reset, Ending::Close, Ending::Stall] {
        let all: Vec<_> = POINTS
            .iter()
            .map(|point| std::thread::spawn(move || fault(point, ending)))
            .collect();
        for one in all {
            one.join().unwrap();
        }
    }
}

fn fault(point: &'static [u8], ending: Ending) {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let front = faulty::in_front_of(server.address, point, ending);
    let url = format!("http://{front}/mcp");
    let limits = ["--headers-timeout", "1", "--body-timeout", "1"];
    let mut bridge = Process::connected(&[&[url.as_str()], &limits[..]].concat());
    let shown = String::from_utf8_lossy(point);
    let answer = bridge.ask("1");
    assert!(
        answer["error"].is_object(),
        "{ending:?} after {shown}: {answer}"
    );
    assert_eq!(answer["id"], 1);
    assert_eq!(
        bridge.ask("2")["result"],
        json!({}),
        "{ending:?} after {shown}"
    );
    bridge.finish();
    assert_eq!(server.count("POST ask"), 1, "a call is not made twice");
}

/// A call on it would be lost, and must not be made twice.
#[test]
fn a_connection_that_the_server_has_closed_after_an_answer_is_not_used_again() {
    let server = answering(|request, reply| {
        reply.json(result(&request.id(), "{}"));
        reply.hang_up();
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    for id in ["1", "2", "3"] {
        assert_eq!(bridge.ask(id)["result"], json!({}));
        // Its end is on the way.
        Gate::default().wait_for(Duration::from_millis(200));
    }
    bridge.finish();
    assert_eq!(server.count("POST ask"), 3);
}

#[test]
fn a_length_that_is_a_lie_is_one_answer_and_spoils_no_other() {
    let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\n";
    let long = survives(&[], move |_, reply| {
        reply.raw(format!(
            "{head}content-length: 1000\r\n\r\n{}",
            result("1", "{}")
        ));
        reply.hang_up();
    });
    assert!(long["error"].is_object(), "{long}");
    let short = survives(&[], move |_, reply| {
        reply.raw(format!(
            "{head}content-length: 10\r\n\r\n{}",
            result("1", "{}")
        ));
    });
    assert!(short["error"].is_object(), "{short}");
    let surplus = survives(&[], move |_, reply| {
        let body = result("1", "{}");
        let (length, smuggled) = (body.len(), result("2", "\"smuggled\""));
        let more = format!("{head}content-length: {}\r\n\r\n{smuggled}", smuggled.len());
        reply.raw(format!(
            "{head}content-length: {length}\r\n\r\n{body}{more}"
        ));
    });
    assert_eq!(surplus["result"], json!({}));
    for odd in ["-1", "99999999999999999999999", "0x10", "5, 6", ""] {
        let answer = survives(&["--body-timeout", "1"], move |_, reply| {
            reply.raw(format!(
                "{head}content-length: {odd}\r\n\r\n{}",
                result("1", "{}")
            ));
            reply.hang_up();
        });
        assert_eq!(answer["id"], 1, "{odd}");
    }
}

/// In an address space that has no room for it: memory that cannot be had ends a process.
#[cfg(target_os = "linux")]
#[test]
fn a_length_that_is_only_promised_takes_no_memory() {
    let server = answering(|request, reply| {
        if request.id() == "2" {
            return reply.json(result("2", "{}"));
        }
        reply.raw("HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 3900000000\r\n\r\n{");
        reply.hang_up();
    });
    let args = [&server.url("/mcp"), "--max-message-size", "4000"];
    let mut bridge = Start::limited("-v 3000000", &args).go();
    bridge.handshake();
    assert!(bridge.ask("1")["error"].is_object());
    assert_eq!(bridge.ask("2")["result"], json!({}));
    bridge.finish();
}

#[test]
fn endless_lines_and_bodies_end_at_the_limit_and_cost_no_more_than_it() {
    let limit = &["--max-message-size", "1"];
    let endless = |start: &'static str| {
        move |_: &Request, reply: &mut Reply<'_>| {
            reply.sse();
            reply.chunk(start);
            for _ in 0..32 {
                reply.chunk(vec![b'x'; 1 << 20]);
            }
            reply.hang_up();
        }
    };
    for start in ["data: ", ": ", "x", "id: "] {
        let answer = survives_in(limit, endless(start), 40 * MIB);
        let words = answer["error"]["message"].as_str().unwrap();
        assert!(words.contains("longer than 1 MiB"), "{words}");
    }
    let many_lines = survives_in(
        limit,
        |_, reply| {
            reply.sse();
            for _ in 0..64 {
                reply.chunk("data: xxxxxxxxxxxxxxx\n".repeat(1 << 15));
            }
            reply.hang_up();
        },
        40 * MIB,
    );
    assert!(many_lines["error"].is_object());
    let body = survives_in(
        limit,
        |_, reply| {
            reply.raw("HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n");
            for _ in 0..32 {
                reply.chunk(vec![b' '; 1 << 20]);
            }
            reply.hang_up();
        },
        40 * MIB,
    );
    let words = body["error"]["message"].as_str().unwrap();
    assert!(words.contains("longer than 1 MiB"), "{words}");
}

#[test]
fn comments_without_end_cost_no_memory_and_the_answer_after_them_counts() {
    let answer = survives_in(
        &[],
        |request, reply| {
            reply.sse();
            for _ in 0..48 {
                reply.chunk(": still here\n\n".repeat(80_000));
            }
            reply.event(&result(&request.id(), "{}"));
        },
        24 * MIB,
    );
    assert_eq!(answer["result"], json!({}));
}

#[test]
fn a_compressed_bomb_ends_at_the_limit_and_costs_no_more_than_it() {
    let bomb = || {
        let level = flate2::Compression::best();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        for _ in 0..128 {
            std::io::Write::write_all(&mut encoder, &vec![b' '; 1 << 20]).unwrap();
        }
        encoder.finish().unwrap()
    };
    let bomb = bomb();
    for kind in ["application/json", "text/event-stream"] {
        let bomb = bomb.clone();
        let spoil = move |_: &Request, reply: &mut Reply<'_>| {
            let headers = format!("content-type: {kind}\r\ncontent-encoding: gzip\r\n");
            reply.full(200, &headers, &bomb);
        };
        let answer = survives_in(&["--max-message-size", "1"], spoil, 40 * MIB);
        let words = answer["error"]["message"].as_str().unwrap();
        assert!(words.contains("longer than 1 MiB"), "{words}");
    }
    let refused = survives_in(
        &[],
        move |_, reply| reply.full(500, "content-encoding: gzip\r\n", &bomb),
        40 * MIB,
    );
    assert_eq!(refused["error"]["data"]["httpStatus"], 500);
}

#[test]
fn a_compressed_answer_that_is_cut_or_damaged_is_one_error() {
    let compressed = |text: &str| {
        let level = flate2::Compression::default();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    // Text that does not become short.
    let noise: String = (0..4_000_u32)
        .map(|at| char::from(b'a' + (at.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
        .collect();
    let message = result("1", &format!("\"{noise}\""));
    for (kind, text) in [
        ("application/json", message.clone()),
        ("text/event-stream", format!("data: {message}\n\n")),
    ] {
        let whole = compressed(&text);
        let half = whole[..whole.len() / 2].to_vec();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x55;
        let headers = format!("content-type: {kind}\r\ncontent-encoding: gzip\r\n");
        for (bytes, length, is_cut) in [
            // Cut in the middle, and at its head; by a server that says so, and by a connection that breaks.
            (half.clone(), half.len(), false),
            (whole[..5].to_vec(), 5, false),
            (Vec::new(), 0, false),
            (half.clone(), whole.len(), true),
            (damaged, whole.len(), false),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n");
            let answer = survives(&["--body-timeout", "5"], move |_, reply| {
                reply.raw(&head);
                reply.raw(&bytes);
                if is_cut {
                    reply.hang_up();
                }
            });
            assert!(answer["error"].is_object(), "{kind}: {answer}");
        }
        let answer = survives(&[], move |_, reply| reply.full(200, &headers, &whole));
        assert_eq!(answer["result"], noise.as_str());
    }
}

#[test]
fn interim_answers_without_end_are_one_error_in_bounded_memory() {
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n",
    ] {
        let answer = survives_in(
            &["--headers-timeout", "1"],
            move |_, reply| reply.without_end(interim.repeat(100).as_bytes()),
            24 * MIB,
        );
        assert!(answer["error"].is_object(), "{interim}: {answer}");
    }
}

#[test]
fn nesting_of_any_depth_passes_or_is_refused_but_never_crashes() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [200, 100_000, 1_000_000] {
        // What is nested so deeply is not parsed here.
        let server = Server::start(move |request, reply| {
            if request.body.contains("\"id\":2,") {
                reply.json(result("2", "{}"));
            } else if request.rpc() == "ask" {
                reply.json(result("1", &deep(depth)));
            } else {
                ordinary(request, reply);
            }
        });
        let mut bridge = Process::connected(&[&server.url("/mcp")]);
        bridge.send(r#"{"jsonrpc":"2.0","id":1,"method":"ask"}"#);
        assert_eq!(bridge.recv_raw(), result("1", &deep(depth)));
        bridge.send(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ask\",\"params\":{}}}",
            deep(depth)
        ));
        assert_eq!(bridge.recv()["result"], json!({}));
        let asked = server.seen();
        assert!(
            asked
                .iter()
                .any(|request| request.body.contains(&deep(depth)))
        );
        bridge.finish();
    }
}

#[test]
fn bytes_that_are_no_utf_8_become_one_answer_in_utf_8() {
    for stream in [false, true] {
        let answer = survives(&[], move |_, reply| {
            let body = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"a\xff\xc3b\"}";
            if stream {
                reply.sse();
                reply.chunk([b"data: ", &body[..], b"\n\n"].concat());
            } else {
                reply.json(body);
            }
        });
        assert_eq!(answer["result"], "a\u{fffd}\u{fffd}b");
    }
}

#[test]
fn a_refusal_is_acted_on_although_its_body_never_ends() {
    for status in [403, 500] {
        let answer = survives(&[], move |_, reply| {
            reply.raw(format!(
                "HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nno!\r\n"
            ));
            reply.wait_until_peer_leaves();
        });
        assert_eq!(answer["error"]["data"]["httpStatus"], status, "{answer}");
    }
}
