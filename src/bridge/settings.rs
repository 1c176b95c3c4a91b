//! What the bridge is configured with, and the time limits that follow.

use std::time::{Duration, Instant};

use crate::bridge::http_exchanges::Limit;
use crate::bridge::{Content, Transport};
use crate::config::{Config, Protocol, Strategy};
use crate::error::{Error, Kind as ErrorKind};
use crate::mcp::version::Era;

/// What the bridge needs to know beforehand.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL of the server, without secrets.
    pub server: String,
    /// The command that diagnoses the connection, for error messages.
    pub doctor: String,
    /// `--transport`.
    pub strategy: Strategy,
    /// The transport that worked last time.
    pub remembered: Option<Transport>,
    /// `--protocol`.
    pub protocol: Protocol,
    /// The era the server spoke last time, where that differed from the client's.
    pub remembered_era: Option<Era>,
    /// `--ignore-tool`.
    pub ignore_tools: Vec<String>,
    /// `--allow-tool`.
    pub allow_tools: Vec<String>,
    /// Whether a GET stream is opened: not with `--no-get-stream`.
    pub get_stream: bool,
    /// `--ping-interval`.
    pub ping_interval: Option<Duration>,
    /// `--request-timeout`.
    pub request_timeout: Option<Duration>,
    /// `--auth-timeout`.
    pub auth_timeout: Duration,
    /// `--headers-timeout`.
    pub headers_timeout: Option<Duration>,
    /// `--body-timeout`.
    pub body_timeout: Option<Duration>,
    /// Whether the body timeout holds for event streams too.
    pub body_timeout_on_streams: bool,
    /// Whether failed requests are also logged.
    pub says_failures: bool,
    /// The seed of jitter and ids of this instance.
    pub seed: u64,
}

impl Settings {
    /// The settings a configuration asks for.
    pub fn new(
        config: &Config,
        remembered: Option<Transport>,
        remembered_era: Option<Era>,
        seed: u64,
    ) -> Settings {
        let server = crate::url::shown(&config.server);
        let profile = config.profile.as_ref();
        let profile = profile
            .map(|name| format!(" --profile {name}"))
            .unwrap_or_default();
        Settings {
            doctor: format!("mcp-remote-client {server}{profile}"),
            server,
            // HTTP+SSE is legacy.
            strategy: match config.protocol {
                Protocol::Modern => Strategy::HttpOnly,
                Protocol::Detect | Protocol::Auto | Protocol::Legacy => config.strategy,
            },
            remembered,
            protocol: config.protocol,
            remembered_era,
            ignore_tools: config.ignore_tools.clone(),
            allow_tools: config.allow_tools.clone(),
            get_stream: config.get_stream,
            ping_interval: config.ping_interval,
            request_timeout: config.request_timeout,
            auth_timeout: config.oauth.auth_timeout,
            headers_timeout: config.http.headers_timeout,
            body_timeout: config.http.body_timeout,
            body_timeout_on_streams: config.http.body_timeout_on_streams,
            says_failures: true,
            seed,
        }
    }
}

impl Settings {
    pub(crate) fn silence_limit(&self, now: Instant, content: Content) -> Option<(Instant, Limit)> {
        match content {
            Content::Nothing => self.body_timeout.map(|limit| (now + limit, Limit::Silence)),
            Content::Json => self.body_timeout.map(|limit| (now + limit, Limit::Silence)),
            Content::Stream if self.body_timeout_on_streams => {
                self.body_timeout.map(|limit| (now + limit, Limit::Silence))
            }
            Content::Stream => None,
        }
    }

    pub(crate) fn time_out(&self, limit: Limit) -> Error {
        let seconds = |limit: Option<Duration>| crate::error::seconds(limit.unwrap_or_default());
        let server = &self.server;
        let text = match limit {
            Limit::Headers => format!(
                "no answer from {server} within {} s (--headers-timeout)",
                seconds(self.headers_timeout)
            ),
            Limit::Silence => format!(
                "{server} stopped in the middle of an answer for {} s (--body-timeout)",
                seconds(self.body_timeout)
            ),
            Limit::Linger | Limit::Own => format!("no answer from {server} in time"),
        };
        Error::new(ErrorKind::Timeout, text)
    }
}
