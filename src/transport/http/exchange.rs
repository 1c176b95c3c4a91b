//! Runs one HTTP exchange on an agent and turns the response into events for the bridge.
//!
//! - Redirects are followed by hand (`redirect`); credentials and configured headers never leave the origin.
//! - A request with a DPoP proof that the server refuses for want of a nonce is sent once more with it.
//! - The response is read in `response`.
//!
//! Flags: `--token-header`.
//! Spec: MCP 2025-11-25 basic/transports (Streamable HTTP); RFC 9110 15; RFC 9449 7, 9; WHATWG HTML 9.2.
//! Not done here: time limits after connecting; the bridge sets them and cancels the exchange.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use ureq::{Agent, Body};
use url::Url;

use crate::bridge::{Event, Exchange, ExchangeId, HttpRequest, Progress, Refusal, Stage};
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::log::{Level, Log};
use crate::oauth::challenge::Challenge;
use crate::oauth::dpop::{self, Credential};
use crate::oauth::error::Failure;
use crate::oauth::{Authorizer, Recovered};
use crate::transport::backpressure::Budget;
use crate::transport::event_loop::EventLoop;
use crate::transport::http::cookies::Jar;
use crate::transport::http::error;
use crate::transport::http::redirect;
use crate::transport::http::request;
use crate::transport::http::response;
use crate::transport::http::worker::{AgentSlot, Slot};
use crate::transport::net::agent::{Agents, MAX_HEADER};
use crate::url::shown;

/// Shared by all workers.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) agents: Arc<Agents>,
    /// `None` if a configured `Authorization` takes its place, or with `--no-oauth`.
    pub(crate) authorizer: Option<Arc<Authorizer>>,
    pub(crate) cookies: Mutex<Jar>,
    pub(crate) log: Arc<Log>,
    pub(crate) budget: Arc<Budget>,
}

/// Sends the events of one exchange to the event loop.
pub(crate) struct Reporter {
    id: ExchangeId,
    event_loop: Arc<EventLoop>,
    held: Cell<Vec<Progress>>,
}

impl Reporter {
    pub(crate) fn new(id: ExchangeId, event_loop: Arc<EventLoop>) -> Reporter {
        Reporter {
            id,
            event_loop,
            held: Cell::default(),
        }
    }

    /// Reports this together with the events that follow at once: one thread switch for all of them.
    pub(crate) fn hold(&self, progress: Progress) {
        let mut held = self.held.take();
        held.push(progress);
        self.held.set(held);
    }

    pub(crate) fn report(&self, progress: Progress) {
        self.hold(progress);
        self.report_held();
    }

    /// Reports what is held, if anything is.
    pub(crate) fn report_held(&self) {
        let news = self.held.take();
        if !news.is_empty() {
            self.event_loop.push(Event::Progress(self.id, news));
        }
    }
}

/// A result, or an error and how far the request had got.
pub(crate) type Attempt<T> = Result<T, (Error, Stage)>;

/// Runs the exchange with the current token, and again with a new one if the server refuses it and a new one can be had without
/// the user. Returns the last event.
pub(crate) fn run(
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
        let credential = match exchange.action {
            // No refresh: the process may end before the new token is stored.
            HttpRequest::EndSession => authorizer.present_bearer(),
            HttpRequest::Post { .. } | HttpRequest::Listen { .. } => authorizer.bearer(),
        };
        let (progress, challenge) =
            try_once(shared, slot, exchange, reporter, credential.as_ref())?;
        let (Progress::Refused(refusal), Some(challenge)) = (&progress, challenge) else {
            return Ok(progress);
        };
        tries += 1;
        match authorizer.recover(credential.as_ref(), &challenge) {
            Ok(Recovered::Again) if tries < MAX_ATTEMPTS => {}
            Ok(Recovered::Again | Recovered::NeedsSignIn) => {
                return Ok(Progress::Refused(Refusal {
                    needs_sign_in: Some(Box::new(challenge)),
                    had_credentials: tries > 1,
                    ..refusal.clone()
                }));
            }
            // The server did not act on the request, so it can be sent again once the tokens are refreshed.
            Err(Failure::Passing(error)) => return Err((error, Stage::NotSent)),
            Err(failure) => return Err((failure.into_error(), Stage::Hopeless)),
        }
    }
}

/// How many tokens are tried before the user has to sign in.
const MAX_ATTEMPTS: u32 = 3;

