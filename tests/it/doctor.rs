//! mcp-remote-client: a line for each step, then the lists; exit code 0 only if all worked.

use std::sync::Arc;

use serde_json::Value;

use crate::support::TempDir;
use crate::support::authorization_server::{Site, server_metadata};
use crate::support::browser::Browser;
use crate::support::http::Server;
use crate::support::mcp::{result, server};
use crate::support::process::Start;
use crate::support::proxy::Proxy;

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
fn each_step_is_reported_and_all_pages_are_listed() {
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
        (server.url("/mcp"), "first response"),
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

/// The doctor's document after a sign-in in a browser.
fn signed_in(site: &Site, args: &[&str]) -> Value {
    let browser = Browser::new();
    let url = site.url();
    let mut client = Start::client(&[&[&*url, "--json"], args].concat())
        .browser(&browser)
        .go();
    client.close_stdin();
    assert_eq!(browser.sign_in(1).status, 200);
    assert!(client.wait_exit().success(), "{}", client.stderr());
    serde_json::from_str(&client.rest_raw().join("\n")).unwrap()
}

/// It warns of this and of nothing else, and all the steps worked.
#[track_caller]
fn warns(found: &Value, expected: &str) {
    assert_eq!(found["ok"], true, "{found:#}");
    assert_eq!(found["warnings"], serde_json::json!([expected]));
}

fn step<'a>(found: &'a Value, name: &str) -> &'a str {
    let steps = found["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["step"] == name);
    step.unwrap_or_else(|| panic!("no {name}: {found:#}"))["found"]
        .as_str()
        .unwrap()
}

/// The doctor's last line, without its time.
fn last_line(args: &[&str], change: impl Fn(Start) -> Start) -> (Option<i32>, String) {
    let mut client = change(Start::client(args)).go();
    client.close_stdin();
    let code = client.wait_exit().code();
    let lines = client.rest_raw();
    let failed = lines.iter().find(|line| line.contains("FAILED")).unwrap();
    let (step, rest) = failed.split_once("FAILED").unwrap();
    let (_, what) = rest.split_once(" ms  ").unwrap();
    (code, format!("{}: {what}", step.trim()))
}

/// What each kind of wrong address is reported with; `URL` and `PORT` stand for the test's own.
fn advice(
    handler: impl Fn(&crate::support::http::Request, &mut crate::support::http::Reply)
    + Send
    + Sync
    + 'static,
) -> String {
    let server = Server::start(handler);
    let url = server.url("/mcp");
    let (code, line) = last_line(&[&url], |start| start);
    assert_eq!(code, Some(1));
    line.replace(&url, "URL")
}

#[test]
fn each_failed_first_response_is_reported_with_what_to_do() {
    let html = "content-type: text/html\r\n";
    let json = "content-type: application/json\r\n";
    assert_eq!(
        advice(move |_, reply| reply.full(200, html, "<html>")),
        "first response: URL answered with something that is not a JSON-RPC message (text/html; not valid JSON (expected value at line 1 column 1)): <html> (this is a web page: look up the address for MCP clients, which often ends in /mcp or /sse)"
    );
    assert_eq!(
        advice(move |_, reply| reply.full(200, json, r#"{"a":1}"#)),
        "first response: URL answered with something that is not a JSON-RPC message (application/json; a message needs a method, or an id with a result or an error): {\"a\":1} (this is not an MCP server: check the address, which often ends in /mcp or /sse)"
    );
    assert_eq!(
        advice(|_, reply| reply.full(500, "", "out of order")),
        "first response: URL answered 500 (Internal Server Error): out of order (the server has failed: try again later, or ask who runs it)"
    );
    assert_eq!(
        advice(|_, reply| reply.full(403, "", "")),
        "first response: URL answered 403 (Forbidden) (the server refuses this user, token or network: ask who runs it)"
    );
    assert_eq!(
        advice(|_, reply| reply.full(301, "location: https://new.test/mcp\r\n", "")),
        "first response: URL answered 301: a redirect to another server, https://new.test/mcp, which is not followed (if that is where the server lives now, use that address)"
    );
    assert_eq!(
        advice(|request, reply| match request.path.as_str() {
            "/mcp" => reply.full(301, "location: /mcp/\r\n", ""),
            _ => reply.full(404, "", ""),
        }),
        "first response: URL answered 301: a redirect to URL/ that would lose the message (use the address URL/)"
    );
}

/// What the doctor says of a port whose program sends these bytes for whatever it gets.
fn advice_for_bytes(bytes: &'static [u8]) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                if stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    stream.write_all(bytes).ok();
                    // Until the other side has read it and closes.
                    while !bytes.is_empty() && stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    }
                }
            });
        }
    });
    let (_, line) = last_line(&[&url], |start| start);
    line.replace(&url[4..], "URL")
}

