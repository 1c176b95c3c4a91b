//! What the doctor asks by itself: the proxy, the certificate, what a lost session is answered with.
//!
//! - The TLS handshake is made by the same connector as any other, and stopped when it is done: nothing of HTTP is sent.
//! - The question with an unknown session id carries what a request of the client would: headers, token.
//!
//! Spec: MCP 2025-11-25 basic/transports (Session Management).
//! Not done here: when a certificate ends cannot be seen through ureq.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::Uri;
use ureq::http::uri::Authority;
use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};
use url::Url;

use crate::config::{Config, Http};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::store::Store;
use crate::transport::http::error;
use crate::transport::net::agent::Agents;
use crate::transport::net::connector::NotConnected;
use crate::transport::net::proxy;

/// The proxy requests to the server go through, as it may be shown.
///
/// # Errors
/// If the variable that names it cannot be used.
pub fn proxy_of(config: &Config) -> Result<Option<String>> {
    let proxy = proxy::proxy_for(&config.server, &config.http.proxy)?;
    Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port())))
}

/// The name of the server has no address.
pub fn name_not_found(url: &Url) -> Error {
    let name = NotConnected::Name(ureq::Error::HostNotFound);
    error::of_connecting(&name, url, &Http::default()).0
}

/// No address of the server takes a connection.
pub fn not_connected(error: std::io::Error, url: &Url, http: &Http) -> Error {
    let error = NotConnected::Connection(crate::transport::net::connector::timed_out(error));
    error::of_connecting(&error, url, http).0
}

/// Connects to the server, through the proxy if there is one, and has its certificate checked.
///
/// # Errors
/// If it fails.
pub fn try_tls(config: &Config) -> Result<()> {
    let agents = Agents::new(config)?;
    let url = &config.server;
    let once = || match agents
        .stopping(url, Stop::at(url))?
        .get(url.as_str())
        .call()
    {
        Ok(_) => Ok(Ok(())),
        Err(error) if is_stopped(&error) => Ok(Ok(())),
        Err(error) => Ok(Err(error)),
    };
    let tried = match once()? {
        Err(error) if error::is_unknown_issuer(&error) && agents.use_additional_roots() => once()?,
        tried => tried,
    };
    tried.map_err(|error| error::of_request(&error, url, &config.http).0)
}

/// The status a request with an unknown session id gets; none if it gets none.
pub fn status_of_lost_session(config: &Config, log: &Arc<Log>) -> Option<u16> {
    const LIMIT: Duration = Duration::from_secs(10);
    let agents = Agents::new(config).ok()?;
    let url = &config.server;
    let mut request = None;
    for _ in 0..2 {
        let agent = agents.agent(url).ok()?;
        let mut post = agent
            .post(url.as_str())
            .config()
            .timeout_global(Some(LIMIT))
            .build()
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2025-11-25")
            .header("mcp-session-id", "00000000-0000-4000-8000-000000000000");
        for (name, value) in &config.headers {
            post = post.header(name, value.expose());
        }
        let brought = |(name, _): &(String, _)| name.eq_ignore_ascii_case("authorization");
        let tokens = Store::for_config(config, Arc::clone(log)).tokens();
        if let Some(tokens) = tokens.filter(|_| !config.headers.iter().any(brought)) {
            let token = match (&tokens.id_token, config.oauth.use_id_token) {
                (Some(id_token), true) => id_token,
                _ => &tokens.access_token,
            };
            post = post.header("authorization", format!("Bearer {}", token.expose()));
        }
        let sent = post.send(r#"{"jsonrpc":"2.0","id":"lost","method":"ping"}"#);
        let is_unknown = matches!(&sent, Err(error) if error::is_unknown_issuer(error));
        request = Some(sent);
        if !is_unknown || !agents.use_additional_roots() {
            break;
        }
    }
    Some(request?.ok()?.status().as_u16())
}

/// The end of a chain of connectors: the connection to the server is there, and is not used.
///
/// A proxy's connection is made by the same chain, before the one through it: it is left alone.
#[derive(Debug)]
pub(crate) struct Stop {
    server: Option<Authority>,
}

impl Stop {
    fn at(url: &Url) -> Stop {
        let uri = Uri::try_from(url.as_str()).ok();
        Stop {
            server: uri.and_then(|uri| uri.authority().cloned()),
        }
    }
}

#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connected")
    }
}

impl std::error::Error for Stopped {}

impl Connector<Box<dyn Transport>> for Stop {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<Box<dyn Transport>>,
    ) -> std::result::Result<Option<Self::Out>, ureq::Error> {
        if details.uri.authority() != self.server.as_ref() {
            return Ok(chained);
        }
        Err(ureq::Error::Other(Box::new(Stopped)))
    }
}

fn is_stopped(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Other(other) if other.is::<Stopped>())
}
