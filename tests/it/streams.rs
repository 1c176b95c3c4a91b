//! Event streams: any chunk borders, resumption, the standing stream.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::Gate;
use crate::support::mcp::{answering, initialize_result, result, server};
use crate::support::process::Process;

#[test]
fn an_event_stream_is_read_whatever_its_chunk_borders() {
    let server = answering(|request, reply| {
        let at = request.json()["id"].as_u64().unwrap() as usize;
        let note = r#"{"jsonrpc":"2.0","method":"n","params":"ä€"}"#;
        let text = format!(
            "\u{feff}: hello\r\n\r\nevent: message\r\nid: 7\r\ndata: {note}\r\n\r\nevent: other\ndata: x\n\ndata: {{\"jsonrpc\":\"2.0\",\rdata: \"id\":{},\ndata:\"result\":{{}}}}\n\n",
            request.id()
        );
        let at = at.min(text.len());
        reply.sse();
        reply.chunk(&text.as_bytes()[..at.max(1)]);
        if at < text.len() {
            reply.chunk(&text.as_bytes()[at.max(1)..]);
        }
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    for at in 1..180 {
        bridge.send(&format!(r#"{{"jsonrpc":"2.0","id":{at},"method":"ask"}}"#));
        assert_eq!(
            bridge.recv_raw(),
            r#"{"jsonrpc":"2.0","method":"n","params":"ä€"}"#,
            "split at {at}"
        );
        assert_eq!(
            bridge.recv(),
            json!({"jsonrpc":"2.0","id":at,"result":{}}),
            "split at {at}"
        );
    }
    bridge.finish();
}

#[test]
fn a_stream_ended_before_the_answer_is_resumed_after_its_last_event() {
    let gets = AtomicUsize::new(0);
    let server = server(move |request, reply| match request.what().as_str() {
        "POST ask" => {
            reply.sse();
            reply.chunk("id: e1\nretry: 20\ndata:\n\n");
            true
        }
        "GET" if request.header("last-event-id").is_some() => {
            let number = gets.fetch_add(1, Ordering::SeqCst);
            assert_eq!(
                request.header("last-event-id"),
                Some(if number == 0 { "e1" } else { "e2" })
            );
            reply.sse();
            if number == 0 {
                reply.chunk("id: e2\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n");
            } else {
                reply.event(&result("1", "\"late\""));
            }
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    assert_eq!(bridge.recv()["method"], "n");
    assert_eq!(bridge.recv()["result"], "late");
    bridge.finish();
    assert_eq!(server.count("POST ask"), 1);
}

#[test]
fn a_stream_that_breaks_without_event_ids_is_one_error() {
    for break_off in [true, false] {
        let server = answering(move |request, reply| {
            if request.id() == "2" {
                return reply.json(result("2", "{}"));
            }
            reply.sse();
            reply.event(r#"{"jsonrpc":"2.0","method":"n"}"#);
            if break_off {
                reply.raw("ff\r\ndata: {\"jsonrpc\":");
                reply.hang_up();
            }
        });
        let mut bridge = Process::connected(&[&server.url("/mcp")]);
        bridge.send(r#"{"id":1,"method":"ask"}"#);
        assert_eq!(bridge.recv()["method"], "n");
        let answer = bridge.recv();
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(1), &json!(-32001)),
            "{answer}"
        );
        assert_eq!(bridge.ask("2")["result"], json!({}));
        bridge.finish();
        assert_eq!(server.count("GET"), 1);
    }
}

#[test]
fn a_resumption_the_server_refuses_is_one_error() {
    let server = server(|request, reply| match request.what().as_str() {
        "POST ask" => {
            reply.sse();
            reply.chunk("id: e1\nretry: 10\ndata:\n\n");
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    let answer = bridge.ask("1");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("could not be resumed"),
        "{answer}"
    );
    bridge.finish();
}

#[test]
fn the_standing_stream_is_opened_once_and_again_where_it_broke() {
    let gets = AtomicUsize::new(0);
    let server = server(move |request, reply| {
        if request.method != "GET" {
            return false;
        }
        let number = gets.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.header("accept"), Some("text/event-stream"));
        assert_eq!(
            request.header("last-event-id"),
            (number > 0).then_some("e1")
        );
        reply.sse();
        if number == 0 {
            reply.chunk("retry: 20\nid: e1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"first\"}\n\n");
            reply.hang_up();
        } else {
            reply.event(r#"{"jsonrpc":"2.0","method":"second"}"#);
            reply.wait_until_peer_leaves();
        }
        true
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    assert_eq!(bridge.recv()["method"], "first");
    assert_eq!(bridge.recv()["method"], "second");
    bridge.finish();
    assert_eq!(server.count("GET"), 2);
}

#[test]
fn a_server_request_on_the_standing_stream_is_not_lost_to_an_early_call() {
    let open = Gate::default();
    let opened = open.clone();
    let server = server(move |request, reply| match request.what().as_str() {
        "GET" => {
            reply.sse();
            // Chunked headers alone say that the stream is open.
            opened.open();
            reply.wait_until_peer_leaves();
            true
        }
        "POST ask" => {
            assert!(
                opened.wait_for(std::time::Duration::ZERO),
                "the call came before the stream"
            );
            reply.json(result(&request.id(), "{}"));
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.ask("1");
    bridge.finish();
}

#[test]
fn a_standing_stream_lost_with_its_session_renews_it() {
    let gets = AtomicUsize::new(0);
    let sessions = AtomicUsize::new(0);
    let server = server(move |request, reply| match request.what().as_str() {
        "POST initialize" => {
            let number = sessions.fetch_add(1, Ordering::SeqCst) + 1;
            reply.full(
                200,
                &format!("content-type: application/json\r\nmcp-session-id: s{number}\r\n"),
                result(&request.id(), initialize_result()),
            );
            true
        }
        "GET" => {
            match gets.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    reply.sse();
                    reply.chunk("retry: 10\n\n");
                }
                1 => reply.status(404),
                _ => {
                    assert_eq!(request.header("mcp-session-id"), Some("s2"));
                    reply.sse();
                    reply.event(r#"{"jsonrpc":"2.0","method":"back"}"#);
                    reply.wait_until_peer_leaves();
                }
            }
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    assert_eq!(bridge.recv()["method"], "back");
    bridge.finish();
}
