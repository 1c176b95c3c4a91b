//! A session with the server, like any client's: sends requests and waits for the responses.
//!
//! - The bridge runs in this process, behind two pipes. stdin is read only during a sign-in without a browser, where the
//!   user can paste the redirect URL.
//! - Events during a request go to the caller: progress, log lines, the steps of a sign-in.
//! - Requests from the server get a response at once: `ping` its result, anything else an error.
//! - The bridge's own errors differ from the server's by the prefix of their message.
//!
//! Spec: MCP 2025-11-25 basic/lifecycle, basic/utilities/ping, basic/utilities/progress, server/utilities/pagination.

use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::bridge::Transport;
use crate::config::Config;
use crate::log::{Log, clean};
use crate::transport::{self, Ends, Found, News, Person};

/// A bridge and the pipes to it.
pub struct Conversation {
    to: Option<PipeWriter>,
    lines: Receiver<String>,
    settled: Receiver<Transport>,
    news: Receiver<News>,
    log: Arc<Log>,
    /// The time limit for a response.
    pub limit: Duration,
    asked: u64,
}

/// What the session may use.
pub struct Options {
    /// Whether a user is there to sign in.
    pub person: bool,
    /// Whether signals end the session.
    pub signals: bool,
}

/// An event during a request.
#[derive(Debug)]
pub enum Seen {
    /// A completed step of the sign-in.
    Found(Found),
    /// Progress, as text.
    Progress(String),
    /// A log line from the server.
    Said(String),
    /// The method of a refused request from the server.
    Refused(String),
    /// No event yet.
    Nothing,
}

/// Why a request failed.
#[derive(Debug)]
pub struct Failed {
    /// Whether the server returned a JSON-RPC error.
    pub by_server: bool,
    /// One sentence.
    pub what: String,
}

impl Failed {
    /// A failure on this machine or in the network.
    pub fn ours(what: impl Into<String>) -> Failed {
        let (by_server, what) = (false, what.into());
        Failed { by_server, what }
    }

    fn of(error: &RawValue) -> Failed {
        let error: Value = serde_json::from_str(error.get()).unwrap_or_default();
        let message = error["message"].as_str();
        let text = clean(message.unwrap_or("an error without a message"), 1000);
        match text.strip_prefix(OURS) {
            Some(what) => Failed::ours(what),
            None => Failed {
                by_server: true,
                what: match error["code"].as_i64() {
                    Some(code) => format!("the server returned error {code}: {text}"),
                    None => format!("the server returned an error: {text}"),
                },
            },
        }
    }
}

