//! Reads a response: an event stream, a JSON body, or a refusal.
//!
//! - A 2xx body is an event stream, or it is read whole and must be JSON-RPC, whatever its type says.
//! - Any other response is a refusal: its JSON-RPC error, if it holds one, else an error with its status and first line.
//! - Bodies are read up to the message limit; error bodies up to [`MAX_ERROR_BODY`].
//!
//! Spec: MCP 2025-11-25 basic/transports (Streamable HTTP); WHATWG HTML 9.2.
//! Not done here: time limits, except that of a refusal's body; the bridge sets them and cancels the exchange.

use std::io::{self, Read};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::{Response, header};
use url::Url;

use crate::bridge::{
    Content, End, EventId, Exchange, Head, HttpRequest, Progress, Refusal, SessionId, Stage,
};
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, Parsed};
use crate::log::clean;
use crate::transport::backpressure::{Permit, make_room};
use crate::transport::http::error;
use crate::transport::http::exchange::{Attempt, Reporter, Shared, forget_agent, header_text};
use crate::transport::http::http_sse;
use crate::transport::http::request;
use crate::transport::http::retry_after::retry_after;
use crate::transport::http::sse;
use crate::transport::http::worker::{AgentSlot, Slot};
use crate::url::shown;

/// The body of a refusal is read up to 1 MiB.
const MAX_ERROR_BODY: usize = 1024 * 1024;
/// Minimum interval between `Alive` events.
const ALIVE_INTERVAL: Duration = Duration::from_millis(250);

/// Reports a 2xx response; returns the last event.
pub(crate) fn accepted(
    shared: &Arc<Shared>,
    exchange: &Exchange,
    url: &Url,
    response: Response<Body>,
    reporter: &Reporter,
) -> Attempt<Progress> {
    let content_type = header_text(&response, header::CONTENT_TYPE);
    let content = request::content(
        &exchange.action,
        response.status().as_u16(),
        content_type.as_deref(),
    );
    let session = response
        .headers()
        .get(request::SESSION)
        .and_then(|value| value.to_str().ok());
    let session = session
        .filter(|id| fits_a_header(id))
        .map(|id| SessionId(id.into()));
    reporter.report(Progress::Opened(Head { session, content }));
    match content {
        Content::Nothing => {
            drain(response);
            Ok(Progress::Ended(End::Complete))
        }
        Content::Json if matches!(exchange.action, HttpRequest::Listen { .. }) => {
            let what = format!(
                "{} answered a GET with \"{}\" instead of an event stream",
                shown(url),
                clean(content_type.as_deref().unwrap_or("nothing"), 80)
            );
            Err((Error::new(Kind::PeerMisbehaved, what), Stage::Hopeless))
        }
        Content::Json => read_json(shared, url, content_type.as_deref(), response, reporter),
        Content::Stream => read_stream(shared, exchange, url, response, reporter),
    }
}

/// Ids are sent back as headers, so invalid and overlong ones are ignored.
fn fits_a_header(id: &str) -> bool {
    !id.is_empty() && id.len() <= 8192 && header::HeaderValue::from_str(id).is_ok()
}

/// Reads an unneeded body if it is short and its length is known, so that the connection can be reused. A body without a
/// length may never end.
fn drain(response: Response<Body>) {
    let (parts, body) = response.into_parts();
    let length = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length <= 64 * 1024) {
        // Errors do not matter for a body that is dropped.
        std::io::copy(&mut body.into_reader(), &mut std::io::sink()).ok();
    }
}

/// Bytes of a body that are kept to be quoted if it is not a valid message.
const MAX_QUOTE: usize = 800;

fn read_json(
    shared: &Arc<Shared>,
    url: &Url,
    content_type: Option<&str>,
    response: Response<Body>,
    reporter: &Reporter,
) -> Attempt<Progress> {
    let text = read_body(url, response, shared.config.message_limit, Some(reporter))?;
    let size = text.len();
    let start = text
        .as_bytes()
        .get(..MAX_QUOTE.min(size))
        .map(<[u8]>::to_vec);
    let parsed = match Message::read(text) {
        Ok(parsed) => parsed,
        Err(malformed) => {
            let kind = clean(content_type.unwrap_or("no content type"), 80);
            let error = |what| Error::new(Kind::PeerMisbehaved, what);
            let start = String::from_utf8_lossy(&start.unwrap_or_default()).into_owned();
            let start = clean(start.trim_start().lines().next().unwrap_or_default(), 200);
            if start.is_empty() {
                let what = format!("{} answered with an empty body ({kind})", shown(url));
                return Err((error(what), Stage::Answering));
            }
            let what = format!(
                "{} answered with something that is not a JSON-RPC message ({kind}; {})",
                shown(url),
                malformed.reason
            );
            return Err((error(what).with_detail(start), Stage::Answering));
        }
    };
    // Waits while the budget is used up.
    let permit = shared.budget.take(size);
    reporter.hold(Progress::Event {
        id: None,
        parsed: Ok(parsed.holding(permit.into())),
    });
    Ok(Progress::Ended(End::Complete))
}

