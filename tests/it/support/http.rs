//! A scripted HTTP/1.1 server on loopback: every byte of an answer is under the test's control.
//!
//! It fails its test when it is dropped if a handler panicked, or if it was never called.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};

use super::LIMIT;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The JSON-RPC method; empty if there is none.
    pub fn rpc(&self) -> String {
        self.json()["method"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// "POST tools/list", "GET", "DELETE".
    pub fn what(&self) -> String {
        format!("{} {}", self.method, self.rpc())
            .trim_end()
            .to_owned()
    }

    /// The JSON text of the id.
    pub fn id(&self) -> String {
        self.json()["id"].to_string()
    }
}

/// The connection a request came on.
pub struct Reply<'a> {
    stream: &'a TcpStream,
    chunked: bool,
    close: bool,
}

impl Reply<'_> {
    /// Bytes as they are. A peer that is gone is the business of the test that made it go.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).ok();
        self.stream.flush().ok();
    }

    /// Sends the same again and again until the peer leaves.
    pub fn without_end(&mut self, bytes: &[u8]) {
        self.stream.set_write_timeout(Some(LIMIT)).unwrap();
        while self.stream.write_all(bytes).is_ok() {}
        self.hang_up();
    }

    /// A whole answer. `headers` are lines with their ends.
    pub fn full(&mut self, status: u16, headers: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        self.raw(format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        ));
        self.raw(body);
    }

    pub fn json(&mut self, body: impl AsRef<[u8]>) {
        self.full(200, "content-type: application/json\r\n", body);
    }

    pub fn status(&mut self, status: u16) {
        self.full(status, "", "");
    }

    /// Begins an event stream in chunks.
    pub fn sse(&mut self) {
        self.raw("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        self.chunked = true;
    }

    /// Bytes of a chunked body.
    pub fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.raw(format!("{:x}\r\n", bytes.len()));
        self.raw(bytes);
        self.raw("\r\n");
    }

    /// One event with this data.
    pub fn event(&mut self, data: &str) {
        self.chunk(format!("data: {data}\n\n"));
    }

    /// The connection ends here, whatever was promised.
    pub fn hang_up(&mut self) {
        self.chunked = false;
        self.close = true;
    }

    /// Whether the peer has closed the connection; waits until it does.
    pub fn wait_until_peer_leaves(&mut self) {
        self.stream.set_read_timeout(Some(LIMIT)).unwrap();
        assert!(
            matches!(self.stream.read(&mut [0]), Ok(0) | Err(_)),
            "the peer sent more instead of leaving"
        );
        self.hang_up();
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Request>>,
    more: Condvar,
    failures: Mutex<Vec<String>>,
}

/// The server.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Serves on a free port.
    pub fn start(handler: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> Server {
        Server::on(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
    }

    /// Serves on this listener.
    pub fn on(
        listener: TcpListener,
        handler: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static,
    ) -> Server {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (to_thread, handler) = (Arc::clone(&shared), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, handler) = (Arc::clone(&to_thread), Arc::clone(&handler));
                std::thread::spawn(move || serve(&stream, &shared, &*handler));
            }
        });
        Server { address, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What all requests so far were.
    pub fn log(&self) -> Vec<String> {
        self.seen().iter().map(Request::what).collect()
    }

    /// How many requests of this kind came so far.
    pub fn count(&self, what: &str) -> usize {
        self.log().iter().filter(|seen| *seen == what).count()
    }

    /// Waits until so many requests of this kind came; gives the last of them.
    pub fn wait_for(&self, what: &str, count: usize) -> Request {
        let enough = |seen: &mut Vec<Request>| {
            seen.iter().filter(|request| request.what() == what).count() >= count
        };
        let seen = self.shared.seen.lock().unwrap();
        let (seen, _) = self
            .shared
            .more
            .wait_timeout_while(seen, LIMIT, |seen| !enough(seen))
            .unwrap();
        let found = seen
            .iter()
            .filter(|request| request.what() == what)
            .nth(count - 1)
            .cloned();
        found.unwrap_or_else(|| {
            panic!(
                "{count} x {what} did not come, but {:?}",
                seen.iter().map(Request::what).collect::<Vec<_>>()
            )
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let failures = self.shared.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "the scripted server failed: {failures:?}"
        );
        assert!(
            !self.shared.seen.lock().unwrap().is_empty(),
            "the scripted server was never called"
        );
    }
}

fn serve(
    stream: &TcpStream,
    shared: &Shared,
    handler: &(impl Fn(&Request, &mut Reply<'_>) + Send + Sync),
) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        shared.seen.lock().unwrap().push(request.clone());
        shared.more.notify_all();
        let mut reply = Reply {
            stream,
            chunked: false,
            close: false,
        };
        let done = catch_unwind(AssertUnwindSafe(|| handler(&request, &mut reply)));
        if let Err(panic) = done {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            shared
                .failures
                .lock()
                .unwrap()
                .push(text.unwrap_or_default());
            break;
        }
        if reply.chunked {
            reply.raw("0\r\n\r\n");
        }
        if reply.close {
            break;
        }
    }
    stream.shutdown(std::net::Shutdown::Both).ok();
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// Calls a server that its test allows not to have been called.
pub fn call(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stream.read_exact(&mut [0]).ok();
}