/// The prefix of the message of an error of the bridge itself (`Error::to_json_rpc`).
const OURS: &str = "mcp-remote: ";
/// A server may repeat its cursor forever.
const MAX_PAGES: u32 = 100;
/// The interval of `Seen::Nothing`.
const NOTHING_INTERVAL: Duration = Duration::from_millis(50);
/// The time limit for ending the session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// One line from the bridge, its parts unchanged.
#[derive(Deserialize)]
struct Line<'a> {
    id: Option<Value>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Conversation {
    /// Starts the bridge; sends nothing.
    ///
    /// # Errors
    /// If the pipes cannot be made.
    pub fn start(config: Config, log: Arc<Log>, options: &Options) -> Result<Conversation, Failed> {
        let plain = |error: std::io::Error| Failed::ours(error.to_string());
        let (input, to) = std::io::pipe().map_err(plain)?;
        let (from, output) = std::io::pipe().map_err(plain)?;
        let (settled_sender, settled) = channel();
        let (line_sender, lines) = channel();
        let (news_sender, news) = channel();
        let refused = line_sender.clone();
        let ends = Ends {
            input: Box::new(input),
            output: Box::new(output),
            signals: options.signals,
            settled: Some(settled_sender),
            person: options.person.then(|| Person::new(news_sender)),
            says_failures: false,
        };
        let to_bridge = Arc::clone(&log);
        std::thread::spawn(move || {
            if let Err(error) = transport::run_over(config, to_bridge, ends) {
                // Ends the first request, which waits for a response.
                let mut message = format!("{OURS}{}", error.what());
                if let Some(hint) = error.hint() {
                    message.push_str(&format!(" ({hint})"));
                }
                let line = json!({ "id": 1, "error": { "message": message } });
                refused.send(line.to_string()).ok();
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                if line_sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Conversation {
            to: Some(to),
            lines,
            settled,
            news,
            log,
            limit: Duration::MAX,
            asked: 0,
        })
    }

    /// Does the handshake and returns the result of `initialize`.
    ///
    /// # Errors
    /// If the server cannot be reached or returns an error.
    pub fn initialize(&mut self, watch: &mut dyn FnMut(Seen)) -> Result<Value, Failed> {
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "mcp-remote-client", "version": env!("CARGO_PKG_VERSION") },
        });
        let result = self.ask("initialize", &hello.to_string(), watch)?;
        // If it cannot be sent, the next request fails.
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .ok();
        Ok(serde_json::from_str(result.get()).unwrap_or_default())
    }

    /// Sends a request and returns its result unchanged.
    ///
    /// # Errors
    /// If the request fails.
    pub fn ask(
        &mut self,
        method: &str,
        params: &str,
        watch: &mut dyn FnMut(Seen),
    ) -> Result<Box<RawValue>, Failed> {
        self.asked += 1;
        let id = self.asked;
        self.send(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#
        ))?;
        let start = Instant::now();
        loop {
            self.report_events(watch);
            let text = match self.lines.recv_timeout(NOTHING_INTERVAL) {
                Ok(text) => text,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failed::ours("the connection is closed"));
                }
                Err(RecvTimeoutError::Timeout) if start.elapsed() < self.limit => {
                    watch(Seen::Nothing);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let limit = self.limit.as_secs();
                    return Err(Failed::ours(format!(
                        "no response to {method} within {limit} s"
                    )));
                }
            };
            let Ok(line) = serde_json::from_str::<Line>(&text) else {
                continue;
            };
            if let Some(method) = &line.method {
                watch(self.receive(method, &line));
                continue;
            }
            if line.id != Some(id.into()) {
                continue;
            }
            self.report_events(watch);
            return match (line.result, line.error) {
                (_, Some(error)) => Err(Failed::of(error)),
                (Some(result), None) => Ok(result.to_owned()),
                (None, None) => Err(Failed::ours("the response has neither result nor error")),
            };
        }
    }

    /// All items of a list (tools, resources or prompts), page by page and unchanged.
    ///
    /// # Errors
    /// If a page is missing or invalid, or the list does not end.
    pub fn list(
        &mut self,
        what: &str,
        watch: &mut dyn FnMut(Seen),
    ) -> Result<Vec<Box<RawValue>>, Failed> {
        let method = format!("{what}/list");
        let mut params = "{}".to_owned();
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = self.ask(&method, &params, watch)?;
            let Some((items, cursor)) = read_page(page.get(), what) else {
                let what = format!("the response to {method} has no valid list of {what}");
                return Err(Failed::ours(what));
            };
            all.extend(items);
            match cursor {
                Some(cursor) => params = json!({ "cursor": cursor }).to_string(),
                None => return Ok(all),
            }
        }
        Err(Failed::ours(format!(
            "the list of {what} has more than {MAX_PAGES} pages"
        )))
    }

    fn report_events(&self, watch: &mut dyn FnMut(Seen)) {
        for news in self.news.try_iter() {
            match news {
                News::Found(found) => watch(Seen::Found(found)),
                News::Said(level, text) => self.log.say(level, &text),
            }
        }
    }

    /// The transport in use, if it is known.
    pub fn transport(&self) -> Option<Transport> {
        self.settled.try_recv().ok()
    }

    /// Ends the session and waits until the server has received that.
    pub fn close(mut self) {
        self.to = None;
        let end = Instant::now() + CLOSE_TIMEOUT;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if self.lines.recv_timeout(left).is_err() {
                return;
            }
        }
    }

    /// Handles a request or notification from the server.
    fn receive(&mut self, method: &str, line: &Line) -> Seen {
        let params = || -> Value {
            let text = line.params.map_or("null", RawValue::get);
            serde_json::from_str(text).unwrap_or_default()
        };
        let response = match (&line.id, method) {
            (Some(id), "ping") => Some(json!({ "jsonrpc": "2.0", "id": id, "result": {} })),
            (Some(id), _) => {
                let message = format!("{method} is not offered by mcp-remote-client");
                let error = json!({ "code": -32601, "message": message });
                Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
            }
            (None, _) => None,
        };
        if let Some(response) = response {
            // If it cannot be sent, the open request fails.
            self.send(&response.to_string()).ok();
        }
        match (&line.id, method) {
            (Some(_), "ping") => Seen::Nothing,
            (Some(_), _) => Seen::Refused(clean(method, 100)),
            (None, "notifications/progress") => Seen::Progress(progress(&params())),
            (None, "notifications/message") => Seen::Said(said(&params())),
            (None, _) => Seen::Nothing,
        }
    }

    fn send(&mut self, message: &str) -> Result<(), Failed> {
        let closed = || Failed::ours("the connection is closed");
        let to = self.to.as_mut().ok_or_else(closed)?;
        writeln!(to, "{message}").map_err(|_| closed())
    }
}

