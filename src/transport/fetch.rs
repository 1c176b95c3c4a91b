//! The sign-in's world: requests that are not MCP's, the clock, the browser, the person's terminal.
//!
//! - An answer is read up to 1 MiB and within 10 s. Redirects are followed only for documents, five at most, without
//!   credentials, and only to addresses that a document may name.
//! - Configured headers, cookies and tokens of the MCP server are never sent.
//! - An address must not be more private than the MCP server (`reach.rs`), unless the person named it.
//!
//! Spec: RFC 9110 15.4; RFC 9728 7.7.

use std::io::{BufRead, BufReader, Read};
use std::net::ToSocketAddrs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ureq::http::{Request, Response, header};
use ureq::{Agent, Body};
use url::Url;

use super::agent::Agents;
use super::exchange::{header_text, unix_now};
use super::inbox::Inbox;
use super::reach::Zone;
use super::{failure, http_date};
use crate::bridge::{Event, Stage};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{Level, Log};
use crate::oauth::browser::{self, Opened};
use crate::oauth::world::{Content, Fetch, Fetched, Unanswered, World};
use crate::secret::Secret;
use crate::store::UnixMillis;
use crate::url::{from_network, shown};

/// The real world.
pub(super) struct Outside {
    pub(super) agents: Arc<Agents>,
    pub(super) config: Config,
    pub(super) log: Arc<Log>,
    /// Is told the address a person must open.
    pub(super) inbox: Option<Arc<Inbox>>,
    /// The person at the terminal, if there is one.
    pub(super) person: Option<Person>,
}

/// A person who runs a sign-in by hand, at a terminal.
pub struct Person {
    news: Sender<News>,
    /// Lines of stdin, read once an address has been asked for.
    pasted: Mutex<Option<Receiver<String>>>,
}

/// What a person is told, in the order it happens.
#[derive(Debug)]
pub enum News {
    /// A step of the sign-in was done.
    Found(Found),
    /// A line for stderr, such as the address to open: it must not overtake the steps before it.
    Said(Level, String),
}

/// What a step of the sign-in found.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub step: &'static str,
    /// What was found.
    pub what: String,
    /// When.
    pub at: Instant,
}

impl Person {
    /// A person who is told each step.
    pub fn new(news: Sender<News>) -> Person {
        Person {
            news,
            pasted: Mutex::default(),
        }
    }
}

/// The longest line of a person.
const LINE_LIMIT: u64 = 64 * 1024;

/// The longest answer.
const BODY_LIMIT: u64 = 1024 * 1024;
/// For the whole of a request.
const TIME_LIMIT: Duration = Duration::from_secs(10);
const HOPS: usize = 5;

impl World for Outside {
    fn fetch(&self, fetch: &Fetch) -> std::result::Result<Fetched, Unanswered> {
        let mut url = fetch.url.clone();
        for _ in 0..=HOPS {
            let response = self.send(fetch, &url)?;
            let status = response.status().as_u16();
            let method = match fetch.body {
                Content::Nothing => "GET",
                Content::Form(_) | Content::Json(_) => "POST",
            };
            let line = format!("sign-in: {method} {} answered {status}", shown(&url));
            self.log.say(Level::Debug, &line);
            let location = header_text(&response, header::LOCATION);
            let is_redirect = matches!(status, 301 | 302 | 303 | 307 | 308);
            match location.filter(|_| is_redirect && fetch.follow) {
                Some(location) => url = self.next_hop(&url, &location)?,
                None => return Ok(read(&url, response)?),
            }
        }
        Err(Error::new(
            Kind::SignIn,
            format!("{} redirects without end", shown(&fetch.url)),
        )
        .into())
    }

