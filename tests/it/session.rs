//! The handshake's order, the session, its loss and its end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::support::Gate;
use crate::support::mcp::{INITIALIZE, INITIALIZED, initialize_result, ordinary, result, server};
use crate::support::process::{Process, Start};

#[test]
fn the_session_and_the_version_follow_the_handshake_and_the_session_is_ended() {
    let server = server(|request, reply| {
        let handshake = request.rpc() == "initialize";
        assert_eq!(
            request.header("mcp-session-id"),
            (!handshake).then_some("s1"),
            "{}",
            request.what()
        );
        assert_eq!(
            request.header("mcp-protocol-version"),
            (!handshake).then_some("2025-11-25"),
            "{}",
            request.what()
        );
        let asked = request.rpc() == "ask";
        if asked {
            reply.json(result(&request.id(), "{}"));
        }
        asked
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.ask("1");
    bridge.finish();
    assert_eq!(
        server.log(),
        [
            "POST initialize",
            "POST notifications/initialized",
            "GET",
            "POST ask",
            "DELETE"
        ]
    );
}

#[test]
fn nothing_passes_initialize_or_initialized() {
    let open: Mutex<Vec<String>> = Mutex::default();
    let release = Gate::default();
    let released = release.clone();
    let server = server(move |request, reply| {
        let mut open_now = open.lock().unwrap();
        assert!(
            open_now.is_empty(),
            "{} came while {open_now:?} was open",
            request.what()
        );
        if matches!(
            request.rpc().as_str(),
            "initialize" | "notifications/initialized"
        ) {
            open_now.push(request.what());
            drop(open_now);
            released.wait();
            // Before the answer: the next request may be here before this thread goes on.
            open.lock().unwrap().clear();
            return ordinary(request, reply);
        }
        let asked = request.rpc() == "ask";
        if asked {
            reply.json(result(&request.id(), "{}"));
        }
        asked
    });
    let mut bridge = Start::bridge(&[&server.url("/mcp")]).go();
    bridge.send(INITIALIZE);
    bridge.send(INITIALIZED);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    server.wait_for("POST initialize", 1);
    release.open();
    assert_eq!(
        (bridge.recv()["id"].clone(), bridge.recv()["id"].clone()),
        (json!(0), json!(1))
    );
    bridge.finish();
}

/// A server that forgets its session after the handshake and says so in its own way.
fn forgetful(status: u16, body: &'static str) {
    let sessions = AtomicUsize::new(0);
    let forgotten = AtomicBool::new(false);
    let server = server(move |request, reply| {
        if request.rpc() == "initialize" {
            assert_eq!(request.header("mcp-session-id"), None);
            let number = sessions.fetch_add(1, Ordering::SeqCst) + 1;
            reply.full(
                200,
                &format!("content-type: application/json\r\nmcp-session-id: s{number}\r\n"),
                result(&request.id(), initialize_result()),
            );
            return true;
        }
        if matches!(request.rpc().as_str(), "ask" | "ping") {
            if request.header("mcp-session-id") == Some("s1") && forgotten.load(Ordering::SeqCst) {
                reply.full(status, "content-type: application/json\r\n", body);
            } else {
                reply.json(result(&request.id(), "{}"));
            }
            return true;
        }
        if request.rpc() == "forget" {
            forgotten.store(true, Ordering::SeqCst);
            reply.json(result(&request.id(), "{}"));
            return true;
        }
        false
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":"f","method":"forget"}"#);
    bridge.recv();
    (1..=5).for_each(|id| bridge.send(&format!(r#"{{"id":{id},"method":"ask"}}"#)));
    let mut ids: Vec<i64> = (0..5)
        .map(|_| {
            let answer = bridge.recv();
            assert_eq!(answer["result"], json!({}), "{answer}");
            answer["id"].as_i64().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    bridge.finish();
    assert_eq!(server.count("POST initialize"), 2);
    let renewal = server.wait_for("POST initialize", 2).json();
    assert_eq!(
        renewal["params"]["clientInfo"],
        json!({"name":"c","version":"1"})
    );
    assert_eq!(server.count("POST notifications/initialized"), 2);
}

#[test]
fn a_session_lost_with_404_is_renewed_once_for_all_calls_that_met_it() {
    forgetful(404, "");
}

#[test]
fn a_404_of_the_old_session_that_comes_after_its_renewal_ends_no_other() {
    let (late, sessions) = (Gate::default(), AtomicUsize::new(0));
    let to_server = late.clone();
    let server = server(move |request, reply| {
        match request.what().as_str() {
            "POST initialize" => {
                let id = sessions.fetch_add(1, Ordering::SeqCst);
                let headers =
                    format!("content-type: application/json\r\nmcp-session-id: s{id}\r\n");
                reply.full(200, &headers, result(&request.id(), initialize_result()));
            }
            "POST ask" if request.header("mcp-session-id") == Some("s0") => {
                if request.id() == "1" {
                    to_server.wait();
                }
                reply.status(404);
            }
            "POST ask" => reply.json(result(&request.id(), "{}")),
            _ => return false,
        }
        true
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"jsonrpc":"2.0","id":1,"method":"ask"}"#);
    server.wait_for("POST ask", 1);
    assert_eq!(bridge.ask("2")["result"], json!({}));
    late.open();
    let answer = bridge.recv();
    assert_eq!(answer, json!({"jsonrpc":"2.0","id":1,"result":{}}));
    bridge.finish();
    assert_eq!(server.count("POST initialize"), 2);
}

#[test]
fn a_session_lost_with_a_400_that_is_not_about_the_request_is_renewed_too() {
    forgetful(
        400,
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#,
    );
}

#[test]
fn a_400_in_a_session_that_lives_is_passed_on_and_nothing_is_sent_twice() {
    let server = server(|request, reply| {
        let asked = request.rpc() == "ask";
        if asked {
            reply.full(400, "", "bad argument");
        }
        let checks = request.rpc() == "ping";
        if checks {
            reply.json(result(&request.id(), "{}"));
        }
        asked || checks
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    for id in ["1", "2", "3"] {
        let answer = bridge.ask(id);
        assert_eq!(answer["error"]["data"]["httpStatus"], 400, "{answer}");
    }
    bridge.finish();
    assert_eq!(server.count("POST initialize"), 1);
    assert_eq!(server.count("POST ask"), 3);
}

#[test]
fn a_400_with_an_answer_to_the_request_itself_is_that_answer() {
    let server = server(|request, reply| {
        let asked = request.rpc() == "ask";
        if asked {
            reply.full(400, "", format!(r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32602,"message":"m","data":1.0}}}}"#, request.id()));
        }
        asked
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    assert_eq!(
        bridge.recv_raw(),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"m","data":1.0}}"#
    );
    bridge.finish();
    assert_eq!(server.count("POST initialize"), 1);
}

#[test]
fn if_the_renewal_fails_each_call_gets_one_error_and_the_next_tries_afresh() {
    let first = AtomicBool::new(true);
    let broken = std::sync::Arc::new(AtomicBool::new(true));
    let heals = std::sync::Arc::clone(&broken);
    let server = server(move |request, reply| match request.rpc().as_str() {
        "initialize" if first.swap(false, Ordering::SeqCst) => false,
        "initialize" if broken.load(Ordering::SeqCst) => {
            reply.full(500, "", "out of order");
            true
        }
        "ask" => {
            if broken.load(Ordering::SeqCst) {
                reply.status(404)
            } else {
                reply.json(result(&request.id(), "{}"))
            }
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    bridge.send(r#"{"id":2,"method":"ask"}"#);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = bridge.recv();
        assert_eq!(answer["error"]["data"]["httpStatus"], 500, "{answer}");
        ids.push(answer["id"].as_i64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    heals.store(false, Ordering::SeqCst);
    assert_eq!(bridge.ask("3")["result"], json!({}));
    bridge.finish();
}
