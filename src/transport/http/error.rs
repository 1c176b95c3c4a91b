//! Turns ureq's errors into a sentence, and says whether the request can safely be sent again.
//!
//! - If the connection could not be made (`NotConnected`), the request was not sent.
//! - If the connection ended before the first byte of the response, the server may have acted on the request.
//! - Why TLS failed is said in words of our own for each error of rustls.
//!
//! Spec: RFC 9110 9.2.2.

use std::fmt;
use std::io;

use rustls::CertificateError;
use ureq::Error as UreqError;
use url::Url;

use crate::bridge::Stage;
use crate::config::Http;
use crate::error::{Error, Kind, plain};
use crate::log::clean;
use crate::transport::net::connector::NotConnected;
use crate::transport::net::proxy;
use crate::transport::net::resolver::Blocked;
use crate::url::{is_loopback, shown};

/// The error of a request that got no response headers.
pub(crate) fn from_request(error: &UreqError, url: &Url, http: &Http) -> (Error, Stage) {
    if let Some(inner) = not_connected(error) {
        return from_connecting(inner, url, http);
    }
    // With TLS 1.3 a server refuses a client certificate only after the handshake.
    if let Some(error) = rustls_error(error) {
        return (from_tls(error, url), Stage::Hopeless);
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
            Error::new(Kind::Timeout, format!("no response from {server} in time")),
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
                "{server} sent something that is not an HTTP/1.1 response ({})",
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

/// Whether the roots in use do not lead to the server's certificate, or it is one that only who named it may trust.
pub(crate) fn is_not_trusted(error: &UreqError) -> bool {
    use CertificateError::{Other, UnknownIssuer};
    let Some(NotConnected::Connection(inner)) = not_connected(error) else {
        return false;
    };
    matches!(
        rustls_error(inner),
        Some(rustls::Error::InvalidCertificate(UnknownIssuer | Other(_)))
    )
}

/// Whether the SSRF guard refused all addresses.
pub(crate) fn is_blocked(error: &UreqError) -> bool {
    matches!(error, UreqError::Other(other) if other.downcast_ref::<Blocked>().is_some())
}

/// The error of a body that broke off.
pub(crate) fn from_body(error: &io::Error, url: &Url) -> Error {
    let server = shown(url);
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<UreqError>())
    {
        Some(UreqError::Decompress(..)) => Error::new(
            Kind::PeerMisbehaved,
            format!("the response of {server} does not have the announced compression"),
        ),
        Some(UreqError::Protocol(e)) => Error::new(
            Kind::PeerMisbehaved,
            format!(
                "the response of {server} is malformed ({})",
                clean(&e.to_string(), 200)
            ),
        ),
        _ => network(format!(
            "the response of {server} broke off ({})",
            plain(error)
        )),
    }
}

/// A refusal, or a name that is not found, is often due to a variable that is not set: the client shows this, and may not
/// show the warning on stderr.
pub(crate) fn naming_unset(error: &Error, unset: &[String]) -> Error {
    if unset.is_empty() {
        return error.again();
    }
    let names = unset.join(" and ");
    error.again().with_hint(format!(
        "the variable {names} is not set, or holds what --setup wrote: set it where the client starts mcp-remote"
    ))
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

pub(crate) fn from_connecting(error: &NotConnected, url: &Url, http: &Http) -> (Error, Stage) {
    let server = shown(url);
    // Unusable proxies were refused at start.
    let through = proxy::proxy_for(url, &http.proxy).ok().flatten();
    let way = through.as_ref().map_or_else(String::new, |proxy| {
        format!(" through the proxy {}:{}", proxy.host(), proxy.port())
    });
    let variable = proxy::variable_for(url);
    let hint = match through {
        Some(_) => PROXY.to_owned(),
        // For networks that drop packets.
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
                "check the spelling of the address; where only a proxy resolves it, set {variable}=http://host:port"
            );
            return (error.with_hint(hint), Stage::NotSent);
        }
        NotConnected::Connection(error) => error,
    };
    if let Some(error) = rustls_error(error) {
        return (from_tls(error, url), Stage::Hopeless);
    }
    match error {
        UreqError::Timeout(_) => {
            let limit = crate::error::seconds(http.connect_timeout);
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

/// The error of rustls in here. It reaches us inside an I/O error if it happened during the handshake or later.
fn rustls_error(error: &UreqError) -> Option<&rustls::Error> {
    match error {
        UreqError::Rustls(error) => Some(error),
        UreqError::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Says in words why TLS failed, and what to do.
fn from_tls(error: &rustls::Error, url: &Url) -> Error {
    use rustls::{AlertDescription as Alert, Error as Tls, InvalidMessage};
    let (what, hint) = match error {
        Tls::InvalidCertificate(error) => return from_certificate(error, url),
        Tls::AlertReceived(Alert::CertificateRequired) => (
            "the server requires a client certificate",
            "name one with --client-cert FILE and --client-key FILE",
        ),
        Tls::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => (
            "the server refused the client certificate",
            "check --client-cert, or ask the server's operator",
        ),
        Tls::AlertReceived(Alert::ProtocolVersion | Alert::InsufficientSecurity)
        | Tls::PeerIncompatible(_) => (
            "the server and mcp-remote have no TLS version or cipher suite in common",
            "the server must support TLS 1.2 or 1.3",
        ),
        Tls::AlertReceived(Alert::UnrecognisedName) => (
            "the server does not serve this host name",
            "check the spelling of the address",
        ),
        Tls::AlertReceived(_) => (
            "the server refused the TLS handshake",
            "it may require a client certificate (--client-cert, --client-key) or another TLS version than 1.2 or 1.3",
        ),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType) => (
            "the server does not speak TLS on this port",
            "check whether the address must begin with http://",
        ),
        Tls::FailedToGetCurrentTime => (
            "the certificate cannot be checked without the current time",
            "check this machine's clock",
        ),
        _ => (
            "the server broke the TLS protocol",
            "check that nothing between this machine and the server changes the connection",
        ),
    };
    tls(url, what).with_hint(hint)
}

fn from_certificate(error: &CertificateError, url: &Url) -> Error {
    use CertificateError as Bad;
    let (what, hint) = match error {
        Bad::UnknownIssuer => (
            "the certificate is signed by an unknown authority",
            "if the server or a proxy uses a private CA, name its certificate with --ca-cert FILE or NODE_EXTRA_CA_CERTS",
        ),
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            let host = url.host_str().unwrap_or_default();
            return tls(
                url,
                format!("the certificate is not for the name \"{host}\""),
            )
            .with_hint("check the spelling of the address, or ask the server's operator");
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => (
            "the certificate is not valid yet",
            "check this machine's clock",
        ),
        Bad::Expired | Bad::ExpiredContext { .. } => (
            "the certificate has expired",
            "its owner must renew it, or this machine's clock is wrong",
        ),
        Bad::Revoked => (
            "the certificate was revoked",
            "the server's operator must replace it",
        ),
        Bad::BadEncoding => (
            "the certificate is malformed",
            "the server's operator must replace it",
        ),
        Bad::BadSignature
        | Bad::UnsupportedSignatureAlgorithmContext { .. }
        | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            "the certificate's signature is invalid or of an unsupported kind",
            "the server's operator must replace it",
        ),
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => (
            "the certificate may not be used by a server",
            "it needs the extended key usage serverAuth, or none",
        ),
        _ => (
            "the certificate is not one that a server may use",
            "if it is self-signed and you trust it, name exactly this certificate with --ca-cert FILE or NODE_EXTRA_CA_CERTS; it must be X.509 version 3",
        ),
    };
    tls(url, what).with_hint(hint)
}

fn tls(url: &Url, what: impl fmt::Display) -> Error {
    let origin = url.origin().ascii_serialization();
    Error::new(Kind::Tls, format!("{origin}: {what}"))
}

/// The hint for a proxy that does not work.
const PROXY: &str = "see HTTPS_PROXY and NO_PROXY; --no-proxy goes without";

fn network(what: String) -> Error {
    Error::new(Kind::Network, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn of(error: UreqError) -> (String, Stage) {
        let url = Url::parse("https://a.test/mcp?key=secret").unwrap();
        let (error, stage) = from_request(&error, &url, &Http::default());
        (error.what().to_owned(), stage)
    }

    fn connecting(error: UreqError) -> UreqError {
        UreqError::Other(Box::new(NotConnected::Connection(error)))
    }

    #[test]
    fn a_request_that_was_not_sent_may_be_tried_again() {
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
    fn a_request_that_may_have_arrived_may_not() {
        assert_eq!(
            of(UreqError::Io(io::ErrorKind::UnexpectedEof.into())).1,
            Stage::Unanswered
        );
    }

    #[test]
    fn tls_errors_are_explained_in_words() {
        use rustls::{AlertDescription, Error as Tls, InvalidMessage, OtherError};
        let certificate = Tls::InvalidCertificate;
        for (error, words) in [
            (
                certificate(CertificateError::UnknownIssuer),
                "signed by an unknown authority",
            ),
            (certificate(CertificateError::Expired), "has expired"),
            (
                certificate(CertificateError::NotValidForName),
                "not for the name \"a.test\"",
            ),
            (
                certificate(CertificateError::Other(OtherError(Arc::new(
                    io::Error::other("CaUsedAsEndEntity"),
                )))),
                "not one that a server may use",
            ),
            (
                Tls::AlertReceived(AlertDescription::CertificateRequired),
                "requires a client certificate",
            ),
            (
                Tls::AlertReceived(AlertDescription::HandshakeFailure),
                "refused the TLS handshake",
            ),
            (
                Tls::InvalidMessage(InvalidMessage::InvalidContentType),
                "does not speak TLS on this port",
            ),
            (Tls::DecryptError, "broke the TLS protocol"),
        ] {
            let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
            let (what, stage) = of(connecting(UreqError::Io(wrapped)));
            assert!(what.contains(words), "{what}");
            assert_eq!(stage, Stage::Hopeless);
        }
    }
}
