//! Reads a response: an event stream, a JSON body, or a refusal.
//!
//! - A 2xx body is an event stream, or it is read whole and must be JSON-RPC, whatever its type says.
//! - Any other answer is a refusal: its JSON-RPC error, if it holds one, else its status and first line in words.
//! - Bodies are read up to the message limit; error bodies up to [`ERROR_BODY_LIMIT`].
//!
//! Spec: MCP 2025-11-25 basic/transports (Streamable HTTP); WHATWG HTML 9.2.
//! Not done here: no time limits; the bridge sets them and cuts the lane.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::{Response, header};
use url::Url;

use super::exchange::{Attempt, Reporter, Shared, header_text, unix_now};
use super::{failure, http_date, http_sse, sse, streamable_http};
use crate::bridge::{
    Content, End, EventId, Exchange, Head, HttpRequest, Progress, Refusal, SessionId, Stage,
};
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::jsonrpc::{self, Message, Parsed};
use crate::log::clean;
use crate::url::shown;

/// The body of a refusal is read up to 1 MiB.
const ERROR_BODY_LIMIT: usize = 1024 * 1024;
/// How often a silent limit is told that bytes are coming.
const ALIVE_EVERY: Duration = Duration::from_millis(250);

/// A 2xx answer: its news, and its last.
pub(super) fn accepted(
    shared: &Arc<Shared>,
    exchange: &Exchange,
    url: &Url,
    response: Response<Body>,
    reporter: &Reporter,
) -> Attempt<Progress> {
    let content_type = header_text(&response, header::CONTENT_TYPE);
    let content = streamable_http::content(
        &exchange.action,
        response.status().as_u16(),
        content_type.as_deref(),
    );
    let session = response
        .headers()
        .get(streamable_http::SESSION)
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

/// Ids are sent back as headers: what no header can carry, or no server would take, is none.
fn fits_a_header(id: &str) -> bool {
    !id.is_empty() && id.len() <= 8192 && header::HeaderValue::from_str(id).is_ok()
}

/// A body that nobody needs is read only if it is short and its length is known, so that the connection can be used again.
/// A 202 without a length would never end.
fn drain(response: Response<Body>) {
    let (parts, body) = response.into_parts();
    let length = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length <= 64 * 1024) {
        // It is thrown away: how the read ends makes no difference.
        std::io::copy(&mut body.into_reader(), &mut std::io::sink()).ok();
    }
}

/// So many bytes of an answer are kept, to be quoted if it is no message.
const QUOTED: usize = 800;

fn read_json(
    shared: &Arc<Shared>,
    url: &Url,
    content_type: Option<&str>,
    response: Response<Body>,
    reporter: &Reporter,
) -> Attempt<Progress> {
    let text = read_body(url, response, shared.config.message_limit, Some(reporter))?;
    let size = text.len();
    let start = text.as_bytes().get(..QUOTED.min(size)).map(<[u8]>::to_vec);
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
                "{} answered with something that is no JSON-RPC message ({kind}; {})",
                shown(url),
                malformed.reason
            );
            return Err((error(what).with_detail(start), Stage::Answering));
        }
    };
    reporter.hold(Progress::Event {
        id: None,
        parsed: Ok(held(shared, parsed, size)),
    });
    Ok(Progress::Ended(End::Complete))
}

/// The messages hold their part of the budget until they are written; this waits while too much is under way.
fn held(shared: &Shared, parsed: Parsed, size: usize) -> Parsed {
    parsed.holding(shared.budget.take(size))
}

/// Bytes taken from a connection at once; each busy lane has that much of its stack resident.
const CHUNK: usize = 8 * 1024;

/// A length is believed up to here; the memory for more is asked for when the bytes are there.
const MOST_AT_ONCE: usize = 256 * 1024;

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
    let mut reader = response.into_body().into_reader();
    let mut body = Vec::with_capacity(expected.min(limit).min(MOST_AT_ONCE));
    let mut chunk = [0; CHUNK];
    let mut told = Instant::now();
    loop {
        let read = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => {
                return Err((failure::of_body(&e, url), Stage::Answering));
            }
        };
        body.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if body.len() > limit {
            let what = format!(
                "the answer of {} is longer than {} MiB (--max-message-size)",
                shown(url),
                limit / (1024 * 1024)
            );
            return Err((Error::new(Kind::PeerMisbehaved, what), Stage::Answering));
        }
        if let Some(reporter) = reporter
            && told.elapsed() >= ALIVE_EVERY
        {
            told = Instant::now();
            reporter.report(Progress::Alive);
        }
    }
    Ok(String::from_utf8(body)
        .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
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
                return Err((failure::of_body(&e, url), Stage::Answering));
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
        for item in items {
            report_item(shared, url, http_sse, item, reporter);
        }
        if quiet && told.elapsed() >= ALIVE_EVERY {
            told = Instant::now();
            reporter.report(Progress::Alive);
        }
    }
}

fn report_item(
    shared: &Arc<Shared>,
    url: &Url,
    http_sse: bool,
    item: sse::Item,
    reporter: &Reporter,
) {
    let event = match item {
        sse::Item::Retry(retry) => return reporter.report(Progress::Retry(retry)),
        sse::Item::Event(event) => event,
    };
    let id = event.id.filter(|id| id.is_empty() || fits_a_header(id));
    let id = id.map(EventId);
    if event.data.is_empty() {
        if let Some(id) = id {
            reporter.report(Progress::EventId(id));
        }
        return;
    }
    if event.name == "endpoint" && http_sse {
        return reporter.report(Progress::Endpoint(http_sse::endpoint(url, &event.data)));
    }
    // Events of other names are not ours (SSE allows any); "message" is the default.
    if event.name != "message" {
        return;
    }
    let size = event.data.len();
    let parsed = Message::read(event.data).map(|parsed| held(shared, parsed, size));
    reporter.report(Progress::Event { id, parsed });
}

/// Any other answer.
pub(super) fn refusal(
    shared: &Shared,
    exchange: &Exchange,
    url: &Url,
    response: Response<Body>,
) -> Refusal {
    let status = response.status().as_u16();
    let retry_after = header_text(&response, header::RETRY_AFTER)
        .and_then(|text| http_date::parse_retry_after(&text, unix_now()));
    // A refusal stands without its body; one that breaks off is quoted as far as it came.
    let body = match exchange.action {
        HttpRequest::EndSession => String::new(),
        HttpRequest::Post { .. } | HttpRequest::Listen { .. } => {
            read_body(url, response, ERROR_BODY_LIMIT, None).unwrap_or_default()
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
        answer,
        error: Arc::new(hinted(error, status, &shared.config)),
    }
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
    let has_authorization = config
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    match status {
        401 | 403 if has_authorization => error
            .with_hint("the server did not accept the Authorization header that was configured"),
        404 | 405 => {
            error.with_hint("check the path of the address: most servers are at /mcp or /sse")
        }
        _ => error,
    }
}