/// Runs the exchange once; returns its last event, and the challenge if the server requires another token.
fn try_once(
    shared: &Arc<Shared>,
    slot: &AgentSlot,
    exchange: &Exchange,
    reporter: &Reporter,
    credential: Option<&Credential>,
) -> Attempt<(Progress, Option<Challenge>)> {
    let mut url = match &exchange.action {
        HttpRequest::Post {
            endpoint: Some(endpoint),
            ..
        } => endpoint.clone(),
        _ => shared.config.server.clone(),
    };
    // A server may repeat them.
    let secrets = &shared.log.secrets;
    let mut credential = credential.cloned();
    if let Some(credential) = &credential {
        secrets.add(credential.token.expose());
    }
    if let Some(session) = &exchange.session {
        secrets.add(&session.0);
    }
    let method = method(&exchange.action);
    let mut hops = 0;
    let mut has_fresh_nonce = false;
    loop {
        let sent = send(shared, slot, exchange, &url, credential.as_ref());
        let response = sent.map_err(|(error, stage)| {
            (
                error::naming_unset(&error, &shared.config.unset_variables),
                stage,
            )
        })?;
        let status = response.status().as_u16();
        store_cookies(shared, &url, &response);
        let nonce = keep_nonce(shared, &response);
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
            if let (Some(authorizer), Some(credential)) = (&shared.authorizer, &credential) {
                authorizer.accepted(&credential.token);
            }
            let last = response::accepted(shared, exchange, &url, response, reporter)?;
            return Ok((last, None));
        }
        let mut challenge = challenge(&response, exchange);
        let needs_nonce = challenge.as_ref().is_some_and(|it| it.needs_nonce);
        if let (true, Some(bound)) = (needs_nonce, credential.as_mut())
            && bound.key.is_some()
        {
            if nonce.is_some() && !has_fresh_nonce {
                has_fresh_nonce = true;
                bound.nonce = nonce;
                continue;
            }
            // A sign-in would not help.
            challenge = None;
        }
        let mut refusal =
            response::in_time(slot, || response::refusal(shared, exchange, &url, response));
        if (400..500).contains(&status) {
            let unset = &shared.config.unset_variables;
            refusal.error = Arc::new(error::naming_unset(&refusal.error, unset));
        }
        return Ok((Progress::Refused(refusal), challenge));
    }
}

/// The nonce that the server sent, for this request and the next ones.
fn keep_nonce(shared: &Shared, response: &Response<Body>) -> Option<String> {
    let name = HeaderName::from_static(dpop::NONCE_HEADER);
    let nonce = header_text(response, name).filter(|it| dpop::valid_nonce(it).is_some())?;
    if let Some(authorizer) = &shared.authorizer {
        authorizer.keep_resource_nonce(&nonce);
    }
    Some(nonce)
}

/// The challenge of a 401, or of a 403 that asks for more scope. The DELETE at the end never starts a sign-in.
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

/// The worker's agent, unless the exchange was cancelled.
fn agent(shared: &Shared, slot: &AgentSlot, url: &Url) -> Attempt<Agent> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    match &*slot {
        Slot::Agent(agent) => return Ok(agent.clone()),
        Slot::Cut => {
            let error = Error::new(
                Kind::Closing,
                "the request was cancelled before it was sent",
            );
            return Err((error, Stage::Hopeless));
        }
        Slot::Empty => {}
    }
    let agent = shared.agents.agent(url).map_err(|e| (e, Stage::Hopeless))?;
    *slot = Slot::Agent(agent.clone());
    Ok(agent)
}

/// Sends the request, with the additional roots if they are needed.
fn send(
    shared: &Shared,
    slot: &AgentSlot,
    exchange: &Exchange,
    url: &Url,
    credential: Option<&Credential>,
) -> Attempt<Response<Body>> {
    let send = || {
        let sent = send_once(
            shared,
            &agent(shared, slot, url)?,
            exchange,
            url,
            credential,
        )?;
        if sent.is_err() {
            forget_agent(slot);
        }
        Ok(sent)
    };
    shared
        .agents
        .with_known_roots(send)?
        .map_err(|e| error::from_request(&e, url, &shared.config.http))
}

/// The next request of this worker gets a new agent: this one may have been made with the wrong roots, or its connection is too
/// old.
pub(crate) fn forget_agent(slot: &AgentSlot) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(*slot, Slot::Agent(_)) {
        *slot = Slot::Empty;
    }
}

fn send_once(
    shared: &Shared,
    agent: &Agent,
    exchange: &Exchange,
    url: &Url,
    credential: Option<&Credential>,
) -> Attempt<Result<Response<Body>, ureq::Error>> {
    // An invalid address or header stays invalid.
    let hopeless = |e: ureq::http::Error| {
        let what = format!("cannot make a request to {}: {e}", shown(url));
        (Error::new(Kind::Config, what), Stage::Hopeless)
    };
    let mut headers = headers(shared, exchange, url, credential).map_err(hopeless)?;
    if let (Some(authorizer), Some(credential)) = (&shared.authorizer, credential) {
        let proof = authorizer.proof(credential, method(&exchange.action), url);
        if let Some(proof) = proof.map_err(|e| (e, Stage::Hopeless))? {
            let value = HeaderValue::try_from(proof).map_err(|e| hopeless(e.into()))?;
            headers.insert(HeaderName::from_static(dpop::HEADER), value);
        }
    }
    for (name, value) in &headers {
        let length = name.as_str().len() + value.len();
        if length > MAX_HEADER {
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
    credential: Option<&Credential>,
) -> Result<HeaderMap, ureq::http::Error> {
    let mut headers = request::headers(exchange, &shared.config.headers)?;
    // Redirects and endpoints have the server's origin, so the token is not sent to another one.
    if let Some(credential) = credential {
        let value = HeaderValue::try_from(credential.authorization().expose())?;
        headers.insert(HeaderName::try_from(shared.config.token_header())?, value);
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

pub(crate) fn header_text(response: &Response<Body>, name: header::HeaderName) -> Option<String> {
    response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
