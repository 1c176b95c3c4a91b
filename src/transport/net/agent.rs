//! Builds ureq agents: outbound proxy, time limit for connecting, address family, TLS.
//!
//! - Redirects, statuses and time limits inside an exchange are ours (`redirect`, `exchange`, `bridge`), not ureq's.
//! - Agents are cheap and belong to one worker each; what is expensive (TLS configuration, resumable sessions) is shared.
//! - An idle connection is kept 4 s: many servers close theirs after 5, and a request must not meet that.
//!
//! Flags: `--connect-timeout`, `--headers-timeout`, `--body-timeout`, `--ipv4`, `--enable-proxy`, `--no-proxy`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Agent;
use ureq::config::IpFamily;
use url::Url;

use crate::config::{Config, Http};
use crate::error::Result;
use crate::transport::http::error;
use crate::transport::net::connector::NetConnector;
use crate::transport::net::proxy;
use crate::transport::net::resolver::{HostResolver, NoResolver, Use};
use crate::transport::net::ssrf::{LeastPrivate, Network};
use crate::transport::net::tls::{self, ClientCert};
use crate::transport::net::tls_transport::TlsConnector;

/// The input buffer of TLS; TCP has its own (`buffers`). ureq's default is four times as large, and resident for each stream.
const INPUT_BUFFER: usize = MAX_RESPONSE_HEAD + 1024;
/// A header block that fills the whole buffer would look like a connection that was closed.
const MAX_RESPONSE_HEAD: usize = 32 * 1024;
/// A header of ours must fit into it.
pub(crate) const OUTPUT_BUFFER: usize = MAX_HEADER + 1024;
/// Servers take 8 to 16 KiB; a token with many groups in it may be that long.
pub(crate) const MAX_HEADER: usize = 32 * 1024;
/// How long an idle connection may be used again.
pub(crate) const KEEP_CONNECTION: Duration = Duration::from_secs(4);

/// Makes agents.
#[derive(Debug)]
pub(crate) struct Agents {
    http: Http,
    client_cert: Option<ClientCert>,
    built_in: TlsConnector,
    additional: OnceLock<Option<TlsConnector>>,
    /// The built-in roots do not contain the issuer of the server's certificate: the additional ones are used from now on.
    prefers_additional: AtomicBool,
    server: Arc<LeastPrivate>,
}

/// The result of a valid request.
type Sent<T> = std::result::Result<T, ureq::Error>;

impl Agents {
    /// Reads the client certificate and checks certificate files.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Agents> {
        let http = config.http.clone();
        for file in &http.ca_files {
            tls::read_certificates(file)?;
        }
        let client_cert = match &http.client_cert {
            Some((cert, key)) => Some(tls::read_client_cert(cert, key)?),
            None => None,
        };
        let built_in = tls::built_in(client_cert.as_ref())?;
        Ok(Agents {
            http,
            client_cert,
            built_in,
            additional: OnceLock::new(),
            prefers_additional: AtomicBool::new(false),
            server: Arc::default(),
        })
    }

    /// An agent for requests to the MCP server.
    ///
    /// # Errors
    /// If the proxy for it cannot be used.
    pub(crate) fn agent(&self, url: &Url) -> Result<Agent> {
        let (config, chain) = self.parts(url, Use::Server(Arc::clone(&self.server)))?;
        Ok(Agent::with_parts(config, chain, NoResolver))
    }

    /// An agent for an address that a document named: it connects only where the SSRF guard allows a server in this network to refer
    /// to; with `None`, anywhere.
    ///
    /// # Errors
    /// If the proxy for it cannot be used.
    pub(crate) fn agent_for_document(&self, url: &Url, from: Option<Network>) -> Result<Agent> {
        let (config, chain) = self.parts(url, from.map_or(Use::Ours, Use::FromServer))?;
        Ok(Agent::with_parts(config, chain, NoResolver))
    }

    /// The network of the MCP server: the least private of these and of those its name had before.
    pub(crate) fn network_of_server(&self, networks: impl Iterator<Item = Network>) -> Network {
        self.server.with(networks)
    }

    fn parts(&self, url: &Url, use_of: Use) -> Result<(ureq::config::Config, NetConnector)> {
        let roots = match self.prefers_additional.load(Ordering::Relaxed) {
            true => self.additional().unwrap_or(&self.built_in),
            false => &self.built_in,
        };
        let family = if self.http.ipv4 {
            IpFamily::Ipv4Only
        } else {
            IpFamily::Any
        };
        let proxy = proxy::proxy_for(url, &self.http.proxy)?;
        // The only name resolved here is then the proxy's, which the user has configured.
        let use_of = match &proxy {
            Some(_) => Use::Ours,
            None => use_of,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .timeout_connect(Some(self.http.connect_timeout))
            .ip_family(family)
            .user_agent(concat!("mcp-remote/", env!("CARGO_PKG_VERSION")))
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .max_response_header_size(MAX_RESPONSE_HEAD)
            .max_idle_age(KEEP_CONNECTION)
            .build();
        let names = HostResolver::new(use_of);
        Ok((config, NetConnector::new(roots.clone(), names)))
    }

    /// Sends a request by `send`, which must ask for an agent each time it is called. If the built-in roots do not lead to the
    /// server's certificate, the request is sent once more with the additional roots, which are kept from then
    /// on. Nothing has left in the first attempt.
    ///
    /// # Errors
    /// Those of `send`.
    pub(crate) fn with_known_roots<T, E>(
        &self,
        mut send: impl FnMut() -> std::result::Result<Sent<T>, E>,
    ) -> std::result::Result<Sent<T>, E> {
        match send()? {
            Err(error) if error::is_not_trusted(&error) && self.additional().is_some() => {
                self.prefers_additional.store(true, Ordering::Relaxed);
                send()
            }
            sent => Ok(sent),
        }
    }

    fn additional(&self) -> Option<&TlsConnector> {
        let read = || tls::additional(&self.http, self.client_cert.as_ref());
        self.additional.get_or_init(read).as_ref()
    }
}
