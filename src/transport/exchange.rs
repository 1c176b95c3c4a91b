//! Runs one HTTP exchange on an agent and turns what comes back into news for the bridge.
//!
//! - Redirects are followed by hand (`redirect`); credentials and configured headers never leave the origin.
//! - What the response says is read in `answer`.
//!
//! Spec: MCP 2025-11-25 basic/transports (Streamable HTTP); RFC 9110 15; WHATWG HTML 9.2.
//! Not done here: no time limits beyond connecting; the bridge sets them and cuts the lane.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ureq::http::{HeaderMap, HeaderValue, Request, Response, header};
use ureq::{Agent, Body};
use url::Url;

use super::agent::{Agents, LONGEST_HEADER};
use super::cookies::Jar;
use super::inbox::Inbox;
use super::lane::{AgentSlot, Slot};
use super::{answer, failure, redirect, streamable_http};
use crate::bridge::{End, Event, Exchange, ExchangeId, HttpRequest, Progress, Refusal, Stage};
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::flow::Budget;
use crate::log::{Level, Log};
use crate::oauth::challenge::Challenge;
use crate::oauth::failure::Failure;
use crate::oauth::{Authorizer, Recovered};
use crate::secret::Secret;
use crate::url::shown;

/// What all lanes share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) agents: Arc<Agents>,
    /// None if the configured headers hold an `Authorization`.
    pub(super) authorizer: Option<Arc<Authorizer>>,
    pub(super) cookies: Mutex<Jar>,
    pub(super) log: Arc<Log>,
    pub(super) budget: Arc<Budget>,
}

/// Sends the news of one exchange to the inbox.
pub(super) struct Reporter {
    id: ExchangeId,
    inbox: Arc<Inbox>,
    held: Cell<Vec<Progress>>,
}

impl Reporter {
    pub(super) fn new(id: ExchangeId, inbox: Arc<Inbox>) -> Reporter {
        Reporter {
            id,
            inbox,
            held: Cell::default(),
        }
    }

    /// Reports it together with the next news, which is about to come: one thread switch for both.
    pub(super) fn hold(&self, progress: Progress) {
        let mut held = self.held.take();
        held.push(progress);
        self.held.set(held);
    }

    pub(super) fn report(&self, progress: Progress) {
        let mut news = self.held.take();
        news.push(progress);
        self.inbox.tell(Event::Progress(self.id, news));
    }
}

/// Runs the exchange; returns its last news.
pub(super) fn run(
    shared: &Arc<Shared>,
    slot: &AgentSlot,
    exchange: &Exchange,
    reporter: &Reporter,
) -> Progress {
    match attempt(shared, slot, exchange, reporter) {
        Ok(last) => last,
        Err((error, stage)) => Progress::Ended(End::Broken(error, stage)),
    }
}

/// What came of it, or why it broke and how far it had come.
pub(super) type Attempt<T> = Result<T, (Error, Stage)>;

/// Runs it with the tokens there are; again with others, if the server refuses them and others can be had without a person.
fn attempt(
    shared: &Arc<Shared>,
    slot: &AgentSlot,
    exchange: &Exchange,
    reporter: &Reporter,
) -> Attempt<Progress> {
    let Some(authorizer) = &shared.authorizer else {
        return try_once(shared, slot, exchange, reporter, None).map(|(progress, _)| progress);
    };
    let mut tries = 0;
    loop {
        let bearer = match exchange.action {
            // The process may be gone before a refresh has ended: the token that came with it would be lost.
            HttpRequest::EndSession => authorizer.present_bearer(),
            HttpRequest::Post { .. } | HttpRequest::Listen { .. } => authorizer.bearer(),
        };
        let (progress, challenge) = try_once(shared, slot, exchange, reporter, bearer.as_ref())?;
        let (Progress::Refused(refusal), Some(challenge)) = (&progress, challenge) else {
            return Ok(progress);
        };
        tries += 1;
        match authorizer.recover(bearer.as_ref(), &challenge) {
            Ok(Recovered::Again) if tries < MOST_TRIES => {}
            Ok(Recovered::Again | Recovered::NeedsSignIn) => {
                return Ok(Progress::Refused(Refusal {
                    needs_sign_in: Some(Box::new(challenge)),
                    ..refusal.clone()
                }));
            }
            // Nothing has happened at the server: once the tokens can be renewed, it may be sent again.
            Err(Failure::Passing(error)) => return Err((error, Stage::NotSent)),
            Err(failure) => return Err((failure.into_error(), Stage::Hopeless)),
        }
    }
}

/// How often new tokens are tried before a person is asked.
const MOST_TRIES: u32 = 3;

/// Runs it; its last news, and the challenge if it was refused for want of a token.
fn try_once(
    shared: &Arc<Shared>,
    slot: &AgentSlot,
    exchange: &Exchange,
    reporter: &Reporter,
    bearer: Option<&Secret>,
) -> Attempt<(Progress, Option<Challenge>)> {
    let mut url = match &exchange.action {
        HttpRequest::Post {
            endpoint: Some(endpoint),
            ..
        } => endpoint.clone(),
        _ => shared.config.server.clone(),
    };
    let method = method(&exchange.action);
    let mut hops = 0;
    loop {
        let response = send(shared, slot, exchange, &url, bearer)?;
        let status = response.status().as_u16();
        store_cookies(shared, &url, &response);
        if shared.log.is_debug() {
            let line = format!("{method} {} answered {status}", shown(&url));
            shared.log.say(Level::Debug, &line);
        }
        if (300..400).contains(&status) && status != 304 {
            let location = header_text(&response, header::LOCATION);
            hops += 1;
            url = redirect::target(method, &url, status, location.as_deref(), hops)
                .map_err(|e| (e, Stage::Hopeless))?;
            continue;
        }
        if response.status().is_success() {
            if let (Some(authorizer), Some(bearer)) = (&shared.authorizer, bearer) {
                authorizer.accepted(bearer);
            }
            let last = answer::accepted(shared, exchange, &url, response, reporter)?;
            return Ok((last, None));
        }
        let challenge = challenge(&response, exchange);
        let refusal = answer::refusal(shared, exchange, &url, response);
        return Ok((Progress::Refused(refusal), challenge));
    }
}

