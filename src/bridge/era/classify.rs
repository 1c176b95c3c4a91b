//! What the response to a first request says about the era of the server.
//!
//! - The codes `-32020` to `-32022` are modern, whatever the status, except a `-32022` that names legacy versions only.
//! - A modern server may refuse `initialize` as unknown, invalid or with a 4xx; sign-in and overload do not count. One that
//!   accepts it names a modern version.
//! - A modern server supports `server/discover`: any other error for it is legacy, and so is a result that names legacy versions
//!   only. For other methods, 404 with `-32601` is modern; `-32601` in a 200, a result without `resultType` and any other 4xx are
//!   legacy.
//!
//! Spec: MCP 2026-07-28 basic/versioning (Backward Compatibility, Compatibility Matrix), basic/transports/streamable-http
//! (Protocol Version Header, Backward Compatibility).
//! Not done here: no text of an error is read; servers say what they like.

use crate::bridge::Refusal;
use crate::bridge::backoff::is_safe;
use crate::jsonrpc::{self, Kind, Message};
use crate::mcp::errors;
use crate::mcp::subscriptions::LISTEN;
use crate::mcp::version::{self, Era};

/// What follows from a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Classification {
    /// The server is of this era; the response is passed on.
    Is(Era),
    /// It refuses this era, and may speak the other.
    Refuses,
    /// Nothing.
    Undecided,
}

/// A response in a 2xx response to a client of this era.
pub(crate) fn response(client: Era, method: &str, answer: &Message) -> Classification {
    let failed = matches!(answer.kind(), Kind::Response { failed: true, .. });
    match (client, failed) {
        (Era::Legacy, false) => {
            let agreed = jsonrpc::member_at(answer.text(), &["result", "protocolVersion"]);
            match agreed.and_then(jsonrpc::string) {
                // No legacy client can go on from here.
                Some(agreed) if version::has_modern(std::slice::from_ref(&agreed)) => {
                    Classification::Refuses
                }
                Some(_) | None => Classification::Is(Era::Legacy),
            }
        }
        (Era::Legacy, true) => match errors::code(answer) {
            Some(errors::UNSUPPORTED_VERSION) => of_versions(client, answer),
            Some(code) if errors::is_modern(code) => Classification::Refuses,
            Some(errors::METHOD_NOT_FOUND | errors::INVALID_PARAMS | errors::INVALID_REQUEST) => {
                Classification::Refuses
            }
            Some(_) | None => Classification::Undecided,
        },
        (Era::Modern, false) => {
            let said = |name| jsonrpc::member_at(answer.text(), &["result", name]).is_some();
            match method {
                "server/discover" if said("supportedVersions") => of_versions(client, answer),
                "server/discover" => Classification::Refuses,
                _ if said("resultType") => Classification::Is(Era::Modern),
                _ => Classification::Is(Era::Legacy),
            }
        }
        (Era::Modern, true) => match errors::code(answer) {
            Some(errors::UNSUPPORTED_VERSION) => of_versions(client, answer),
            Some(code) if errors::is_modern(code) => Classification::Is(Era::Modern),
            Some(_) | None if method == "server/discover" => Classification::Refuses,
            // A modern server that does not know a method says so with a 404.
            Some(errors::METHOD_NOT_FOUND) => Classification::Refuses,
            Some(_) | None => Classification::Undecided,
        },
    }
}

/// A response that is not 2xx.
pub(crate) fn refusal(
    client: Era,
    method: &str,
    refusal: &Refusal,
    falls_back: bool,
) -> Classification {
    let code = refusal.answer.as_ref().and_then(errors::code);
    if let (Some(code), Some(answer)) = (code, &refusal.answer)
        && errors::is_modern(code)
    {
        return response(client, method, answer);
    }
    match client {
        // A page instead of an error is what a server of HTTP+SSE says to a POST.
        Era::Legacy if falls_back && code.is_none() => Classification::Undecided,
        Era::Legacy if may_be_modern(refusal.status) => Classification::Refuses,
        Era::Legacy => Classification::Undecided,
        Era::Modern
            if refusal.status == 404
                && code == Some(errors::METHOD_NOT_FOUND)
                && method != "server/discover" =>
        {
            Classification::Is(Era::Modern)
        }
        Era::Modern if may_be_modern(refusal.status) => Classification::Refuses,
        // A server that failed may have carried the request out.
        Era::Modern if refusal.status == 500 && (is_safe(method) || method == LISTEN) => {
            Classification::Refuses
        }
        Era::Modern => Classification::Undecided,
    }
}

/// Whether a refusal can be about the protocol: sign-in, overload and time-outs are not.
pub(crate) fn may_be_modern(status: u16) -> bool {
    matches!(status, 400..=499 | 501) && !matches!(status, 401 | 402 | 403 | 407 | 408 | 429)
}

