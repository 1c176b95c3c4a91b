//! Builds ureq agents: outbound proxy, time limit for connecting, address family, TLS.
//!
//! - Redirects, statuses and time limits inside an exchange are ours (`redirect`, `exchange`, `bridge`), not ureq's.
//! - Agents are cheap and belong to one lane each; what is expensive (TLS configuration, resumable sessions) is shared.
//! - An idle connection is kept 4 s: many servers close theirs after 5, and a request must not meet that.
//!
//! Flags: `--connect-timeout`, `--headers-timeout`, `--body-timeout`, `--ipv4`, `--enable-proxy`, `--no-proxy`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Agent;
use ureq::config::IpFamily;
use ureq::tls::{ClientCert, TlsConfig};
use ureq::unversioned::transport::{Connector, RustlsConnector};
use url::Url;

use crate::config::{Config, Http};
use crate::error::Result;
use crate::transport::net::connector::Chain;
use crate::transport::net::proxy;
use crate::transport::net::resolver::{AtConnect, Names, Use};
use crate::transport::net::ssrf::{Seen, Zone};
use crate::transport::net::tls;
use crate::transport::probe::Stop;

/// The buffers of TLS; TCP has its own for input (`buffers`). ureq's are four times as large, and resident for each stream.
const INPUT_BUFFER: usize = HEADER_LIMIT + 1024;
/// A header block that fills the whole buffer would look like a connection that was closed.
const HEADER_LIMIT: usize = 32 * 1024;
/// A header of ours must fit into it.
pub(crate) const OUTPUT_BUFFER: usize = LONGEST_HEADER + 1024;
/// Servers take 8 to 16 KiB; a token with many groups in it may be that long.
pub(crate) const LONGEST_HEADER: usize = 32 * 1024;
const IDLE: Duration = Duration::from_secs(4);

/// Makes agents.
#[derive(Debug)]
pub(crate) struct Agents {
    http: Http,
    client_cert: Option<ClientCert>,
    built_in: Roots,
    additional: OnceLock<Option<Roots>>,
    /// The built-in roots did not know the server's certificate; the additional ones are used from now on.
    prefer_additional: AtomicBool,
    server: Arc<Seen>,
}

/// A TLS configuration with the sessions it can resume.
#[derive(Debug)]
struct Roots {
    config: TlsConfig,
    connector: Arc<RustlsConnector>,
}

impl Roots {
    fn new(config: TlsConfig) -> Roots {
        Roots {
            config,
            connector: Arc::default(),
        }
    }
}

impl Agents {
    /// Reads the client certificate and checks proxies and certificate files.
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub(crate) fn new(config: &Config) -> Result<Agents> {
        let http = config.http.clone();
        proxy::check(&http.proxy)?;
        for file in &http.ca_files {
            tls::read_certificates(file)?;
        }
        let client_cert = match &http.client_cert {
            Some((cert, key)) => Some(tls::read_client_cert(cert, key)?),
            None => None,
        };
        let built_in = Roots::new(tls::built_in(client_cert.as_ref()));
        Ok(Agents {
            http,
            client_cert,
            built_in,
            additional: OnceLock::new(),
            prefer_additional: AtomicBool::new(false),
            server: Arc::default(),
        })
    }

    /// An agent for requests to the MCP server.
    ///
    /// # Errors
    /// If the proxy for it cannot be used.
    pub(crate) fn agent(&self, url: &Url) -> Result<Agent> {
        let (config, chain) = self.parts(url, Use::Server(Arc::clone(&self.server)))?;
        Ok(Agent::with_parts(config, chain, AtConnect))
    }

    /// An agent for an address that a document named: only where a server in this zone may lead us; `None`: anywhere.
    ///
    /// # Errors
    /// If the proxy for it cannot be used.
    pub(crate) fn reaching(&self, url: &Url, from: Option<Zone>) -> Result<Agent> {
        let (config, chain) = self.parts(url, from.map_or(Use::Ours, Use::LedFrom))?;
        Ok(Agent::with_parts(config, chain, AtConnect))
    }

    /// Where the MCP server is: in the least private of these zones and of those it was found in before.
    pub(crate) fn zone_of_server(&self, zones: impl Iterator<Item = Zone>) -> Zone {
        self.server.with(zones)
    }

    /// An agent that connects to this server and stops there.
    ///
    /// # Errors
    /// If the proxy for it cannot be used.
    pub(crate) fn stopping(&self, url: &Url, stop: Stop) -> Result<Agent> {
        let (config, chain) = self.parts(url, Use::Ours)?;
        Ok(Agent::with_parts(config, chain.chain(stop), AtConnect))
    }

    fn parts(&self, url: &Url, use_of: Use) -> Result<(ureq::config::Config, Chain)> {
        let roots = match self.prefer_additional.load(Ordering::Relaxed) {
            true => self.additional().unwrap_or(&self.built_in),
            false => &self.built_in,
        };
        let family = if self.http.ipv4 {
            IpFamily::Ipv4Only
        } else {
            IpFamily::Any
        };
        let proxy = proxy::proxy_for(url, &self.http.proxy)?;
        // The names that are resolved here are the proxy's then, which the person has chosen.
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
            .tls_config(roots.config.clone())
            .user_agent(concat!("mcp-remote/", env!("CARGO_PKG_VERSION")))
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .max_response_header_size(HEADER_LIMIT)
            .max_idle_age(IDLE)
            .build();
        let names = Names::new(use_of);
        Ok((config, Chain::new(Arc::clone(&roots.connector), names)))
    }

    /// The server's certificate was not known: use the additional roots from now on. False if there are none.
    pub(crate) fn use_additional_roots(&self) -> bool {
        let any = self.additional().is_some();
        self.prefer_additional.fetch_or(any, Ordering::Relaxed);
        any
    }

    fn additional(&self) -> Option<&Roots> {
        let read = || tls::additional(&self.http, self.client_cert.as_ref()).map(Roots::new);
        self.additional.get_or_init(read).as_ref()
    }
}
