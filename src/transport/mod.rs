//! The world around the bridge: threads, channels, HTTP.
//!
//! ```text
//!  stdin ─▶ reader ─┐                         ┌─▶ writer ─▶ stdout
//!                   ├─▶ inbox: news, Bridge ──┤
//!  lanes ───────────┘                         └─▶ lanes: open, close
//! ```
//!
//! Everything reports to one `inbox`, and the reader and the lanes run the bridge there themselves, one at a time; [`run`] keeps
//! the time on the main thread. What the bridge asks for is carried out by the `Driver`, which travels with it.
//! A panic of the reader or the writer is the end of its side; one of the bridge is answered (`owed`) and ends the process.

mod agent;
mod answer;
mod buffers;
mod connect;
mod cookies;
mod exchange;
mod failure;
mod fetch;
mod http_date;
mod http_sse;
mod inbox;
mod lane;
mod names;
mod owed;
mod probe;
mod proxy_env;
mod reach;
mod redirect;
pub(crate) mod sse;
mod stdio;
mod streamable_http;
mod threads;
mod tls;

use std::io::{BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bridge::{Action, Bridge, Event, Progress, Settings, Transport};
use crate::config::Config;
use crate::error::{Error, Kind, Result, plain};
use crate::flow::Budget;
use crate::log::{Level, Log};
use crate::mcp::version::Era;
use crate::oauth::Authorizer;
use crate::oauth::challenge::Challenge;
pub use crate::oauth::sign_out::SignedOut;
use crate::secret::Secret;
use crate::store::Store;
use fetch::Outside;
pub use fetch::{Found, News, Person};
use inbox::{Inbox, Wake};
use lane::Lanes;
use owed::Owed;
pub use probe::{name_not_found, not_connected, proxy_of, status_of_lost_session, try_tls};
use stdio::Line;
use threads::{spawn, unless_it_panics, watch_signals};

/// Messages from the server that are not written yet: 8 MiB, or one.
const SERVER_BUDGET: usize = 8 * 1024 * 1024;
/// How long tokens that are being asked for may take to be stored.
const LAST_TOKENS: Duration = Duration::from_millis(700);
/// How long the last lines may take to be written.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Joins the client on stdin and stdout to the server, until one of them ends it.
///
/// # Errors
/// If it cannot start. A server that is away is no error: requests are answered with one.
pub fn run(config: Config, log: Arc<Log>) -> Result<()> {
    let ends = Ends {
        input: Box::new(std::io::stdin()),
        output: Box::new(std::io::stdout()),
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
    /// Is told which transport works, as soon as that is known.
    pub settled: Option<Sender<Transport>>,
    /// The person at the terminal, if one runs this by hand.
    pub person: Option<Person>,
    /// Whether failures of requests are said on stderr, too: a host may show nobody the error it is answered.
    pub says_failures: bool,
}

/// The same over any reader and writer.
///
/// # Errors
/// If it cannot start.
pub fn run_over(config: Config, log: Arc<Log>, ends: Ends) -> Result<()> {
    prepare(config, log, ends)?();
    Ok(())
}

/// Makes everything ready; what it gives runs the bridge.
///
/// # Errors
/// If it cannot start.
pub(crate) fn prepare(config: Config, log: Arc<Log>, ends: Ends) -> Result<impl FnOnce()> {
    let server = crate::url::shown(&config.server);
    crate::url::check_server(&config.server, config.allow_http, &server)?;
    let (inbox, wakes) = Inbox::new();
    let (writer, lines) = channel();
    if ends.signals {
        watch_signals(Arc::clone(&inbox), &log);
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
    let limit = config.message_limit;
    let agents = Arc::new(agent::Agents::new(&config)?);
    let outside = Outside {
        agents: Arc::clone(&agents),
        config: config.clone(),
        log: Arc::clone(&log),
        inbox: Some(Arc::clone(&inbox)),
        person: ends.person,
    };
    let authorizer = authorizer(outside, Arc::clone(&store))?;
    let shared = Arc::new(exchange::Shared {
        agents,
        authorizer: authorizer.clone(),
        cookies: Mutex::default(),
        log: Arc::clone(&log),
        budget: Budget::new(SERVER_BUDGET),
        config,
    });
    let started = format!(
        "mcp-remote {} connects to {}",
        env!("CARGO_PKG_VERSION"),
        crate::url::shown(&shared.config.server)
    );
    log.say(Level::Info, &started);
    let lanes = Lanes::new(shared, Arc::clone(&inbox));
    let to_sign_in = Arc::clone(&inbox);
    let to_reader = Arc::clone(&inbox);
    let to_writer = Arc::clone(&inbox);
    let to_log = Arc::clone(&log);
    spawn("reader", move || {
        let budget = Budget::new(limit.saturating_mul(2));
        let input = BufReader::with_capacity(64 * 1024, ends.input);
        let read = || stdio::read_lines(input, limit, &budget, |news| to_reader.tell(news));
        unless_it_panics(read, || to_reader.tell_main(Event::ClientClosed));
    })?;
    spawn("writer", move || {
        let closed = || to_writer.tell_main(Event::OutputClosed);
        let write = || {
            let Err(error) = stdio::write_lines(ends.output, &lines) else {
                return;
            };
            // A client that is gone reads stderr no more.
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                let what = format!("cannot write to stdout: {}", plain(&error));
                to_log.say(Level::Error, &what);
            }
            closed();
        };
        unless_it_panics(write, closed);
    })?;
    let driver = Box::new(Driver {
        bridge: Bridge::new(settings, Instant::now()),
        lanes,
        writer,
        log,
        store,
        authorizer,
        to_sign_in,
        settled: ends.settled,
        owed: Owed::default(),
    });
    Ok(move || run_until_over(&inbox, driver, &wakes))
}

/// The bridge, and what carries out what it asks for.
struct Driver {
    bridge: Bridge,
    lanes: Lanes,
    writer: Sender<Line>,
    log: Arc<Log>,
    store: Arc<Store>,
    authorizer: Option<Arc<Authorizer>>,
    to_sign_in: Arc<Inbox>,
    settled: Option<Sender<Transport>>,
    owed: Owed,
}

/// What the main thread does.
fn run_until_over(inbox: &Inbox, driver: Box<Driver>, wakes: &Receiver<Wake>) {
    match inbox.serve(driver, wakes) {
        Wake::Over(driver) => {
            driver.flush();
            if let Some(authorizer) = &driver.authorizer {
                authorizer.settle(LAST_TOKENS);
            }
        }
        Wake::Panicked(driver, panic) => {
            for error in driver.owed.errors() {
                drop(driver.writer.send(Line::Answer(error)));
            }
            driver.flush();
            resume_unwind(panic);
        }
        Wake::Look | Wake::Leave => {}
    }
}

impl Driver {
    /// Whether the session goes on.
    fn handle(&mut self, input: Event) -> bool {
        let over = match &input {
            Event::Progress(id, news) => {
                let is_last =
                    |news: &Progress| matches!(news, Progress::Refused(_) | Progress::Ended(_));
                news.last().is_some_and(is_last).then_some(*id)
            }
            _ => None,
        };
        self.owed.came(&input);
        self.bridge.handle(Instant::now(), input);
        if let Some(id) = over {
            self.lanes.finished(id);
        }
        while let Some(output) = self.bridge.poll() {
            if matches!(output, Action::Exit) {
                return false;
            }
            self.carry_out(output);
        }
        true
    }

    /// When it wants to be told of the time.
    fn deadline(&self) -> Option<Instant> {
        self.bridge.deadline()
    }

    fn carry_out(&mut self, output: Action) {
        self.owed.goes(&output);
        match output {
            // The writer is gone only after it reported that stdout is closed.
            Action::Client(message) => drop(self.writer.send(Line::Message(message))),
            Action::Respond(text) => drop(self.writer.send(Line::Answer(text))),
            Action::Open(id, exchange) => self.lanes.open(id, exchange),
            Action::Close(id) => self.lanes.close(id),
            Action::Say(level, text) => self.log.say(level, &text),
            Action::TransportKnown { transport, is_news } => {
                // Whoever wanted to know may be gone by now.
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
                .update_notes(|notes| notes.era = Some(era.name().to_owned())),
            Action::Exit => {}
        }
    }

    fn sign_in(&self, challenge: Challenge) {
        let Some(authorizer) = self.authorizer.clone() else {
            return;
        };
        let inbox = Arc::clone(&self.to_sign_in);
        // That it went well has been told already.
        let report = move |error| {
            inbox.tell_main(Event::SignedIn(Err(error)));
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

    /// Lets the writer finish; a client that does not read is not waited for.
    fn flush(&self) {
        let (done, written) = channel();
        if self.writer.send(Line::Flush(done)).is_ok() {
            written.recv_timeout(LAST_WRITE).ok();
        }
    }
}

/// Signs out of a server by hand; what is stored is removed by the caller.
///
/// # Errors
/// If the tokens could not be revoked.
pub fn revoke(config: &Config, store: Arc<Store>, log: Arc<Log>) -> Result<SignedOut> {
    let outside = Outside {
        agents: Arc::new(agent::Agents::new(config)?),
        config: config.clone(),
        log,
        inbox: None,
        person: None,
    };
    match authorizer(outside, store)? {
        Some(authorizer) => authorizer.revoke(),
        None => Ok(SignedOut::WasNot),
    }
}

/// Signs in to the server; nothing if the person brings an `Authorization` of their own.
fn authorizer(outside: Outside, store: Arc<Store>) -> Result<Option<Arc<Authorizer>>> {
    let config = outside.config.clone();
    let is_authorization =
        |(name, _): &(String, Secret)| name.eq_ignore_ascii_case("authorization");
    if config.headers.iter().any(is_authorization) {
        return Ok(None);
    }
    let key = match &config.oauth.client_assertion_key {
        Some(path) => Some(Secret::new(String::from_utf8_lossy(&tls::read_key(path)?))),
        None => None,
    };
    let authorizer = Authorizer::new(Box::new(outside), &config, store, key.as_ref())?;
    Ok(Some(Arc::new(authorizer)))
}

/// Makes the pauses of this instance its own.
fn seed() -> u64 {
    use rand::TryRng;
    rand::rngs::SysRng
        .try_next_u64()
        .unwrap_or(u64::from(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::{End, EventId, ExchangeId};
    use crate::config::LogConfig;
    use crate::jsonrpc::Message;

    /// A bridge with this inbox, and what it says to the client.
    pub(super) fn driver(inbox: &Arc<Inbox>) -> (Box<Driver>, Receiver<Line>) {
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
            budget: Budget::new(SERVER_BUDGET),
            config: config.clone(),
        };
        let (writer, lines) = channel();
        let driver = Driver {
            bridge: Bridge::new(settings, Instant::now()),
            lanes: Lanes::new(Arc::new(shared), Arc::clone(inbox)),
            writer,
            store: Arc::new(Store::for_config(&config, Arc::clone(&log))),
            log,
            authorizer: None,
            to_sign_in: Arc::clone(inbox),
            settled: None,
            owed: Owed::default(),
        };
        (Box::new(driver), lines)
    }

    #[test]
    fn a_panic_of_the_bridge_answers_all_that_is_owed_and_goes_on() {
        let (inbox, wakes) = Inbox::new();
        let (driver, lines) = driver(&inbox);
        let line = |text: &str| Event::Client(Message::read(text.to_owned()));
        let progress = |news| Event::Progress(ExchangeId(1), vec![news]);
        for input in [
            line(r#"{"id":1,"method":"a"}"#),
            line(r#"[{"id":"1","method":"b"},{"id":2,"method":"c"},{"method":"n"}]"#),
            // Nothing that came from the network would be so long: no clock can tell when it is over.
            progress(Progress::Retry(Duration::MAX)),
            progress(Progress::EventId(EventId("e".to_owned()))),
            progress(Progress::Event {
                id: None,
                parsed: Message::read(r#"{"id":2,"result":0}"#.to_owned()),
            }),
            progress(Progress::Ended(End::Complete)),
        ] {
            inbox.tell(input);
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| run_until_over(&inbox, driver, &wakes)));
        assert!(panicked.is_err());
        let mut ids: Vec<String> = lines
            .try_iter()
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
