//! A small real MCP server: Streamable HTTP, revision 2025-11-25, with a session and three tools.
//!
//! It is strict, so that a bridge that forgets a header fails the demonstration: after `initialize` every request must
//! carry the session's id and the protocol version. It has no stream of its own (405 on GET, which the revision allows);
//! progress comes on the event stream that answers the call.
//! Not done: chunked request bodies, several sessions, time limits. It serves one demonstration on loopback.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

pub const NAME: &str = "demo-server";
pub const PROTOCOL: &str = "2025-11-25";

/// A running server. Its threads end with the process.
pub struct Server {
    pub address: SocketAddr,
    /// Hears once that the client ended the session.
    pub ended: Receiver<()>,
}

pub fn start() -> io::Result<Server> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let (sender, ended) = mpsc::channel();
    // Session ids must not be guessable; std's only source of randomness is enough here.
    let session: Arc<str> = format!("{:016x}", RandomState::new().hash_one(address)).into();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (session, ended) = (Arc::clone(&session), sender.clone());
            // A connection that breaks is the client's to notice; it fails there.
            thread::spawn(move || serve(&connection, &session, &ended));
        }
    });
    Ok(Server { address, ended })
}

fn serve(connection: &TcpStream, session: &str, ended: &Sender<()>) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    while let Some(request) = Request::read(&mut reader)? {
        answer(&request, connection, session, ended)?;
    }
    Ok(())
}

struct Request {
    method: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// The next request on the connection; `None` when the client has closed it.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let method = line.split(' ').next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => break,
            }
        }
        let mut request = Request {
            method,
            headers,
            body: Vec::new(),
        };
        let length = request.header("content-length").parse().unwrap_or(0);
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        Ok(Some(request))
    }

    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }
}

fn answer(
    request: &Request,
    connection: &TcpStream,
    session: &str,
    ended: &Sender<()>,
) -> io::Result<()> {
    let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let starts = message["method"] == "initialize";
    if !starts {
        match request.header("mcp-session-id") {
            "" => return respond(connection, "400 Bad Request", "", "a session id is missing"),
            id if id != session => {
                return respond(connection, "404 Not Found", "", "no such session");
            }
            _ => {}
        }
        if request.header("mcp-protocol-version") != PROTOCOL {
            let problem = "the protocol version is missing or wrong";
            return respond(connection, "400 Bad Request", "", problem);
        }
    }
    match request.method.as_str() {
        "POST" if message["id"].is_null() => respond(connection, "202 Accepted", "", ""),
        "POST" if message["params"]["name"] == "count" => count(connection, &message),
        "POST" => {
            let mut body = result(&message);
            body["jsonrpc"] = json!("2.0");
            body["id"] = message["id"].clone();
            if message["params"]["arguments"]["stream"] == true {
                return stream(connection, [body].into_iter());
            }
            let mut headers = "Content-Type: application/json\r\n".to_owned();
            if starts {
                headers += &format!("Mcp-Session-Id: {session}\r\n");
            }
            respond(connection, "200 OK", &headers, &body.to_string())
        }
        "DELETE" => {
            // Nobody listens any more when the demonstration has failed already.
            let _ = ended.send(());
            respond(connection, "200 OK", "", "")
        }
        _ => respond(
            connection,
            "405 Method Not Allowed",
            "Allow: POST, DELETE\r\n",
            "",
        ),
    }
}

fn result(message: &Value) -> Value {
    let params = &message["params"];
    match (message["method"].as_str(), params["name"].as_str()) {
        (Some("initialize"), _) => json!({"result": {
            "protocolVersion": PROTOCOL,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": NAME, "version": "1"},
        }}),
        (Some("ping"), _) => json!({"result": {}}),
        (Some("tools/list"), _) => json!({"result": {"tools": [
            {"name": "add", "description": "adds two numbers", "inputSchema": {
                "type": "object",
                "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                "required": ["a", "b"],
            }},
            {"name": "count", "description": "counts aloud", "inputSchema": {
                "type": "object",
                "properties": {"to": {"type": "integer"}},
                "required": ["to"],
            }},
            {"name": "repeat", "description": "answers with a text of that many bytes", "inputSchema": {
                "type": "object",
                "properties": {"bytes": {"type": "integer"}, "stream": {"type": "boolean"}},
                "required": ["bytes"],
            }},
        ]}}),
        (Some("tools/call"), Some("add")) => {
            let [a, b] = ["a", "b"].map(|name| params["arguments"][name].as_f64());
            match (a, b) {
                (Some(a), Some(b)) => json!({"result": text(&(a + b).to_string())}),
                _ => json!({"error": {"code": -32602, "message": "a and b must be numbers"}}),
            }
        }
        (Some("tools/call"), Some("repeat")) => {
            let bytes = params["arguments"]["bytes"].as_u64().unwrap_or(0);
            json!({"result": text(&"x".repeat(usize::try_from(bytes).unwrap_or(0)))})
        }
        (Some("tools/call"), _) => json!({"error": {"code": -32602, "message": "no such tool"}}),
        _ => json!({"error": {"code": -32601, "message": "method not found"}}),
    }
}

/// The tool `count`: a progress notification for each step, then the answer.
fn count(connection: &TcpStream, message: &Value) -> io::Result<()> {
    let params = &message["params"];
    let to = params["arguments"]["to"].as_u64().unwrap_or(0).min(10);
    let steps = (1..=to).map(|step| {
        // So that a person sees the steps come one by one, and not all at the end.
        thread::sleep(Duration::from_millis(200));
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
            "progressToken": params["_meta"]["progressToken"], "progress": step, "total": to,
        }})
    });
    let answer = json!({
        "jsonrpc": "2.0", "id": message["id"], "result": text(&format!("counted to {to}")),
    });
    stream(connection, steps.chain([answer]))
}

/// Answers with an event stream: one event, one HTTP chunk for each message, as soon as it is there.
fn stream(mut connection: &TcpStream, messages: impl Iterator<Item = Value>) -> io::Result<()> {
    connection.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    for message in messages {
        let event = format!("event: message\ndata: {message}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        connection.write_all(chunk.as_bytes())?;
    }
    connection.write_all(b"0\r\n\r\n")
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn respond(mut connection: &TcpStream, status: &str, headers: &str, body: &str) -> io::Result<()> {
    // One write: a response in pieces waits for the peer's delayed acknowledgement.
    let length = body.len();
    let response = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    connection.write_all(response.as_bytes())
}
