//! How the era of a server is found out, what that costs, and what is remembered.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::LIMIT;
use crate::support::eras::{Client, Kind, SUBSCRIPTION, VERSION, server};
use crate::support::http::Server;
use crate::support::mcp::{initialize_result, result};
use crate::support::process::Start;

fn connect(server: &Server, args: &[&str], modern: bool) -> Client {
    let url = server.url("/mcp");
    let args: Vec<&str> = std::iter::once(url.as_str())
        .chain(args.iter().copied())
        .collect();
    Client::new(Start::bridge(&args).go(), modern)
}

#[test]
fn pairings_of_the_same_era_cost_no_extra_request() {
    let legacy = server(Kind::Legacy);
    let mut client = connect(&legacy, &[], false);
    client.connect();
    client.call("tools/list", json!({}));
    client.process.finish();
    let handshake = [
        "POST initialize",
        "POST notifications/initialized",
        "GET",
        "POST tools/list",
        "DELETE",
    ];
    assert_eq!(legacy.log(), handshake);
    let modern = server(Kind::Modern);
    let mut client = connect(&modern, &[], true);
    client.call("tools/list", json!({}));
    client.said("add");
    client.process.finish();
    assert_eq!(modern.log(), ["POST tools/list", "POST tools/call"]);
}

#[test]
fn a_modern_server_is_remembered_for_legacy_clients() {
    let server = server(Kind::Modern);
    let mut client = connect(&server, &[], false);
    client.connect();
    client.process.finish();
    let home = client.process.home.clone();
    let mut again = Client::new(
        Start::bridge(&[&server.url("/mcp")]).home(&home).go(),
        false,
    );
    again.connect();
    again.process.finish();
    let log = server.log();
    assert_eq!(
        log.iter().filter(|seen| *seen == "POST initialize").count(),
        1,
        "{log:?}"
    );
}

#[test]
fn a_client_that_probes_speaks_legacy_and_one_that_gives_up_works_from_its_second_start_on() {
    let server = server(Kind::Legacy);
    let mut probe = connect(&server, &[], true);
    let home = probe.process.home.clone();
    let refused = probe.call("server/discover", json!({}));
    assert_eq!(refused["error"]["code"], -32000, "{refused}");
    probe.process.finish();
    let start = |modern| {
        let start = Start::bridge(&[&server.url("/mcp")]).home(&home);
        Client::new(start.go(), modern)
    };
    // The client of the modern era alone.
    for _ in 0..2 {
        let mut client = start(true);
        let found = client.call("server/discover", json!({}));
        assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]));
        client.process.finish();
    }
    // The client of both eras, which probed in a process of its own.
    let mut client = start(false);
    assert_eq!(client.connect()["protocolVersion"], "2025-11-25");
    client.process.finish();
    let mut probe = start(true);
    let refused = probe.call("server/discover", json!({}));
    assert_eq!(refused["error"]["code"], -32000, "{refused}");
    probe.process.finish();
}

#[test]
fn a_remembered_era_that_is_wrong_is_learned_anew() {
    let is_legacy = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_legacy);
    let server =
        Server::start(
            move |request, reply| match (switch.load(SeqCst), request.what().as_str()) {
                (false, "POST initialize") | (true, "POST server/discover") => reply.status(400),
                (_, "GET") => reply.status(405),
                (true, "POST initialize") => reply.json(result(&request.id(), initialize_result())),
                (false, "POST server/discover") => reply.json(result(
                    &request.id(),
                    r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#,
                )),
                _ => reply.status(202),
            },
        );
    let mut client = connect(&server, &[], false);
    assert_eq!(client.connect()["serverInfo"]["version"], "unknown");
    client.process.finish();
    is_legacy.store(true, SeqCst);
    let home = client.process.home.clone();
    for expected in [true, false] {
        let probes = server.count("POST server/discover");
        let mut again = Client::new(
            Start::bridge(&[&server.url("/mcp")]).home(&home).go(),
            false,
        );
        assert_eq!(again.connect()["serverInfo"]["name"], "s");
        again.process.finish();
        assert_eq!(server.count("POST server/discover") > probes, expected);
    }
}