/// Bytes of a stream read at once; each worker with a stream has as much of its stack resident.
const CHUNK: usize = 8 * 1024;

/// Memory reserved for an announced length before any byte has come. The rest is reserved when this is filled.
const MAX_PREALLOCATED: usize = 256 * 1024;

fn read_body(
    url: &Url,
    response: Response<Body>,
    limit: usize,
    reporter: Option<&Reporter>,
) -> Attempt<String> {
    let expected = response
        .body()
        .content_length()
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(0);
    let mut reader = Watched {
        reader: response.into_body().into_reader(),
        reporter,
        told: Instant::now(),
    };
    let mut body = Vec::new();
    for most in [MAX_PREALLOCATED.min(limit), limit.saturating_add(1)] {
        let left = most.saturating_sub(body.len());
        if expected > body.len() {
            // If the system refuses one large block, the body grows as it is filled.
            body.try_reserve_exact(left.min(expected - body.len())).ok();
        } else if body.len() >= MAX_PREALLOCATED {
            make_room(&mut body, left, most);
        }
        (&mut reader)
            .take(left as u64)
            .read_to_end(&mut body)
            .map_err(|e| (error::from_body(&e, url), Stage::Answering))?;
    }
    if body.len() > limit {
        let what = format!(
            "the answer of {} is longer than {} MiB (--max-message-size)",
            shown(url),
            limit / (1024 * 1024)
        );
        return Err((Error::new(Kind::PeerMisbehaved, what), Stage::Answering));
    }
    Ok(String::from_utf8(body)
        .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// A body; reports that its bytes keep coming.
struct Watched<'a, R> {
    reader: R,
    reporter: Option<&'a Reporter>,
    told: Instant,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        if let Some(reporter) = self.reporter
            && self.told.elapsed() >= ALIVE_INTERVAL
        {
            self.told = Instant::now();
            reporter.report(Progress::Alive);
        }
        Ok(read)
    }
}

fn read_stream(
    shared: &Arc<Shared>,
    exchange: &Exchange,
    url: &Url,
    response: Response<Body>,
    reporter: &Reporter,
) -> Attempt<Progress> {
    let http_sse = matches!(exchange.action, HttpRequest::Listen { http_sse: true, .. });
    let mut reader = response.into_body().into_reader();
    let mut parser = sse::Parser::new(shared.config.message_limit);
    let mut chunk = [0; CHUNK];
    let mut told = Instant::now();
    loop {
        let read = match reader.read(&mut chunk) {
            Ok(0) => return Ok(Progress::Ended(End::Complete)),
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => {
                return Err((error::from_body(&e, url), Stage::Answering));
            }
        };
        let items = parser
            .feed(chunk.get(..read).unwrap_or_default())
            .map_err(|_| {
                let what = format!(
                    "an event of {} is longer than {} MiB (--max-message-size)",
                    shown(url),
                    shared.config.message_limit / (1024 * 1024)
                );
                (Error::new(Kind::PeerMisbehaved, what), Stage::Hopeless)
            })?;
        let quiet = items.is_empty();
        if !quiet {
            // One permit for all, taken before any of them is held: it waits while the budget is used up.
            let permit = Arc::new(shared.budget.take(items.iter().map(sse::Item::size).sum()));
            for item in items {
                hold_item(url, http_sse, item, &permit, reporter);
            }
            drop(permit);
            reporter.report_held();
        }
        if quiet && told.elapsed() >= ALIVE_INTERVAL {
            told = Instant::now();
            reporter.report(Progress::Alive);
        }
    }
}

