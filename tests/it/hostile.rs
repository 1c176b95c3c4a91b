//! Servers that mean harm: whatever they send, each request has one answer, and the next one works on the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::http::{Reply, Request};
use crate::support::mcp::{INITIALIZE, INITIALIZED, answering, initialize_result, result, server};
use crate::support::process::{Process, Start};

/// What must come of a spoilt answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It is only odd: the result.
    Result,
    /// One cannot be sure what it is or where it ends: an error.
    Error,
    /// One of them.
    Answer,
}
use Wanted::{Answer, Error, Result};

/// All of these in the place of the answer to request 7, one after the other, to one process.
fn all_to_one(flags: &[&str], spoilt: Vec<(Wanted, String)>) {
    let current = Arc::new(AtomicUsize::new(0));
    let (at, texts) = (Arc::clone(&current), spoilt.clone());
    let server = answering(move |request, reply| {
        if request.id() == "7" {
            let (wanted, text) = &texts[at.load(Ordering::SeqCst)];
            reply.raw(text);
            // What has a clear end leaves the connection as it is, for the next request.
            if *wanted == Error && !text.contains("content-length: ") {
                reply.hang_up();
            }
        } else {
            reply.json(result(&request.id(), "{}"));
        }
    });
    let url = server.url("/mcp");
    let mut bridge = Process::connected(&[&[url.as_str()], flags].concat());
    for (at, (wanted, text)) in spoilt.iter().enumerate() {
        let shown: String = text.chars().take(200).collect();
        current.store(at, Ordering::SeqCst);
        let answer = bridge.ask("7");
        let is = match answer {
            Value::Object(ref of) if of.contains_key("result") => Result,
            _ => Error,
        };
        assert_eq!(answer["id"], 7, "{shown:?}: {answer}");
        assert!([is, Answer].contains(wanted), "{shown:?}: {answer}");
        if *wanted == Result {
            assert_eq!(answer["result"], json!({}), "{shown:?}");
        }
        let next = bridge.ask("8");
        assert_eq!(
            next,
            json!({"jsonrpc":"2.0","id":8,"result":{}}),
            "after {shown:?}"
        );
    }
    bridge.finish();
}

