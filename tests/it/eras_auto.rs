//! `--protocol auto`: a server is asked for its era before it is given a legacy client's `initialize`.

use serde_json::{Value, json};

use crate::support::authorization_server::Site;
use crate::support::browser::Browser;
use crate::support::eras::{Client, Kind, VERSION, server};
use crate::support::http::{Reply, Request, Server};
use crate::support::mcp::{initialize_result, result};
use crate::support::process::Start;
use crate::support::sign_in::{signed_in, works};

fn connect(server: &Server, args: &[&str], modern: bool) -> Client {
    let url = server.url("/mcp");
    let args: Vec<&str> = [url.as_str(), "--protocol", "auto"]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    Client::new(Start::bridge(&args).go(), modern)
}

fn initialize(client: &mut Client) -> Value {
    client.call(
        "initialize",
        json!({"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}),
    )
}

/// A legacy server that deals with `server/discover` in its own way.
fn legacy(discover: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> Server {
    Server::start(move |request, reply| match request.what().as_str() {
        "POST server/discover" => discover(request, reply),
        "POST initialize" => {
            assert!(request.json()["params"]["_meta"].is_null());
            assert_eq!(request.header("mcp-session-id"), None);
            reply.json(result(&request.id(), initialize_result()));
        }
        "GET" => reply.status(405),
        _ => reply.status(202),
    })
}

#[test]
fn a_server_that_is_modern_is_never_given_initialize() {
    let server = server(Kind::Modern);
    let mut client = connect(&server, &[], false);
    assert_eq!(client.connect()["protocolVersion"], "2025-11-25");
    assert_eq!(client.said("add"), "3");
    client.process.finish();
    let log = server.log();
    assert_eq!(log[0], "POST server/discover");
    assert!(!log.contains(&"POST initialize".to_owned()), "{log:?}");
}

#[test]
fn a_server_of_both_eras_is_spoken_to_in_the_newer_one() {
    let server = legacy(|request, reply| {
        assert_eq!(request.json()["params"]["_meta"][VERSION], "2026-07-28");
        reply.json(result(
            &request.id(),
            r#"{"resultType":"complete","supportedVersions":["2025-11-25","2026-07-28"],"capabilities":{},"ttlMs":0,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"both","version":"1"}}}"#,
        ));
    });
    let mut client = connect(&server, &[], false);
    assert_eq!(client.connect()["serverInfo"]["name"], "both");
    client.process.finish();
    assert_eq!(server.log(), ["POST server/discover"]);
    // That is not remembered for those who do not ask.
    let home = client.process.home.clone();
    let again = Start::bridge(&[&server.url("/mcp")]);
    let mut client = Client::new(again.home(&home).go(), false);
    assert_eq!(client.connect()["serverInfo"]["name"], "s");
    client.process.finish();
}

#[test]
fn a_server_that_does_not_say_that_it_is_modern_is_given_the_clients_own_initialize() {
    let error = |code: i32, data: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":ID,"error":{{"code":{code},"message":"m"{data}}}}}"#)
    };
    let bodies = [
        (200, error(-32601, "")),
        (200, r#"{"jsonrpc":"2.0","id":ID,"result":{}}"#.to_owned()),
        (200, r#"{"jsonrpc":"2.0","id":ID,"result":{"supportedVersions":["2025-06-18","2025-11-25"],"capabilities":{}}}"#.to_owned()),
        (400, error(-32000, "")),
        (400, error(-32022, r#","data":{"supported":["2025-11-25"]}"#)),
        (403, String::new()),
        (404, String::new()),
        (500, "oops".to_owned()),
    ];
    for (status, body) in bodies {
        let told = body.clone();
        let server = legacy(move |request, reply| {
            let body = told.replace("ID", &request.id());
            reply.full(status, "content-type: application/json\r\n", body);
        });
        let mut client = connect(&server, &[], false);
        let answer = initialize(&mut client);
        assert_eq!(
            answer["result"]["serverInfo"]["name"], "s",
            "{status} {body}"
        );
        client.process.finish();
        let log = server.log();
        assert_eq!(log[..2], ["POST server/discover", "POST initialize"]);
        assert_eq!(server.count("POST server/discover"), 1);
    }
}

#[test]
fn a_server_that_hangs_up_on_a_modern_message_is_a_legacy_one() {
    let server = || {
        legacy(|_, reply| {
            reply.raw("");
            reply.hang_up();
        })
    };
    let (asked, probed) = (server(), server());
    let mut client = connect(&asked, &[], false);
    let answer = initialize(&mut client);
    assert_eq!(answer["result"]["serverInfo"]["name"], "s", "{answer}");
    client.process.finish();
    let mut client = connect(&probed, &[], true);
    assert_eq!(client.connect()["supportedVersions"], json!(["2026-07-28"]));
    client.process.finish();
}

#[test]
fn a_server_of_versions_that_are_not_spoken_here_is_named_with_them() {
    let server = legacy(|request, reply| {
        reply.full(
            400,
            "content-type: application/json\r\n",
            format!(
                r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32022,"message":"m","data":{{"supported":["2031-01-01"]}}}}}}"#,
                request.id()
            ),
        );
    });
    let mut client = connect(&server, &[], false);
    let answer = initialize(&mut client);
    let words = answer["error"]["message"].as_str().unwrap();
    assert!(words.contains("speaks 2031-01-01"), "{words}");
    assert!(words.contains("2026-07-28 and older"), "{words}");
    client.process.finish();
    assert_eq!(server.log(), ["POST server/discover"]);
}

#[test]
fn an_http_sse_server_is_found_after_the_question_and_not_asked_over_its_own_transport() {
    let found = server(Kind::HttpSse);
    let mut client = connect(&found, &[], false);
    client.connect();
    assert_eq!(client.said("add"), "3");
    client.process.finish();
    let log = found.log();
    assert_eq!(
        log[..4],
        [
            "POST server/discover",
            "POST initialize",
            "GET",
            "POST initialize"
        ]
    );
    let known = server(Kind::HttpSse);
    let mut client = connect(&known, &["--transport", "sse-first"], false);
    client.connect();
    client.process.finish();
    assert_eq!(known.log()[..2], ["GET", "POST initialize"]);
}

#[test]
fn a_server_without_http_sse_is_asked_after_all() {
    let server = server(Kind::Modern);
    let mut client = connect(&server, &["--transport", "sse-first"], false);
    client.connect();
    client.process.finish();
    assert_eq!(server.log()[..2], ["GET", "POST server/discover"]);
}

#[test]
fn a_modern_client_is_asked_for_nothing_and_its_own_message_is_the_question() {
    let modern = server(Kind::Modern);
    let mut client = connect(&modern, &[], true);
    assert_eq!(client.said("add"), "3");
    client.process.finish();
    assert_eq!(modern.log(), ["POST tools/call"]);
    let legacy = server(Kind::Legacy);
    let mut client = connect(&legacy, &[], true);
    assert_eq!(client.said("add"), "3");
    client.process.finish();
    assert_eq!(legacy.log()[..2], ["POST tools/call", "POST initialize"]);
}

#[test]
fn a_question_that_needs_a_sign_in_leads_to_one() {
    let site = Site::start(|_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &["--protocol", "auto"]);
    works(&mut process);
    process.finish();
    let asked: Vec<String> = site.requests("/mcp").iter().map(Request::rpc).collect();
    assert_eq!(
        asked[..3],
        ["server/discover", "server/discover", "initialize"]
    );
}
