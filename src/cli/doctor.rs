//! `mcp-remote-client URL`: connects step by step, reports each step, lists tools, resources and prompts.
//!
//! - One line for each step: name, tcp (or proxy), tls, first response, challenge, resource metadata, server metadata,
//!   registration, sign-in, tokens, transport, version, server, tools, resources, prompts. The first that fails is the last.
//! - A warning is about something that works now and may fail later.
//! - The session runs over the same bridge as any client's (`conversation`).
//! - Without a terminal (and without `BROWSER`) nobody can sign in: the doctor ends where a sign-in would begin.
//! - Exit code 0 only if every step worked.
//!
//! Flags: `--json`.
//! Spec: MCP 2025-11-25 basic/lifecycle, basic/transports (Session Management: 404 for a lost session).

mod report;

use std::io::IsTerminal;
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::conversation::{Conversation, Failed, Options, Seen};
use super::sessions;
use crate::bridge::Transport;
use crate::config::Config;
use crate::log::{Log, clean};
use crate::mcp::version::{Era, MODERN};
use crate::store::Store;
use crate::transport::{self, Found};
use report::{Report, Style};

/// Checks the server and prints what was found.
pub fn run(mut config: Config, json: bool, log: Arc<Log>) -> ExitCode {
    // Whoever asks for a code will read it, in a log too; BROWSER reaches a user without a terminal.
    let has_user = config.oauth.device_code
        || std::io::stdin().is_terminal()
        || std::io::stderr().is_terminal()
        || std::env::var_os("BROWSER").is_some_and(|browser| !browser.is_empty());
    config.oauth.no_sign_in |= !has_user;
    // Only the user waits for the sign-in.
    config.oauth.auth_timeout = config.oauth.auth_timeout.max(SIGN_IN_TIMEOUT);
    let mut report = Report::new(style(json));
    let done =
        check_network(&config, &mut report).and_then(|()| run_session(&config, &log, &mut report));
    report.finish(done.is_some(), &crate::url::shown(&config.server));
    if done.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn style(json: bool) -> Style {
    let is_terminal = std::io::stdout().is_terminal() && !json;
    let is = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    Style {
        json,
        colour: is_terminal && !is_dumb && !is("NO_COLOR"),
        progress: is_terminal && !is_dumb,
    }
}

/// Checks name, TCP and TLS separately; the error of a request names only one. A proxy does the first two itself.
fn check_network(config: &Config, report: &mut Report) -> Option<()> {
    let start = Instant::now();
    match transport::proxy_of(config) {
        Ok(None) => connect(config, report)?,
        Ok(Some(proxy)) => report.ok("proxy", start, &proxy),
        Err(error) => return report.failed("proxy", start, &one_line(&error)),
    }
    let start = Instant::now();
    match config.server.scheme() {
        "https" => match transport::try_tls(config) {
            Ok(()) => report.ok("tls", start, "the certificate is trusted"),
            Err(error) => return report.failed("tls", start, &one_line(&error)),
        },
        _ if crate::url::is_loopback(&config.server) => {}
        _ => report
            .warn("plain http: others in the network can read and change everything, tokens too"),
    }
    Some(())
}

fn connect(config: &Config, report: &mut Report) -> Option<()> {
    let url = &config.server;
    let start = Instant::now();
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses: Vec<_> = match (host, port).to_socket_addrs() {
        Ok(addresses) => addresses
            .filter(|address| !config.http.ipv4 || address.is_ipv4())
            .collect(),
        Err(_) => {
            let error = transport::name_not_found(url);
            return report.failed("name", start, &one_line(&error));
        }
    };
    let shown: Vec<String> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    report.ok("name", start, &format!("{host} is {}", shown.join(", ")));
    let start = Instant::now();
    let mut failed = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(&address, config.http.connect_timeout) {
            Ok(_) => {
                report.ok("tcp", start, &address.to_string());
                return Some(());
            }
            Err(error) => failed = error,
        }
    }
    let error = transport::not_connected(failed, url, &config.http);
    report.failed("tcp", start, &one_line(&error))
}

/// An error on one line.
fn one_line(error: &crate::error::Error) -> String {
    match error.hint() {
        Some(hint) => format!("{} ({hint})", error.what()),
        None => error.what().to_owned(),
    }
}