/// The items of a page and the cursor of the next one.
fn read_page(page: &str, what: &str) -> Option<(Vec<Box<RawValue>>, Option<String>)> {
    let members: std::collections::HashMap<String, Box<RawValue>> =
        serde_json::from_str(page).ok()?;
    let items = serde_json::from_str(members.get(what)?.get()).ok()?;
    let cursor = members.get("nextCursor").map(|text| text.get());
    let cursor: Value = serde_json::from_str(cursor.unwrap_or("null")).ok()?;
    Some((items, cursor.as_str().map(str::to_owned)))
}

/// `progress 1/3: reading`.
fn progress(params: &Value) -> String {
    let mut text = format!("progress {}", clean(&params["progress"].to_string(), 40));
    if params["total"].is_number() {
        text.push_str(&format!("/{}", params["total"]));
    }
    if let Some(message) = params["message"].as_str() {
        text.push_str(&format!(": {}", clean(message, 300)));
    }
    text
}

/// `warning: disk is full`.
fn said(params: &Value) -> String {
    let level = clean(params["level"].as_str().unwrap_or("log"), 20);
    let text = match &params["data"] {
        Value::String(text) => clean(text, 1000),
        data => clean(&data.to_string(), 1000),
    };
    format!("server {level}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_errors_differ_from_the_servers() {
        let failed = |text: &str| Failed::of(&serde_json::from_str::<Box<RawValue>>(text).unwrap());
        let ours = failed(r#"{"code":-32001,"message":"mcp-remote: cannot reach it"}"#);
        assert_eq!((ours.by_server, &*ours.what), (false, "cannot reach it"));
        let servers = failed(r#"{"code":-32602,"message":"no such tool\u001b[31m"}"#);
        assert!(servers.by_server);
        assert_eq!(
            servers.what,
            "the server returned error -32602: no such tool [31m"
        );
        assert!(failed("7").by_server);
    }

    #[test]
    fn progress_and_log_lines_are_one_line_each() {
        let line = progress(&json!({"progress": 1, "total": 3, "message": "a\nb"}));
        assert_eq!(line, "progress 1/3: a b");
        assert_eq!(progress(&json!({"progress": 0.5})), "progress 0.5");
        assert_eq!(
            said(&json!({"level": "warning", "data": {"a": 1}})),
            "server warning: {\"a\":1}"
        );
    }

    #[test]
    fn items_are_unchanged() {
        let (items, cursor) =
            read_page(r#"{"tools":[{"n": 1.0}],"nextCursor":"2"}"#, "tools").unwrap();
        assert_eq!(
            (items[0].get(), cursor.as_deref()),
            (r#"{"n": 1.0}"#, Some("2"))
        );
        assert_eq!(
            read_page(r#"{"tools":[],"nextCursor":null}"#, "tools")
                .unwrap()
                .1,
            None
        );
        assert!(read_page(r#"{"tools":{}}"#, "tools").is_none());
        assert!(read_page("{}", "tools").is_none());
    }
}
