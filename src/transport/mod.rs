//! Runs the bridge: threads, channels, HTTP.
//!
//! ```text
//!  stdin ─▶ reader ─┐                                ┌─▶ writer ─▶ stdout
//!                   ├─▶ event loop: events, Bridge ──┤
//!  workers ─────────┘                                └─▶ workers: open, close
//! ```
//!
//! All threads report events to one `event_loop`. The reader and the workers run the bridge there themselves, one at a time;
//! the main thread ([`run`]) keeps the time. The `Driver` holds the bridge and carries out its outputs.
//! A panic of reader or writer closes stdin or stdout. One of the bridge answers all open requests with an error, then exits.
//!
//! Flags: `--no-oauth`.

pub(crate) mod backpressure;
mod doctor_checks;
mod event_loop;
pub(crate) mod http;
mod net;
mod oauth_environment;
mod person;
mod stdio;

use std::io::{BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::blocking::Blocking;
use crate::bridge::{Action, Bridge, Event, Progress, Settings, Transport};
use crate::config::Config;
use crate::error::{Error, Kind, Result, plain};
use crate::log::{Level, Log};
use crate::mcp::version::Era;
use crate::oauth::Authorizer;
use crate::oauth::challenge::Challenge;
pub use crate::oauth::revocation::SignedOut;
use crate::secret::Secret;
use crate::store::Store;
use backpressure::Budget;
pub use doctor_checks::{
    advice, name_not_found, not_connected, proxy_of, status_of_lost_session, try_tls,
};
use event_loop::{EventLoop, Wake, or_on_panic, spawn, watch_signals};
use http::exchange;
use http::worker::Workers;
use net::{agent, proxy, tls};
use oauth_environment::HttpEnvironment;
pub use person::{Found, News, Person};
use stdio::Line;

/// Bytes of messages from the server that are not written yet; one message may be larger.
const MAX_SERVER_BYTES: usize = 8 * 1024 * 1024;
/// At the end, a token request under way gets this long until its tokens are stored.
const TOKENS_TIMEOUT: Duration = Duration::from_millis(700);
/// At the end, the writer gets this long for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects the client on stdin and stdout to the server, until one of them ends the session.
///
/// # Errors
/// If it cannot start. If the server is not reachable, it starts, and requests are answered with an error.
pub fn run(config: Config, log: Arc<Log>) -> Result<()> {
    let ends = Ends {
        input: Box::new(Blocking(std::io::stdin())),
        output: Box::new(Blocking(std::io::stdout())),
        signals: true,
        settled: None,
        person: None,
        says_failures: true,
    };
    run_over(config, log, ends)
}

/// The client's side of a bridge.
pub struct Ends {
    /// Where the client's lines come from.
    pub input: Box<dyn Read + Send>,
    /// Where lines for the client go.
    pub output: Box<dyn Write + Send>,
    /// Whether signals end the session; at most one bridge of a process can have them.
    pub signals: bool,
    /// Receives the transport that works, as soon as it is known.
    pub settled: Option<Sender<Transport>>,
    /// The user at the terminal, if the program is run by hand.
    pub person: Option<Person>,
    /// Whether failed requests are logged on stderr as well: a host may not show the error response to the user.
    pub says_failures: bool,
}

/// Does the same as [`run`] over any reader and writer.
///
/// # Errors
/// If it cannot start.
pub fn run_over(config: Config, log: Arc<Log>, ends: Ends) -> Result<()> {
    prepare(config, log, ends)?();
    Ok(())
}

/// Prepares everything; the returned function runs the bridge.
///
/// # Errors
/// If it cannot start.
pub(crate) fn prepare(config: Config, log: Arc<Log>, ends: Ends) -> Result<impl FnOnce()> {
    let mut config = config.within_limits();
    log.secrets.add(config.take_user_info().expose());
    let server = crate::url::shown(&config.server);
    crate::url::check_server(&config.server, config.allow_http, &server)?;
    add_secrets(&config, &log);
    let (event_loop, wakes) = EventLoop::new();
    let (writer, lines) = channel();
    if ends.signals {
        watch_signals(Arc::clone(&event_loop), &log);
    }
    let store = Arc::new(Store::for_config(&config, Arc::clone(&log)));
    if let Some(path) = log.is_debug().then(|| store.debug_file()).flatten() {
        log.add_debug_file(&path);
    }
    let remembered = match store.notes().transport.as_deref() {
        Some("http-sse") => Some(Transport::HttpSse),
        Some("streamable-http") => Some(Transport::StreamableHttp),
        _ => None,
    };
    let era = store.notes().era.as_deref().and_then(Era::from_name);
    let mut settings = Settings::new(&config, remembered, era, seed());
    settings.says_failures = ends.says_failures;
    let is_doctor = ends.person.is_some();
    if is_doctor {
        // No advice to run what has just failed.
        settings.doctor = "try again; --debug shows each request".to_owned();
    }
    let limit = config.message_limit;
    let agents = Arc::new(agent::Agents::new(&config)?);
    let environment = HttpEnvironment {
        agents: Arc::clone(&agents),
        config: config.clone(),
        log: Arc::clone(&log),
        event_loop: Some(Arc::clone(&event_loop)),
        person: ends.person,
    };
    let authorizer = if config.oauth.no_oauth {
        None
    } else {
        authorizer(environment, Arc::clone(&store))?
    };
    let shared = Arc::new(exchange::Shared {
        agents,
        authorizer: authorizer.clone(),
        cookies: Mutex::default(),
        log: Arc::clone(&log),
        budget: Budget::new(MAX_SERVER_BYTES),
        config,
    });
    let started = format!(
        "mcp-remote {} connects to {}",
        env!("CARGO_PKG_VERSION"),
        crate::url::shown(&shared.config.server)
    );
    // It would break into the doctor's table.
    let level = if is_doctor { Level::Debug } else { Level::Info };
    log.say(level, &started);
    for warning in proxy::warnings(&shared.config.http.proxy) {
        log.say(Level::Warn, &warning);
    }
    let workers = Workers::new(shared, Arc::clone(&event_loop));
    let to_sign_in = Arc::clone(&event_loop);
    let to_reader = Arc::clone(&event_loop);
    let to_writer = Arc::clone(&event_loop);
    let to_log = Arc::clone(&log);
    spawn("reader", move || {
        let budget = Budget::new(limit.saturating_mul(2));
        let input = BufReader::with_capacity(stdio::READ_BUFFER, ends.input);
        let read = || stdio::read_lines(input, limit, &budget, |news| to_reader.push(news));
        or_on_panic(read, || to_reader.push_to_main(Event::ClientClosed));
    })?;
    spawn("writer", move || {
        let closed = || to_writer.push_to_main(Event::OutputClosed);
        let write = || {
            let Err(error) = stdio::write_lines(ends.output, &lines) else {
                return;
            };
            // A client that has exited does not read stderr either.
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                let what = format!("cannot write to stdout: {}", plain(&error));
                to_log.say(Level::Error, &what);
            }
            closed();
        };
        or_on_panic(write, closed);
    })?;
    let driver = Box::new(Driver {
        bridge: Bridge::new(settings, Instant::now()),
        workers,
        writer,
        lines: Vec::new(),
        log,
        store,
        authorizer,
        to_sign_in,
        settled: ends.settled,
    });
    Ok(move || run_until_over(&event_loop, driver, &wakes))
}

