//! The environment of OAuth: its HTTP requests, the clock, the browser.
//!
//! - A response is read up to 1 MiB and within 10 s; that of a token request within `--headers-timeout`, because a code is good
//!   for once. Redirects are followed only for documents, five at most, without
//!   credentials, and only to addresses that a document may name.
//! - Configured headers go to the MCP server's own origin only, for servers behind a gateway, and not after a redirect from
//!   elsewhere; ours of the same name stay. Cookies and tokens of the MCP server are never sent.
//! - The SSRF guard (`net/ssrf`) checks all addresses except those that the user configured.
//!
//! Spec: RFC 9110 15.4; RFC 9728 7.7.

use std::io::Read;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ureq::http::{HeaderName, Request, Response, header};
use ureq::{Agent, Body};
use url::Url;

use crate::bridge::{Event, Stage};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::{Level, Log};
use crate::oauth::browser::{self, Opened};
use crate::oauth::dpop;
use crate::oauth::environment::{Content, Environment, Fetch, Fetched, Unanswered};
use crate::secret::Secret;
use crate::store::UnixMillis;
use crate::transport::event_loop::EventLoop;
use crate::transport::http::error;
use crate::transport::http::exchange::header_text;
use crate::transport::http::retry_after::retry_after;
use crate::transport::net::agent::Agents;
use crate::transport::net::ssrf::Network;
use crate::transport::person::{Found, News, Person};
use crate::url::{from_network, keeping_https, same_origin, shown};

/// The real environment; tests have a scripted one.
pub(crate) struct HttpEnvironment {
    pub(crate) agents: Arc<Agents>,
    pub(crate) config: Config,
    pub(crate) log: Arc<Log>,
    /// Receives the address that the user must open.
    pub(crate) event_loop: Option<Arc<EventLoop>>,
    /// The user at the terminal, if there is one.
    pub(crate) person: Option<Person>,
}

/// The longest body of a response, in bytes.
const MAX_BODY: u64 = 1024 * 1024;
/// For the whole of a request that is not for tokens.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 5;

impl Environment for HttpEnvironment {
    fn fetch(&self, fetch: &Fetch) -> std::result::Result<Fetched, Unanswered> {
        let mut url = fetch.url.clone();
        // Another server must not direct a request with these headers to a path of its choice.
        let mut configured: &[(String, Secret)] = &self.config.headers;
        for _ in 0..=MAX_REDIRECTS {
            if !same_origin(&url, &self.config.server) {
                configured = &[];
            }
            let response = self.send(fetch, &url, configured)?;
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
                None => return Ok(without_secrets(&self.log, read(&url, response)?)),
            }
        }
        Err(Error::new(
            Kind::SignIn,
            format!("{} redirects more than five times", shown(&fetch.url)),
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
            let what = format!("the operating system returned no random bytes: {e}");
            Error::new(Kind::SignIn, what)
        })
    }

    fn open_browser(&self, url: &Url) -> Opened {
        browser::open(url)
    }

    fn say(&self, level: Level, text: &str) {
        match &self.person {
            Some(person) if level > Level::Debug => {
                person.show(News::Said(level, text.to_owned()));
            }
            _ => self.log.say(level, text),
        }
    }

    fn show_url(&self, url: &Url, text: &str) {
        self.say(Level::Info, text);
        if let Some(event_loop) = &self.event_loop {
            event_loop.push_to_main(Event::SignInUrl(url.to_string()));
        }
    }

    fn signed_in(&self) {
        if let Some(event_loop) = &self.event_loop {
            event_loop.push_to_main(Event::SignedIn(Ok(())));
        }
    }

    fn found(&self, step: &'static str, what: &str) {
        self.log.say(Level::Debug, &format!("{step}: {what}"));
        if let Some(person) = &self.person {
            let (what, at) = (what.to_owned(), Instant::now());
            let found = News::Found(Found { step, what, at });
            person.show(found);
        }
    }

    fn is_by_hand(&self) -> bool {
        self.person.is_some()
    }

    fn pasted(&self) -> Option<String> {
        self.person.as_ref()?.pasted()
    }
}

impl HttpEnvironment {
    fn next_hop(&self, url: &Url, location: &str) -> Result<Url> {
        let refused = |why: String| {
            let what = format!(
                "{} redirects to an address that is refused: {why}",
                shown(url)
            );
            Error::new(Kind::SignIn, what)
        };
        let next = url.join(location).map_err(|e| refused(e.to_string()))?;
        let kept = keeping_https(url, next.clone());
        let next = if same_origin(&kept, url) { kept } else { next };
        from_network(next.as_str(), self.config.allow_http).map_err(refused)
    }