#[test]
fn a_port_that_speaks_tls_or_no_http_is_told_apart() {
    assert_eq!(
        advice_for_bytes(b"\x15\x03\x01\x00\x02\x02\x46"),
        "first response: httpURL sent something that is not an HTTP/1.1 response (http parse fail: invalid HTTP version) (this port speaks TLS: use httpsURL)"
    );
    assert_eq!(
        advice_for_bytes(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "first response: httpURL sent something that is not an HTTP/1.1 response (http parse fail: invalid HTTP version) (the program at this port does not speak HTTP: check the port)"
    );
}

#[test]
fn success_ends_with_the_next_step_and_nothing_is_on_stderr() {
    let server = listing();
    let url = server.url("/mcp");
    let mut client = Start::client(&[&url]).go();
    client.close_stdin();
    assert!(client.wait_exit().success());
    let next = format!(
        "next: mcp-remote-client --setup CLIENT {url} --write adds it to an MCP client; --help lists them"
    );
    assert_eq!(client.rest_raw().last(), Some(&next));
    assert_eq!(client.stderr(), "");
}

#[test]
fn without_a_user_the_doctor_ends_where_a_sign_in_would_begin() {
    let site = Site::start(|_| {});
    let url = site.url();
    let what = "sign-in: the server requires a sign-in, and there is no user to do it \
        (sign in once at a terminal without --no-sign-in, or use --client-credentials or --header)";
    let browser = Browser::new();
    for args in [
        &[&*url][..],
        &[&url, "--auth-timeout", "3"],
        &[&url, "--no-browser"],
    ] {
        assert_eq!(last_line(args, |start| start), (Some(1), what.to_owned()));
    }
    let with_browser = |start: Start| start.browser(&browser);
    assert_eq!(
        last_line(&[&url, "--no-sign-in"], with_browser),
        (Some(1), what.to_owned())
    );
    assert_eq!(browser.urls().len(), 0);
    assert_eq!(site.requests("/register").len(), 0);
    let mut bridge = Start::bridge(&[&url, "--no-sign-in"]).go();
    bridge.send(crate::support::mcp::INITIALIZE);
    let response = bridge.recv();
    let message = response["error"]["message"].as_str().unwrap();
    assert!(message.contains("there is no user to do it"), "{message}");
}

#[test]
fn a_sign_in_that_will_last_is_told_step_by_step_without_a_warning() {
    let site = Site::start(|rules| rules.challenge_with("scope=\"a b\", error=\"invalid_token\""));
    let found = signed_in(&site, &[]);
    assert_eq!(found["warnings"], serde_json::json!([]));
    let steps = found["steps"].as_array().unwrap();
    let names: Vec<&str> = steps
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "name",
            "tcp",
            "first response",
            "challenge",
            "resource metadata",
            "server metadata",
            "registration",
            "sign-in",
            "tokens",
            "transport",
            "version",
            "server",
            "tools",
            "resources",
            "prompts"
        ]
    );
    let metadata = site.rules().resource_metadata_url();
    assert_eq!(
        step(&found, "challenge"),
        format!("scope \"a b\", resource metadata at {metadata}")
    );
    assert_eq!(step(&found, "resource metadata"), metadata);
    assert_eq!(step(&found, "resources"), "not offered");
}

