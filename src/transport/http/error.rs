//! What ureq's errors mean: one sentence, and whether trying again is safe.
//!
//! - What failed before the request could leave is known by its type (`connect::NotConnected`).
//! - Afterwards, an end before the first byte of an answer leaves open whether the server acted.
//! - rustls's own error type cannot be named without depending on it; its reason is read from its debug form.
//!
//! Spec: RFC 9110 9.2.2.

use std::io;

use ureq::Error as UreqError;
use url::Url;

use crate::bridge::Stage;
use crate::config::Http;
use crate::error::{Error, Kind, plain};
use crate::log::clean;
use crate::transport::net::connector::NotConnected;
use crate::transport::net::proxy;
use crate::transport::net::resolver::OutOfReach;
use crate::url::{is_loopback, shown};

/// A request that got no response headers.
pub(crate) fn of_request(error: &UreqError, url: &Url, http: &Http) -> (Error, Stage) {
    if let Some(inner) = not_connected(error) {
        return of_connecting(inner, url, http);
    }
    // With TLS 1.3 a server refuses a client certificate only after the handshake.
    if let Some(reason) = tls_reason(error) {
        return (of_tls(&reason, url), Stage::Hopeless);
    }
    let server = shown(url);
    match error {
        UreqError::Io(e) => (
            network(format!(
                "{server} closed the connection without an answer ({})",
                plain(e)
            )),
            Stage::Unanswered,
        ),
        UreqError::Timeout(_) => (
            Error::new(Kind::Timeout, format!("no answer from {server} in time")),
            Stage::Unanswered,
        ),
        UreqError::LargeResponseHeader(..) => (
            Error::new(
                Kind::PeerMisbehaved,
                format!("{server} sent response headers longer than 32 KiB"),
            ),
            Stage::Answering,
        ),
        UreqError::Protocol(e) => {
            let what = format!(
                "{server} answered with something that is no HTTP/1.1 response ({})",
                clean(&e.to_string(), 200)
            );
            (Error::new(Kind::PeerMisbehaved, what), Stage::Answering)
        }
        other => (
            network(format!(
                "the request to {server} failed: {}",
                clean(&other.to_string(), 200)
            )),
            Stage::Answering,
        ),
    }
}

/// Whether the server's certificate is signed by nobody we know: other roots may know.
pub(crate) fn is_unknown_issuer(error: &UreqError) -> bool {
    matches!(not_connected(error), Some(NotConnected::Connection(inner)) if tls_reason(inner).is_some_and(|reason| reason.contains("UnknownIssuer")))
}

/// Whether the address is where a document must not lead us.
pub(crate) fn is_out_of_reach(error: &UreqError) -> bool {
    matches!(error, UreqError::Other(other) if other.downcast_ref::<OutOfReach>().is_some())
}

/// A body that broke off.
pub(crate) fn of_body(error: &io::Error, url: &Url) -> Error {
    let server = shown(url);
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<UreqError>())
    {
        Some(UreqError::Decompress(..)) => Error::new(
            Kind::PeerMisbehaved,
            format!("the answer of {server} is not compressed as it says"),
        ),
        Some(UreqError::Protocol(e)) => Error::new(
            Kind::PeerMisbehaved,
            format!(
                "the answer of {server} is malformed ({})",
                clean(&e.to_string(), 200)
            ),
        ),
        _ => network(format!(
            "the answer of {server} broke off ({})",
            plain(error)
        )),
    }
}

/// The innermost error of a connection that could not be made; a proxy's connection is made inside another.
fn not_connected(error: &UreqError) -> Option<&NotConnected> {
    let UreqError::Other(other) = error else {
        return None;
    };
    let outer = other.downcast_ref::<NotConnected>()?;
    let (NotConnected::Name(inner) | NotConnected::Connection(inner)) = outer;
    Some(not_connected(inner).unwrap_or(outer))
}

pub(crate) fn of_connecting(error: &NotConnected, url: &Url, http: &Http) -> (Error, Stage) {
    let server = shown(url);
    // A proxy that cannot be used has been refused before.
    let through = proxy::proxy_for(url, &http.proxy).ok().flatten();
    let way = through.as_ref().map_or_else(String::new, |proxy| {
        format!(" through the proxy {}:{}", proxy.host(), proxy.port())
    });
    let variable = proxy::variable_for(url);
    let hint = match through {
        Some(_) => PROXY.to_owned(),
        // What to do where packets get no answer.
        None => format!(
            "check the network; where a proxy is needed, set {variable}=http://host:port; if it is only slow, raise --connect-timeout"
        ),
    };
    let error = match error {
        NotConnected::Name(UreqError::Timeout(_)) => {
            let what = format!("cannot reach {server}: name resolution took longer than 10 s");
            return (Error::new(Kind::Timeout, what), Stage::NotSent);
        }
        NotConnected::Name(_) if through.is_some() => {
            let error = network(format!(
                "cannot reach {server}{way}: its name was not found"
            ));
            return (error.with_hint(PROXY), Stage::NotSent);
        }
        NotConnected::Name(_) => {
            let host = url.host_str().unwrap_or_default();
            let error = network(format!(
                "cannot reach {server}: the name \"{host}\" was not found"
            ));
            let hint = format!(
                "check the spelling of the address; where only a proxy knows the way, set {variable}=http://host:port"
            );
            return (error.with_hint(hint), Stage::NotSent);
        }
        NotConnected::Connection(error) => error,
    };
    if let Some(reason) = tls_reason(error) {
        return (of_tls(&reason, url), Stage::Hopeless);
    }
    match error {
        UreqError::Timeout(_) => {
            let limit = http.connect_timeout.as_secs_f64();
            let what = format!("cannot reach {server}{way}: no connection within {limit} s");
            let error = Error::new(Kind::Timeout, what).with_hint(hint);
            (error, Stage::NotSent)
        }
        UreqError::Io(e) => {
            let error = network(format!("cannot reach {server}{way}: {}", plain(e)));
            let is_direct = through.is_none();
            let error = match e.kind() {
                io::ErrorKind::ConnectionRefused if is_loopback(url) && is_direct => error
                    .with_hint("is the server running, and is the port right?"),
                io::ErrorKind::ConnectionRefused if is_direct => error.with_hint(format!(
                    "is the server running, and is the port right? where a proxy is needed, set {variable}=http://host:port"
                )),
                _ => error.with_hint(hint),
            };
            (error, Stage::NotSent)
        }
        UreqError::ConnectProxyFailed(why) => {
            let error = network(format!(
                "cannot reach {server}: the proxy refused ({})",
                clean(why, 200)
            ));
            (error.with_hint(PROXY), Stage::Hopeless)
        }
        other => (
            network(format!(
                "cannot reach {server}: {}",
                clean(&other.to_string(), 200)
            )),
            Stage::NotSent,
        ),
    }
}

