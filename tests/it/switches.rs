//! Flags that turn something off, and what is left.

use crate::support::mcp::{answering, result, server};
use crate::support::process::Process;

#[test]
fn without_a_get_stream_no_get_is_sent_except_to_resume_a_response() {
    let server = server(|request, reply| match request.what().as_str() {
        "POST ask" => {
            reply.sse();
            reply.chunk("id: e1\nretry: 20\ndata:\n\n");
            true
        }
        "GET" => {
            assert_eq!(request.header("last-event-id"), Some("e1"));
            reply.sse();
            reply.event(&result("1", "\"late\""));
            true
        }
        _ => false,
    });
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--no-get-stream"]);
    bridge.send(r#"{"id":1,"method":"ask"}"#);
    assert_eq!(bridge.recv()["result"], "late");
    bridge.finish();
    assert_eq!(server.count("GET"), 1);
}

#[test]
fn without_a_get_stream_only_messages_are_in_the_access_log() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let mut bridge = Process::connected(&[&server.url("/mcp"), "--no-get-stream"]);
    bridge.ask("1");
    bridge.finish();
    assert_eq!(
        server.log(),
        [
            "POST initialize",
            "POST notifications/initialized",
            "POST ask",
            "DELETE"
        ]
    );
}
