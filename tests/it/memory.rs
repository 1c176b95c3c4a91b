//! Memory: what stays of connections that come and go, and what waits behind a client that does not read.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::mcp::{INITIALIZE, INITIALIZED, answering, result};
use crate::support::process::{Process, program, status};
use crate::support::{Gate, TempDir};

/// Each call has a connection of its own, and some have large answers: afterwards C libraries give blocks of every size
/// from heaps, of which glibc has up to eight for each processor.
#[test]
fn connections_that_come_and_go_leave_little_memory_behind() {
    const CALLS: usize = 24;
    let here = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&here);
    let server = answering(move |request, reply| {
        // All calls of a round have a connection at the same time.
        let turn = count.fetch_add(1, Ordering::SeqCst) / CALLS;
        while count.load(Ordering::SeqCst) < (turn + 1) * CALLS {
            std::thread::sleep(Duration::from_millis(1));
        }
        let large = request.json()["id"].as_u64().unwrap_or_default() % 5 == 0;
        let length = if large { 300_000 } else { 10 };
        let headers = "content-type: application/json\r\nconnection: close\r\n";
        let text = format!("\"{}\"", "x".repeat(length));
        reply.full(200, headers, result(&request.id(), &text));
        reply.hang_up();
    });
    let mut bridge = Process::connected(&[&server.url("/mcp")]);
    for _ in 0..20 {
        for id in 1..=CALLS {
            bridge.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#));
        }
        let mut ids = BTreeSet::new();
        while ids.len() < CALLS {
            let answer = bridge.recv();
            assert!(answer["result"].is_string(), "{answer}");
            assert!(ids.insert(answer["id"].as_u64()), "answered twice");
        }
    }
    // Without the pages of the program itself, which are many in a debug build.
    let (kib, threads) = (status(bridge.pid(), "RssAnon:"), bridge.threads());
    assert!(kib < 12 * 1024, "{kib} KiB, {threads} threads");
    bridge.finish();
}

/// What the client does not read holds back the lanes, and these what is asked next: it is refused, not piled up.
#[test]
fn requests_that_keep_coming_behind_a_blocked_reader_cost_little_and_are_all_answered() {
    const CALLS: u64 = 3_000;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = answering(move |request, reply| {
        let text = format!("\"{}\"", "x".repeat(100_000));
        reply.json(result(&request.id(), &text));
        count.fetch_add(1, Ordering::SeqCst);
    });
    let home = TempDir::new();
    let mut child = program(&home).arg(server.url("/mcp")).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{INITIALIZE}\n{INITIALIZED}").unwrap();
    for id in 1..=CALLS {
        writeln!(stdin, r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#).unwrap();
        // Some at a time, and the next when nothing moves any more.
        let mut seen = usize::MAX;
        while id % 150 == 0 && seen != asked.load(Ordering::SeqCst) {
            seen = asked.load(Ordering::SeqCst);
            Gate::default().wait_for(Duration::from_millis(100));
        }
    }
    let kib = status(child.id(), "VmRSS:");
    assert!(kib < 180 * 1024, "{kib} KiB");
    let (mut ids, mut results) = (BTreeSet::new(), 0);
    let stdout = BufReader::new(child.stdout.take().unwrap());
    for line in stdout.lines().take(1 + CALLS as usize) {
        let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
        results += u64::from(!answer["result"].is_null());
        assert!(ids.insert(answer["id"].as_u64().unwrap()), "answered twice");
    }
    assert_eq!(ids, (0..=CALLS).collect());
    assert!(results > 100, "only {results} were answered with a result");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}
