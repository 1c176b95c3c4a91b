//! The server that the measurements call: Streamable HTTP, plain or over TLS, with as little work as a server can do.
//!
//! Tools: `json` and `event` answer with the text asked for, as a document or as an event; `work` after 10 ms, `slow`
//! after 200; `notify`
//! sends notifications on the standing stream, each in a write of its own. It is not strict: the demonstration's is.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{Http, Wire};

/// The standing stream of each session; a number asks it for that many notifications.
type Standing = Arc<Mutex<HashMap<String, Sender<usize>>>>;

/// Starts it; its threads end with the process. Gives its port.
pub fn start(tls: Option<Arc<ServerConfig>>) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let standing = Standing::default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (tls, standing) = (tls.clone(), Arc::clone(&standing));
            thread::spawn(move || -> io::Result<()> {
                stream.set_nodelay(true)?;
                let wire = match tls {
                    None => Wire::Plain(stream),
                    Some(tls) => {
                        let session = ServerConnection::new(tls).map_err(io::Error::other)?;
                        Wire::Server(Box::new(StreamOwned::new(session, stream)))
                    }
                };
                // A connection that breaks is the client's to notice; it fails there.
                serve(BufReader::with_capacity(64 * 1024, wire), &standing)
            });
        }
    });
    Ok(port)
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    arguments: Option<Arguments>,
}

#[derive(Deserialize)]
struct Arguments {
    count: Option<usize>,
}

fn serve(mut reader: BufReader<Wire>, standing: &Standing) -> io::Result<()> {
    let mut http = Http::default();
    while http.read(&mut reader)? {
        let wire = reader.get_mut();
        if http.start.starts_with("GET /mcp ") {
            return stand(wire, http.session, standing);
        }
        if http.start.starts_with("GET ") {
            // npm's bridge looks for documents about signing in before anything else.
            wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            wire.flush()?;
            continue;
        }
        let Ok(request) = serde_json::from_slice::<Request<'_>>(&http.body) else {
            // A DELETE ends the session.
            respond(wire, "", "")?;
            continue;
        };
        let Some(id) = request.id else {
            wire.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")?;
            wire.flush()?;
            continue;
        };
        let tool = request.params.as_ref().and_then(|p| p.name.as_deref());
        let count = request
            .params
            .as_ref()
            .and_then(|p| p.arguments.as_ref()?.count)
            .unwrap_or(TEXT);
        let method = request.method.as_deref().unwrap_or_default();
        if method == "initialize" {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"bench","version":"1"}}}}}}"#
            );
            let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
            respond(wire, &format!("Mcp-Session-Id: {session}\r\n"), &body)?;
            continue;
        }
        match tool {
            Some("work") => thread::sleep(Duration::from_millis(10)),
            Some("slow") => thread::sleep(Duration::from_millis(200)),
            Some("notify") => {
                let open = standing.lock();
                let asked = open.map(|open| open.get(&http.session).map(|one| one.send(count)));
                if !matches!(asked, Ok(Some(Ok(())))) {
                    return Err(io::Error::other("no standing stream"));
                }
            }
            _ => {}
        }
        let length = if tool == Some("notify") { TEXT } else { count };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{}"}}]}}}}"#,
            "x".repeat(length)
        );
        if tool == Some("event") {
            event_stream(wire, &body)?;
        } else {
            respond(wire, "", &body)?;
        }
    }
    Ok(())
}

static SESSIONS: AtomicUsize = AtomicUsize::new(1);
/// Bytes of text in an answer of no given length.
const TEXT: usize = 200;

fn respond(wire: &mut Wire, headers: &str, body: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    in_one(wire, [&head, body, ""])
}

fn event_stream(wire: &mut Wire, body: &str) -> io::Result<()> {
    // The event's name and its line ends come on top of the message.
    let head = format!("{STREAM}{:x}\r\nevent: message\ndata: ", body.len() + 23);
    in_one(wire, [&head, body, "\n\n\r\n0\r\n\r\n"])
}

/// One write: an answer in pieces waits for the peer's delayed acknowledgement.
fn in_one(wire: &mut Wire, parts: [&str; 3]) -> io::Result<()> {
    wire.write_all(parts.concat().as_bytes())?;
    wire.flush()
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn stand(wire: &mut Wire, session: String, standing: &Standing) -> io::Result<()> {
    let (sender, asked) = channel();
    wire.write_all(STREAM.as_bytes())?;
    wire.flush()?;
    standing
        .lock()
        .map_err(|_| io::Error::other("a thread panicked"))?
        .insert(session, sender);
    for count in asked {
        for progress in 1..=count {
            let event = format!(
                "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":1,\"progress\":{progress}}}}}\n\n"
            );
            wire.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
        }
        wire.flush()?;
    }
    Ok(())
}
