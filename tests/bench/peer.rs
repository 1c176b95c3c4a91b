//! What is measured: a bridge as a child process, or, as the floor, the same calls made directly over kept-alive connections.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::wire::{Http, Wire};

pub type Outcome<T> = Result<T, String>;

/// A request for a tool: its text, as a client writes it.
pub fn call(id: usize, tool: &str, count: usize, padding: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"count":{count},"padding":"{padding}"}}}}}}"#
    )
}

pub const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A running bridge. Dropping it kills the child.
pub struct Bridge {
    pub child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl Bridge {
    /// Starts `command` for this server; `home` is where it may keep its files.
    pub fn start(command: &[OsString], url: &str, home: &Path, ca: &Path) -> Outcome<Bridge> {
        let (program, words) = command.split_first().ok_or("an empty command")?;
        let mut child = Command::new(program)
            .args(words)
            .arg(url)
            .env("MCP_REMOTE_CONFIG_DIR", home)
            .env("NODE_EXTRA_CA_CERTS", ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
        let stdout = child.stdout.take().ok_or("the bridge has no stdout")?;
        Ok(Bridge {
            stdin: child.stdin.take(),
            stdout: BufReader::with_capacity(64 * 1024, stdout),
            child,
            line: String::new(),
        })
    }

    pub fn send(&mut self, message: &str) -> Outcome<()> {
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        // One write: a pipe has no buffer of ours, and a message in pieces is not what a client sends.
        let line = format!("{message}\n");
        let written = stdin.write_all(line.as_bytes());
        written.map_err(|e| format!("cannot write to the bridge: {e}"))
    }

    /// The next line.
    pub fn receive(&mut self) -> Outcome<&str> {
        self.line.clear();
        match self.stdout.read_line(&mut self.line) {
            Ok(0) => Err("the bridge closed its stdout".to_owned()),
            Ok(_) => Ok(&self.line),
            Err(e) => Err(format!("cannot read from the bridge: {e}")),
        }
    }

    pub fn request(&mut self, message: &str) -> Outcome<usize> {
        self.send(message)?;
        let answer = self.receive()?;
        let good = answer.contains("\"result\"");
        let shown: String = answer.chars().take(200).collect();
        good.then_some(answer.len())
            .ok_or_else(|| format!("no result: {shown}"))
    }

    /// Keeps so many calls open at once until all are answered.
    pub fn side_by_side(
        &mut self,
        calls: usize,
        at_once: usize,
        tool: &str,
        length: usize,
    ) -> Outcome<Duration> {
        let began = Instant::now();
        for id in 0..calls + at_once {
            if id >= at_once && !self.receive()?.contains("\"result\"") {
                return Err("a call was answered with an error".to_owned());
            }
            if id < calls {
                self.send(&call(id, tool, length, ""))?;
            }
        }
        Ok(began.elapsed())
    }

    /// Closes stdin, as a client does when it is done, and waits for the bridge to leave by itself.
    pub fn finish(&mut self) -> Outcome<()> {
        drop(self.stdin.take());
        let ended = self.child.wait().map_err(|e| e.to_string())?;
        let code = ended.code();
        (code == Some(0))
            .then_some(())
            .ok_or_else(|| format!("the bridge ended with {code:?}"))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Both fail when the child is gone already, which is the usual case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that needs no bridge.
pub struct Direct {
    reader: BufReader<Wire>,
    answer: Http,
}

impl Direct {
    pub fn connect(port: u16, tls: Option<&Arc<ClientConfig>>) -> io::Result<Direct> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let wire = match tls {
            None => Wire::Plain(stream),
            Some(tls) => {
                let name = "localhost".try_into().map_err(io::Error::other)?;
                let session =
                    ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
                Wire::Client(Box::new(StreamOwned::new(session, stream)))
            }
        };
        Ok(Direct {
            reader: BufReader::with_capacity(64 * 1024, wire),
            answer: Http::default(),
        })
    }

    pub fn request(&mut self, message: &str) -> Outcome<usize> {
        let sent = format!(
            "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMcp-Session-Id: one\r\nMcp-Protocol-Version: 2025-11-25\r\nContent-Length: {}\r\n\r\n{message}",
            message.len()
        );
        let wire = self.reader.get_mut();
        let done = wire.write_all(sent.as_bytes());
        let done = done.and_then(|()| wire.flush());
        let read = done.and_then(|()| self.answer.read(&mut self.reader));
        match read {
            Ok(true)
                if std::str::from_utf8(&self.answer.body)
                    .is_ok_and(|b| b.contains("\"result\"")) =>
            {
                Ok(self.answer.body.len())
            }
            Ok(_) => Err(format!("the server answered {}", self.answer.start)),
            Err(e) => Err(format!("the server cannot be called: {e}")),
        }
    }

    /// So many connections, each with one call at a time.
    pub fn side_by_side(port: u16, calls: usize, at_once: usize, tool: &str) -> Outcome<Duration> {
        let connect = |_| Direct::connect(port, None).map_err(|e| e.to_string());
        let connections: Vec<Direct> = (0..at_once).map(connect).collect::<Outcome<_>>()?;
        let began = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = connections
                .into_iter()
                .map(|mut direct| {
                    scope.spawn(move || {
                        (0..calls / at_once)
                            .try_for_each(|id| direct.request(&call(id, tool, 200, "")).map(drop))
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
        })?;
        Ok(began.elapsed())
    }
}