    fn now(&self) -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        use rand::TryRng;
        rand::rngs::SysRng.try_fill_bytes(buffer).map_err(|e| {
            let what = format!("the operating system gives no random bytes: {e}");
            Error::new(Kind::SignIn, what)
        })
    }

    fn open_browser(&self, url: &Url) -> Opened {
        browser::open(url)
    }

    fn say(&self, level: Level, text: &str) {
        match &self.person {
            Some(person) if level > Level::Debug => {
                // Whoever wanted to know may have given up.
                person.news.send(News::Said(level, text.to_owned())).ok();
            }
            _ => self.log.say(level, text),
        }
    }

    fn show_url(&self, url: &Url, text: &str) {
        self.say(Level::Info, text);
        if let Some(inbox) = &self.inbox {
            inbox.tell_main(Event::SignInUrl(url.to_string()));
        }
    }

    fn signed_in(&self) {
        if let Some(inbox) = &self.inbox {
            inbox.tell_main(Event::SignedIn(Ok(())));
        }
    }

    fn found(&self, step: &'static str, what: &str) {
        self.log.say(Level::Debug, &format!("{step}: {what}"));
        if let Some(person) = &self.person {
            let (what, at) = (what.to_owned(), Instant::now());
            let found = News::Found(Found { step, what, at });
            person.news.send(found).ok();
        }
    }

    fn is_by_hand(&self) -> bool {
        self.person.is_some()
    }

    fn pasted(&self) -> Option<String> {
        let person = self.person.as_ref()?;
        let mut lines = person.pasted.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get_or_insert_with(read_stdin).try_recv().ok()
    }
}

/// The lines of stdin, on a thread that ends with it, or with the process.
fn read_stdin() -> Receiver<String> {
    let (sender, lines) = channel();
    let read = move || {
        let mut input = BufReader::new(std::io::stdin());
        loop {
            let mut line = String::new();
            match input.by_ref().take(LINE_LIMIT).read_line(&mut line) {
                Ok(1..) if sender.send(line).is_ok() => {}
                Ok(_) | Err(_) => return,
            }
        }
    };
    let started = std::thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(read);
    // Without the thread there is the browser still.
    drop(started);
    lines
}

impl Outside {
    fn next_hop(&self, url: &Url, location: &str) -> Result<Url> {
        let refused = |why: String| {
            let what = format!(
                "{} redirects to an address that is refused: {why}",
                shown(url)
            );
            Error::new(Kind::SignIn, what)
        };
        let next = url.join(location).map_err(|e| refused(e.to_string()))?;
        from_network(next.as_str(), self.config.allow_http).map_err(refused)
    }

    /// Sends one request; once more with the additional roots, if the built-in ones did not know the certificate.
    fn send(&self, fetch: &Fetch, url: &Url) -> std::result::Result<Response<Body>, Unanswered> {
        let zone = (!fetch.trusted).then(|| self.zone_of_server());
        let out_of_reach = || {
            let what = format!(
                "{} is not asked: its address is in a network where the MCP server is not",
                shown(url)
            );
            Error::new(Kind::SignIn, what)
        };
        // Behind a proxy no name is resolved here: what can be seen is the address itself.
        if let (Some(from), Some(to)) = (zone, zone_of_literal(url))
            && !from.may_lead_to(to)
        {
            return Err(out_of_reach().into());
        }
        let sent = match send_once(&self.agents.reaching(url, zone)?, fetch, url)? {
            Err(error)
                if failure::is_unknown_issuer(&error) && self.agents.use_additional_roots() =>
            {
                send_once(&self.agents.reaching(url, zone)?, fetch, url)?
            }
            sent => sent,
        };
        sent.map_err(|error| {
            if failure::is_out_of_reach(&error) {
                return out_of_reach().into();
            }
            let (error, stage) = failure::of_request(&error, url, &self.config.http);
            Unanswered {
                error,
                may_have_arrived: stage != Stage::NotSent,
            }
        })
    }