/// The server names the versions it speaks.
fn of_versions(client: Era, answer: &Message) -> Classification {
    let offered = jsonrpc::member_at(answer.text(), &["result", "supportedVersions"]);
    let versions = match offered {
        Some(list) => serde_json::from_str(list).unwrap_or_default(),
        None => errors::supported(answer),
    };
    match client {
        Era::Legacy if version::has_legacy(&versions) && !version::has_modern(&versions) => {
            Classification::Undecided
        }
        Era::Legacy => Classification::Refuses,
        Era::Modern if version::has_legacy(&versions) && !version::has_modern(&versions) => {
            Classification::Refuses
        }
        Era::Modern => Classification::Is(Era::Modern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind as ErrorKind};
    use std::sync::Arc;

    fn refused(status: u16, body: &str) -> Refusal {
        Refusal {
            status,
            retry_after: None,
            needs_sign_in: None,
            had_credentials: false,
            answer: Message::parse(body).ok(),
            error: Arc::new(Error::new(ErrorKind::Http(status), "refused")),
        }
    }

    #[test]
    fn a_refused_initialize_is_told_apart_by_code_and_status() {
        let legacy = |status, body: &str, falls_back| {
            super::refusal(
                Era::Legacy,
                "initialize",
                &refused(status, body),
                falls_back,
            )
        };
        let unsupported =
            r#"{"id":1,"error":{"code":-32022,"message":"","data":{"supported":["2026-07-28"]}}}"#;
        assert_eq!(legacy(400, unsupported, true), Classification::Refuses);
        assert_eq!(
            legacy(404, r#"{"id":1,"error":{"code":-32601}}"#, true),
            Classification::Refuses
        );
        assert_eq!(legacy(404, "Not Found", true), Classification::Undecided);
        assert_eq!(legacy(400, "", false), Classification::Refuses);
        assert_eq!(legacy(401, "", false), Classification::Undecided);
        assert_eq!(legacy(503, "", false), Classification::Undecided);
    }

    #[test]
    fn a_refused_modern_request_is_told_apart_by_code_status_and_method() {
        let modern = |method, status, body: &str| {
            super::refusal(Era::Modern, method, &refused(status, body), true)
        };
        let session = r#"{"id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
        assert_eq!(
            modern("server/discover", 400, session),
            Classification::Refuses
        );
        assert_eq!(modern("server/discover", 404, ""), Classification::Refuses);
        assert_eq!(modern("server/discover", 405, ""), Classification::Refuses);
        assert_eq!(
            modern("server/discover", 500, "oops"),
            Classification::Refuses
        );
        assert_eq!(modern("tools/call", 500, ""), Classification::Undecided);
        assert_eq!(
            modern("server/discover", 401, ""),
            Classification::Undecided
        );
        let unknown = r#"{"id":1,"error":{"code":-32601,"message":""}}"#;
        assert_eq!(
            modern("tools/list", 404, unknown),
            Classification::Is(Era::Modern)
        );
        assert_eq!(
            modern("server/discover", 404, unknown),
            Classification::Refuses
        );
        let mismatch = r#"{"id":1,"error":{"code":-32020,"message":""}}"#;
        assert_eq!(
            modern("tools/call", 400, mismatch),
            Classification::Is(Era::Modern)
        );
        let older = r#"{"id":1,"error":{"code":-32022,"data":{"supported":["2025-11-25"]}}}"#;
        assert_eq!(modern("tools/call", 400, older), Classification::Refuses);
    }

    #[test]
    fn answers_in_a_200_are_told_apart() {
        let modern =
            |method, body: &str| response(Era::Modern, method, &Message::parse(body).unwrap());
        assert_eq!(
            modern(
                "server/discover",
                r#"{"id":1,"result":{"supportedVersions":[]}}"#
            ),
            Classification::Is(Era::Modern)
        );
        assert_eq!(
            modern("server/discover", r#"{"id":1,"error":{"code":-32601}}"#),
            Classification::Refuses
        );
        let names = |versions: &str| {
            let body = format!(r#"{{"id":1,"result":{{"supportedVersions":{versions}}}}}"#);
            modern("server/discover", &body)
        };
        assert_eq!(
            names(r#"["2025-11-25","2024-11-05"]"#),
            Classification::Refuses
        );
        assert_eq!(
            names(r#"["2025-11-25","2026-07-28"]"#),
            Classification::Is(Era::Modern)
        );
        assert_eq!(
            modern("tools/list", r#"{"id":1,"result":{"tools":[]}}"#),
            Classification::Is(Era::Legacy)
        );
        assert_eq!(
            modern("tools/call", r#"{"id":1,"error":{"code":-32602}}"#),
            Classification::Undecided
        );
        let unknown = r#"{"id":1,"error":{"code":-32601}}"#;
        assert_eq!(
            modern("subscriptions/listen", unknown),
            Classification::Refuses
        );
    }
}
