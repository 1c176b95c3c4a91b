//! An ordinary MCP server (2025-11-25, with a session), of which a test scripts the parts it is about.

use super::http::{Reply, Request, Server};

pub const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The result of `initialize`.
pub fn initialize_result() -> &'static str {
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}"#
}

/// A response with this result.
pub fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// Answers what every server answers; false if the request is none of that.
pub fn ordinary(request: &Request, reply: &mut Reply<'_>) -> bool {
    match request.what().as_str() {
        "POST initialize" => {
            reply.full(
                200,
                "content-type: application/json\r\nmcp-session-id: s1\r\n",
                result(&request.id(), initialize_result()),
            );
        }
        // The doctor asks with a session id of its own making.
        "POST ping" if request.header("mcp-session-id") != Some("s1") => reply.status(404),
        "GET" => reply.status(405),
        // The doctor checks the TLS connection with it.
        other if other.starts_with("HEAD") => reply.status(405),
        "DELETE" => reply.status(200),
        other if other.starts_with("POST notifications/") => reply.status(202),
        _ => return false,
    }
    true
}

/// A server that answers in the ordinary way what the script leaves alone (by returning false).
pub fn server(script: impl Fn(&Request, &mut Reply<'_>) -> bool + Send + Sync + 'static) -> Server {
    Server::start(move |request, reply| {
        if !script(request, reply) && !ordinary(request, reply) {
            panic!("unscripted: {} {}", request.what(), request.body);
        }
    })
}

/// A server that gives this one answer to the method `ask`.
pub fn answering(answer: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> Server {
    server(move |request, reply| {
        let asked = request.rpc() == "ask";
        if asked {
            answer(request, reply);
        }
        asked
    })
}
