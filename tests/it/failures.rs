//! What a server can do wrong: one answer for each request, and the next request works.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::http::{Reply, Request, Server};
use crate::support::mcp::{INITIALIZE, answering, ordinary, result};
use crate::support::process::{Process, Start};

/// The answer of a server that spoils `ask` in this way once; the next request must work.
fn spoiled(spoil: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> Value {
    spoiled_with(&[], spoil)
}

fn spoiled_with(
    flags: &[&str],
    spoil: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static,
) -> Value {
    let server = answering(move |request, reply| {
        if request.id() == "2" {
            reply.json(result("2", "{}"))
        } else {
            spoil(request, reply)
        }
    });
    let url = server.url("/mcp");
    let mut args = vec![url.as_str()];
    args.extend(flags);
    let mut bridge = Process::connected(&args);
    let answer = bridge.ask("1");
    assert_eq!(answer["id"], 1, "{answer}");
    assert_eq!(bridge.ask("2")["result"], json!({}));
    bridge.finish();
    answer
}

fn message(answer: &Value) -> &str {
    assert_eq!(answer["error"]["code"], -32001, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    message.strip_prefix("mcp-remote: ").unwrap()
}

#[test]
fn an_http_error_is_told_with_its_status_and_first_line() {
    let answer = spoiled(|_, reply| {
        reply.full(
            500,
            "retry-after: 7\r\n",
            "out of\u{1b}[31m order\nsecond line",
        )
    });
    assert_eq!(
        answer["error"]["data"],
        json!({"httpStatus":500,"retryAfter":7})
    );
    assert!(
        message(&answer).ends_with("/mcp answered 500 (Internal Server Error): out of [31m order"),
        "{answer}"
    );
}

#[test]
fn a_json_rpc_error_in_an_http_error_passes_unchanged() {
    let answer = spoiled(|_, reply| {
        reply.full(
            403,
            "",
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"m","data":{"x":1}}}"#,
        )
    });
    assert_eq!(
        answer["error"],
        json!({"code":-32042,"message":"m","data":{"x":1}})
    );
}

#[test]
fn an_answer_that_is_no_message_is_one_error() {
    for (status, headers, body, expected) in [
        (
            200,
            "content-type: application/json\r\n",
            "",
            "answered with an empty body",
        ),
        (
            200,
            "content-type: text/html\r\n",
            "<html>",
            "answered with something that is not a JSON-RPC message (text/html",
        ),
        (
            200,
            "content-type: application/json\r\n",
            "{\"id\":1,",
            "not a JSON-RPC message",
        ),
        (
            200,
            "content-type: application/json\r\n",
            "{\"id\":1,\"result\":1}{\"id\":1,\"result\":2}",
            "not a JSON-RPC message",
        ),
        (202, "", "", "without ever answering it"),
        (204, "", "", "without ever answering it"),
    ] {
        let answer = spoiled(move |_, reply| {
            if status == 204 {
                reply.raw("HTTP/1.1 204 X\r\n\r\n")
            } else {
                reply.full(status, headers, body)
            }
        });
        assert!(
            message(&answer).contains(expected),
            "{status} {body}: {answer}"
        );
    }
}

#[test]
fn a_message_in_place_of_the_answer_is_passed_on_and_the_request_gets_an_error() {
    let server = answering(|_, reply| reply.json(r#"{"jsonrpc":"2.0","method":"n"}"#));
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    assert_eq!(bridge.ask("1"), json!({"jsonrpc":"2.0","method":"n"}));
    assert!(message(&bridge.recv()).contains("something that is not a response to it"));
    bridge.finish();
}

#[test]
fn an_answer_without_or_with_an_odd_content_type_is_taken_if_it_is_one() {
    for headers in [
        "",
        "content-type: text/plain\r\n",
        "Content-Type: APPLICATION/JSON; charset=utf-8\r\n",
    ] {
        assert_eq!(
            spoiled(move |_, reply| reply.full(200, headers, result("1", "[]")))["result"],
            json!([])
        );
    }
}

#[test]
fn an_answer_that_breaks_off_is_one_error() {
    let truncated = |text: &'static str| {
        move |_: &Request, reply: &mut Reply<'_>| {
            reply.raw(text);
            reply.hang_up();
        }
    };
    for text in [
        "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"jsonrpc\":\"2.0\"",
        "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"jsonrpc\"",
        "HTTP/1.1 200 X\r\ncontent-ty",
        "",
    ] {
        assert!(!message(&spoiled(truncated(text))).is_empty(), "{text}");
    }
    assert!(
        message(&spoiled(truncated("SSH-2.0-OpenSSH\r\n\r\n")))
            .contains("not an HTTP/1.1 response")
    );
}

#[test]
fn a_body_ended_by_the_connection_is_whole() {
    let answer = spoiled(|_, reply| {
        reply.raw(format!(
            "HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n{}",
            result("1", "[]")
        ));
        reply.hang_up();
    });
    assert_eq!(answer["result"], json!([]));
}

#[test]
fn interim_answers_chunk_extensions_and_trailers_are_understood() {
    let answer = spoiled(|_, reply| {
        let body = result("1", "[]");
        reply.raw("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n");
        reply.raw("HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        reply.raw(format!(
            "{:x};ext=1\r\n{body}\r\n0\r\nx-trailer: 1\r\n\r\n",
            body.len()
        ));
    });
    assert_eq!(answer["result"], json!([]));
}

#[test]
fn endless_headers_are_one_error() {
    let answer = spoiled(|_, reply| {
        reply.raw("HTTP/1.1 200 X\r\n");
        (0..2000).for_each(|n| reply.raw(format!("x-{n}: {}\r\n", "y".repeat(100))));
        reply.hang_up();
    });
    assert!(!message(&answer).is_empty());
}