#[test]
fn an_answer_that_breaks_the_rules_of_http_is_one_answer_and_spoils_no_other() {
    let body = result("7", "{}");
    let length = body.len();
    let whole = |headers: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
    };
    let chunked = |text: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{text}"
        )
    };
    let chunk = format!("{length:x}\r\n{body}\r\n");
    let redirect =
        |to: &str| format!("HTTP/1.1 307 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    let spoilt = vec![
        // Status lines.
        (
            Error,
            "HTTP/1.1 101 Switching Protocols\r\ncontent-length: 0\r\n\r\n".to_owned(),
        ),
        (Error, "HTTP/1.1 99 Too Low\r\n\r\n".to_owned()),
        (Error, "HTTP/1.1 1000 Too High\r\n\r\n".to_owned()),
        (Error, "HTTP/1.1 2OO OK\r\n\r\n".to_owned()),
        (Error, "HTTP/9.9 200 OK\r\n\r\n".to_owned()),
        (Error, "ICY 200 OK\r\n\r\n".to_owned()),
        (Error, "\r\n\r\n\r\n".to_owned()),
        (Error, "\0".repeat(64 * 1024)),
        (
            Error,
            format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(1 << 20)),
        ),
        // Interim answers.
        (
            Answer,
            format!(
                "{}{}",
                "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000),
                whole("")
            ),
        ),
        (
            Answer,
            format!(
                "{}{}",
                "HTTP/1.1 103 X\r\nlink: x\r\n\r\n".repeat(500),
                whole("")
            ),
        ),
        // Headers.
        (Answer, whole("no colon here\r\n")),
        (Answer, whole("a name: with a space\r\n")),
        (Answer, whole("x: a\0b\r\n")),
        (Answer, whole("x: a\r\n folded\r\n")),
        (Answer, whole(": no name\r\n")),
        (Error, whole(&"x: y\r\n".repeat(8_000))),
        (Answer, whole("content-type: \u{e9}\r\n")),
        (
            Result,
            whole(
                "set-cookie: =\r\nset-cookie: ;;;\r\nset-cookie: a=b; max-age=-99999999999999999999; expires=x\r\n",
            ),
        ),
        (Error, whole("content-length: 1\r\n")),
        (Answer, whole("transfer-encoding: chunked\r\n")),
        (Answer, whole("transfer-encoding: gzip\r\n")),
        (Answer, whole("content-encoding: br\r\n")),
        (Error, whole("content-encoding: gzip\r\n")),
        (Answer, whole("content-encoding: gzip, gzip, gzip\r\n")),
        (Error, redirect("http://[::1")),
        (Error, redirect("\u{e9}\0")),
        (Error, redirect("file:///etc/passwd")),
        (Error, redirect("data:text/plain,x")),
        // Chunks.
        (Error, chunked("FFFFFFFFFFFFFFFFF\r\nx")),
        (Error, chunked("7fffffffffffffff\r\nx")),
        (Error, chunked("-1\r\nx")),
        (Error, chunked("0x5\r\nx")),
        (Error, chunked("\r\n\r\n\r\n")),
        (Error, chunked(&"0".repeat(1 << 20))),
        (
            Error,
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20))),
        ),
        (
            Answer,
            chunked(&format!("{chunk}0\r\n{}\r\n", "x-t: y\r\n".repeat(100_000))),
        ),
        (
            Answer,
            chunked(&format!("{chunk}0\r\nno trailer at all\0\r\n\r\n")),
        ),
        (
            Answer,
            chunked(&format!("{chunk}0\r\ncontent-length: 5\r\n\r\nmore of it")),
        ),
        (Error, chunked(&format!("{}xx", chunk.trim_end()))),
    ];
    all_to_one(&["--headers-timeout", "5", "--body-timeout", "5"], spoilt);
}

#[test]
fn cookies_in_any_number_do_not_end_what_a_server_takes() {
    let spoilt = (0..4).map(|round| {
        let cookies: String = (0..6)
            .map(|at| {
                format!(
                    "set-cookie: c{round}-{at}={}; path=/\r\n",
                    "x".repeat(3_500)
                )
            })
            .collect();
        let body = result("7", "{}");
        let (length, kind) = (body.len(), "content-type: application/json");
        let text =
            format!("HTTP/1.1 200 OK\r\n{kind}\r\n{cookies}content-length: {length}\r\n\r\n{body}");
        (Result, text)
    });
    all_to_one(&[], spoilt.collect());
}

#[test]
fn a_time_to_wait_beyond_any_clock_ends_nothing() {
    let times = [
        "18446744073709551615",
        "9223372036854775807",
        "99999999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "-1",
    ];
    // Each request that is refused for long is answered at once; the standing stream is simply not there.
    let asked = AtomicUsize::new(0);
    let server = server(move |request, reply| {
        let time = times[asked.fetch_add(1, Ordering::SeqCst) % times.len()];
        let wait = format!("retry-after: {time}\r\n");
        match request.what().as_str() {
            "GET" => reply.full(503, &wait, ""),
            "POST ask" if request.id() != "1000" => {
                let time = times[request.json()["id"].as_u64().unwrap() as usize % times.len()];
                let status = if request.id().len() > 1 { 503 } else { 429 };
                reply.full(status, &format!("retry-after: {time}\r\n"), "");
            }
            "POST ask" => reply.json(result("1000", "{}")),
            _ => return false,
        }
        true
    });
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--request-timeout", "2"]);
    for id in [0, 1, 2, 3, 4, 10, 11, 12, 13, 14] {
        let answer = bridge.ask(&id.to_string());
        assert_eq!(answer["id"], id, "{answer}");
        assert!(answer["error"].is_object(), "{answer}");
    }
    assert_eq!(bridge.ask("1000")["result"], json!({}));
    bridge.finish();
}