#[test]
fn a_server_that_refuses_both_handshakes_is_reported_with_its_first_refusal() {
    let nobody = Server::start(|request, reply| match request.what().as_str() {
        "GET" => reply.status(405),
        "POST initialize" => reply.full(
            400,
            "content-type: application/json\r\n",
            format!(
                r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32600,"message":"not here"}}}}"#,
                request.id()
            ),
        ),
        _ => reply.status(404),
    });
    let mut client = connect(&nobody, &[], false);
    let answer = client.call(
        "initialize",
        json!({"protocolVersion":"2025-11-25","capabilities":{}}),
    );
    assert_eq!(answer["error"]["message"], "not here");
    client.process.finish();
    assert_eq!(
        nobody.log(),
        ["POST initialize", "POST server/discover", "GET"]
    );
    let mut client = connect(&nobody, &[], true);
    let answer = client.call("server/discover", json!({}));
    assert_eq!(answer["error"]["data"]["httpStatus"], 404, "{answer}");
    client.process.finish();
}

#[test]
fn a_handshake_that_was_refused_once_is_tried_again_when_the_client_asks_again() {
    for is_sse in [true, false] {
        let refused = AtomicBool::new(false);
        let (say, said) = std::sync::mpsc::channel::<String>();
        let said = Mutex::new(said);
        let server = Server::start(move |request, reply| match request.rpc().as_str() {
            "" if request.method == "GET" && is_sse => {
                reply.sse();
                reply.chunk("event: endpoint\ndata: /messages\n\n");
                while let Ok(text) = said.lock().unwrap().recv_timeout(LIMIT) {
                    reply.event(&text);
                }
            }
            "initialize" if request.path == "/messages" || !is_sse => {
                let answer = result(&request.id(), initialize_result());
                if !refused.swap(true, SeqCst) {
                    reply.status(409);
                } else if is_sse {
                    reply.status(202);
                    say.send(answer).unwrap();
                } else {
                    reply.json(answer);
                }
            }
            "notifications/initialized" => reply.status(202),
            _ => reply.status(405),
        });
        let mut client = connect(&server, &[], true);
        // The refusal of the request itself, and that of `initialize`.
        for _ in 0..2 {
            assert!(client.call("server/discover", json!({}))["error"].is_object());
        }
        let found = client.call("server/discover", json!({}));
        assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]));
        client.process.finish();
    }
}

#[test]
fn a_server_that_knows_discover_and_names_legacy_versions_only_is_a_legacy_one() {
    let server = Server::start(|request, reply| match request.rpc().as_str() {
        "server/discover" => reply.json(result(
            &request.id(),
            r#"{"resultType":"complete","supportedVersions":["2025-11-25"],"capabilities":{}}"#,
        )),
        "initialize" => reply.json(result(&request.id(), initialize_result())),
        "notifications/initialized" => reply.status(202),
        _ => reply.status(405),
    });
    let mut client = connect(&server, &[], true);
    let found = client.connect();
    assert_eq!(found["supportedVersions"], json!(["2026-07-28"]), "{found}");
    client.process.finish();
}

#[test]
fn with_protocol_legacy_no_modern_message_is_sent() {
    let modern = server(Kind::Modern);
    let mut client = connect(&modern, &["--protocol", "legacy"], false);
    let answer = client.call(
        "initialize",
        json!({"protocolVersion":"2025-11-25","capabilities":{}}),
    );
    assert_eq!(answer["error"]["code"], -32022);
    client.process.finish();
    assert!(!modern.log().contains(&"POST server/discover".to_owned()));
    let legacy = server(Kind::Legacy);
    let mut client = connect(&legacy, &["--protocol", "legacy"], true);
    assert_eq!(client.connect()["supportedVersions"], json!(["2026-07-28"]));
    client.process.finish();
    assert_eq!(legacy.log()[0], "POST initialize");
    // Not even after it has failed.
    let nobody = Server::start(|_, reply| reply.status(400));
    let args = ["--protocol", "legacy", "--transport", "http-only"];
    let mut client = connect(&nobody, &args, true);
    for method in ["server/discover", "tools/list"] {
        assert!(client.call(method, json!({}))["error"].is_object());
    }
    client.process.finish();
    assert_eq!(nobody.log(), ["POST initialize", "POST initialize"]);
}

