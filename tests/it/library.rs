//! The library: a connection as a pair of channels, and the bridge over any reader and writer.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use mcp_remote::{Config, Connection, Message};
use serde_json::{Value, json};

use crate::support::http::Server;
use crate::support::mcp::{INITIALIZE, INITIALIZED, result, server};
use crate::support::{Gate, LIMIT, TempDir};

fn tools() -> Server {
    server(|request, reply| match request.rpc().as_str() {
        "tools/list" => {
            reply.json(result(&request.id(), r#"{"tools":[{"name":"add"}]}"#));
            true
        }
        "tools/call" => {
            let arguments = &request.json()["params"]["arguments"];
            let sum = arguments["a"].as_i64().unwrap() + arguments["b"].as_i64().unwrap();
            let content = json!({"content": [{"type": "text", "text": sum.to_string()}]});
            reply.json(result(&request.id(), &content.to_string()));
            true
        }
        _ => false,
    })
}

fn config(url: &str, home: &TempDir) -> Config {
    let mut config = Config::new(url.parse().unwrap());
    config.log.silent = true;
    config.store_dir = Some(home.0.clone());
    config
}

fn ask(connection: &Connection, id: u32, method: &str, params: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let message = Message::parse(&message.to_string()).unwrap();
    connection.sender.send(message).unwrap();
    loop {
        let message = connection.receiver.recv_timeout(LIMIT).unwrap();
        let answer: Value = serde_json::from_str(message.text()).unwrap();
        if answer["id"] == id {
            return answer;
        }
    }
}

/// What a library's user brings may panic.
struct Broken;

impl std::io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        panic!("on purpose")
    }
}

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        panic!("on purpose")
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_or_writer_that_panics_ends_the_bridge() {
    let server = tools();
    let home = TempDir::new();
    let url = server.url("/mcp");
    mcp_remote::run(config(&url, &home), Broken, Vec::new()).unwrap();
    // Its input never ends: only the broken output can end the bridge.
    let (input, mut to) = std::io::pipe().unwrap();
    writeln!(to, "{INITIALIZE}").unwrap();
    mcp_remote::run(config(&url, &home), input, Broken).unwrap();
    drop(to);
}

#[test]
fn a_connection_lists_and_calls_a_tool() {
    let server = tools();
    let home = TempDir::new();
    let connection = Connection::open(config(&server.url("/mcp"), &home)).unwrap();
    let client = json!({"name": "example", "version": "1.0"});
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    assert!(ask(&connection, 1, "initialize", hello)["result"].is_object());
    connection
        .sender
        .send(Message::parse(INITIALIZED).unwrap())
        .unwrap();
    let tools = ask(&connection, 2, "tools/list", json!({}));
    assert_eq!(tools["result"]["tools"][0]["name"], "add");
    let called = ask(
        &connection,
        3,
        "tools/call",
        json!({"name": "add", "arguments": {"a": 1, "b": 2}}),
    );
    assert_eq!(called["result"]["content"][0]["text"], "3");
    connection.close();
    assert_eq!(
        server.log().last().unwrap(),
        "DELETE",
        "the session is ended in order"
    );
}

#[test]
fn answers_under_way_still_come_when_the_sender_is_dropped() {
    let server = tools();
    let home = TempDir::new();
    let connection = Connection::open(config(&server.url("/mcp"), &home)).unwrap();
    let Connection {
        sender, receiver, ..
    } = connection;
    for line in [
        INITIALIZE,
        INITIALIZED,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#,
    ] {
        sender.send(Message::parse(line).unwrap()).unwrap();
    }
    drop(sender);
    let mut ids = Vec::new();
    loop {
        match receiver.recv_timeout(LIMIT) {
            Ok(message) => ids.push(message.member("id").unwrap().to_owned()),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
        }
    }
    assert_eq!(ids, ["0", "7"]);
}

#[test]
fn a_refusal_is_an_answer_and_a_bad_configuration_an_error() {
    let server = Server::start(|_, reply| reply.full(403, "", "not for you"));
    let home = TempDir::new();
    let connection = Connection::open(config(&server.url("/mcp"), &home)).unwrap();
    let answer = ask(&connection, 1, "initialize", json!({}));
    assert_eq!(answer["error"]["data"]["httpStatus"], 403, "{answer}");
    connection.close();
    let mut config = config("https://a.test/mcp", &home);
    config.http.ca_files = vec![PathBuf::from("/no.pem")];
    let error = Connection::open(config).unwrap_err();
    assert!(error.to_string().contains("/no.pem"), "{error}");
}

