//! Checks for the doctor: the proxy, the TLS connection, the response to a lost session.
//!
//! Spec: MCP 2025-11-25 basic/transports (Session Management).
//! Not done here: when a certificate ends cannot be seen through ureq.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::bridge::Stage;
use crate::config::{Config, Http};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::store::Store;
use crate::transport::http::error;
use crate::transport::net::agent::Agents;
use crate::transport::net::connector::{self, NotConnected};
use crate::transport::net::proxy;

/// The time limit of each request.
const TIMEOUT: Duration = Duration::from_secs(10);

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
    error::from_connecting(&name, url, &Http::default()).0
}

/// No address of the server takes a connection.
pub fn not_connected(error: std::io::Error, url: &Url, http: &Http) -> Error {
    let error = NotConnected::Connection(connector::timed_out(error));
    error::from_connecting(&error, url, http).0
}

/// Sends a HEAD request without credentials to the server, through the proxy if there is one. Any response means that the
/// certificate was accepted, and so does none.
///
/// # Errors
/// If the connection cannot be made, or TLS fails.
pub fn try_tls(config: &Config) -> Result<()> {
    let agents = Agents::new(config)?;
    let url = &config.server;
    let send = || -> Result<_> {
        let agent = agents.agent(url)?;
        let request = agent.head(url.as_str()).config();
        Ok(request.timeout_global(Some(TIMEOUT)).build().call())
    };
    let Err(error) = agents.with_known_roots(send)? else {
        return Ok(());
    };
    match error::from_request(&error, url, &config.http) {
        (error, Stage::NotSent | Stage::Hopeless) => Err(error),
        (_, Stage::Unanswered | Stage::Answering) => Ok(()),
    }
}

/// The status of the response to a request with an unknown session id, sent with the configured headers and the stored
/// token; none if there is no response.
pub fn status_of_lost_session(config: &Config, log: &Arc<Log>) -> Option<u16> {
    let agents = Agents::new(config).ok()?;
    let has_authorization = |(name, _): &(String, _)| name.eq_ignore_ascii_case("authorization");
    let tokens = Store::for_config(config, Arc::clone(log)).tokens();
    let tokens = tokens.filter(|_| !config.headers.iter().any(has_authorization));
    let send = || -> Result<_> {
        let agent = agents.agent(&config.server)?;
        let mut post = agent
            .post(config.server.as_str())
            .config()
            .timeout_global(Some(TIMEOUT))
            .build()
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2025-11-25")
            .header("mcp-session-id", "00000000-0000-4000-8000-000000000000");
        for (name, value) in &config.headers {
            post = post.header(name, value.expose());
        }
        if let Some(tokens) = &tokens {
            let token = match (&tokens.id_token, config.oauth.use_id_token) {
                (Some(id_token), true) => id_token,
                _ => &tokens.access_token,
            };
            post = post.header("authorization", format!("Bearer {}", token.expose()));
        }
        Ok(post.send(r#"{"jsonrpc":"2.0","id":"lost","method":"ping"}"#))
    };
    let response = agents.with_known_roots(send).ok()?.ok()?;
    Some(response.status().as_u16())
}
