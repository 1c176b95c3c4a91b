//! The headers of a POST, GET or DELETE, and the kind of body of its response. Pure.
//!
//! - POST accepts JSON and event streams; GET accepts an event stream.
//! - `Mcp-Session-Id` and `MCP-Protocol-Version` follow the handshake.
//! - A configured header replaces ours of the same name, as in npm, but not the two that belong to the session.
//! - The headers that mirror a modern message replace configured ones: a server must refuse what differs.
//! - The body of a 202 or 204 is never waited for.
//!
//! Spec: MCP 2025-11-25 basic/transports (Streamable HTTP); RFC 9110 8.3 (media types).

use ureq::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::bridge::{Content, Exchange, HttpRequest};
use crate::secret::Secret;

/// The headers of an exchange: ours, then the configured ones.
///
/// # Errors
/// If a name or a value is invalid in HTTP.
pub(crate) fn headers(
    exchange: &Exchange,
    configured: &[(String, Secret)],
) -> Result<HeaderMap, ureq::http::Error> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(
        header::ACCEPT,
        HeaderValue::from_static(accept(&exchange.action)),
    );
    if matches!(exchange.action, HttpRequest::Post { .. }) {
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
    }
    if let HttpRequest::Listen {
        after: Some(after), ..
    } = &exchange.action
    {
        headers.insert(LAST_EVENT_ID, HeaderValue::try_from(&*after.0)?);
    }
    for (name, _) in configured {
        headers.remove(name);
    }
    for (name, value) in configured {
        let name = HeaderName::try_from(name)?;
        if exchange.session.is_none() || !(name == SESSION || name == VERSION) {
            headers.append(name, HeaderValue::try_from(value.expose())?);
        }
    }
    if let Some(session) = &exchange.session {
        headers.insert(SESSION, HeaderValue::try_from(&*session.0)?);
    }
    if let Some(version) = &exchange.version {
        headers.insert(VERSION, HeaderValue::try_from(&**version)?);
    }
    for (name, value) in &exchange.metadata {
        headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    Ok(headers)
}

/// The header that names the session.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The header that names the negotiated version.
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

fn accept(action: &HttpRequest) -> &'static str {
    match action {
        HttpRequest::Post { .. } => "application/json, text/event-stream",
        HttpRequest::Listen { .. } => "text/event-stream",
        HttpRequest::EndSession => "application/json",
    }
}

/// The kind of body of a 2xx response.
pub(crate) fn content(action: &HttpRequest, status: u16, content_type: Option<&str>) -> Content {
    let is_stream = content_type.is_some_and(is_event_stream);
    match action {
        HttpRequest::Post {
            reads_answer: false,
            ..
        }
        | HttpRequest::EndSession => Content::Nothing,
        _ if matches!(status, 202 | 204 | 205) => Content::Nothing,
        HttpRequest::Listen { .. } | HttpRequest::Post { .. } if is_stream => Content::Stream,
        // The body decides whether it is JSON: some servers send no type, or the wrong one.
        HttpRequest::Listen { .. } | HttpRequest::Post { .. } => Content::Json,
    }
}

/// Whether a `Content-Type` is `text/event-stream`: any case, any parameters.
pub(crate) fn is_event_stream(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("text/event-stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::{EventId, SessionId};
    use crate::jsonrpc::Message;
    use std::sync::Arc;

    fn post() -> HttpRequest {
        let message = Arc::new(Message::parse(r#"{"id":1,"method":"x"}"#).unwrap());
        HttpRequest::Post {
            message,
            endpoint: None,
            reads_answer: true,
        }
    }

    fn shown(exchange: &Exchange, configured: &[(&str, &str)]) -> Vec<String> {
        let configured: Vec<_> = configured
            .iter()
            .map(|(n, v)| ((*n).to_owned(), Secret::new(*v)))
            .collect();
        headers(exchange, &configured)
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn a_post_accepts_both_answers_and_carries_the_session() {
        let exchange = Exchange {
            action: post(),
            session: Some(SessionId("s".into())),
            version: Some("2025-11-25".into()),
            metadata: Vec::new(),
        };
        assert_eq!(
            shown(&exchange, &[]),
            [
                "accept: application/json, text/event-stream",
                "content-type: application/json",
                "mcp-session-id: s",
                "mcp-protocol-version: 2025-11-25"
            ]
        );
    }

    #[test]
    fn configured_headers_replace_ours_but_not_the_session() {
        let exchange = Exchange {
            action: post(),
            session: Some(SessionId("s".into())),
            version: None,
            metadata: Vec::new(),
        };
        assert_eq!(
            shown(
                &exchange,
                &[
                    ("Accept", "application/json"),
                    ("X-A", "1"),
                    ("Mcp-Session-Id", "mine")
                ]
            ),
            [
                "content-type: application/json",
                "accept: application/json",
                "x-a: 1",
                "mcp-session-id: s"
            ]
        );
    }

    #[test]
    fn a_resumed_stream_names_the_last_event() {
        let action = HttpRequest::Listen {
            after: Some(EventId("e7".into())),
            http_sse: false,
        };
        let exchange = Exchange {
            action,
            session: None,
            version: None,
            metadata: Vec::new(),
        };
        assert_eq!(
            shown(&exchange, &[]),
            ["accept: text/event-stream", "last-event-id: e7"]
        );
    }

    #[test]
    fn media_types_are_read_in_any_case_and_with_parameters() {
        assert_eq!(
            content(&post(), 200, Some("Text/Event-Stream; charset=utf-8")),
            Content::Stream
        );
        assert_eq!(
            content(&post(), 200, Some("application/JSON;charset=utf-8")),
            Content::Json
        );
        assert_eq!(content(&post(), 200, None), Content::Json);
        assert_eq!(
            content(&post(), 202, Some("application/json")),
            Content::Nothing
        );
        assert_eq!(
            content(&HttpRequest::EndSession, 200, Some("application/json")),
            Content::Nothing
        );
    }
}
