//! The library's two doors: [`Connection`], a pair of channels to a remote MCP server, and [`run`], the whole bridge over
//! any reader and writer.
//!
//! - Both are the bridge the program is made of: transports, sessions, resumption, sign-in and limits are those of
//!   `mcp-remote`, and nothing is sent before the first message.
//! - Both channels hold few messages: who does not read stops the server, not the memory.
//! - The session is ended by dropping the sender, in order: answers under way still come.
//!
//! Not done here: ids, time limits of requests and the handshake are the caller's, as they are a client's.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::jsonrpc::Message;
use crate::log::Log;
use crate::transport::{self, Ends};

/// A connection to a remote MCP server: what goes into [`sender`](Connection::sender) is sent, what the server says comes
/// out of [`receiver`](Connection::receiver).
///
/// Every request gets exactly one answer under its own id, an error if need be: a server that is away, a session that is
/// lost and a sign-in that fails are answers too, not failures of the channel.
///
/// ```no_run
/// use mcp_remote::{Config, Connection, Message};
/// use serde_json::{Value, json};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let mut config = Config::new("https://mcp.example.com/mcp".parse()?);
///     config.log.silent = true; // Nothing on stderr.
///     let connection = Connection::open(config)?;
///
///     let send = |message: Value| -> Result<(), Box<dyn std::error::Error>> {
///         Ok(connection.sender.send(Message::parse(&message.to_string())?)?)
///     };
///     let ask = |id: u32, method: &str, params: Value| -> Result<Value, Box<dyn std::error::Error>> {
///         send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
///         for message in &connection.receiver {
///             let answer: Value = serde_json::from_str(message.text())?;
///             if answer["id"] == id {
///                 return Ok(answer); // With a "result" or an "error".
///             }
///         }
///         Err("the connection has ended".into())
///     };
///
///     let client = json!({"name": "example", "version": "1.0"});
///     ask(1, "initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}))?;
///     send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
///     let tools = ask(2, "tools/list", json!({}))?;
///     println!("{}", tools["result"]["tools"]);
///     let called = ask(3, "tools/call", json!({"name": "add", "arguments": {"a": 1, "b": 2}}))?;
///     println!("{}", called["result"]["content"]);
///     connection.close();
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection {
    /// Takes messages for the server; waits while many are under way. Dropping it ends the session.
    pub sender: SyncSender<Message>,
    /// Gives what the server says: answers, notifications, requests. It ends when the session has.
    pub receiver: Receiver<Message>,
    thread: JoinHandle<()>,
}

/// How many messages wait in each channel.
const WAITING: usize = 16;

impl Connection {
    /// Makes the connection ready. The server is not spoken to before the first message.
    ///
    /// # Errors
    /// If the configuration cannot be used (plain http without [`Config::allow_http`], a certificate file, a log
    /// file), or no thread can be started.
    pub fn open(config: Config) -> Result<Connection> {
        let pipe = || {
            std::io::pipe()
                .map_err(|e| Error::new(Kind::Network, format!("cannot make a pipe: {e}")))
        };
        let ((input, mut to), (from, output)) = (pipe()?, pipe()?);
        let log = Arc::new(Log::open(config.log.clone())?);
        let (sender, messages) = sync_channel::<Message>(WAITING);
        let (said, receiver) = sync_channel(WAITING);
        let (ready, readiness) = channel();
        let thread = spawn("connection", move || {
            let ends = Ends {
                input: Box::new(input),
                output: Box::new(output),
                signals: false,
                settled: None,
                person: None,
                says_failures: true,
            };
            match transport::prepare(config, log, ends) {
                Ok(run) => {
                    // Whoever opens waits for this.
                    ready.send(Ok(())).ok();
                    run();
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        readiness.recv().unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Bug,
                "the connection ended before it began",
            ))
        })?;
        spawn("sender", move || {
            // The pipe is closed with the last message, which ends the session.
            for message in messages {
                if writeln!(to, "{}", message.text()).is_err() {
                    return;
                }
            }
        })?;
        spawn("receiver", move || {
            for line in BufReader::new(from).lines().map_while(std::io::Result::ok) {
                // The bridge writes messages only.
                if let Ok(message) = Message::parse(&line)
                    && said.send(message).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Connection {
            sender,
            receiver,
            thread,
        })
    }

    /// Ends the session and waits until it has ended; answers that still come are dropped.
    pub fn close(self) {
        drop(self.sender);
        self.receiver.iter().for_each(drop);
        // A panic in there has been told of already.
        self.thread.join().ok();
    }
}

/// Runs the whole bridge between a client on this reader and writer and the server, until the reader ends.
/// It is what the program `mcp-remote` does with stdin and stdout, without its signals.
///
/// ```no_run
/// use std::net::TcpListener;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     // An MCP client that speaks over a socket, one message on a line.
///     let (client, _) = TcpListener::bind("127.0.0.1:7000")?.accept()?;
///     let config = mcp_remote::Config::new("https://mcp.example.com/mcp".parse()?);
///     mcp_remote::run(config, client.try_clone()?, client)?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// If it cannot start. A server that is away is no error: requests are answered with one.
pub fn run(
    config: Config,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> Result<()> {
    let log = Arc::new(Log::open(config.log.clone())?);
    let ends = Ends {
        input: Box::new(input),
        output: Box::new(output),
        signals: false,
        settled: None,
        person: None,
        says_failures: true,
    };
    transport::run_over(config, log, ends)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let started = Builder::new().name(name.to_owned()).spawn(body);
    started.map_err(|e| {
        Error::new(
            Kind::Network,
            format!("cannot start the {name} thread: {e}"),
        )
    })
}
