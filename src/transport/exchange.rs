//! Runs one HTTP exchange on an agent and turns what comes back into news for the bridge.
//!
//! - Redirects are followed by hand (`redirect`); credentials and configured headers never leave the origin.
//! - What the response says is read in `answer`.
//!
//! Spec: MCP 2025-11-25 basic/transports (Streamable HTTP); RFC 9110 15; WHATWG HTML 9.2.
//! Not done here: no time limits beyond connecting; the bridge sets them and cuts the lane.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ureq::http::{Request, Response, header};
use ureq::{Agent, Body};
use url::Url;

use super::agent::Agents;
use super::cookies::Jar;
use super::lane::AgentSlot;
use super::{Inbox, answer, failure, redirect, streamable_http};
use crate::bridge::{Action, End, Exchange, ExchangeId, Input, Progress, Stage};
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::flow::Budget;
use crate::log::{Level, Log};
use crate::url::shown;

/// What all lanes share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) agents: Agents,
    pub(super) cookies: Mutex<Jar>,
    pub(super) log: Arc<Log>,
    pub(super) budget: Arc<Budget>,
}

/// Sends the news of one exchange to the inbox.
pub(super) struct Reporter {
    id: ExchangeId,
    inbox: Sender<Inbox>,
}

impl Reporter {
    pub(super) fn new(id: ExchangeId, inbox: Sender<Inbox>) -> Reporter {
        Reporter { id, inbox }
    }

    /// The inbox is closed only when the process is leaving.
    pub(super) fn report(&self, progress: Progress) {
        self.inbox
            .send(Inbox::Bridge(Input::Progress(self.id, progress)))
            .ok();
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

fn attempt(
    shared: &Arc<Shared>,
    slot: &AgentSlot,
    exchange: &Exchange,
    reporter: &Reporter,
) -> Attempt<Progress> {
    let mut url = match &exchange.action {
        Action::Post {
            endpoint: Some(endpoint),
            ..
        } => endpoint.clone(),
        _ => shared.config.server.clone(),
    };
    let method = method(&exchange.action);
    let mut hops = 0;
    loop {
        let response = send(shared, slot, exchange, &url)?;
        let status = response.status().as_u16();
        store_cookies(shared, &url, &response);
        shared.log.say(
            Level::Debug,
            &format!("{method} {} answered {status}", shown(&url)),
        );
        if (300..400).contains(&status) && status != 304 {
            let location = header_text(&response, header::LOCATION);
            hops += 1;
            url = redirect::target(method, &url, status, location.as_deref(), hops)
                .map_err(|e| (e, Stage::Hopeless))?;
            continue;
        }
        return if response.status().is_success() {
            answer::accepted(shared, exchange, &url, response, reporter)
        } else {
            Ok(Progress::Refused(answer::refusal(
                shared, exchange, &url, response,
            )))
        };
    }
}

fn method(action: &Action) -> &'static str {
    match action {
        Action::Post { .. } => "POST",
        Action::Listen { .. } => "GET",
        Action::EndSession => "DELETE",
    }
}

/// The lane's agent; a new one after the last was cut.
fn agent(shared: &Shared, slot: &AgentSlot, url: &Url) -> Attempt<Agent> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(agent) = &*slot {
        return Ok(agent.clone());
    }
    let agent = shared.agents.agent(url).map_err(|e| (e, Stage::Hopeless))?;
    *slot = Some(agent.clone());
    Ok(agent)
}

/// Sends the request; once more with the additional roots, if the built-in ones did not know the certificate.
fn send(
    shared: &Shared,
    slot: &AgentSlot,
    exchange: &Exchange,
    url: &Url,
) -> Attempt<Response<Body>> {
    let first = send_once(shared, &agent(shared, slot, url)?, exchange, url)?;
    let sent = match first {
        Err(error)
            if failure::is_unknown_issuer(&error) && shared.agents.use_additional_roots() =>
        {
            slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            send_once(shared, &agent(shared, slot, url)?, exchange, url)?
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
) -> Attempt<Result<Response<Body>, ureq::Error>> {
    let mut headers = streamable_http::headers(exchange, &shared.config.headers);
    let has_cookie = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    if shared.config.cookies && !has_cookie {
        let jar = shared
            .cookies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        headers.extend(
            jar.header(url, unix_now())
                .map(|cookies| ("cookie".to_owned(), cookies)),
        );
    }
    let mut request = Request::builder()
        .method(method(&exchange.action))
        .uri(url.as_str());
    for (name, value) in &headers {
        request = request.header(name, value.expose());
    }
    // An address or a header that HTTP cannot carry will not do better the next time.
    let hopeless = |e: ureq::http::Error| {
        let what = format!("cannot make a request to {}: {e}", shown(url));
        (Error::new(Kind::Config, what), Stage::Hopeless)
    };
    Ok(match &exchange.action {
        Action::Post { message, .. } => {
            agent.run(request.body(message.text().as_bytes()).map_err(hopeless)?)
        }
        Action::Listen { .. } | Action::EndSession => {
            agent.run(request.body(()).map_err(hopeless)?)
        }
    })
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