#[test]
fn with_protocol_modern_there_is_no_way_back() {
    let legacy = server(Kind::Legacy);
    let mut client = connect(&legacy, &["--protocol", "modern"], true);
    let answer = client.call("server/discover", json!({}));
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    client.process.finish();
    let mut client = connect(&legacy, &["--protocol", "modern"], false);
    let answer = client.call(
        "initialize",
        json!({"protocolVersion":"2025-11-25","capabilities":{}}),
    );
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    let answer = client.call("tools/list", json!({}));
    assert_eq!(answer["error"]["code"], -32000, "{answer}");
    client.process.finish();
    assert_eq!(
        legacy.log(),
        [
            "POST server/discover",
            "POST server/discover",
            "POST tools/list"
        ]
    );
    let bodies = legacy.seen().into_iter().map(|request| request.json());
    for body in bodies {
        assert_eq!(body["params"]["_meta"][VERSION], "2026-07-28", "{body}");
    }
}

/// A modern server of which a test scripts `tools/list` and `tools/call`.
fn tools(
    script: impl Fn(&crate::support::http::Request, &mut crate::support::http::Reply<'_>)
    + Send
    + Sync
    + 'static,
) -> Server {
    Server::start(move |request, reply| {
        assert_eq!(request.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(request.json()["params"]["_meta"][VERSION], "2026-07-28");
        script(request, reply);
    })
}

#[test]
fn an_answer_of_the_client_is_never_sent_to_a_modern_server() {
    let server = tools(|request, reply| {
        assert_eq!(request.rpc(), "tools/list");
        reply.json(result(
            &request.id(),
            r#"{"resultType":"complete","tools":[]}"#,
        ));
    });
    let mut client = connect(&server, &[], true);
    let answers = [
        r#"{"jsonrpc":"2.0","id":"s1","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"m"}}"#,
    ];
    // Before the server is known to be modern, and after.
    for _ in 0..2 {
        for answer in answers {
            client.process.send(answer);
        }
        assert!(client.call("tools/list", json!({}))["result"].is_object());
    }
    client.process.finish();
    assert_eq!(server.log(), ["POST tools/list", "POST tools/list"]);
}

#[test]
fn a_subscription_that_is_acknowledged_shows_that_the_server_is_modern() {
    let server = tools(|request, reply| {
        let message = request.json();
        match request.rpc().as_str() {
            "subscriptions/listen" => {
                reply.sse();
                let params = json!({"_meta":{SUBSCRIPTION:message["id"]},"notifications":{}});
                reply.event(&json!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":params}).to_string());
                reply.wait_until_peer_leaves();
            }
            // Of no era.
            _ => reply.status(400),
        }
    });
    let mut client = connect(&server, &[], true);
    client.send("subscriptions/listen", json!({"notifications":{}}));
    client.note("notifications/subscriptions/acknowledged");
    let answer = client.call("tools/call", json!({"name":"a"}));
    assert_eq!(answer["error"]["data"]["httpStatus"], 400, "{answer}");
    client.process.close_stdin();
    client.process.rest();
    assert_eq!(
        server.log(),
        ["POST subscriptions/listen", "POST tools/call"]
    );
}

#[test]
fn arguments_are_mirrored_and_invalid_tools_are_hidden() {
    let server = tools(|request, reply| {
        match request.rpc().as_str() {
        "tools/list" => reply.json(result(
            &request.id(),
            r#"{"resultType":"complete","tools":[{"name":"good","inputSchema":{"properties":{"r":{"type":"string","x-mcp-header":"Region"}}}},{"name":"bad","inputSchema":{"properties":{"r":{"type":"number","x-mcp-header":"R"}}}}]}"#,
        )),
        _ => {
            assert_eq!(request.header("mcp-param-region"), Some("=?base64?w6Q=?="));
            reply.json(result(&request.id(), r#"{"resultType":"complete","content":[]}"#));
        }
    }
    });
    let mut client = connect(&server, &[], true);
    let list = client.call("tools/list", json!({}));
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 1);
    let answer = client.call("tools/call", json!({"name":"good","arguments":{"r":"ä"}}));
    assert!(answer["result"].is_object(), "{answer}");
    client.process.finish();
    assert!(client.process.stderr().contains("tool \"bad\" is hidden"));
}

#[test]
fn a_header_mismatch_has_the_tools_read_anew_and_the_call_sent_once_more() {
    let server = tools(|request, reply| {
        match request.rpc().as_str() {
        "tools/list" if request.json()["params"]["cursor"].is_null() => {
            reply.json(result(&request.id(), r#"{"resultType":"complete","tools":[],"nextCursor":"2"}"#))
        }
        "tools/list" => reply.json(result(
            &request.id(),
            r#"{"resultType":"complete","tools":[{"name":"good","inputSchema":{"properties":{"r":{"type":"string","x-mcp-header":"Region"}}}}]}"#,
        )),
        _ if request.header("mcp-param-region") == Some("eu") => {
            assert_ne!(request.id(), "1", "the retry needs an id of its own");
            reply.json(result(&request.id(), r#"{"resultType":"complete","content":[]}"#));
        }
        _ => reply.full(
            400,
            "content-type: application/json\r\n",
            format!(r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32020,"message":"mismatch"}}}}"#, request.id()),
        ),
    }
    });
    let mut client = connect(&server, &[], true);
    let answer = client.call("tools/call", json!({"name":"good","arguments":{"r":"eu"}}));
    assert!(answer["result"].is_object(), "{answer}");
    let answer = client.call("tools/call", json!({"name":"other","arguments":{}}));
    assert_eq!(answer["error"]["code"], -32020, "{answer}");
    client.process.finish();
    assert_eq!(server.count("POST tools/list"), 4);
    assert_eq!(server.count("POST tools/call"), 3);
}

#[test]
fn a_broken_answer_is_asked_for_again_only_if_that_does_no_harm() {
    let server = tools(|request, reply| {
        let again = request.json()["id"].is_string();
        if again {
            reply.json(result(
                &request.id(),
                r#"{"resultType":"complete","tools":[],"content":[]}"#,
            ));
        } else {
            reply.sse();
            reply.hang_up();
        }
    });
    let mut client = connect(&server, &[], true);
    assert!(client.call("tools/list", json!({}))["result"].is_object());
    let answer = client.call("tools/call", json!({"name":"a"}));
    assert_eq!(answer["error"]["code"], -32001, "{answer}");
    client.process.finish();
    assert_eq!(
        server.log(),
        ["POST tools/list", "POST tools/list", "POST tools/call"]
    );
}

#[test]
fn a_question_the_client_cannot_answer_is_an_error_of_its_request() {
    let server = Server::start(|request, reply| {
        match request.rpc().as_str() {
        "initialize" => reply.full(
            400,
            "content-type: application/json\r\n",
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"Mcp-Method is missing"}}"#,
        ),
        "server/discover" => reply.json(result(&request.id(), r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#)),
        _ => reply.json(result(
            &request.id(),
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","url":"https://a.test","message":"m"}}}}"#,
        )),
    }
    });
    let mut client = connect(&server, &[], false);
    client.connect();
    let answer = client.tool("a");
    assert_eq!(answer["error"]["code"], -32021, "{answer}");
    assert_eq!(
        answer["error"]["data"],
        json!({"requiredCapabilities":{"elicitation":{"url":{}}}})
    );
    client.process.finish();
    assert_eq!(
        server.log(),
        ["POST initialize", "POST server/discover", "POST tools/call"]
    );
}