fn hold_item(
    url: &Url,
    http_sse: bool,
    item: sse::Item,
    permit: &Arc<Permit>,
    reporter: &Reporter,
) {
    let event = match item {
        sse::Item::Retry(retry) => return reporter.hold(Progress::Retry(retry)),
        sse::Item::Event(event) => event,
    };
    let id = event.id.filter(|id| id.is_empty() || fits_a_header(id));
    let id = id.map(EventId);
    if event.data.is_empty() {
        if let Some(id) = id {
            reporter.hold(Progress::EventId(id));
        }
        return;
    }
    if event.name == "endpoint" && http_sse {
        return reporter.hold(Progress::Endpoint(http_sse::endpoint(url, &event.data)));
    }
    // Other event types are ignored; "message" is the default.
    if event.name != "message" {
        return;
    }
    let parsed = Message::read(event.data).map(|parsed| parsed.holding(Arc::clone(permit)));
    reporter.hold(Progress::Event { id, parsed });
}

/// Reads any other response.
pub(crate) fn refusal(
    shared: &Shared,
    exchange: &Exchange,
    url: &Url,
    response: Response<Body>,
) -> Refusal {
    let status = response.status().as_u16();
    let retry_after = retry_after(&response);
    // Without a readable body the status is enough.
    let body = match exchange.action {
        HttpRequest::EndSession => String::new(),
        HttpRequest::Post { .. } | HttpRequest::Listen { .. } => {
            let body = read_body(url, response, MAX_ERROR_BODY, None).unwrap_or_default();
            shared.log.secrets.take_from(&body)
        }
    };
    let answer = match Message::read(body.clone()) {
        Ok(Parsed::One(message))
            if matches!(message.kind(), jsonrpc::Kind::Response { failed: true, .. }) =>
        {
            Some(message)
        }
        _ => None,
    };
    let mut error = Error::new(Kind::Http(status), refused_in_words(url, status))
        .with_retry_after(retry_after.map(|pause| pause.as_secs()));
    if let Some(line) = first_line(&body) {
        error = error.with_detail(line);
    }
    Refusal {
        status,
        retry_after,
        needs_sign_in: None,
        had_credentials: shared.authorizer.is_none(),
        answer,
        error: Arc::new(hinted(error, status, &shared.config)),
    }
}

/// How long the body of a refusal is waited for: its status is enough to act on.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads a refusal, and cuts the connection if its body does not end in time.
pub(super) fn in_time(slot: &AgentSlot, read: impl FnOnce() -> Refusal) -> Refusal {
    let agent = match &*slot.lock().unwrap_or_else(PoisonError::into_inner) {
        Slot::Agent(agent) => Some(agent.clone()),
        Slot::Empty | Slot::Cut => None,
    };
    let (done, is_done) = channel::<()>();
    let watch = move || {
        let is_late = is_done.recv_timeout(REFUSAL_TIMEOUT) == Err(RecvTimeoutError::Timeout);
        if let (true, Some(agent)) = (is_late, agent) {
            agent.shutdown();
        }
        is_late
    };
    // Without the thread, the bridge's time limits remain.
    let watcher = std::thread::Builder::new()
        .name("refusal".to_owned())
        .stack_size(128 * 1024)
        .spawn(watch);
    let refusal = read();
    drop(done);
    if watcher.is_ok_and(|watcher| watcher.join().unwrap_or(true)) {
        forget_agent(slot);
    }
    refusal
}

fn refused_in_words(url: &Url, status: u16) -> String {
    let reason = ureq::http::StatusCode::from_u16(status).ok();
    match reason.and_then(|status| status.canonical_reason()) {
        Some(reason) => format!("{} answered {status} ({reason})", shown(url)),
        None => format!("{} answered {status}", shown(url)),
    }
}

/// The first line of a refusal's body, if it explains something: a page for a browser does not.
fn first_line(body: &str) -> Option<String> {
    let first = body.trim_start().lines().next().unwrap_or_default();
    (!first.is_empty() && !first.starts_with('<')).then(|| clean(first, 300))
}

fn hinted(error: Error, status: u16, config: &Config) -> Error {
    match status {
        401 | 403 if config.has_own_authorization() => error
            .with_hint("the server did not accept the Authorization header that was configured"),
        401 if config.oauth.no_oauth => error.with_hint(
            "the server requires a sign-in: remove --no-oauth, or pass a key or token with --header",
        ),
        404 | 405 => {
            error.with_hint("check the path of the address: most servers are at /mcp or /sse")
        }
        _ => error,
    }
}
