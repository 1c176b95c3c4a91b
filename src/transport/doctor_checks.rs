//! Checks for the doctor: the proxy, the TLS connection, the response to a lost session, what else is at the address.
//!
//! Spec: MCP 2025-11-25 basic/transports (Session Management).
//! Not done here: when a certificate ends cannot be seen through ureq.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::bridge::Stage;
use crate::config::{Config, Http};
use crate::error::{Error, Result};
use crate::log::{Log, clean};
use crate::store::{Store, Tokens};
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
    let tokens = Store::for_config(config, Arc::clone(log)).tokens();
    let tokens = tokens.filter(|_| !config.oauth.no_oauth && !config.has_own_authorization());
    // A bound token would need a proof, and is never sent without.
    if tokens.as_ref().is_some_and(Tokens::is_bound) {
        return None;
    }
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
            let bearer = format!("Bearer {}", token.expose());
            post = post.header(config.token_header(), bearer);
        }
        Ok(post.send(r#"{"jsonrpc":"2.0","id":"lost","method":"ping"}"#))
    };
    let response = agents.with_known_roots(send).ok()?.ok()?;
    Some(response.status().as_u16())
}

/// What the user can do if the first response was not one of an MCP server: sends `initialize` once more and looks at the
/// response, which the bridge does not show.
pub fn advice(config: &Config) -> Option<String> {
    let agents = Agents::new(config).ok()?;
    let url = &config.server;
    let send = || -> Result<_> {
        let agent = agents.agent(url)?;
        let mut post = agent
            .post(url.as_str())
            .config()
            .timeout_global(Some(TIMEOUT))
            .build()
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        for (name, value) in &config.headers {
            post = post.header(name, value.expose());
        }
        Ok(post.send(INITIALIZE))
    };
    let response = agents.with_known_roots(send).ok()?;
    let header = |name: &str| {
        let response = response.as_ref().ok()?;
        response.headers().get(name)?.to_str().ok()
    };
    let status = response.as_ref().map(|response| response.status().as_u16());
    let is_html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let may_be_tls = url.scheme() == "http" && matches!(status, Err(_) | Ok(400));
    if may_be_tls && let Some(secure) = speaks_tls(config) {
        return Some(format!("this port speaks TLS: use {secure}"));
    }
    let advice = match status {
        Ok(300..400) => match url.join(header("location").unwrap_or_default()) {
            Ok(target) if crate::url::same_origin(&target, url) => {
                format!("use the address {}", clean(&crate::url::shown(&target), 200))
            }
            Ok(_) | Err(_) => return None,
        },
        Ok(403) => "the server refuses this user, token or network: ask who runs it".to_owned(),
        Ok(429) => "the server limits requests: try again later".to_owned(),
        Ok(500..) => "the server has failed: try again later, or ask who runs it".to_owned(),
        Ok(200..300) if is_html => {
            "this is a web page: look up the address for MCP clients, which often ends in /mcp or /sse".to_owned()
        }
        Ok(200..300) => {
            "this is not an MCP server: check the address, which often ends in /mcp or /sse".to_owned()
        }
        Ok(_) => return None,
        Err(ureq::Error::Protocol(_)) => {
            "the program at this port does not speak HTTP: check the port".to_owned()
        }
        Err(ureq::Error::Timeout(_)) => {
            "the server takes the connection and is silent: check the port, or ask who runs it".to_owned()
        }
        // The error has a hint already.
        Err(ureq::Error::Other(_)) => return None,
        Err(_) => "check the port; the server may be starting, or too busy".to_owned(),
    };
    Some(advice)
}

/// The https address of the server, if its port answers a TLS handshake. Behind a proxy nothing is tried.
fn speaks_tls(config: &Config) -> Option<String> {
    let mut secure = config.server.clone();
    let port = secure.port_or_known_default()?;
    secure.set_scheme("https").ok()?;
    secure.set_port(Some(port)).ok()?;
    if proxy_of(config).ok()?.is_some() {
        return None;
    }
    let host = secure.host_str()?.trim_matches(['[', ']']).to_owned();
    let address = (&*host, port).to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, config.http.connect_timeout).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(host).ok()?;
    let mut tls = rustls::ClientConnection::new(Arc::new(tls), name).ok()?;
    tls.write_tls(&mut stream).ok()?;
    let mut first = [0];
    stream.read_exact(&mut first).ok()?;
    let [first] = first;
    // RFC 8446 5.1: an alert or a handshake record.
    matches!(first, 0x15 | 0x16).then(|| crate::url::shown(&secure))
}

/// The request that the bridge has sent.
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcp-remote-client","version":"1"}}}"#;