    /// Sends one request with these configured headers.
    fn send(
        &self,
        fetch: &Fetch,
        url: &Url,
        configured: &[(String, Secret)],
    ) -> std::result::Result<Response<Body>, Unanswered> {
        let network = (!fetch.trusted).then(|| self.network_of_server());
        let blocked = || {
            let what = format!(
                "{} is not asked: its address is in a network where the MCP server is not",
                shown(url)
            );
            Error::new(Kind::SignIn, what)
        };
        // Behind a proxy no name is resolved here; only literal addresses can be checked.
        if let (Some(from), Some(to)) = (network, network_of_literal(url))
            && !from.may_refer_to(to)
        {
            return Err(blocked().into());
        }
        let limit = if fetch.is_for_tokens() {
            self.config.http.headers_timeout
        } else {
            Some(REQUEST_TIMEOUT)
        };
        let send = || {
            let agent = self.agents.agent_for_document(url, network)?;
            let prover = fetch.dpop.as_ref();
            let proof = prover.map(|it| it.key.proof(self, "POST", url, None, it.nonce.as_deref()));
            let proof = proof.transpose()?;
            send_once(&agent, fetch, url, proof.as_deref(), configured, limit)
        };
        self.agents.with_known_roots(send)?.map_err(|error| {
            if error::is_blocked(&error) {
                return blocked().into();
            }
            let (error, stage) = error::from_request(&error, url, &self.config.http);
            Unanswered {
                error,
                may_have_arrived: stage != Stage::NotSent,
            }
        })
    }

    /// The least private network that the server is or was in. Its name is resolved each time, because addresses change.
    fn network_of_server(&self) -> Network {
        let server = &self.config.server;
        if crate::url::is_loopback(server) {
            return Network::Loopback;
        }
        let host = server.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = server.port_or_known_default().unwrap_or(443);
        // A name that only a proxy can resolve counts as public.
        let addresses = (host, port).to_socket_addrs().into_iter().flatten();
        self.agents
            .network_of_server(addresses.map(|address| Network::of(address.ip())))
    }
}

fn network_of_literal(url: &Url) -> Option<Network> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(Network::of(address.into())),
        url::Host::Ipv6(address) => Some(Network::of(address.into())),
        url::Host::Domain(_) if crate::url::is_loopback(url) => Some(Network::Loopback),
        url::Host::Domain(_) => None,
    }
}

fn send_once(
    agent: &Agent,
    fetch: &Fetch,
    url: &Url,
    proof: Option<&str>,
    configured: &[(String, Secret)],
    limit: Option<Duration>,
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
    if let Some(proof) = proof {
        request = request.header(dpop::HEADER, proof);
    }
    let ours = request.headers_ref().cloned().unwrap_or_default();
    for (name, value) in configured {
        let is_of_body = HEADERS_OF_BODY.contains(&&*name.to_ascii_lowercase());
        if !is_of_body && !ours.contains_key(name) {
            request = request.header(name, value.expose());
        }
    }
    let unfit = |e: ureq::http::Error| {
        let what = format!("cannot make a request to {}: {e}", shown(url));
        Error::new(Kind::SignIn, what)
    };
    Ok(match body {
        None => run(agent, request.body(()).map_err(unfit)?, limit),
        Some(body) => run(
            agent,
            request.body(body.expose().as_bytes()).map_err(unfit)?,
            limit,
        ),
    })
}

/// What describes the body of a request; a configured one is for the messages of MCP.
const HEADERS_OF_BODY: [&str; 4] = [
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
];

/// A refusal without the secrets that were sent: a gateway may repeat the configured headers.
fn without_secrets(log: &Log, response: Fetched) -> Fetched {
    if response.status < 400 {
        return response;
    }
    Fetched {
        body: Secret::new(log.secrets.take_from(response.body.expose())),
        ..response
    }
}

fn run<B: ureq::AsSendBody>(
    agent: &Agent,
    request: Request<B>,
    limit: Option<Duration>,
) -> std::result::Result<Response<Body>, ureq::Error> {
    let request = agent
        .configure_request(request)
        .timeout_global(limit)
        .build();
    agent.run(request)
}

fn read(url: &Url, response: Response<Body>) -> Result<Fetched> {
    let status = response.status().as_u16();
    let retry_after = retry_after(&response);
    let nonce = header_text(&response, HeaderName::from_static(dpop::NONCE_HEADER));
    let mut body = Vec::new();
    let reader = response.into_body().into_reader();
    reader
        .take(MAX_BODY + 1)
        .read_to_end(&mut body)
        .map_err(|e| error::from_body(&e, url))?;
    if body.len() as u64 > MAX_BODY {
        let what = format!("{} answered with more than 1 MiB", shown(url));
        return Err(Error::new(Kind::SignIn, what));
    }
    Ok(Fetched {
        status,
        retry_after,
        dpop_nonce: nonce.filter(|nonce| dpop::valid_nonce(nonce).is_some()),
        body: Secret::new(String::from_utf8_lossy(&body)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;

    #[test]
    fn a_server_that_was_public_may_not_refer_to_private_networks_after_its_address_changed() {
        // Where its name points now.
        let server = Url::parse("https://10.0.0.1/mcp").unwrap();
        let config = Config::new(server);
        let silent = LogConfig {
            silent: true,
            ..LogConfig::default()
        };
        let environment = HttpEnvironment {
            agents: Arc::new(Agents::new(&config).unwrap()),
            log: Arc::new(Log::open(silent).unwrap()),
            config,
            event_loop: None,
            person: None,
        };
        assert_eq!(environment.network_of_server(), Network::Private);
        environment
            .agents
            .network_of_server([Network::Public].into_iter());
        let inside = Fetch::document(Url::parse("https://10.0.0.2/metadata").unwrap());
        let refused = environment.fetch(&inside).unwrap_err().error;
        assert!(refused.what().contains("is not asked"), "{refused}");
    }
}
