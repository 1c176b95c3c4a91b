//! mcp-remote-client: a line for each step, then the lists; exit code 0 only if all worked.

use serde_json::Value;

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