/// What every request of this configuration holds, and a server may repeat.
fn add_secrets(config: &Config, log: &Log) {
    let public = crate::url::shown(&config.server);
    for (name, value) in &config.headers {
        if !PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            log.secrets.add_parts(value.expose(), &public);
        }
    }
    let query = config.server.query().unwrap_or_default();
    log.secrets.add_parts(query, &public);
}

/// Configured headers whose values are no secrets, and are words of error texts.
const PLAIN_HEADERS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "content-type",
    "mcp-protocol-version",
    "origin",
    "referer",
    "user-agent",
];

/// The bridge, and what its outputs are carried out with.
pub(crate) struct Driver {
    bridge: Bridge,
    workers: Workers,
    writer: Sender<Vec<Line>>,
    /// Lines of the current event; the writer gets them all at once.
    lines: Vec<Line>,
    log: Arc<Log>,
    store: Arc<Store>,
    authorizer: Option<Arc<Authorizer>>,
    to_sign_in: Arc<EventLoop>,
    settled: Option<Sender<Transport>>,
}

/// Runs on the main thread.
fn run_until_over(event_loop: &EventLoop, driver: Box<Driver>, wakes: &Receiver<Wake>) {
    match event_loop.serve(driver, wakes) {
        Wake::Over(driver) => {
            driver.flush();
            if let Some(authorizer) = &driver.authorizer {
                authorizer.settle(TOKENS_TIMEOUT);
            }
        }
        Wake::Panicked(mut driver, panic) => {
            // Shutdown sends an error for each open request. If it panics as well, the process ends without.
            let stop = AssertUnwindSafe(|| driver.handle(Event::Stop));
            catch_unwind(stop).ok();
            driver.flush();
            resume_unwind(panic);
        }
        Wake::Look | Wake::Leave => {}
    }
}