/// Runs a session like an ordinary client's.
fn run_session(config: &Config, log: &Arc<Log>, report: &mut Report) -> Option<()> {
    let start = Instant::now();
    let options = Options {
        person: true,
        signals: false,
    };
    let mut session = match Conversation::start(config.clone(), Arc::clone(log), &options) {
        Ok(session) => session,
        Err(failed) => return report.failed("start", start, &failed.what),
    };
    let limit = config.request_timeout.unwrap_or(Duration::from_secs(60));
    session.limit = limit + SIGN_IN_TIMEOUT;
    let mut steps = Steps {
        report,
        since: start,
        responded: false,
        signed_in: false,
    };
    let asked = session.initialize(&mut |seen| steps.see(seen));
    let Steps {
        since,
        responded,
        signed_in,
        ..
    } = steps;
    let hello = match asked {
        Ok(hello) => hello,
        Err(failed) => {
            let step = if responded || signed_in {
                "sign-in"
            } else {
                "first response"
            };
            let advice = (step == "first response" && !failed.by_server)
                .then(|| transport::advice(config))
                .flatten();
            let what = match advice {
                Some(advice) => format!("{} ({advice})", failed.what),
                None => failed.what,
            };
            return report.failed(step, since, &what);
        }
    };
    if !responded {
        report.ok("first response", since, "to initialize");
    }
    session.limit = limit;
    tokens(config, signed_in, log, report);
    let transport = session.transport().unwrap_or(Transport::StreamableHttp);
    let name = match transport {
        Transport::HttpSse => "HTTP+SSE (2024-11-05)",
        Transport::StreamableHttp => "Streamable HTTP",
    };
    report.ok("transport", since, name);
    let since = Instant::now();
    let text = |value: &Value| clean(value.as_str().unwrap_or("?"), 100);
    let version = text(&hello["protocolVersion"]);
    // Era detection stores its result.
    let era = Store::for_config(config, Arc::clone(log)).notes().era;
    let is_modern = era.as_deref() == Some(Era::Modern.name());
    if is_modern {
        let said = format!("client {version}, server {MODERN} (translated)");
        report.ok("version", since, &said);
    } else {
        report.ok("version", since, &version);
    }
    let info = &hello["serverInfo"];
    let server = format!("{} {}", text(&info["name"]), text(&info["version"]));
    report.ok("server", since, &server);
    for (what, key) in [("tools", "name"), ("resources", "uri"), ("prompts", "name")] {
        let start = Instant::now();
        if !hello["capabilities"][what].is_object() {
            report.ok(what, start, "not offered");
            continue;
        }
        match names(&mut session, what, key, report) {
            Ok(names) => report.list(what, start, &names),
            Err(failed) => return report.failed(what, start, &failed.what),
        }
    }
    // Modern servers have no sessions.
    if transport == Transport::StreamableHttp && !is_modern {
        lost_session(config, log, report);
    }
    session.close();
    Some(())
}

/// Reports the steps up to the response to `initialize`.
struct Steps<'a> {
    report: &'a mut Report,
    since: Instant,
    /// Whether the server has responded.
    responded: bool,
    /// Whether there was a step of a sign-in. A refresh ahead of time comes before the first request.
    signed_in: bool,
}

impl Steps<'_> {
    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Found(found) => self.found(&found),
            // Not during a sign-in, which prints other lines.
            Seen::Nothing if !self.responded => {
                self.report.waiting("the first response", self.since)
            }
            Seen::Nothing | Seen::Progress(_) | Seen::Said(_) | Seen::Refused(_) => {}
        }
    }

    fn found(&mut self, found: &Found) {
        let time = found.at.saturating_duration_since(self.since);
        if found.step == "warning" {
            return self.report.warn(&found.what);
        }
        self.since = found.at;
        self.signed_in = true;
        // The challenge is part of the first response.
        if found.step == "challenge" && !self.responded {
            self.responded = true;
            self.report
                .ok_after("first response", time, "the server requires a sign-in");
            return self
                .report
                .ok_after(found.step, Duration::ZERO, &found.what);
        }
        self.report.ok_after(found.step, time, &found.what);
    }
}

fn names(
    session: &mut Conversation,
    what: &str,
    key: &str,
    report: &mut Report,
) -> Result<Vec<String>, Failed> {
    let start = Instant::now();
    let items = session.list(what, &mut |seen| {
        if matches!(seen, Seen::Nothing) {
            report.waiting(what, start);
        }
    })?;
    let name = |item: &serde_json::value::RawValue| {
        let item: Value = serde_json::from_str(item.get()).unwrap_or_default();
        clean(item[key].as_str().unwrap_or("?"), 200)
    };
    Ok(items.iter().map(|item| name(item)).collect())
}

/// Reports the stored tokens and what will go wrong with them.
fn tokens(config: &Config, signed_in: bool, log: &Arc<Log>, report: &mut Report) {
    let start = Instant::now();
    let listed = Store::for_config(config, Arc::clone(log)).listed();
    if !listed.has_tokens && signed_in {
        report.ok("tokens", start, "in memory only");
        return report.warn(
            "the tokens cannot be stored, and the next start needs a new sign-in \
             (set MCP_REMOTE_CONFIG_DIR to a writable directory)",
        );
    }
    if !listed.has_tokens {
        return report.ok("tokens", start, "not needed");
    }
    report.ok("tokens", start, &sessions::describe(&listed));
    // Client credentials need no user.
    if !listed.has_refresh_token && !config.oauth.is_for_program() {
        report.warn("no refresh token: a new sign-in is needed when the token expires");
    }
    let ends_soon = |at: u64| at < sessions::now_millis().saturating_add(60_000);
    if listed.expires_at.is_some_and(ends_soon) {
        report.warn("the token expires within a minute");
    }
}

/// Sends a session id that the server does not know.
fn lost_session(config: &Config, log: &Arc<Log>, report: &mut Report) {
    if transport::status_of_lost_session(config, log) == Some(400) {
        report.warn(
            "the server responds with 400 instead of 404 to an unknown session: \
             after it restarts, clients may not notice that they need a new session",
        );
    }
}

/// How long a user has for a sign-in.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(600);
