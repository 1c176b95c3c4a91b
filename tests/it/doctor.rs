//! mcp-remote-client: a line for each step, then the lists; exit code 0 only if all worked.

use std::sync::Arc;

use serde_json::Value;

use crate::support::TempDir;
use crate::support::http::Server;
use crate::support::mcp::{result, server};
use crate::support::process::Start;

fn listing() -> Server {
    server(|request, reply| {
        let listed = request.rpc() == "tools/list";
        if listed {
            let second = request.json()["params"]["cursor"] == "2";
            let page = if second {
                r#"{"tools":[{"name":"b"}]}"#
            } else {
                r#"{"tools":[{"name":"a"}],"nextCursor":"2"}"#
            };
            reply.json(result(&request.id(), page));
        }
        listed
    })
}

#[test]
fn each_step_is_told_and_all_pages_are_listed() {
    let server = listing();
    let mut client = Start::client(&[&server.url("/mcp")]).go();
    // Nothing is read from stdin.
    client.close_stdin();
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| line != "  b") {
        lines.push(client.recv_raw());
    }
    assert!(client.wait_exit().success());
    let steps: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        steps,
        [
            "name",
            "tcp",
            "first",
            "tokens",
            "transport",
            "version",
            "server",
            "tools",
            "a",
            "b"
        ]
    );
}

#[test]
fn json_is_one_document() {
    let server = listing();
    let mut client = Start::client(&[&server.url("/mcp"), "--json"]).go();
    let status = client.wait_exit();
    let mut text = String::new();
    while !text.ends_with("\n}") {
        text = format!("{text}\n{}", client.recv_raw());
    }
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (document["ok"].clone(), status.success()),
        (true.into(), true)
    );
    assert_eq!(document["lists"][0]["names"][1], "b");
}

#[test]
fn the_step_that_fails_is_named_and_the_exit_code_is_1() {
    let server = Server::start(|_, reply| reply.full(500, "", "out of order"));
    for (url, step) in [
        (server.url("/mcp"), "first answer"),
        ("http://127.0.0.1:1/mcp".to_owned(), "tcp"),
        ("https://no.invalid/mcp".to_owned(), "name"),
    ] {
        let mut client = Start::client(&[&url]).go();
        assert_eq!(client.wait_exit().code(), Some(1));
        let mut line = client.recv_raw();
        while !line.contains("FAILED") {
            line = client.recv_raw();
        }
        assert!(line.starts_with(step), "{line}");
    }
}

/// The doctor's document.
fn document(args: &[&str], home: &Arc<TempDir>) -> Value {
    let mut client = Start::client(&[args, &["--json"]].concat()).home(home).go();
    client.close_stdin();
    client.wait_exit();
    let mut text = String::new();
    while !text.ends_with("\n}") {
        text = format!("{text}\n{}", client.recv_raw());
    }
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_will_bite_later_is_warned_of() {
    let server = server(|request, reply| {
        let lost = request.rpc() == "ping";
        let path = request.path.as_str();
        let origin = format!("http://{}", request.header("host").unwrap());
        if lost {
            assert_eq!(request.header("authorization"), Some("Bearer t"));
            reply.status(400);
        } else if path == "/.well-known/oauth-authorization-server" {
            reply.json(format!(
                r#"{{"issuer":"https://other.test","authorization_endpoint":"{origin}/authorize","token_endpoint":"{origin}/token","registration_endpoint":"{origin}/register","device_authorization_endpoint":"{origin}/device","response_types_supported":["code"],"grant_types_supported":["authorization_code"]}}"#
            ));
        } else if path == "/token" {
            reply.json(r#"{"access_token":"t","token_type":"Bearer","expires_in":30}"#);
        } else if path != "/mcp" {
            reply.status(404);
        } else if request.header("authorization").is_none() && request.method == "POST" {
            reply.status(401);
        } else {
            let listed = request.rpc() == "tools/list";
            if listed {
                reply.json(result(&request.id(), r#"{"tools":[]}"#));
            }
            return listed;
        }
        true
    });
    let home = Arc::new(TempDir::new());
    let url = server.url("/mcp");
    let found = document(
        &[
            &url,
            "--client-credentials",
            "--static-oauth-client-info",
            r#"{"client_id":"c","client_secret":"s"}"#,
            "--accept-issuer",
            "https://other.test",
        ],
        &home,
    );
    assert_eq!(found["ok"], true, "{found:#}");
    let warnings = found["warnings"].to_string();
    for expected in [
        "another issuer than it was looked for under",
        "the token ends within a minute",
        "answers 400 instead of 404",
    ] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }
    let steps: Vec<&str> = found["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    for expected in ["server metadata", "tokens", "resources", "prompts"] {
        assert!(steps.contains(&expected), "{expected}: {steps:?}");
    }
    // Signed in now: nobody refreshes it without the client.
    let found = document(&[&url], &home);
    let warnings = found["warnings"].to_string();
    assert!(warnings.contains("no refresh token"), "{found:#}");
}

#[test]
fn a_pipe_gets_neither_colour_nor_progress() {
    let server = listing();
    let mut client = Start::client(&[&server.url("/mcp")]).go();
    client.close_stdin();
    assert!(client.wait_exit().success());
    while let Some(line) = client.next_raw() {
        assert!(!line.contains(['\u{1b}', '\r']), "{line:?}");
    }
}

#[test]
fn a_modern_server_is_told_by_its_version_and_asked_about_no_session() {
    let server = Server::start(|request, reply| {
        let answer = match request.rpc().as_str() {
            "server/discover" => {
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}"#
            }
            "tools/list" => {
                r#"{"resultType":"complete","tools":[{"name":"add","inputSchema":{"type":"object"}}],"ttlMs":0,"cacheScope":"public"}"#
            }
            "tools/call" => r#"{"resultType":"complete","content":[{"type":"text","text":"3"}]}"#,
            _ => {
                let refusal = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28"]}}}"#;
                return reply.full(400, "content-type: application/json\r\n", refusal);
            }
        };
        reply.json(result(&request.id(), answer));
    });
    let url = server.url("/mcp");
    let found = document(&[&url], &Arc::new(TempDir::new()));
    assert_eq!(found["ok"], true, "{found:#}");
    let steps = found["steps"].as_array().unwrap();
    let version = steps.iter().find(|step| step["step"] == "version").unwrap();
    assert!(
        version["found"].as_str().unwrap().ends_with("2026-07-28"),
        "{version}"
    );
    assert_eq!(found["warnings"].as_array().unwrap().len(), 0, "{found:#}");
    assert_eq!(server.count("POST ping"), 0);
    let mut call = Start::client(&[&url, "--call", "add", r#"{"a":1,"b":2}"#]).go();
    call.close_stdin();
    assert!(call.wait_exit().success(), "{}", call.stderr());
}