impl Driver {
    /// Handles one event; returns false when the session is over.
    fn handle(&mut self, input: Event) -> bool {
        let over = match &input {
            Event::Progress(id, news) => {
                let is_last =
                    |news: &Progress| matches!(news, Progress::Refused(_) | Progress::Ended(_));
                news.last().is_some_and(is_last).then_some(*id)
            }
            _ => None,
        };
        self.bridge.handle(Instant::now(), input);
        if let Some(id) = over {
            self.workers.finished(id);
        }
        let mut goes_on = true;
        while let Some(output) = self.bridge.poll() {
            if matches!(output, Action::Exit) {
                goes_on = false;
                break;
            }
            self.carry_out(output);
        }
        if !self.lines.is_empty() {
            // The writer is gone only after it reported that stdout is closed.
            self.writer.send(std::mem::take(&mut self.lines)).ok();
        }
        goes_on
    }

    fn carry_out(&mut self, output: Action) {
        match output {
            Action::Client(message) => self.lines.push(Line::Message(message)),
            Action::Respond(text) => {
                let text = self.log.secrets.take_from(&text);
                self.lines.push(Line::Answer(text));
            }
            Action::Open(id, exchange) => self.workers.open(id, exchange),
            Action::Close(id) => self.workers.close(id),
            Action::Say(level, text) => self.log.say(level, &text),
            Action::TransportKnown { transport, is_news } => {
                // The receiver may be gone by now.
                self.settled
                    .as_ref()
                    .map(|settled| settled.send(transport).ok());
                if is_news {
                    let name = match transport {
                        Transport::HttpSse => "http-sse",
                        Transport::StreamableHttp => "streamable-http",
                    };
                    self.store
                        .update_notes(|notes| notes.transport = Some(name.to_owned()));
                }
            }
            Action::SignIn(challenge) => self.sign_in(challenge),
            Action::Learned(era) => self
                .store
                .update_notes(|notes| notes.era = era.map(|era| era.name().to_owned())),
            Action::Exit => {}
        }
    }

    fn sign_in(&self, challenge: Challenge) {
        let Some(authorizer) = self.authorizer.clone() else {
            return;
        };
        let event_loop = Arc::clone(&self.to_sign_in);
        // Success was reported by the environment already.
        let report = move |error| {
            event_loop.push_to_main(Event::SignedIn(Err(error)));
        };
        let on_failure = report.clone();
        let started = spawn("sign-in", move || {
            let done = catch_unwind(AssertUnwindSafe(|| authorizer.sign_in(&challenge)));
            let panicked = |_| {
                let what = "the sign-in of mcp-remote panicked; please report this";
                Err(Error::new(Kind::Bug, what))
            };
            if let Err(error) = done.unwrap_or_else(panicked) {
                report(error);
            }
        });
        if let Err(error) = started {
            on_failure(error);
        }
    }

    /// Waits until the writer has written all lines, but not for a client that does not read.
    fn flush(&self) {
        let (done, written) = channel();
        if self.writer.send(vec![Line::Flush(done)]).is_ok() {
            written.recv_timeout(FLUSH_TIMEOUT).ok();
        }
    }
}