    /// The least private zone the server is or was in. Its name is asked for each time, because names move.
    fn zone_of_server(&self) -> Zone {
        let server = &self.config.server;
        if crate::url::is_loopback(server) {
            return Zone::Loopback;
        }
        let host = server.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = server.port_or_known_default().unwrap_or(443);
        // A name that only a proxy can resolve is not in a network of ours.
        let addresses = (host, port).to_socket_addrs().into_iter().flatten();
        self.agents
            .zone_of_server(addresses.map(|address| Zone::of(address.ip())))
    }
}

fn zone_of_literal(url: &Url) -> Option<Zone> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(Zone::of(address.into())),
        url::Host::Ipv6(address) => Some(Zone::of(address.into())),
        url::Host::Domain(_) if crate::url::is_loopback(url) => Some(Zone::Loopback),
        url::Host::Domain(_) => None,
    }
}

fn send_once(
    agent: &Agent,
    fetch: &Fetch,
    url: &Url,
) -> Result<std::result::Result<Response<Body>, ureq::Error>> {
    let (method, kind, body) = match &fetch.body {
        Content::Nothing => ("GET", None, None),
        Content::Form(form) => (
            "POST",
            Some("application/x-www-form-urlencoded"),
            Some(form),
        ),
        Content::Json(json) => ("POST", Some("application/json"), Some(json)),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(url.as_str())
        .header(header::ACCEPT, "application/json");
    if let Some(kind) = kind {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    if let Some(authorization) = &fetch.authorization {
        request = request.header(header::AUTHORIZATION, authorization.expose());
    }
    let unfit = |e: ureq::http::Error| {
        let what = format!("cannot make a request to {}: {e}", shown(url));
        Error::new(Kind::SignIn, what)
    };
    Ok(match body {
        None => run(agent, request.body(()).map_err(unfit)?),
        Some(body) => run(
            agent,
            request.body(body.expose().as_bytes()).map_err(unfit)?,
        ),
    })
}

fn run<B: ureq::AsSendBody>(
    agent: &Agent,
    request: Request<B>,
) -> std::result::Result<Response<Body>, ureq::Error> {
    let request = agent
        .configure_request(request)
        .timeout_global(Some(TIME_LIMIT))
        .build();
    agent.run(request)
}

fn read(url: &Url, response: Response<Body>) -> Result<Fetched> {
    let status = response.status().as_u16();
    let retry_after = header_text(&response, header::RETRY_AFTER)
        .and_then(|text| http_date::parse_retry_after(&text, unix_now()));
    let mut body = Vec::new();
    let reader = response.into_body().into_reader();
    reader
        .take(BODY_LIMIT + 1)
        .read_to_end(&mut body)
        .map_err(|e| failure::of_body(&e, url))?;
    if body.len() as u64 > BODY_LIMIT {
        let what = format!("{} answered with more than 1 MiB", shown(url));
        return Err(Error::new(Kind::SignIn, what));
    }
    Ok(Fetched {
        status,
        retry_after,
        body: Secret::new(String::from_utf8_lossy(&body)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;

    #[test]
    fn a_server_that_was_public_when_it_answered_leads_nowhere_inside_after_its_name_has_moved() {
        // Where its name points now.
        let server = Url::parse("https://10.0.0.1/mcp").unwrap();
        let config = Config::new(server);
        let silent = LogConfig {
            silent: true,
            ..LogConfig::default()
        };
        let outside = Outside {
            agents: Arc::new(Agents::new(&config).unwrap()),
            log: Arc::new(Log::open(silent).unwrap()),
            config,
            inbox: None,
            person: None,
        };
        assert_eq!(outside.zone_of_server(), Zone::Private);
        outside.agents.zone_of_server([Zone::Public].into_iter());
        let inside = Fetch::document(Url::parse("https://10.0.0.2/metadata").unwrap());
        let refused = outside.fetch(&inside).unwrap_err().error;
        assert!(refused.what().contains("is not asked"), "{refused}");
    }
}