/// The challenge of a 401, or of a 403 that asks for more scope. A session that ends is worth no sign-in.
fn challenge(response: &Response<Body>, exchange: &Exchange) -> Option<Challenge> {
    if matches!(exchange.action, HttpRequest::EndSession) {
        return None;
    }
    let fields = response.headers().get_all(header::WWW_AUTHENTICATE);
    let challenge = Challenge::of(fields.iter().filter_map(|value| value.to_str().ok()));
    match response.status().as_u16() {
        401 => Some(challenge),
        403 if challenge.is_insufficient_scope() => Some(challenge),
        _ => None,
    }
}

fn method(action: &HttpRequest) -> &'static str {
    match action {
        HttpRequest::Post { .. } => "POST",
        HttpRequest::Listen { .. } => "GET",
        HttpRequest::EndSession => "DELETE",
    }
}

/// The lane's agent, unless the lane was cut.
fn agent(shared: &Shared, slot: &AgentSlot, url: &Url) -> Attempt<Agent> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    match &*slot {
        Slot::Agent(agent) => return Ok(agent.clone()),
        Slot::Cut => {
            let error = Error::new(Kind::Closing, "the request was cut before it was sent");
            return Err((error, Stage::Hopeless));
        }
        Slot::Empty => {}
    }
    let agent = shared.agents.agent(url).map_err(|e| (e, Stage::Hopeless))?;
    *slot = Slot::Agent(agent.clone());
    Ok(agent)
}

/// Sends the request; once more with the additional roots, if the built-in ones did not know the certificate.
fn send(
    shared: &Shared,
    slot: &AgentSlot,
    exchange: &Exchange,
    url: &Url,
    bearer: Option<&Secret>,
) -> Attempt<Response<Body>> {
    let first = send_once(shared, &agent(shared, slot, url)?, exchange, url, bearer)?;
    let sent = match first {
        Err(error)
            if failure::is_unknown_issuer(&error) && shared.agents.use_additional_roots() =>
        {
            let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*held, Slot::Agent(_)) {
                *held = Slot::Empty;
            }
            drop(held);
            send_once(shared, &agent(shared, slot, url)?, exchange, url, bearer)?
        }
        sent => sent,
    };
    sent.map_err(|e| failure::of_request(&e, url, &shared.config.http))
}

fn send_once(
    shared: &Shared,
    agent: &Agent,
    exchange: &Exchange,
    url: &Url,
    bearer: Option<&Secret>,
) -> Attempt<Result<Response<Body>, ureq::Error>> {
    // An address or a header that HTTP cannot carry will not do better the next time.
    let hopeless = |e: ureq::http::Error| {
        let what = format!("cannot make a request to {}: {e}", shown(url));
        (Error::new(Kind::Config, what), Stage::Hopeless)
    };
    let headers = headers(shared, exchange, url, bearer).map_err(hopeless)?;
    for (name, value) in &headers {
        let length = name.as_str().len() + value.len();
        if length > LONGEST_HEADER {
            let what = format!(
                "the header \"{name}\" would be {length} bytes long, which no server takes"
            );
            return Err((Error::new(Kind::Config, what), Stage::Hopeless));
        }
    }
    let request = Request::builder()
        .method(method(&exchange.action))
        .uri(url.as_str());
    let (mut head, ()) = request.body(()).map_err(hopeless)?.into_parts();
    head.headers = headers;
    Ok(match &exchange.action {
        HttpRequest::Post { message, .. } => {
            agent.run(Request::from_parts(head, message.text().as_bytes()))
        }
        HttpRequest::Listen { .. } | HttpRequest::EndSession => {
            agent.run(Request::from_parts(head, ()))
        }
    })
}

fn headers(
    shared: &Shared,
    exchange: &Exchange,
    url: &Url,
    bearer: Option<&Secret>,
) -> Result<HeaderMap, ureq::http::Error> {
    let mut headers = streamable_http::headers(exchange, &shared.config.headers)?;
    // Redirects and endpoints stay on the server's origin: the token goes nowhere else.
    if let Some(bearer) = bearer {
        let value = HeaderValue::try_from(format!("Bearer {}", bearer.expose()))?;
        headers.insert(header::AUTHORIZATION, value);
    }
    if shared.config.cookies && !headers.contains_key(header::COOKIE) {
        let jar = shared
            .cookies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(cookies) = jar.header(url, unix_now()) {
            headers.insert(header::COOKIE, HeaderValue::try_from(cookies.expose())?);
        }
    }
    Ok(headers)
}

fn store_cookies(shared: &Shared, url: &Url, response: &Response<Body>) {
    if !shared.config.cookies || !response.headers().contains_key(header::SET_COOKIE) {
        return;
    }
    let mut jar = shared
        .cookies
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    for cookie in response.headers().get_all(header::SET_COOKIE) {
        if let Ok(text) = cookie.to_str() {
            jar.store(url, text, unix_now());
        }
    }
}

pub(super) fn header_text(response: &Response<Body>, name: header::HeaderName) -> Option<String> {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
