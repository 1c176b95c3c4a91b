//! Messages: every request one answer, every byte as it came.

use serde_json::json;

use crate::support::Gate;
use crate::support::http::Server;
use crate::support::mcp::{self, INITIALIZE, answering, result, server};
use crate::support::process::{Process, Start};

const ODD: &str = r#"{"a":1.0,"e":1e2,"big":123456789012345678901234567890,"z":-0.0,"dup":1,"dup":2,"u":"\u00e9\/","2":0,"1":0,"t":{"":[]}}"#;

#[test]
fn an_answer_reaches_the_client_byte_for_byte() {
    let server = answering(|request, reply| {
        reply.json(format!(
            r#"{{"jsonrpc":"2.0","x":[1.50], "id":{},"result":{ODD}}}"#,
            request.id()
        ))
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"jsonrpc":"2.0","id":"q","method":"ask"}"#);
    assert_eq!(
        bridge.recv_raw(),
        format!(r#"{{"jsonrpc":"2.0","x":[1.50], "id":"q","result":{ODD}}}"#)
    );
    bridge.finish();
}

#[test]
fn a_request_reaches_the_server_byte_for_byte() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    let line = format!(r#"{{ "jsonrpc":"2.0","id":1 ,"method":"\u0061sk","params":{ODD}}}"#);
    bridge.send(&line);
    bridge.recv();
    assert_eq!(server.wait_for("POST ask", 1).body, line);
    bridge.finish();
}

#[test]
fn newlines_between_tokens_become_spaces() {
    let server = answering(|request, reply| {
        reply.json(format!(
            "{{\n \"jsonrpc\":\"2.0\", \"id\": {},\r\n \"result\": \"a\\nb\"\n}}\n",
            request.id()
        ))
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    assert_eq!(
        bridge.recv_raw(),
        r#"{  "jsonrpc":"2.0", "id": 1,   "result": "a\nb" }"#
    );
    bridge.finish();
}

#[test]
fn ids_of_every_kind_are_answered_under_their_own_spelling() {
    let server = answering(|request, reply| {
        // As a server in JavaScript does: the number is read and printed again.
        let id = match &request.json()["id"] {
            serde_json::Value::Number(number) => format!("{}", number.as_f64().unwrap()),
            other => other.to_string(),
        };
        reply.json(result(&id, "{}"));
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    for id in [
        "1",
        "\"1\"",
        "1.0",
        "1e2",
        "-0",
        "9007199254740993",
        "123456789012345678901234567890",
        "null",
        "\"ä\\n\"",
    ] {
        bridge.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#));
        let answer = bridge.recv_raw();
        assert!(
            answer.contains(&format!(r#""id":{id},"result""#)),
            "{id}: {answer}"
        );
    }
    bridge.finish();
}

#[test]
fn an_error_without_an_id_answers_the_request_it_came_for() {
    let server = answering(|_, reply| {
        reply.json(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"m"}}"#)
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    assert_eq!(
        bridge.ask("7"),
        json!({"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"m"}})
    );
    bridge.finish();
}

#[test]
fn a_result_for_another_id_is_not_believed() {
    let server = answering(|_, reply| reply.json(result("99", "{}")));
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    let answer = bridge.ask("7");
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(7), &json!(-32001)),
        "{answer}"
    );
    bridge.finish();
}

#[test]
fn a_bad_line_is_answered_and_the_next_one_works() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    for (line, id, code) in [
        ("hello", json!(null), -32700),
        (r#"{"id":1,"#, json!(null), -32700),
        ("42", json!(null), -32600),
        ("[]", json!(null), -32600),
        (r#"{"id":3,"method":5}"#, json!(3), -32600),
        (r#"{"id":{},"method":"x"}"#, json!(null), -32600),
        (
            r#"{"jsonrpc":"2.0","id":"mcp-remote-reinit-1","method":"ask"}"#,
            json!("mcp-remote-reinit-1"),
            -32600,
        ),
    ] {
        bridge.send(line);
        let answer = bridge.recv();
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&id, &json!(code)),
            "{line}: {answer}"
        );
    }
    bridge.send_bytes(b"\xff\xfe\n");
    assert_eq!(bridge.recv()["error"]["code"], -32700);
    bridge.send_bytes(b"\r\n \n");
    assert_eq!(bridge.ask("4")["result"], json!({}));
    bridge.finish();
}

#[test]
fn a_byte_order_mark_and_a_last_line_without_an_end_are_accepted() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let mut bridge = Start::bridge(&[&server.url("/mcp")]).go();
    bridge.send_bytes(b"\xef\xbb\xbf");
    bridge.send_bytes(INITIALIZE.as_bytes());
    bridge.send_bytes(b"\r\n");
    bridge.recv();
    bridge.send_bytes(br#"{"id":1,"method":"ask"}"#);
    bridge.close_stdin();
    assert_eq!(bridge.recv()["id"], 1);
    assert!(bridge.wait_exit().success());
}

#[test]
fn batches_are_taken_apart_both_ways() {
    let server = answering(|request, reply| {
        let note = r#"{"jsonrpc":"2.0","method":"notifications/message"}"#;
        reply.json(format!("[{note},{}]", result(&request.id(), "{}")));
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"[{"id":1,"method":"ask"},7,{"id":2,"method":"ask"}]"#);
    let mut ids = Vec::new();
    let mut notes = 0;
    for _ in 0..5 {
        let line = bridge.recv();
        if line["method"].is_string() {
            notes += 1
        } else {
            ids.push(line["id"].clone())
        }
    }
    ids.sort_by_key(ToString::to_string);
    assert_eq!((ids, notes), (vec![json!(1), json!(2), json!(null)], 2));
    bridge.finish();
}

#[test]
fn a_request_id_in_use_is_refused_and_free_again_after_its_answer() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = answering(move |request, reply| {
        held.wait();
        reply.json(result(&request.id(), "{}"));
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    assert_eq!(bridge.recv()["error"]["code"], -32600);
    gate.open();
    assert_eq!(bridge.recv()["result"], json!({}));
    assert_eq!(bridge.ask("1")["result"], json!({}));
    bridge.finish();
}

#[test]
fn large_messages_pass_both_ways() {
    let server = answering(|request, reply| {
        let params = request.json()["params"]["text"].as_str().unwrap().len();
        reply.json(result(
            &request.id(),
            &format!("[{params},\"{}\"]", "y".repeat(5 << 20)),
        ));
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(&format!(
        r#"{{"id":1,"method":"ask","params":{{"text":"{}"}}}}"#,
        "x".repeat(5 << 20)
    ));
    let answer = bridge.recv();
    assert_eq!(answer["result"][0], 5 << 20);
    assert_eq!(answer["result"][1].as_str().unwrap().len(), 5 << 20);
    bridge.finish();
}

#[test]
fn a_message_beyond_the_limit_is_an_error_and_the_next_one_works() {
    let server = answering(|request, reply| {
        let long = request.json()["params"]["long"] == true;
        reply.json(result(
            &request.id(),
            &format!("\"{}\"", "y".repeat(if long { 2 << 20 } else { 1 })),
        ));
    });
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--max-message-size", "1"]);
    bridge.send(&format!(
        r#"{{"id":1,"method":"ask","params":"{}"}}"#,
        "x".repeat(2 << 20)
    ));
    let answer = bridge.recv();
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(1), &json!(-32600)),
        "{answer}"
    );
    bridge.send(r#"{"id":2,"method":"ask","params":{"long":true}}"#);
    let answer = bridge.recv();
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("longer than 1 MiB"),
        "{answer}"
    );
    assert_eq!(bridge.ask("3")["result"], "y");
    bridge.finish();
}

#[test]
fn hidden_tools_are_neither_listed_nor_called() {
    let server = server(|request, reply| match request.rpc().as_str() {
        "tools/list" => {
            reply.json(result(
                &request.id(),
                r#"{"tools":[{"name":"get_a","n":1.0},{"name":"get_b"},{"name":"drop"}],"x":1}"#,
            ));
            true
        }
        "tools/call" => {
            reply.json(result(&request.id(), "{}"));
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[
        &server.url("/mcp"),
        "--allow-tool",
        "GET_*",
        "--ignore-tool",
        "*_b",
    ]);
    bridge.send(r#"{"id":1,"method":"tools/list"}"#);
    assert_eq!(
        bridge.recv_raw(),
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"get_a","n":1.0}],"x":1}}"#
    );
    bridge.send(r#"{"id":2,"method":"tools/call","params":{"name":"get_b"}}"#);
    let answer = bridge.recv();
    assert_eq!(
        answer["error"],
        json!({"code":-32603,"message":"Tool \"get_b\" is not available"})
    );
    bridge.send(r#"{"id":3,"method":"tools/call","params":{"name":"get_a"}}"#);
    assert_eq!(bridge.recv()["result"], json!({}));
    assert_eq!(server.count("POST tools/call"), 1);
    bridge.finish();
}

#[test]
fn requests_of_the_server_and_their_answers_pass_both_ways() {
    let answered = Gate::default();
    let seen = answered.clone();
    let server = server(move |request, reply| {
        if request.rpc() == "ask" {
            reply.sse();
            reply.event(r#"{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":{"a":1.0}}"#);
            seen.wait();
            reply.event(&result(&request.id(), "\"done\""));
        } else if request.json()["id"] == "s1" {
            assert_eq!(request.json()["result"], json!({"role":"user"}));
            reply.status(202);
            seen.open();
        } else {
            return false;
        }
        true
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    assert_eq!(
        bridge.recv_raw(),
        r#"{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":{"a":1.0}}"#
    );
    bridge.send(r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"user"}}"#);
    assert_eq!(bridge.recv()["result"], "done");
    bridge.finish();
}

#[test]
fn slow_calls_run_side_by_side() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (all_there, count) = (Gate::default(), AtomicUsize::new(0));
    let server = answering(move |request, reply| {
        // None is answered before all have come: in a queue this would never end.
        if count.fetch_add(1, Ordering::SeqCst) == 31 {
            all_there.open();
        }
        all_there.wait();
        reply.json(result(&request.id(), "{}"));
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    (0..32).for_each(|id| bridge.send(&format!(r#"{{"id":{id},"method":"ask"}}"#)));
    let mut ids: Vec<i64> = (0..32)
        .map(|_| bridge.recv()["id"].as_i64().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..32).collect::<Vec<_>>());
    bridge.finish();
}

#[test]
fn a_cancellation_passes_a_slow_call() {
    let cancelled = Gate::default();
    let seen = cancelled.clone();
    let server = server(move |request, reply| match request.rpc().as_str() {
        "ask" => {
            reply.sse();
            seen.wait();
            true
        }
        "notifications/cancelled" => {
            assert_eq!(request.json()["params"]["requestId"], 1);
            reply.status(202);
            seen.open();
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    server.wait_for("POST ask", 1);
    bridge.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    cancelled.wait();
    // A cancelled request is given no answer that the server did not send.
    bridge.finish();
}

#[test]
fn a_request_that_takes_too_long_is_answered_and_cancelled() {
    let cancelled = Gate::default();
    let seen = cancelled.clone();
    let left = Gate::default();
    let gone = left.clone();
    let server = server(move |request, reply| match request.rpc().as_str() {
        "ask" => {
            reply.wait_until_peer_leaves();
            gone.open();
            true
        }
        "notifications/cancelled" => {
            seen.open();
            false
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--request-timeout", "0.3"]);
    let answer = bridge.ask("1");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("mcp-remote: no answer to \"ask\""),
        "{answer}"
    );
    cancelled.wait();
    // Its connection is cut, and does not last until the process ends.
    left.wait();
    bridge.finish();
}

#[test]
fn compressed_answers_are_read() {
    let server = answering(|request, reply| {
        assert!(request.header("accept-encoding").unwrap().contains("gzip"));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gzip, result(&request.id(), "\"zipped\"").as_bytes())
            .unwrap();
        reply.full(
            200,
            "content-type: application/json\r\ncontent-encoding: gzip\r\n",
            gzip.finish().unwrap(),
        );
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    assert_eq!(bridge.ask("1")["result"], "zipped");
    bridge.finish();
}

#[test]
fn nothing_is_sent_before_the_client_speaks() {
    let server = Server::start(|request, reply| {
        assert_eq!(request.rpc(), "initialize");
        reply.json(result(&request.id(), mcp::initialize_result()));
    });
    let mut bridge = Start::bridge(&[&server.url("/mcp")]).go();
    // The bad line is answered by the bridge itself: by then it has long started.
    bridge.send("x");
    bridge.recv();
    assert_eq!(server.log(), Vec::<String>::new());
    bridge.send(INITIALIZE);
    bridge.recv();
    bridge.finish();
}