#[test]
fn an_empty_challenge_is_reported_and_control_characters_are_removed() {
    let site = Site::start(|rules| rules.without_resource_metadata());
    site.change(|rules| {
        let place = format!(
            "{}/.well-known/oauth-authorization-server",
            rules.server_origin
        );
        let issuer = rules.server_origin.clone();
        let metadata = server_metadata(&issuer, &rules.issuer_origin);
        rules.documents.insert(place, metadata);
        rules.iss = Some(issuer);
    });
    let found = signed_in(&site, &[]);
    let expected = "no scope or resource_metadata in the challenge";
    assert_eq!(step(&found, "challenge"), expected);
    let site = Site::start(|rules| rules.challenge_with("scope=\"a\tb\""));
    let found = signed_in(&site, &[]);
    assert!(step(&found, "challenge").starts_with("scope \"a b\", "));
}

#[test]
fn no_s256_is_warned_of() {
    let site = Site::start(|rules| {
        let document = rules.server_document().as_object_mut().unwrap();
        document.remove("code_challenge_methods_supported");
    });
    warns(
        &signed_in(&site, &["--accept-missing-s256"]),
        "the authorization server does not offer PKCE with S256 (--accept-missing-s256)",
    );
}

#[test]
fn another_issuer_gives_a_warning() {
    let other = "https://other.test";
    let site = Site::start(|rules| {
        rules.server_document()["issuer"] = other.into();
        rules.iss = Some(other.to_owned());
    });
    warns(
        &signed_in(&site, &["--accept-issuer", other]),
        "the metadata names another issuer than it was looked for under (--accept-issuer)",
    );
}

#[test]
fn no_refresh_token_gives_a_warning() {
    let site = Site::start(|rules| rules.token = serde_json::json!({"refresh_token": null}));
    warns(
        &signed_in(&site, &[]),
        "no refresh token: a new sign-in is needed when the token expires",
    );
}

#[test]
fn a_token_that_expires_within_a_minute_gives_a_warning() {
    let site = Site::start(|rules| rules.token = serde_json::json!({"expires_in": 50}));
    warns(&signed_in(&site, &[]), "the token expires within a minute");
    // One of an hour is not.
    site.change(|rules| rules.token = serde_json::json!({"expires_in": 3600}));
    let found = signed_in(&site, &[]);
    assert_eq!(found["warnings"], serde_json::json!([]));
}

#[test]
fn status_400_for_a_lost_session_gives_a_warning() {
    let server = server(|request, reply| {
        let lost = request.rpc() == "ping";
        if lost {
            // It is asked as a client would ask.
            assert_eq!(request.header("x-key"), Some("k"));
            reply.status(400);
        } else if request.rpc() == "tools/list" {
            reply.json(result(&request.id(), r#"{"tools":[]}"#));
        } else {
            return false;
        }
        true
    });
    let url = server.url("/mcp");
    let args = [&*url, "--header", "X-Key: k"];
    warns(
        &document(&args, &Arc::new(TempDir::new())),
        "the server responds with 400 instead of 404 to an unknown session: \
         after it restarts, clients may not notice that they need a new session",
    );
    assert_eq!(server.count("POST ping"), 1);
}

#[test]
fn plain_http_to_another_machine_gives_a_warning() {
    let server = listing();
    // The other machine: a name that only a proxy knows.
    let proxy = Proxy::to(server.address);
    let mut client = Start::client(&["http://other.test/mcp", "--allow-http", "--json"])
        .env("HTTP_PROXY", &proxy.url())
        .go();
    client.close_stdin();
    assert!(client.wait_exit().success(), "{}", client.stderr());
    let found = serde_json::from_str(&client.rest_raw().join("\n")).unwrap();
    warns(
        &found,
        "plain http: others in the network can read and change everything, tokens too",
    );
    // Not so on this machine.
    let found = document(&[&server.url("/mcp")], &Arc::new(TempDir::new()));
    assert_eq!(found["warnings"], serde_json::json!([]));
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
fn a_modern_server_has_its_version_shown_and_gets_no_session_check() {
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
    let translated = "client 2025-11-25, server 2026-07-28 (translated)";
    assert_eq!(version["found"], translated);
    assert_eq!(found["warnings"].as_array().unwrap().len(), 0, "{found:#}");
    assert_eq!(server.count("POST ping"), 0);
    let mut call = Start::client(&[&url, "--call", "add", r#"{"a":1,"b":2}"#]).go();
    call.close_stdin();
    assert!(call.wait_exit().success(), "{}", call.stderr());
}
