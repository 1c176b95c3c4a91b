//! One script over all pairings of eras, and over HTTP+SSE: what a client does works whatever the server is.

use serde_json::{Value, json};

use crate::support::eras::{Client, Kind, SUBSCRIPTION, end_of_subscription, server};
use crate::support::process::Start;

fn script(modern_client: bool, kind: Kind) {
    let server = server(kind);
    let mut client = Client::new(Start::bridge(&[&server.url("/mcp")]).go(), modern_client);
    let hello = client.connect();
    assert_eq!(hello["instructions"], "i", "{hello}");
    assert_eq!(hello["capabilities"]["resources"]["subscribe"], true);
    lists_and_calls(&mut client);
    let subscription = changes(&mut client);
    cancellation(&mut client, kind);
    logs(&mut client);
    assert_eq!(client.said("large").len(), 3_000_000);
    assert_eq!(client.tool("fail")["error"]["code"], -32602);
    assert_eq!(client.said("add"), "3");
    client.process.close_stdin();
    let rest = client.process.rest();
    assert!(client.process.wait_exit().success());
    match subscription.as_u64() {
        Some(id) => assert_eq!(rest, end_of_subscription(id)),
        None => assert!(rest.is_empty(), "{rest:?}"),
    }
    let modern_server = kind == Kind::Modern;
    assert_eq!(server.count("GET"), usize::from(!modern_server));
    assert_eq!(server.count("DELETE"), usize::from(kind == Kind::Legacy));
}

fn lists_and_calls(client: &mut Client) {
    let list = client.call("tools/list", json!({}))["result"].clone();
    assert_eq!(list["tools"][0]["name"], "add");
    assert_eq!(list["resultType"].is_string(), client.modern, "{list}");
    assert_eq!(list["ttlMs"].is_number(), client.modern, "{list}");
    assert_eq!(client.said("add"), "3");
    assert_eq!(
        client.note("notifications/progress")["params"]["progressToken"],
        "add"
    );
    assert_eq!(client.said("sample"), "four");
    assert_eq!(client.said("elicit"), "Ada");
    assert_eq!(client.said("roots"), "file:///r");
}

fn changes(client: &mut Client) -> Value {
    let subscription = if client.modern {
        let filter = json!({"toolsListChanged":true,"resourceSubscriptions":["file:///a"]});
        let id = client.send("subscriptions/listen", json!({"notifications": filter}));
        let acknowledged = client.note("notifications/subscriptions/acknowledged");
        assert_eq!(acknowledged["params"]["notifications"], filter);
        json!(id)
    } else {
        let answer = client.call("resources/subscribe", json!({"uri":"file:///a"}));
        assert_eq!(answer["result"], json!({}));
        Value::Null
    };
    client.said("touch");
    let updated = client.note("notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], "file:///a");
    assert_eq!(updated["params"]["_meta"][SUBSCRIPTION], subscription);
    client.said("grow");
    let changed = client.note("notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"][SUBSCRIPTION], subscription);
    subscription
}

fn cancellation(client: &mut Client, kind: Kind) {
    let id = client.send(
        "tools/call",
        json!({"name":"slow","_meta":{"progressToken":"slow"}}),
    );
    client.note("notifications/progress");
    let cancelled = json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":id,"reason":"r"}});
    client.process.send(&cancelled.to_string());
    if kind == Kind::Modern {
        assert_eq!(client.said("cancelled?"), "yes");
    }
}

fn logs(client: &mut Client) {
    if client.modern {
        client.said("log");
        assert!(
            !client
                .notes
                .iter()
                .any(|note| note["method"] == "notifications/message")
        );
        client.level = Some("info");
    } else {
        let answer = client.call("logging/setLevel", json!({"level":"info"}));
        assert_eq!(answer["result"], json!({}));
    }
    client.said("log");
    assert_eq!(client.note("notifications/message")["params"]["data"], "d");
}

#[test]
fn a_legacy_client_and_a_legacy_server() {
    script(false, Kind::Legacy);
}

#[test]
fn a_legacy_client_and_an_http_sse_server() {
    script(false, Kind::HttpSse);
}

#[test]
fn a_legacy_client_and_a_modern_server() {
    script(false, Kind::Modern);
}

#[test]
fn a_modern_client_and_a_legacy_server() {
    script(true, Kind::Legacy);
}

#[test]
fn a_modern_client_and_an_http_sse_server() {
    script(true, Kind::HttpSse);
}

#[test]
fn a_modern_client_and_a_modern_server() {
    script(true, Kind::Modern);
}
