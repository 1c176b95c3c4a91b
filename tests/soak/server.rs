//! The server of the soak: an ordinary MCP server that can be told to do wrong.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// All connections are cut, and new ones at once.
    Away,
    /// It forgets its sessions, again and again.
    Forgets,
    /// Answers break off in the middle.
    BreaksOff,
    /// Answers begin and never go on.
    Stalls,
    /// Nothing is answered at all.
    Silent,
    /// 503, 429 or 500.
    Busy,
    /// Answers that are none.
    Garbage,
    /// Streams end after an event with an id; the answer comes with the resumption.
    Resumes,
    /// Comments, notifications and the same answer again and again.
    Talks,
    /// It does nothing wrong: the client does not read.
    SlowReader,
}

impl Fault {
    pub const ALL: &[Fault] = &[
        Fault::Away,
        Fault::Forgets,
        Fault::BreaksOff,
        Fault::Stalls,
        Fault::Silent,
        Fault::Busy,
        Fault::Garbage,
        Fault::Resumes,
        Fault::Talks,
        Fault::SlowReader,
    ];
}

#[derive(Default)]
struct State {
    /// The place of the fault in the list, from 1.
    fault: AtomicU8,
    session: AtomicU64,
    count: AtomicU64,
    connections: Mutex<BTreeMap<u64, TcpStream>>,
}

pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    pub fn start() -> std::io::Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let number = state.count.fetch_add(1, Ordering::SeqCst);
                    if let Ok(copy) = stream.try_clone() {
                        state.connections().insert(number, copy);
                    }
                    // A peer that is gone is no business of the server's.
                    serve(&stream, &state).ok();
                    stream.shutdown(std::net::Shutdown::Both).ok();
                    state.connections().remove(&number);
                });
            }
        });
        Ok(Server { address, state })
    }

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub fn do_wrong(&self, fault: Fault) {
        let place = Fault::ALL.iter().position(|one| *one == fault).unwrap_or(0);
        self.state.fault.store(place as u8 + 1, Ordering::SeqCst);
        if fault == Fault::Away {
            self.state.cut();
        }
        if fault == Fault::Forgets {
            self.state.session.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// From now on it is a good server.
    pub fn behave(&self) {
        self.state.fault.store(0, Ordering::SeqCst);
    }
}

impl State {
    fn connections(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        for stream in self.connections().values() {
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
    }

    fn fault(&self) -> Option<Fault> {
        let place = usize::from(self.fault.load(Ordering::SeqCst));
        Fault::ALL.get(place.wrapping_sub(1)).copied()
    }
}

struct Request {
    method: String,
    session: Option<String>,
    after: Option<String>,
    body: serde_json::Value,
}

fn serve(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let fault = state.fault();
        if fault == Some(Fault::Away) {
            return Ok(());
        }
        if !answer(stream, state, &request, fault)? {
            return Ok(());
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let (mut session, mut after, mut length) = (None, None, 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "mcp-session-id" => session = Some(value.to_owned()),
            "last-event-id" => after = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request {
        method,
        session,
        after,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }))
}

/// Whether the connection can be used again.
fn answer(
    mut to: &TcpStream,
    state: &State,
    request: &Request,
    fault: Option<Fault>,
) -> std::io::Result<bool> {
    let current = state.session.load(Ordering::SeqCst).to_string();
    let id = request.body["id"].to_string();
    let result = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[]}}}}"#);
    let is_first = request.body["method"] == "initialize";
    if !is_first
        && request
            .session
            .as_ref()
            .is_some_and(|session| *session != current)
    {
        return full(to, "404 Not Found", "", "").map(|()| true);
    }
    match request.method.as_str() {
        "GET" => return listen(to, state, request),
        "DELETE" => return full(to, "200 OK", "", "").map(|()| true),
        _ if request.body["id"].is_null() => {
            return full(to, "202 Accepted", "", "").map(|()| true);
        }
        _ => {}
    }
    if is_first {
        let result = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{}},"serverInfo":{{"name":"s","version":"1"}}}}}}"#
        );
        let headers = format!("content-type: application/json\r\nmcp-session-id: {current}\r\n");
        return full(to, "200 OK", &headers, &result).map(|()| true);
    }
    let json = "content-type: application/json\r\n";
    let count = state.count.fetch_add(1, Ordering::SeqCst);
    match fault {
        None | Some(Fault::SlowReader | Fault::Forgets | Fault::Away) => {
            full(to, "200 OK", json, &result)?;
        }
        Some(Fault::BreaksOff) => {
            let half = result.get(..result.len() / 2).unwrap_or_default();
            write!(
                to,
                "HTTP/1.1 200 OK\r\n{json}content-length: {}\r\n\r\n{half}",
                result.len()
            )?;
            return Ok(false);
        }
        Some(Fault::Stalls) => {
            write!(to, "HTTP/1.1 200 OK\r\n{json}content-length: 100\r\n\r\n{{")?;
            return wait_for_the_end(to);
        }
        Some(Fault::Silent) => return wait_for_the_end(to),
        Some(Fault::Busy) => {
            let status = ["503 X", "429 X", "500 X"][(count % 3) as usize];
            full(to, status, "retry-after: 1\r\n", "not now")?;
        }
        Some(Fault::Garbage) => {
            let bodies = [
                "<html>",
                "",
                "{\"id\":\"else\",\"result\":{}}",
                "[[[[[[",
                "{\"id\":null}",
            ];
            full(to, "200 OK", json, bodies[(count % 5) as usize])?;
        }
        Some(Fault::Resumes) => {
            stream(to)?;
            chunk(to, &format!("retry: 50\nid: {id}\ndata:\n\n"))?;
            write!(to, "0\r\n\r\n")?;
        }
        Some(Fault::Talks) => {
            stream(to)?;
            for _ in 0..20 {
                chunk(to, &": talk\n\n".repeat(100))?;
                chunk(
                    to,
                    "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n",
                )?;
            }
            chunk(to, &format!("data: {result}\n\ndata: {result}\n\n"))?;
            write!(to, "0\r\n\r\n")?;
        }
    }
    Ok(true)
}

/// A resumption brings the answer; the standing stream stays silent until something cuts it.
fn listen(to: &TcpStream, state: &State, request: &Request) -> std::io::Result<bool> {
    stream(to)?;
    let Some(id) = &request.after else {
        chunk(to, ": here\n\n")?;
        while state.fault() != Some(Fault::Forgets) {
            std::thread::sleep(Duration::from_millis(500));
            chunk(to, ": here\n\n")?;
        }
        return Ok(false);
    };
    let result = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    chunk(to, &format!("data: {result}\n\n"))?;
    (&*to).write_all(b"0\r\n\r\n")?;
    Ok(true)
}

fn wait_for_the_end(mut to: &TcpStream) -> std::io::Result<bool> {
    to.set_read_timeout(Some(Duration::from_secs(30)))?;
    to.read_exact(&mut [0])?;
    Ok(false)
}

fn full(mut to: &TcpStream, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
    write!(
        to,
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn stream(mut to: &TcpStream) -> std::io::Result<()> {
    to.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )
}

fn chunk(mut to: &TcpStream, text: &str) -> std::io::Result<()> {
    write!(to, "{:x}\r\n{text}\r\n", text.len())
}