#[test]
fn a_silent_server_is_told_by_the_limit_it_broke() {
    let silent = |_: &Request, reply: &mut Reply<'_>| reply.wait_until_peer_leaves();
    assert!(
        message(&spoiled_with(&["--headers-timeout", "0.3"], silent))
            .contains("within 0.3 s (--headers-timeout)")
    );
    let stalled = |_: &Request, reply: &mut Reply<'_>| {
        reply.raw(
            "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
        );
        reply.wait_until_peer_leaves();
    };
    assert!(
        message(&spoiled_with(&["--body-timeout", "0.3"], stalled))
            .contains("for 0.3 s (--body-timeout)")
    );
    let quiet_stream = |_: &Request, reply: &mut Reply<'_>| {
        reply.sse();
        reply.wait_until_peer_leaves();
    };
    assert!(
        message(&spoiled_with(&["--body-timeout", "0.3"], quiet_stream))
            .contains("for 0.3 s (--body-timeout)")
    );
}

#[test]
fn redirects_within_the_origin_are_followed_with_method_body_and_headers() {
    let answer = spoiled_with(&["--header", "X-Key: k"], |request, reply| {
        match request.path.as_str() {
            "/mcp" => reply.full(307, "location: /other?x=1\r\n", ""),
            _ => {
                assert_eq!(
                    (request.path.as_str(), request.header("x-key")),
                    ("/other?x=1", Some("k"))
                );
                reply.json(result(&request.id(), "[]"));
            }
        }
    });
    assert_eq!(answer["result"], json!([]));
}

#[test]
fn redirects_elsewhere_are_errors_and_nothing_is_sent_there() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let target = format!("http://{}/mcp", elsewhere.local_addr().unwrap());
    let location = format!("location: {target}\r\n");
    let answer = spoiled(move |_, reply| reply.full(307, &location, ""));
    assert!(
        message(&answer).contains(&format!("a redirect to another server, {target}")),
        "{answer}"
    );
    assert!(elsewhere.accept().is_err(), "something was sent elsewhere");
    assert!(
        message(&spoiled(|_, reply| reply.full(303, "location: /x\r\n", "")))
            .contains("would lose the message")
    );
    assert!(
        message(&spoiled(|_, reply| reply.full(
            308,
            "location: /mcp\r\n",
            ""
        )))
        .contains("more than 5 redirects")
    );
    assert!(message(&spoiled(|_, reply| reply.full(302, "", ""))).contains("without a target"));
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    for status in [429, 503] {
        let asks = AtomicUsize::new(0);
        let server = answering(move |request, reply| {
            if asks.fetch_add(1, Ordering::SeqCst) == 0 {
                reply.full(status, "retry-after: 0\r\n", "");
            } else {
                reply.json(result(&request.id(), "{}"));
            }
        });
        let mut bridge = Process::connected(&[&server.url("/mcp")]);
        assert_eq!(bridge.ask("1")["result"], json!({}));
        bridge.finish();
        assert_eq!(server.count("POST ask"), 2);
    }
}

#[test]
fn a_server_busy_for_long_is_told_at_once() {
    let answer = spoiled(|_, reply| reply.full(429, "retry-after: 3600\r\n", ""));
    assert_eq!(
        answer["error"]["data"],
        json!({"httpStatus":429,"retryAfter":3600})
    );
}

#[test]
fn a_call_that_may_have_been_made_is_not_made_again() {
    let server = answering(|request, reply| {
        if request.id() == "1" {
            reply.hang_up()
        } else {
            reply.json(result(&request.id(), "{}"))
        }
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    assert!(message(&bridge.ask("1")).contains("closed the connection without an answer"));
    bridge.ask("2");
    bridge.finish();
    assert_eq!(server.count("POST ask"), 2);
}

#[test]
fn a_server_that_starts_late_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut bridge = Start::bridge(&[&format!("http://{address}/mcp")]).go();
    bridge.send(INITIALIZE);
    // The first attempt has failed once the person is told about it.
    while !bridge.stderr().contains("connection refused") {
        std::thread::yield_now();
    }
    let server = Server::on(TcpListener::bind(address).unwrap(), |request, reply| {
        assert!(ordinary(request, reply))
    });
    assert!(bridge.recv()["result"].is_object());
    bridge.finish();
    assert_eq!(server.count("POST initialize"), 1);
}

#[test]
fn without_a_server_the_client_is_told_and_the_process_stays() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut bridge = Start::bridge(&[&format!("http://{address}/mcp")]).go();
    bridge.send(INITIALIZE);
    assert_eq!(
        message(&bridge.recv()),
        format!(
            "cannot reach http://{address}/mcp: connection refused (is the server running, and is the port right?)"
        )
    );
    let server = Server::on(TcpListener::bind(address).unwrap(), |request, reply| {
        assert!(ordinary(request, reply))
    });
    bridge.handshake();
    bridge.finish();
    drop(server);
}

#[test]
fn cookies_go_back_to_the_server_unless_disabled() {
    for (flags, expected) in [
        (&[][..], Some("lb=7")),
        (&["--disable-cookies"][..], None),
        (&["--header", "Cookie: own=1"][..], Some("own=1")),
    ] {
        let server = answering(move |request, reply| {
            if request.id() == "2" {
                assert_eq!(request.header("cookie"), expected);
            }
            reply.full(
                200,
                "set-cookie: lb=7; Path=/; HttpOnly\r\ncontent-type: application/json\r\n",
                result(&request.id(), "{}"),
            );
        });
        let url = server.url("/mcp");
        let mut args = vec![url.as_str()];
        args.extend(flags);
        let mut bridge = Process::connected(&args);
        bridge.ask("1");
        bridge.ask("2");
        bridge.finish();
    }
}
