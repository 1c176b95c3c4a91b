//! mcp-remote-client URL --call, --read, --prompt, --list-tools: the result on stdout, the rest on stderr, three exit codes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::support::TempDir;
use crate::support::http::{Reply, Request, Server};
use crate::support::mcp::{INITIALIZE, result, server};
use crate::support::process::Start;

/// Exit code, stdout and stderr.
struct Run {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

fn run_with(args: &[&str], stdin: &str) -> Run {
    let home = Arc::new(TempDir::new());
    let mut child = Command::new(env!("CARGO_BIN_EXE_mcp-remote-client"))
        .args(args)
        .env_clear()
        .env("MCP_REMOTE_CONFIG_DIR", home.0.join("store"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(stdin.as_bytes()).unwrap();
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(args: &[&str]) -> Run {
    run_with(args, "")
}

impl Run {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    #[track_caller]
    fn is(&self, code: i32, stdout: &str) {
        assert_eq!((self.code, self.text()), (code, stdout), "{}", self.stderr);
    }
}

/// Answers requests of this method.
fn serving(
    method: &'static str,
    answer: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static,
) -> Server {
    server(move |request, reply| {
        let is = request.rpc() == method;
        if is {
            answer(request, reply);
        }
        is
    })
}

const TEXT: &str = r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}], "n": 12345678901234567890.10}"#;

#[test]
fn a_call_prints_the_text_or_with_json_the_result_as_it_came() {
    let server = serving("tools/call", |request, reply| {
        assert_eq!(request.json()["params"]["name"], "add");
        let big = r#""arguments":{"a": 10000000000000000000000}"#;
        assert!(request.body.contains(big), "{}", request.body);
        reply.json(result(&request.id(), TEXT));
    });
    let url = server.url("/mcp");
    let typed = "{\"a\": 10000000000000000000000}";
    run(&[&url, "--call", "add", typed]).is(0, "a\nb\n");
    run(&["--call", "add", typed, &url, "--json"]).is(0, &format!("{TEXT}\n"));
    run_with(&[&url, "--call", "add", "-"], typed).is(0, "a\nb\n");
    let home = TempDir::new();
    let file = home.0.join("arguments.json");
    std::fs::write(&file, typed).unwrap();
    run(&[&url, "--call", "add", &format!("@{}", file.display())]).is(0, "a\nb\n");
    // Each session is ended with DELETE.
    assert_eq!(server.count("DELETE"), 4);
}

#[test]
fn a_result_with_more_than_text_is_json() {
    const MIXED: &str = r#"{"content":[{"type":"text","text":"a"},{"type":"image","data":"","mimeType":"image/png"}]}"#;
    let server = serving("tools/call", |request, reply| {
        assert_eq!(request.json()["params"]["arguments"], serde_json::json!({}));
        reply.json(result(&request.id(), MIXED));
    });
    run(&[&server.url("/mcp"), "--call", "draw"]).is(0, &format!("{MIXED}\n"));
}

#[test]
fn the_exit_code_tells_tool_errors_from_network_errors() {
    let server = serving("tools/call", |request, reply| {
        if request.json()["params"]["name"] == "fails" {
            let failed = r#"{"content":[{"type":"text","text":"disk full"}],"isError":true}"#;
            reply.json(result(&request.id(), failed));
        } else if request.json()["params"]["name"] == "breaks" {
            reply.full(500, "", "");
        } else {
            reply.json(format!(
                r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32602,"message":"no such tool"}}}}"#,
                request.id()
            ));
        }
    });
    let url = server.url("/mcp");
    run(&[&url, "--call", "fails"]).is(2, "disk full\n");
    let missing = run(&[&url, "--call", "missing"]);
    missing.is(2, "");
    let expected = "Error: the server returned error -32602: no such tool\n";
    assert!(missing.stderr.contains(expected), "{}", missing.stderr);
    run(&[&url, "--call", "breaks"]).is(1, "");
    let down = run(&["http://127.0.0.1:1/mcp", "--call", "a"]);
    down.is(1, "");
    assert!(
        down.stderr.contains("connection refused"),
        "{}",
        down.stderr
    );
}

#[test]
fn a_failure_is_reported_once() {
    let down = run(&["http://127.0.0.1:1/mcp", "--list-tools"]);
    down.is(1, "");
    let lines: Vec<&str> = down
        .stderr
        .lines()
        .filter_map(|line| line.split_once("] ").map(|(_, text)| text))
        .collect();
    let sentence = "cannot reach http://127.0.0.1:1/mcp: connection refused";
    assert_eq!(
        lines,
        [
            format!(
                "mcp-remote {} connects to http://127.0.0.1:1/mcp",
                env!("CARGO_PKG_VERSION")
            ),
            format!("Warning: {sentence}; trying again for a few seconds"),
            format!("Error: {sentence} (is the server running, and is the port right?)"),
        ]
    );
    let server = Server::start(|_, reply| reply.full(404, "", "no such page"));
    let lost = run(&[&server.url("/mcp"), "--list-tools"]);
    let times = lost.stderr.matches("answered 404").count();
    assert_eq!(times, 1, "{}", lost.stderr);
    // The bridge also reports it on stderr.
    let mut bridge = Start::bridge(&["http://127.0.0.1:1/mcp"]).go();
    bridge.send(INITIALIZE);
    assert!(bridge.recv()["error"].is_object());
    let expected = "Warning: \"initialize\" failed: cannot reach";
    assert!(bridge.stderr().contains(expected), "{}", bridge.stderr());
}