#[test]
fn events_that_mean_harm_are_one_answer_and_spoil_no_other() {
    let stream = |(wanted, text): (Wanted, String)| {
        let length = text.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        (wanted, format!("{head}{length:x}\r\n{text}\r\n0\r\n\r\n"))
    };
    let event = |text: &str| format!("data: {text}\n\n");
    let body = result("7", "{}");
    let answer = event(&body);
    let spoilt = vec![
        // Ids of another kind, and of others.
        (
            Result,
            event(r#"{"jsonrpc":"2.0","id":"seven","result":1}"#) + &answer,
        ),
        (
            Result,
            event(r#"{"jsonrpc":"2.0","id":null,"result":1}"#) + &answer,
        ),
        (
            Result,
            event(r#"{"jsonrpc":"2.0","id":true,"result":1}"#) + &answer,
        ),
        (
            Result,
            event(r#"{"jsonrpc":"2.0","id":[7],"result":1}"#) + &answer,
        ),
        (
            Result,
            event(r#"{"jsonrpc":"2.0","id":8,"result":"early"}"#) + &answer,
        ),
        (Result, event(r#"{"jsonrpc":"2.0","id":7.0,"result":{}}"#)),
        // Twice, in three ways.
        (Result, format!("{answer}{answer}")),
        (Result, event(&format!("[{body},{body}]"))),
        (
            Result,
            answer.clone() + &event(r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"m"}}"#),
        ),
        // Members twice, and both members.
        (
            Answer,
            event(r#"{"jsonrpc":"2.0","id":8,"id":7,"result":{}}"#),
        ),
        (
            Answer,
            event(r#"{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":"m"}}"#),
        ),
        // Nothing that counts, and then the answer, or not.
        (Error, ":\n\n\n\n".repeat(1000)),
        (
            Result,
            "data\n\ndata:\n\nevent: endpoint\ndata: //evil.test/\n\n".to_owned() + &answer,
        ),
        (Answer, event(&"[".repeat(1_000_000)) + &answer),
        (
            Answer,
            event("[]") + &event("{}") + &event("null") + &event("\0") + &answer,
        ),
        (
            Error,
            event("[]") + &event("{}") + &event("null") + &event("\0"),
        ),
    ];
    all_to_one(&[], spoilt.into_iter().map(stream).collect());
}

#[test]
fn a_long_token_is_sent_and_one_that_no_server_takes_is_told() {
    for (length, is_sent) in [(20_000, true), (40_000, false)] {
        let token = format!("Bearer {}", "x".repeat(length));
        let expected = token.clone();
        let server = answering(move |request, reply| {
            assert_eq!(request.header("authorization"), Some(expected.as_str()));
            reply.json(result(&request.id(), "{}"));
        });
        let header = format!("Authorization: {token}");
        let mut bridge = Start::bridge(&[&server.url("/mcp"), "--header", &header]).go();
        bridge.send(INITIALIZE);
        let answer = bridge.recv();
        assert_eq!(answer["result"].is_object(), is_sent, "{answer}");
        if is_sent {
            bridge.send(INITIALIZED);
            assert_eq!(bridge.ask("1")["result"], json!({}));
        } else {
            let words = answer["error"]["message"].as_str().unwrap();
            assert!(
                words.contains("would be 40020 bytes long, which no server takes"),
                "{words}"
            );
            assert!(!words.contains("xxx"), "{words}");
            crate::support::http::call(server.address);
        }
        bridge.finish();
    }
}

#[test]
fn an_event_id_that_no_header_can_carry_ends_in_one_error() {
    for id in [
        "\u{e9}".to_owned(),
        "a\u{1}b".to_owned(),
        "x".repeat(100_000),
    ] {
        let spoilt = move |request: &Request, reply: &mut Reply<'_>| {
            match request.what().as_str() {
                "POST ask" if request.id() == "1" => {
                    reply.sse();
                    reply.chunk(format!("id: {id}\nretry: 50\ndata:\n\n"));
                }
                "POST ask" => reply.json(result(&request.id(), "{}")),
                // Asked after the event nevertheless: that is good, too.
                "GET" if request.header("last-event-id").is_some() => {
                    reply.sse();
                    reply.event(&result("1", "{}"));
                }
                _ => return false,
            }
            true
        };
        let server = server(spoilt);
        let mut bridge = Process::connected(&[&server.url("/mcp")]);
        assert_eq!(bridge.ask("1")["id"], 1);
        assert_eq!(bridge.ask("2")["result"], json!({}));
        bridge.finish();
    }
}

#[test]
fn a_session_id_that_no_header_can_carry_is_none() {
    let ids = [
        "",
        "\u{e9}",
        "a b\tc",
        "\u{7f}",
        &"x".repeat(20_000),
        "\",\u{1}",
    ];
    for id in ids.map(str::to_owned) {
        let expected = id.clone();
        let server = server(move |request, reply| {
            if request.rpc() == "initialize" {
                let header = format!("content-type: application/json\r\nmcp-session-id: {id}\r\n");
                reply.full(200, &header, result(&request.id(), initialize_result()));
            } else if request.rpc() == "ask" {
                let sent = request.header("mcp-session-id");
                assert!(sent.is_none_or(|sent| sent == id), "{sent:?}");
                reply.json(result(&request.id(), "{}"));
            } else {
                return false;
            }
            true
        });
        let mut bridge = Start::bridge(&[&server.url("/mcp")]).go();
        bridge.send(INITIALIZE);
        let answer = bridge.recv();
        assert_eq!(answer["id"], 0, "{expected:?}: {answer}");
        // A control character makes the whole answer worthless.
        if answer["result"].is_object() {
            bridge.send(INITIALIZED);
            assert_eq!(bridge.ask("1")["result"], json!({}), "{expected:?}");
        }
        bridge.finish();
    }
}

#[test]
fn a_request_of_the_server_under_an_id_of_the_clients_confuses_neither() {
    let answered = crate::support::Gate::default();
    let seen = answered.clone();
    let server = server(move |request, reply| {
        if request.rpc() == "ask" {
            reply.sse();
            reply.event(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#);
            seen.wait();
            reply.event(&result("1", "\"of the server\""));
        } else if request.json()["result"] == "of the client" {
            assert_eq!(request.id(), "1");
            reply.status(202);
            seen.open();
        } else {
            return false;
        }
        true
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    let asked = bridge.ask("1");
    assert_eq!(asked["method"], "roots/list");
    bridge.send(&result("1", "\"of the client\""));
    assert_eq!(bridge.recv()["result"], "of the server");
    bridge.finish();
}

#[test]
fn bytes_that_no_client_would_send_are_answered_and_the_next_line_works() {
    let server = server(|request, reply| {
        let asked = request.rpc() == "ask";
        if asked {
            reply.json(result(&request.id(), "{}"));
        }
        asked
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    let lines: [&[u8]; 6] = [
        b"\0",
        b"{\"id\":1,\"method\":\"ask\"}\0",
        b"{\"id\":1,\"method\":\"a\0sk\"}",
        b"\xef\xbb\xbf{\"id\":1",
        b"{\"id\":1,\"method\":\"ask\",\"params\":{\"x\":\"\xff\"}}",
        b"\"\xed\xa0\x80\"",
    ];
    for (at, line) in lines.into_iter().enumerate() {
        bridge.send_bytes(&[line, b"\n"].concat());
        assert_eq!(bridge.recv()["error"]["code"], -32700, "{at}");
        assert_eq!(bridge.ask(&format!("{at}"))["result"], json!({}));
    }
    // CR alone ends no line, and neither does a form feed.
    bridge.send_bytes(b"{\"id\":7,\r\"method\":\x20\"ask\"}\r\n");
    assert_eq!(bridge.recv()["id"], 7);
    // A long line that never ends is no request.
    bridge.send_bytes(&[b' '; 1 << 20]);
    bridge.send_bytes(b"{\"id\":8");
    bridge.close_stdin();
    assert_eq!(bridge.rest()[0]["error"]["code"], -32700);
    assert!(bridge.wait_exit().success());
}
