//! `mcp-remote-client`: connects step by step, says what each step found, lists tools, resources and prompts.
//!
//! The session itself goes through the same bridge as any client's, over a pair of pipes. stdin is touched only during a
//! sign-in without a browser, where the address a browser was sent back to can be pasted.
//! Exit code 0 only if every step worked.
//!
//! Flags: `--json`.
//! Spec: MCP 2025-11-25 basic/lifecycle, server/utilities/pagination.

use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use crate::bridge::Transport;
use crate::config::Config;
use crate::log::{Log, clean};
use crate::transport::{self, Ends, Found, Person};

/// Checks the server and prints what was found.
pub fn run(mut config: Config, json: bool, log: Arc<Log>) -> ExitCode {
    // Nobody but the person waits: they have as long as the sign-in lasts.
    config.oauth.auth_timeout = config.oauth.auth_timeout.max(SIGN_IN_LIMIT);
    let mut report = Report {
        json,
        steps: Vec::new(),
        lists: Vec::new(),
    };
    let done = reach(&config, &mut report).and_then(|()| talk(config, log, &mut report));
    if json {
        let document =
            json!({ "ok": done.is_some(), "steps": report.steps, "lists": report.lists });
        print(&format!("{document:#}"));
    }
    if done.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What was found so far.
struct Report {
    json: bool,
    steps: Vec<Value>,
    lists: Vec<Value>,
}

impl Report {
    fn ok(&mut self, step: &str, since: Instant, found: &str) {
        self.ok_after(step, since.elapsed(), found);
    }

    fn ok_after(&mut self, step: &str, time: Duration, found: &str) {
        let millis = time.as_millis();
        if !self.json {
            print(&format!("{step:<16} ok      {millis:>5} ms  {found}"));
        }
        self.steps
            .push(json!({ "step": step, "ok": true, "ms": millis, "found": found }));
    }

    /// The step failed: there is nothing after it.
    fn failed(&mut self, step: &str, since: Instant, why: &str) -> Option<()> {
        let millis = since.elapsed().as_millis();
        if !self.json {
            print(&format!("{step:<16} FAILED  {millis:>5} ms  {why}"));
        }
        self.steps
            .push(json!({ "step": step, "ok": false, "ms": millis, "error": why }));
        None
    }

    fn list(&mut self, what: &str, names: &[String]) {
        if !self.json {
            print(&format!("{what:<16} {}", names.len()));
            names.iter().for_each(|name| print(&format!("  {name}")));
        }
        self.lists.push(json!({ "what": what, "names": names }));
    }
}

/// A reader that stops listening (`| head`) is no failure.
fn print(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// Name and TCP, which a failed request could not tell apart. Behind a proxy both are the proxy's business.
fn reach(config: &Config, report: &mut Report) -> Option<()> {
    let url = &config.server;
    match transport::proxy_of(config) {
        Ok(None) => {}
        Ok(Some(proxy)) => {
            report.ok("proxy", Instant::now(), &proxy);
            return Some(());
        }
        Err(error) => return report.failed("proxy", Instant::now(), &error.to_string()),
    }
    let start = Instant::now();
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses: Vec<_> = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses
            .filter(|address| !config.http.ipv4 || address.is_ipv4())
            .collect(),
        Err(_) => {
            return report.failed(
                "name",
                start,
                &format!("\"{host}\" was not found; check the spelling and the network"),
            );
        }
    };
    let shown: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    report.ok("name", start, &format!("{host} is {}", shown.join(", ")));
    let start = Instant::now();
    let mut why = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, config.http.connect_timeout) {
            Ok(_) => {
                report.ok("tcp", start, &address.to_string());
                return Some(());
            }
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    report.failed(
        "tcp",
        start,
        &format!("{why}; is the server running, and is the port right?"),
    )
}

/// The session, as an ordinary client has it.
fn talk(config: Config, log: Arc<Log>, report: &mut Report) -> Option<()> {
    let start = Instant::now();
    let url = config.server.clone();
    let limit = config.request_timeout.unwrap_or(Duration::from_secs(60));
    let mut session = match Session::start(config, log, limit + SIGN_IN_LIMIT) {
        Ok(session) => session,
        Err(error) => return report.failed("start", start, &error),
    };
    let hello = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "mcp-remote-client", "version": env!("CARGO_PKG_VERSION") },
    });
    let asked = session.ask("initialize", hello);
    session.limit = limit;
    let mut since = start;
    for found in session.found.try_iter() {
        report.ok_after(
            found.step,
            found.at.saturating_duration_since(since),
            &found.what,
        );
        since = found.at;
    }
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            return report.failed(
                if is_tls(&url, &error) {
                    "tls"
                } else {
                    "first answer"
                },
                start,
                &error,
            );
        }
    };
    if url.scheme() == "https" {
        report.ok("tls", start, "the certificate is trusted");
    }
    report.ok("first answer", start, "initialize was answered");
    let transport = match session.settled.try_recv() {
        Ok(Transport::HttpSse) => "HTTP+SSE (2024-11-05)",
        Ok(Transport::StreamableHttp) | Err(_) => "Streamable HTTP",
    };
    report.ok("transport", start, transport);
    let text = |value: &Value| clean(value.as_str().unwrap_or("?"), 100);
    report.ok("version", start, &text(&answer["protocolVersion"]));
    report.ok(
        "server",
        start,
        &format!(
            "{} {}",
            text(&answer["serverInfo"]["name"]),
            text(&answer["serverInfo"]["version"])
        ),
    );
    session.tell("notifications/initialized");
    for (what, key) in [("tools", "name"), ("resources", "uri"), ("prompts", "name")] {
        if answer["capabilities"][what].is_object() {
            list(&mut session, what, key, report)?;
        }
    }
    Some(())
}