#[test]
fn invalid_arguments_give_one_line_without_their_text() {
    let refused = |args: &[&str], expected: &str| {
        let run = run(&[&["https://a.test"], args].concat());
        let line = run.stderr.lines().next().unwrap_or_default();
        assert_eq!(
            (run.code, run.text(), line),
            (1, "", &*format!("mcp-remote-client: {expected}"))
        );
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    };
    refused(
        &["--call", "t", "{\"hunter2\""],
        "the arguments of --call are not valid JSON (line 1, column 10)",
    );
    refused(
        &["--call", "t", "[1]"],
        "the arguments of --call are not a JSON object",
    );
    refused(
        &["--call", "t", "@/nowhere.json"],
        "cannot read the arguments of --call from \"/nowhere.json\": no such file",
    );
    refused(
        &["--prompt", "p", "{\"n\":1}"],
        "argument \"n\" of --prompt must be a string",
    );
    refused(&["--call"], "--call needs a value");
    refused(
        &["--call", "t", "--list-tools"],
        "--call and --list-tools exclude each other",
    );
}

#[test]
fn progress_and_requests_from_the_server_are_handled_during_a_call() {
    let server = server(|request, reply| {
        let answered = request.rpc().is_empty() && !request.json()["id"].is_null();
        if answered {
            reply.status(202);
        }
        let called = request.rpc() == "tools/call";
        if called {
            reply.sse();
            let token = request.json()["params"]["_meta"]["progressToken"].to_string();
            reply.event(&format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1,"total":2,"message":"half"}}}}"#
            ));
            reply.event(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}"#);
            reply.event(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#);
            reply.event(
                r#"{"jsonrpc":"2.0","id":"s","method":"sampling/createMessage","params":{}}"#,
            );
            reply.event(&result(
                &request.id(),
                r#"{"content":[{"type":"text","text":"x"}]}"#,
            ));
        }
        answered || called
    });
    let run = run(&[&server.url("/mcp"), "--call", "t"]);
    run.is(0, "x\n");
    for expected in [
        "progress 1/2: half\n",
        "server info: hello\n",
        "the server requested sampling/createMessage, which mcp-remote-client does not support\n",
    ] {
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
    let answers: Vec<_> = server
        .seen()
        .iter()
        .filter(|request| request.method == "POST" && request.rpc().is_empty())
        .map(|request| request.json())
        .collect();
    let to = |id: &str| {
        answers
            .iter()
            .find(|answer| answer["id"] == id)
            .cloned()
            .unwrap_or_default()
    };
    assert!(to("p")["result"].is_object(), "{answers:?}");
    assert_eq!(to("s")["error"]["code"], -32601);
}

#[test]
fn resources_prompts_and_tools_are_printed_as_text() {
    let server = server(|request, reply| {
        let answer = match request.rpc().as_str() {
            "resources/read" if request.json()["params"]["uri"] == "a:blob" => {
                r#"{"contents":[{"uri":"a:blob","blob":"AAECAw=="}]}"#
            }
            "resources/read" => r#"{"contents":[{"uri":"a:text","text":"line\n"}]}"#,
            "prompts/get" => {
                assert_eq!(request.json()["params"]["arguments"]["who"], "me");
                r#"{"messages":[{"role":"user","content":{"type":"text","text":"do"}}]}"#
            }
            "tools/list" if request.json()["params"]["cursor"] == "2" => {
                r#"{"tools":[{"name":"b"}]}"#
            }
            "tools/list" => {
                r#"{"tools":[{"name":"a","description":"Adds.\nMore.","inputSchema":{"type":"object","properties":{"x":{"type":"number"},"y":{}},"required":["x"]}}],"nextCursor":"2"}"#
            }
            _ => return false,
        };
        reply.json(result(&request.id(), answer));
        true
    });
    let url = server.url("/mcp");
    assert_eq!(run(&[&url, "--read", "a:blob"]).stdout, [0, 1, 2, 3]);
    run(&[&url, "--read", "a:text"]).is(0, "line\n");
    run(&[&url, "--prompt", "p", "{\"who\":\"me\"}"]).is(0, "do\n");
    run(&[&url, "--list-tools"]).is(
        0,
        "a\n  Adds.\n  arguments: x (number), y (any, optional)\nb\n",
    );
    let listed = run(&[&url, "--list-tools", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(listed.text()).unwrap();
    assert_eq!(listed["tools"][1]["name"], "b");
}

#[test]
fn without_a_user_a_call_that_needs_a_sign_in_fails_with_one_error() {
    let server = Server::start(|request, reply| {
        let metadata = request.path.starts_with("/.well-known/");
        if metadata {
            reply.status(404)
        } else {
            reply.status(401)
        }
    });
    let run = run(&[&server.url("/mcp"), "--call", "t", "--auth-timeout", "1"]);
    run.is(1, "");
    assert!(run.stderr.contains("Error: "), "{}", run.stderr);
}
