//! Faults of the machine and the host: no descriptors, no disk, no home, no reader.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc::channel;

use serde_json::json;

use crate::support::http::Server;
use crate::support::mcp::{INITIALIZE, INITIALIZED, answering, result};
use crate::support::process::{Process, Start, program};
use crate::support::{Gate, LIMIT, TempDir};

fn tools() -> Server {
    answering(|request, reply| reply.json(result(&request.id(), "{}")))
}

#[cfg(unix)]
#[test]
fn without_file_descriptors_each_request_is_answered_and_later_ones_work() {
    let gate = Gate::default();
    let (to_server, many) = (gate.clone(), 40);
    let server = answering(move |request, reply| {
        if request.id() != "1000" {
            to_server.wait();
        }
        reply.json(result(&request.id(), "{}"));
    });
    let mut bridge = Start::limited("-n 24", &[&server.url("/mcp")]).go();
    bridge.handshake();
    for id in 1..=many {
        bridge.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#));
    }
    // The first answers are errors of those that found no descriptor; they come after their patience has ended.
    let first = bridge.recv();
    assert!(first["error"].is_object(), "{first}");
    gate.open();
    let mut ids = BTreeSet::from([first["id"].as_u64()]);
    while ids.len() < many {
        assert!(
            ids.insert(bridge.recv()["id"].as_u64()),
            "an id was answered twice"
        );
    }
    assert_eq!(bridge.ask("1000")["result"], json!({}));
    bridge.finish();
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_with_its_input_leaves_nothing_behind() {
    let server = answering(|_, reply| reply.wait_until_peer_leaves());
    let home = TempDir::new();
    let mut child = program(&home).arg(server.url("/mcp")).spawn().unwrap();
    let lines = format!(
        "{}\n{}\n{{\"id\":1,\"method\":\"ask\"}}\n{{\"id\":2,\"met",
        crate::support::mcp::INITIALIZE,
        crate::support::mcp::INITIALIZED
    );
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), lines.as_bytes()).unwrap();
    server.wait_for("POST ask", 1);
    // The host was killed: both pipes close, in the middle of a line.
    drop((child.stdin.take(), child.stdout.take()));
    assert!(child.wait().unwrap().success());
    server.wait_for("DELETE", 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_told_and_ends_the_session_in_order() {
    let server = tools();
    let home = TempDir::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut child = program(&home)
        .arg(server.url("/mcp"))
        .stdout(full.unwrap())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = format!("{}\n", crate::support::mcp::INITIALIZE);
    std::io::Write::write_all(&mut stdin, line.as_bytes()).unwrap();
    // stdin stays open: nothing else ends it.
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        said.contains("cannot write to stdout: the disk is full"),
        "{said}"
    );
    assert_eq!(server.count("DELETE"), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_log_file_stops_nothing() {
    let server = tools();
    let url = server.url("/mcp");
    let mut bridge = Process::connected(&[&url, "--debug", "--log-file", "/dev/full"]);
    assert_eq!(bridge.ask("1")["result"], json!({}));
    bridge.finish();
    assert!(bridge.stderr().contains("answered 200"));
}

#[test]
fn a_log_file_is_given_every_line_and_one_that_cannot_be_made_is_named() {
    let server = tools();
    let home = crate::support::TempDir::new();
    let path = home.0.join("log");
    let url = server.url("/mcp");
    let flags = ["--silent", "--debug", "--log-file", path.to_str().unwrap()];
    let mut bridge = Process::connected(&[&[url.as_str()], &flags[..]].concat());
    bridge.ask("1");
    bridge.finish();
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .contains("answered 200")
    );
    assert_eq!(bridge.stderr(), "");
    let nowhere = home.0.join("missing/log");
    let mut refused = Start::bridge(&[&url, "--log-file", nowhere.to_str().unwrap()]).go();
    assert_eq!(refused.wait_exit().code(), Some(1));
    assert!(refused.stderr().contains("cannot open log file"));
}

#[cfg(unix)]
#[test]
fn without_a_home_a_session_works_and_says_nothing_on_stdout() {
    let server = tools();
    let url = server.url("/mcp");
    for home in ["/dev/null/home", ""] {
        let mut bridge = Start::limited("-n 100", &[&url])
            .env("MCP_REMOTE_CONFIG_DIR", home)
            .go();
        bridge.handshake();
        assert_eq!(bridge.ask("1")["result"], json!({}));
        bridge.finish();
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_is_obeyed_while_the_first_one_ends_the_session() {
    let server = crate::support::mcp::server(|request, reply| {
        let ends = request.method == "DELETE";
        if ends {
            reply.wait_until_peer_leaves();
        }
        ends
    });
    let gave_up = "the session was not ended";
    let leave = |signals: &[&str], count: usize| {
        let mut bridge = Process::connected(&[&server.url("/mcp"), "--debug"]);
        server.wait_for("GET", count);
        bridge.signal("TERM");
        server.wait_for("DELETE", count);
        signals.iter().for_each(|signal| bridge.signal(signal));
        assert!(bridge.wait_exit().success());
        assert!(bridge.rest().is_empty());
        bridge.stderr().contains(gave_up)
    };
    // One signal alone: the end of the session is waited for until it is given up.
    assert!(leave(&[], 1));
    // With a second one it is not, unless this machine was too slow to send it in time.
    let obeyed = |count| !leave(&["INT"], count);
    assert!((2..10).any(obeyed));
}

/// Threads are counted for each user: root's are not, and another user may have others than ours.
#[cfg(target_os = "linux")]
#[test]
fn without_threads_each_request_is_answered_and_later_ones_work() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let home = std::sync::Arc::new(crate::support::TempDir::new());
    if home.0.metadata().unwrap().uid() != 0 {
        eprintln!("left out: only root can become a user who has no other threads");
        return;
    }
    let program = home.0.join("mcp-remote");
    std::fs::copy(env!("CARGO_BIN_EXE_mcp-remote"), &program).unwrap();
    let to_all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&home.0, to_all.clone()).unwrap();
    std::fs::set_permissions(&program, to_all).unwrap();
    let gate = Gate::default();
    let to_server = gate.clone();
    let server = answering(move |request, reply| {
        if request.id() != "1000" {
            to_server.wait();
        }
        reply.json(result(&request.id(), "{}"));
    });
    // Some user whom nobody else is.
    let user = 1_000_000_000 + std::process::id();
    let limit = "-u 8 2>/dev/null || ulimit -p 8";
    let mut bridge =
        Start::limited_program(limit, program.to_str().unwrap(), &[&server.url("/mcp")])
            .user(user)
            .home(&home)
            .go();
    bridge.handshake();
    let many = 20;
    for id in 1..=many {
        bridge.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#));
    }
    // Those that found no thread are told at once, while the others wait.
    let first = bridge.recv();
    let words = first["error"]["message"].as_str().unwrap_or_default();
    assert!(words.contains("cannot start a thread"), "{first}");
    gate.open();
    let mut ids = BTreeSet::from([first["id"].as_u64()]);
    let mut worked = 0;
    while ids.len() < many {
        let answer = bridge.recv();
        worked += usize::from(answer["result"].is_object());
        assert!(
            ids.insert(answer["id"].as_u64()),
            "an id was answered twice"
        );
    }
    assert!(worked > 0);
    assert_eq!(bridge.ask("1000")["result"], json!({}));
    bridge.finish();
}

/// A host may give a pipe for stderr and never look at it.
#[test]
fn a_stderr_that_nobody_reads_stops_nothing_and_what_is_missing_is_counted() {
    const CALLS: u64 = 1_500;
    let (server, home) = (tools(), TempDir::new());
    let mut child = program(&home)
        .args([&server.url("/mcp"), "--debug"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (sender, answers) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            sender.send(line).unwrap();
        }
    });
    writeln!(stdin, "{INITIALIZE}\n{INITIALIZED}").unwrap();
    for id in 0..=CALLS {
        if id > 0 {
            writeln!(stdin, r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#).unwrap();
        }
        answers.recv_timeout(LIMIT).expect("an answer");
    }
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = stderr.lines().map_while(Result::ok);
    // What the pipe held is read, and then what a call says.
    let reader =
        std::thread::spawn(move || said.any(|line| line.contains("lines are missing here")));
    for id in CALLS + 1.. {
        if reader.is_finished() {
            break;
        }
        writeln!(stdin, r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#).unwrap();
        answers.recv_timeout(LIMIT).expect("an answer");
    }
    assert!(reader.join().unwrap());
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

/// `O_NONBLOCK` belongs to the open file, which a host with an event loop shares with the programs it starts.
#[cfg(unix)]
#[test]
fn a_non_blocking_stdin_and_stdout_are_waited_for() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    let long = format!("\"{}\"", "x".repeat(3_000_000));
    let server = answering(move |request, reply| reply.json(result(&request.id(), &long)));
    let home = TempDir::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let stdio = || Stdio::from(OwnedFd::from(theirs.try_clone().unwrap()));
    let mut child = program(&home)
        .arg(server.url("/mcp"))
        .stdin(stdio())
        .stdout(stdio())
        .spawn()
        .unwrap();
    drop(theirs);
    // There is nothing to read at first.
    std::thread::sleep(std::time::Duration::from_millis(200));
    ours.set_read_timeout(Some(LIMIT)).unwrap();
    let lines = format!("{INITIALIZE}\n{INITIALIZED}\n{{\"id\":1,\"method\":\"ask\"}}\n");
    (&ours).write_all(lines.as_bytes()).unwrap();
    // And no room to write later.
    server.wait_for("POST ask", 1);
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut answers = BufReader::new(&ours).lines();
    let mut next = || -> serde_json::Value {
        serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap()
    };
    assert!(next()["result"].is_object());
    assert_eq!(next()["result"].as_str().map(str::len), Some(3_000_000));
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_variable_that_is_not_needed_stops_nothing_and_one_that_is_fails_in_words() {
    let server = tools();
    let start = |url: &str| {
        let start = Start::bridge(&[url, "--allow-http", "--transport", "http-only"]);
        start.env("HTTP_PROXY", "${user_config.proxy}").go()
    };
    let mut bridge = start(&server.url("/mcp"));
    bridge.handshake();
    assert_eq!(bridge.ask("1")["result"], json!({}));
    bridge.finish();
    let stderr = bridge.stderr();
    assert!(
        stderr.contains("Warning: HTTP_PROXY does not name"),
        "{stderr}"
    );

    let mut bridge = start("http://mcp.invalid/mcp");
    bridge.send(INITIALIZE);
    let answer = bridge.recv()["error"]["message"].to_string();
    assert!(
        answer.contains("HTTP_PROXY") && answer.contains("--no-proxy"),
        "{answer}"
    );
    bridge.finish();
}