/// Follows the pages of a list; a server that never ends it is stopped.
fn list(session: &mut Session, what: &str, key: &str, report: &mut Report) -> Option<()> {
    const MOST_PAGES: u32 = 100;
    let start = Instant::now();
    let method = format!("{what}/list");
    let (mut names, mut params) = (Vec::new(), json!({}));
    for _ in 0..MOST_PAGES {
        let page = match session.ask(&method, params) {
            Ok(page) => page,
            Err(error) => return report.failed(&method, start, &error),
        };
        let items = page[what].as_array().into_iter().flatten();
        names.extend(items.map(|item| clean(item[key].as_str().unwrap_or("?"), 200)));
        match page["nextCursor"].as_str() {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => {
                report.list(what, &names);
                return Some(());
            }
        }
    }
    report.failed(
        &method,
        start,
        &format!("the list has more than {MOST_PAGES} pages"),
    )
}

fn is_tls(url: &Url, error: &str) -> bool {
    // Our own sentence: TLS failures begin with the origin, all others with what could not be done.
    error.contains(&format!(
        "mcp-remote: {}: ",
        url.origin().ascii_serialization()
    ))
}

/// A bridge and the two pipes to it.
struct Session {
    to: PipeWriter,
    lines: Receiver<String>,
    settled: Receiver<Transport>,
    found: Receiver<Found>,
    limit: Duration,
    asked: u64,
}

/// How long a person has for a sign-in.
const SIGN_IN_LIMIT: Duration = Duration::from_secs(600);

impl Session {
    fn start(config: Config, log: Arc<Log>, limit: Duration) -> Result<Session, String> {
        let plain = |error: std::io::Error| error.to_string();
        let (input, to) = std::io::pipe().map_err(plain)?;
        let (from, output) = std::io::pipe().map_err(plain)?;
        let (settled_sender, settled) = channel();
        let (line_sender, lines) = channel();
        let (found_sender, found) = channel();
        let refused = line_sender.clone();
        std::thread::spawn(move || {
            let ends = Ends {
                input: Box::new(input),
                output: Box::new(output),
                signals: false,
                settled: Some(settled_sender),
                person: Some(Person::new(found_sender)),
            };
            if let Err(error) = transport::run_over(config, log, ends) {
                // Whoever waits for an answer is told in the shape of one.
                refused
                    .send(json!({ "id": 1, "error": { "message": error.to_string() } }).to_string())
                    .ok();
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                if line_sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Session {
            to,
            lines,
            settled,
            found,
            limit,
            asked: 0,
        })
    }

    fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.asked += 1;
        let id = self.asked;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        let end = Instant::now() + self.limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .map_err(|_| format!("no answer to {method} within {} s", self.limit.as_secs()))?;
            let Ok(mut message) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if message["method"].is_string() || message["id"] != id {
                continue;
            }
            if message["error"].is_object() {
                return Err(clean(
                    message["error"]["message"]
                        .as_str()
                        .unwrap_or("an error without a message"),
                    1000,
                ));
            }
            return Ok(message["result"].take());
        }
    }

    /// A notification that cannot be sent shows in the next request.
    fn tell(&mut self, method: &str) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method }))
            .ok();
    }

    fn send(&mut self, message: &Value) -> Result<(), String> {
        writeln!(self.to, "{message}").map_err(|_| "the connection is closed".to_owned())
    }
}
