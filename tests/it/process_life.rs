//! Start, drain, signals, closed pipes: the process leaves when it should, and not before.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::http::Server;
use crate::support::mcp::{INITIALIZE, INITIALIZED, answering, result, server};
use crate::support::process::{Process, Start, program};
use crate::support::{Gate, TempDir};

#[test]
fn a_whole_script_piped_in_gets_all_its_answers() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let mut bridge = Start::bridge(&[&server.url("/mcp")]).go();
    bridge.send(INITIALIZE);
    bridge.send(INITIALIZED);
    (1..=10).for_each(|id| bridge.send(&format!(r#"{{"id":{id},"method":"ask"}}"#)));
    bridge.close_stdin();
    let mut ids: Vec<i64> = bridge
        .rest()
        .iter()
        .map(|answer| answer["id"].as_i64().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..=10).collect::<Vec<_>>());
    assert!(bridge.wait_exit().success());
    assert_eq!(server.count("DELETE"), 1);
}

#[test]
fn a_slow_answer_is_waited_for_at_the_end() {
    let closed = Gate::default();
    let wait = closed.clone();
    let server = answering(move |request, reply| {
        wait.wait();
        reply.json(result(&request.id(), "{}"));
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    server.wait_for("POST ask", 1);
    bridge.close_stdin();
    closed.open();
    assert_eq!(bridge.rest(), [json!({"jsonrpc":"2.0","id":1,"result":{}})]);
    assert!(bridge.wait_exit().success());
}

#[test]
fn a_call_that_never_ends_is_answered_with_an_error_at_the_end() {
    let server = answering(|_, reply| reply.wait_until_peer_leaves());
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    server.wait_for("POST ask", 1);
    bridge.close_stdin();
    let rest = bridge.rest();
    assert_eq!(
        (rest.len(), &rest[0]["id"], &rest[0]["error"]["code"]),
        (1, &json!(1), &json!(-32001))
    );
    assert!(bridge.wait_exit().success());
    assert_eq!(server.count("DELETE"), 1);
}

#[test]
fn the_end_of_stdin_ends_the_process_in_every_phase() {
    let silent = Server::start(|_, reply| reply.wait_until_peer_leaves());
    let mut bridge = Start::bridge(&[&silent.url("/mcp")]).go();
    bridge.finish();
    let mut bridge = Start::bridge(&[&silent.url("/mcp")]).go();
    bridge.send(INITIALIZE);
    silent.wait_for("POST initialize", 1);
    bridge.close_stdin();
    assert_eq!(bridge.rest()[0]["error"]["code"], -32001);
    assert!(bridge.wait_exit().success());
    let mut bridge = Start::bridge(&["http://127.0.0.1:1/mcp"]).go();
    bridge.send(INITIALIZE);
    bridge.send_bytes(b"{\"id\":1,");
    bridge.close_stdin();
    assert_eq!(bridge.rest().len(), 2);
    assert!(bridge.wait_exit().success());
}

#[cfg(unix)]
#[test]
fn signals_end_the_session_and_the_process() {
    for signal in ["TERM", "INT", "HUP"] {
        let server = answering(|_, reply| reply.wait_until_peer_leaves());
        let mut bridge = Process::connected(&[&server.url("/mcp")]);
        bridge.send(r#"{"id":1,"method":"ask"}"#);
        server.wait_for("POST ask", 1);
        bridge.signal(signal);
        assert!(bridge.wait_exit().success(), "{signal}");
        assert_eq!(bridge.rest()[0]["id"], 1);
        assert_eq!(server.count("DELETE"), 1, "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_closed_stdout_ends_the_process() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let home = TempDir::new();
    let mut child = program(&home).arg(server.url("/mcp")).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{INITIALIZE}\n").as_bytes()).unwrap();
    // stdin stays open: only the closed stdout can end it.
    assert!(child.wait().unwrap().success());
    assert_eq!(server.count("DELETE"), 1);
}

/// As the first process of a container it inherits children, has no default actions for signals, and nobody reaps for it.
#[cfg(target_os = "linux")]
#[test]
fn as_process_1_a_signal_ends_it_in_order_and_children_that_ended_do_not_matter() {
    let namespace = ["--user", "--map-root-user", "--pid", "--fork"];
    let unshare = ["/usr/bin/unshare", "/bin/unshare"];
    let unshare = unshare.into_iter().find(|path| {
        let tried = std::process::Command::new(path)
            .args(namespace)
            .arg("/bin/true")
            .status();
        tried.is_ok_and(|status| status.success())
    });
    let Some(unshare) = unshare else {
        eprintln!("left out: no PID namespace can be had here (unshare --user --pid)");
        return;
    };
    for signal in ["TERM", "INT", "HUP"] {
        let server = answering(|_, reply| reply.wait_until_peer_leaves());
        // The shell becomes the program, which so has a child that ended before it began.
        let script = "/bin/true & exec \"$0\" \"$@\"";
        let program = [env!("CARGO_BIN_EXE_mcp-remote"), &server.url("/mcp")];
        let words = [&namespace[..], &["/bin/sh", "-c", script], &program].concat();
        let mut bridge = Start::program(unshare, &words).go();
        bridge.handshake();
        bridge.send(r#"{"id":1,"method":"ask"}"#);
        server.wait_for("POST ask", 1);
        let pid = bridge.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let first: u32 = children.unwrap().trim().parse().unwrap();
        let own = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap();
        let own = own.lines().find(|line| line.starts_with("NSpid:")).unwrap();
        assert!(own.ends_with("\t1"), "{own}");
        crate::support::process::kill(signal, first);
        assert_eq!(bridge.rest()[0]["id"], 1);
        assert!(bridge.wait_exit().success(), "{signal}");
        assert_eq!(server.count("DELETE"), 1, "{signal}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_does_not_read_stops_the_flow_and_memory_stays_flat() {
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let sending = std::sync::Arc::clone(&sent);
    let server = server(move |request, reply| {
        let asked = request.rpc() == "ask";
        if asked {
            reply.sse();
            for number in 0..200 {
                reply.event(&format!(
                    r#"{{"jsonrpc":"2.0","method":"n","params":[{number},"{}"]}}"#,
                    "x".repeat(1 << 20)
                ));
                sending.fetch_add(1, Ordering::SeqCst);
            }
            reply.event(&result(&request.id(), "{}"));
        }
        asked
    });
    let home = TempDir::new();
    let mut child = program(&home).arg(server.url("/mcp")).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = format!("{INITIALIZE}\n{INITIALIZED}\n{{\"id\":1,\"method\":\"ask\"}}\n");
    std::io::Write::write_all(&mut stdin, lines.as_bytes()).unwrap();
    server.wait_for("POST ask", 1);
    // The flow has stopped when the count no longer moves.
    let mut last = usize::MAX;
    while last != sent.load(Ordering::SeqCst) || last == 0 {
        last = sent.load(Ordering::SeqCst);
        crate::support::Gate::default().wait_for(std::time::Duration::from_millis(300));
    }
    assert!(
        last < 100,
        "{last} messages were taken from the server although nobody reads them"
    );
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 64 * 1024, "{kib} KiB");
    let mut numbers = Vec::new();
    for line in std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap())) {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        match line["params"][0].as_u64() {
            Some(number) => numbers.push(number),
            None if line["id"] == 1 => break,
            None => {}
        }
    }
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn keep_alive_pings_are_sent_and_their_answers_swallowed() {
    let server = server(|request, reply| {
        let pinged = request.rpc() == "ping";
        if pinged {
            assert!(
                request.json()["id"]
                    .as_str()
                    .unwrap()
                    .starts_with("mcp-remote-keepalive-")
            );
            reply.json(result(&request.id(), "{}"));
        }
        pinged
    });
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--ping-interval", "0.05"]);
    server.wait_for("POST ping", 3);
    bridge.finish();
}