/// rustls's reason, if this is one of its errors: it refuses by `InvalidData`.
fn tls_reason(error: &UreqError) -> Option<String> {
    match error {
        UreqError::Rustls(e) => Some(format!("{e:?}")),
        UreqError::Tls(why) => Some((*why).to_owned()),
        UreqError::Io(e) if e.kind() == io::ErrorKind::InvalidData => {
            e.get_ref().map(|inner| format!("{inner:?}"))
        }
        _ => None,
    }
}

fn of_tls(reason: &str, url: &Url) -> Error {
    let origin = url.origin().ascii_serialization();
    let host = url.host_str().unwrap_or_default();
    let tls = |what: String| Error::new(Kind::Tls, format!("{origin}: {what}"));
    if reason.contains("UnknownIssuer") {
        return tls("the certificate is signed by an unknown authority".to_owned())
            .with_hint("if the server or a proxy uses a private CA, name its certificate with --ca-cert FILE or NODE_EXTRA_CA_CERTS");
    }
    if reason.contains("NotValidForName") {
        return tls(format!("the certificate is not for the name \"{host}\""))
            .with_hint("check the spelling of the address, or ask the server's operator");
    }
    if reason.contains("NotValidYet") {
        return tls("the certificate is not valid yet".to_owned())
            .with_hint("check this machine's clock");
    }
    if reason.contains("Expired") {
        return tls("the certificate has expired".to_owned())
            .with_hint("its owner must renew it, or this machine's clock is wrong");
    }
    if reason.contains("CertificateRequired") {
        return tls("the server wants a client certificate".to_owned())
            .with_hint("name one with --client-cert FILE and --client-key FILE");
    }
    if reason.contains("InvalidContentType") || reason.contains("CorruptMessage") {
        return tls("the server does not speak TLS on this port".to_owned())
            .with_hint("an http:// address may be meant");
    }
    tls(format!("TLS failed ({})", clean(reason, 200)))
}

/// What to do about a proxy that does not help.
const PROXY: &str = "see HTTPS_PROXY and NO_PROXY; --no-proxy goes without";

fn network(what: String) -> Error {
    Error::new(Kind::Network, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: UreqError) -> (String, Stage) {
        let url = Url::parse("https://a.test/mcp?key=secret").unwrap();
        let (error, stage) = of_request(&error, &url, &Http::default());
        (error.what().to_owned(), stage)
    }

    fn connecting(error: UreqError) -> UreqError {
        UreqError::Other(Box::new(NotConnected::Connection(error)))
    }

    #[test]
    fn what_never_left_may_be_tried_again() {
        let refused = || UreqError::Io(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(
            of(connecting(refused())),
            (
                "cannot reach https://a.test/mcp: connection refused".to_owned(),
                Stage::NotSent
            )
        );
        assert_eq!(of(connecting(connecting(refused()))).1, Stage::NotSent);
        assert_eq!(
            of(UreqError::Other(Box::new(NotConnected::Name(
                UreqError::HostNotFound
            ))))
            .0,
            "cannot reach https://a.test/mcp: the name \"a.test\" was not found"
        );
    }

    #[test]
    fn what_may_have_arrived_may_not() {
        assert_eq!(
            of(UreqError::Io(io::ErrorKind::UnexpectedEof.into())).1,
            Stage::Unanswered
        );
    }

    #[test]
    fn tls_reasons_are_told_in_words() {
        for (reason, words) in [
            ("InvalidCertificate(UnknownIssuer)", "unknown authority"),
            (
                "InvalidCertificate(ExpiredContext { time: 1 })",
                "has expired",
            ),
            (
                "InvalidCertificate(NotValidForNameContext { expected: 1 })",
                "not for the name \"a.test\"",
            ),
            (
                "AlertReceived(CertificateRequired)",
                "wants a client certificate",
            ),
        ] {
            let url = Url::parse("https://a.test/mcp").unwrap();
            assert!(of_tls(reason, &url).what().contains(words), "{reason}");
        }
    }
}