/// Revokes the tokens of a server; the caller removes the stored ones.
///
/// # Errors
/// If the tokens could not be revoked.
pub fn revoke(config: &Config, store: Arc<Store>, log: Arc<Log>) -> Result<SignedOut> {
    let environment = HttpEnvironment {
        agents: Arc::new(agent::Agents::new(config)?),
        config: config.clone(),
        log,
        event_loop: None,
        person: None,
    };
    match authorizer(environment, store)? {
        Some(authorizer) => authorizer.revoke(),
        None => Ok(SignedOut::WasNot),
    }
}

/// The authorizer for the server; `None` if a configured `Authorization` takes its place.
fn authorizer(environment: HttpEnvironment, store: Arc<Store>) -> Result<Option<Arc<Authorizer>>> {
    let config = environment.config.clone();
    if config.has_own_authorization() {
        return Ok(None);
    }
    let key = config.oauth.client_assertion_key.as_deref();
    let key = key.map(tls::read_key).transpose()?;
    let key = key.map(|pem| Secret::new(String::from_utf8_lossy(&pem)));
    let authorizer = Authorizer::new(Box::new(environment), &config, store, key.as_ref())?;
    Ok(Some(Arc::new(authorizer)))
}

/// A seed for the jitter of this instance's pauses.
fn seed() -> u64 {
    use rand::TryRng;
    rand::rngs::SysRng
        .try_next_u64()
        .unwrap_or(u64::from(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;
    use crate::jsonrpc::Message;

    /// A bridge with this event_loop, and what it says to the client.
    pub(super) fn driver(event_loop: &Arc<EventLoop>) -> (Box<Driver>, Receiver<Vec<Line>>) {
        let config = Config::new(url::Url::parse("http://127.0.0.1:1/mcp").unwrap());
        let silent = LogConfig {
            silent: true,
            ..LogConfig::default()
        };
        let log = Arc::new(Log::open(silent).unwrap());
        let settings = Settings::new(&config, None, None, 0);
        let shared = exchange::Shared {
            agents: Arc::new(agent::Agents::new(&config).unwrap()),
            authorizer: None,
            cookies: Mutex::default(),
            log: Arc::clone(&log),
            budget: Budget::new(MAX_SERVER_BYTES),
            config: config.clone(),
        };
        let (writer, lines) = channel();
        let driver = Driver {
            bridge: Bridge::new(settings, Instant::now()),
            workers: Workers::new(Arc::new(shared), Arc::clone(event_loop)),
            writer,
            lines: Vec::new(),
            store: Arc::new(Store::for_config(&config, Arc::clone(&log))),
            log,
            authorizer: None,
            to_sign_in: Arc::clone(event_loop),
            settled: None,
        };
        (Box::new(driver), lines)
    }

    #[test]
    fn a_panic_of_the_bridge_answers_open_requests_and_ends_the_process() {
        let (event_loop, wakes) = EventLoop::new();
        let (mut driver, lines) = driver(&event_loop);
        let config = Config::new(url::Url::parse("http://127.0.0.1:1/mcp").unwrap());
        let settings = Settings {
            // A configuration cannot have it: no clock can tell when it is over.
            headers_timeout: Some(Duration::MAX),
            ..Settings::new(&config, None, None, 0)
        };
        driver.bridge = Bridge::new(settings, Instant::now());
        let line = r#"[{"id":1,"method":"a"},{"id":"1","method":"b"},{"id":2,"method":"c"},{"method":"n"}]"#;
        event_loop.push(Event::Client(Message::read(line.to_owned())));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            run_until_over(&event_loop, driver, &wakes)
        }));
        assert!(panicked.is_err());
        let mut ids: Vec<String> = lines
            .try_iter()
            .flatten()
            .filter_map(|line| match line {
                Line::Message(message) => Some(message.text().to_owned()),
                Line::Answer(text) => Some(text),
                Line::Flush(_) => None,
            })
            .map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap())
            .filter(|message| message["method"].is_null())
            .map(|answer| answer["id"].to_string())
            .collect();
        ids.sort();
        assert_eq!(ids, ["\"1\"", "1", "2"]);
    }
}