#[test]
fn the_bridge_runs_over_any_reader_and_writer() {
    let server = tools();
    let home = TempDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let config = config(&server.url("/mcp"), &home);
    let bridge =
        std::thread::spawn(move || mcp_remote::run(config, stream.try_clone().unwrap(), stream));
    let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
    writeln!(&client, "{INITIALIZE}").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("\"result\""));
    writeln!(&client, "{INITIALIZED}").unwrap();
    writeln!(
        &client,
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"}}"#
    )
    .unwrap();
    assert!(lines.next().unwrap().unwrap().contains("add"));
    client.shutdown(Shutdown::Write).unwrap();
    bridge.join().unwrap().unwrap();
    assert!(
        lines.next().is_none(),
        "the writer is closed with the session"
    );
}

#[test]
fn plain_http_to_another_machine_needs_leave() {
    let home = TempDir::new();
    for (url, expected) in [
        (
            "http://a.test/mcp?key=hush",
            "\"http://a.test/mcp\" is not encrypted",
        ),
        (
            "ftp://a.test/",
            "\"ftp://a.test/\" must begin with https://, not ftp:",
        ),
    ] {
        let refused = Connection::open(config(url, &home)).unwrap_err();
        assert_eq!(refused.kind(), mcp_remote::error::Kind::Usage);
        assert_eq!(refused.what(), expected);
        let nothing = std::io::empty();
        let refused = mcp_remote::run(config(url, &home), nothing, Vec::new()).unwrap_err();
        assert_eq!(refused.what(), expected);
    }
    let mut config = config("http://a.test/mcp", &home);
    config.allow_http = true;
    Connection::open(config).unwrap().close();
}

const SERVER: &str = "MCP_REMOTE_TEST_SERVER";
/// The server does not answer it.
const FOREVER: &str = r#"{"jsonrpc":"2.0","method":"notifications/forever"}"#;

/// How many threads and descriptors this process has.
#[cfg(target_os = "linux")]
fn held() -> [usize; 2] {
    ["task", "fd"].map(|name| {
        std::fs::read_dir(format!("/proc/self/{name}"))
            .unwrap()
            .count()
    })
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "the process of its own that opens connections"]
fn opens_and_closes_connections() {
    let (url, home) = (std::env::var(SERVER).unwrap(), TempDir::new());
    let before = held();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let connection = Connection::open(config(&url, &home)).unwrap();
                assert!(ask(&connection, 0, "initialize", json!({}))["result"].is_object());
                for note in [INITIALIZED, FOREVER] {
                    connection
                        .sender
                        .send(Message::parse(note).unwrap())
                        .unwrap();
                }
                assert!(ask(&connection, 1, "tools/list", json!({}))["result"].is_object());
                connection.close();
            });
        }
    });
    // The server gives up later.
    let until = Instant::now() + LIMIT / 2;
    while held() > before {
        assert!(
            Instant::now() < until,
            "{before:?} have become {:?}",
            held()
        );
        Gate::default().wait_for(Duration::from_millis(20));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_connection_that_is_closed_leaves_no_thread_and_no_descriptor_behind() {
    let server = server(|request, reply| match request.rpc().as_str() {
        "notifications/forever" => {
            reply.wait_until_peer_leaves();
            true
        }
        "tools/list" => {
            reply.json(result(&request.id(), r#"{"tools":[]}"#));
            true
        }
        _ => false,
    });
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "library::opens_and_closes_connections"])
        .args(["--ignored", "--nocapture"])
        .env(SERVER, server.url("/mcp"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert_eq!(server.count("POST notifications/forever"), 40);
}

#[test]
fn values_that_make_no_sense_are_replaced() {
    let changes: [fn(&mut Config); 7] = [
        |config| config.ping_interval = Some(Duration::ZERO),
        |config| config.ping_interval = Some(Duration::MAX),
        |config| config.request_timeout = Some(Duration::MAX),
        |config| config.request_timeout = Some(Duration::ZERO),
        |config| config.http.connect_timeout = Duration::MAX,
        |config| config.oauth.auth_timeout = Duration::MAX,
        |config| config.message_limit = 0,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let server = server(|request, reply| {
            let is_known = matches!(request.rpc().as_str(), "tools/list" | "ping");
            if is_known {
                reply.json(result(&request.id(), "{}"));
            }
            is_known
        });
        let home = TempDir::new();
        let mut config = config(&server.url("/mcp"), &home);
        config.http.headers_timeout = Some(Duration::MAX);
        config.http.body_timeout = Some(Duration::MAX);
        config.http.body_timeout_on_streams = true;
        change(&mut config);
        let connection = Connection::open(config).unwrap();
        connection
            .sender
            .send(Message::parse(INITIALIZE).unwrap())
            .unwrap();
        connection.receiver.recv_timeout(LIMIT).unwrap();
        connection
            .sender
            .send(Message::parse(INITIALIZED).unwrap())
            .unwrap();
        let answer = ask(&connection, 7, "tools/list", json!({}));
        assert!(answer["result"].is_object(), "{at}: {answer}");
        std::thread::sleep(Duration::from_millis(300));
        assert!(
            server.count("POST ping") < 40,
            "{at}: {:?}",
            server.log().len()
        );
        connection.close();
    }
}
