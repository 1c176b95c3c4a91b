//! Sessions and streams that are lost while an adapter stands between client and server.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use crate::support::eras::{Client, SUBSCRIPTION, end_of_subscription};
use crate::support::http::Server;
use crate::support::mcp::result;
use crate::support::process::Start;

const URI: &str = "file:///a";

fn connect(server: &Server, modern: bool) -> Client {
    let mut client = Client::new(Start::bridge(&[&server.url("/mcp")]).go(), modern);
    client.connect();
    client
}

#[test]
fn a_new_session_is_told_level_and_subscriptions_and_the_client_that_it_may_have_missed_something()
{
    let sessions = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |request, reply| {
        let now = format!("s{}", sessions.load(SeqCst));
        match request.what().as_str() {
            "POST server/discover" => reply.status(400),
            "POST initialize" => {
                let session = sessions.fetch_add(1, SeqCst) + 1;
                reply.full(
                    200,
                    &format!("content-type: application/json\r\nmcp-session-id: s{session}\r\n"),
                    result(&request.id(), r#"{"protocolVersion":"2025-11-25","capabilities":{"logging":{},"tools":{"listChanged":true},"resources":{"subscribe":true}},"serverInfo":{"name":"s","version":"1"}}"#),
                );
            }
            "GET" => reply.status(405),
            "DELETE" => reply.status(200),
            _ if request.header("mcp-session-id") != Some(&now) => reply.status(404),
            "POST tools/call" if request.body.contains("lose") && now == "s1" => {
                reply.status(404);
            }
            other if other.starts_with("POST notifications/") => reply.status(202),
            _ => reply.json(result(&request.id(), r#"{"content":[]}"#)),
        }
    });
    let mut client = connect(&server, true);
    client.level = Some("info");
    let filter = json!({"toolsListChanged":true,"resourceSubscriptions":[URI]});
    let subscription = client.send("subscriptions/listen", json!({"notifications":filter}));
    client.note("notifications/subscriptions/acknowledged");
    client.tool("a");
    assert!(client.notes.is_empty(), "{:?}", client.notes);
    assert!(client.tool("lose")["result"].is_object());
    for method in [
        "notifications/tools/list_changed",
        "notifications/resources/updated",
    ] {
        let note = client.note(method);
        assert_eq!(note["params"]["_meta"][SUBSCRIPTION], json!(subscription));
    }
    server.wait_for("POST logging/setLevel", 2);
    server.wait_for("POST resources/subscribe", 2);
    client.process.close_stdin();
    assert_eq!(client.process.rest(), end_of_subscription(subscription));
    assert_eq!(server.count("POST initialize"), 2);
}

/// A modern server whose first stream of notifications for a resource breaks, or ends in order.
fn listening(in_order: bool) -> Server {
    let streams = AtomicUsize::new(0);
    Server::start(move |request, reply| {
        let message = request.json();
        match request.rpc().as_str() {
            "initialize" => reply.full(
                400,
                "content-type: application/json\r\n",
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"Mcp-Method is missing"}}"#,
            ),
            "server/discover" => reply.json(result(
                &request.id(),
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}}}"#,
            )),
            "subscriptions/listen" => {
                let filter = &message["params"]["notifications"];
                let meta = json!({SUBSCRIPTION: message["id"]});
                reply.sse();
                let params = json!({"_meta":meta,"notifications":filter});
                reply.event(&json!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":params}).to_string());
                if filter["resourceSubscriptions"].is_null() || streams.fetch_add(1, SeqCst) > 0 {
                    return reply.wait_until_peer_leaves();
                }
                if in_order {
                    reply.event(&result(&request.id(), &json!({"resultType":"complete","_meta":meta}).to_string()));
                    reply.raw("0\r\n\r\n");
                }
                reply.hang_up();
            }
            other => panic!("unscripted: {other}"),
        }
    })
}

#[test]
fn a_modern_client_sees_one_subscription_and_is_told_what_it_may_have_missed() {
    let server = listening(false);
    let mut client = connect(&server, true);
    let filter = json!({"toolsListChanged":true,"resourceSubscriptions":[URI]});
    let id = client.send("subscriptions/listen", json!({"notifications":filter}));
    client.note("notifications/subscriptions/acknowledged");
    for method in [
        "notifications/tools/list_changed",
        "notifications/resources/updated",
    ] {
        assert_eq!(
            client.note(method)["params"]["_meta"][SUBSCRIPTION],
            json!(id)
        );
    }
    client.process.close_stdin();
    assert_eq!(client.process.rest(), end_of_subscription(id));
    assert_eq!(server.count("POST subscriptions/listen"), 2);
}

#[test]
fn a_legacy_client_is_told_what_it_may_have_missed_while_its_stream_was_away() {
    for in_order in [false, true] {
        let server = listening(in_order);
        let mut client = connect(&server, false);
        let answer = client.call("resources/subscribe", json!({"uri":URI}));
        assert_eq!(answer["result"], json!({}));
        assert!(client.note("notifications/tools/list_changed")["params"].is_null());
        let updated = client.note("notifications/resources/updated");
        assert_eq!(updated["params"], json!({"uri":URI}));
        client.process.close_stdin();
        assert_eq!(client.process.rest().len(), 0);
    }
}
