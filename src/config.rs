//! `Config`: everything a connection needs to know, decided before it starts.
//!
//! The command line fills it in `cli/config.rs`; a program that embeds the library fills it itself,
//! starting from [`Config::new`]. It holds meanings, not what was typed: variables are expanded, files are read,
//! defaults are in place. Any value is allowed; one that would not work is replaced by the nearest that does.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::secret::Secret;

/// What to connect to, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The MCP server.
    pub server: Url,
    /// The server's address as it was typed: npm's store hashes this text.
    pub server_text: String,
    /// Which transport to try, in which order (`--transport`).
    pub strategy: Strategy,
    /// Which protocol era the server is spoken to in (`--protocol`).
    pub protocol: Protocol,
    /// Extra request headers for the MCP server's origin only, values expanded (`--header`, `--header-file`).
    pub headers: Vec<(String, Secret)>,
    /// The same before `${VAR}` expansion, original case: npm's store hashes this text.
    pub headers_typed: Vec<(String, Secret)>,
    /// Variables that an address or a header names as `${NAME}`, and that are not set: told where a server refuses.
    pub unset_variables: Vec<String>,
    /// Allows plain http to hosts that are not loopback (`--allow-http`).
    pub allow_http: bool,
    /// Tools to hide: globs with `*`, any case (`--ignore-tool`).
    pub ignore_tools: Vec<String>,
    /// Tools to show, all if empty: globs with `*`, any case (`--allow-tool`).
    pub allow_tools: Vec<String>,
    /// Keep-alive pings, if wanted: one in every such time without traffic (`--keep-alive`, `--ping-interval`).
    pub ping_interval: Option<Duration>,
    /// How long the client waits for an answer before it is given an error (`--request-timeout`); `None`: for ever.
    /// Progress notifications of the request restart it, up to ten times its length.
    pub request_timeout: Option<Duration>,
    /// The longest line from the client and the longest message from the server, in bytes.
    pub message_limit: usize,
    /// How HTTP connections are made.
    pub http: Http,
    /// Replay cookies of the server's origin (`--disable-cookies` turns it off).
    pub cookies: bool,
    /// Open a GET stream for what the server sends outside of responses (`--no-get-stream` turns it off).
    pub get_stream: bool,
    /// Which of several sign-ins to this server is meant (`--profile`); `None`: the one that npm's version knows, too.
    pub profile: Option<String>,
    /// Where the credential files live; the programs use `$MCP_REMOTE_CONFIG_DIR`, else `~/.mcp-auth`. `None`: a sign-in is kept
    /// in memory and ends with the connection.
    pub store_dir: Option<PathBuf>,
    /// Sign-in.
    pub oauth: OAuth,
    /// What is logged, and where.
    pub log: LogConfig,
}

/// How HTTP connections are made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Http {
    /// Limit for TCP, proxy and TLS set-up together (`--connect-timeout`).
    pub connect_timeout: Duration,
    /// Limit from the request to the response headers; `None`: no limit (`--headers-timeout`).
    pub headers_timeout: Option<Duration>,
    /// Limit for a silence inside a body; `None`: no limit (`--body-timeout`). Event streams obey it only if it was asked for.
    pub body_timeout: Option<Duration>,
    /// Whether the body timeout was asked for, and so holds for open streams too.
    pub body_timeout_on_streams: bool,
    /// IPv4 only (`--ipv4`).
    pub ipv4: bool,
    /// Proxies as the environment names them; all `None` with `--no-proxy`.
    pub proxy: ProxyVariables,
    /// PEM files with root certificates that are trusted in addition (`--ca-cert`); checked at the start.
    pub ca_files: Vec<PathBuf>,
    /// The same from the environment (`SSL_CERT_FILE`, `NODE_EXTRA_CA_CERTS`); read only when needed.
    pub environment_ca_files: Vec<PathBuf>,
    /// PEM files with the client certificate chain and its key (`--client-cert`, `--client-key`).
    pub client_cert: Option<(PathBuf, PathBuf)>,
}

/// The proxy variables of the environment, curl's rules.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ProxyVariables {
    /// `HTTP_PROXY` / `http_proxy`.
    pub http: Option<Secret>,
    /// `HTTPS_PROXY` / `https_proxy`.
    pub https: Option<Secret>,
    /// `ALL_PROXY` / `all_proxy`.
    pub all: Option<Secret>,
    /// `NO_PROXY` / `no_proxy`.
    pub none_for: Option<String>,
}

/// Which transport is tried, in which order (`--transport`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// Streamable HTTP, then HTTP+SSE.
    #[default]
    HttpFirst,
    /// HTTP+SSE, then Streamable HTTP.
    SseFirst,
    /// Streamable HTTP only.
    HttpOnly,
    /// HTTP+SSE only.
    SseOnly,
}

/// Which protocol era the server is spoken to in (`--protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// Seen from the server's answer to the client's own first message.
    #[default]
    Detect,
    /// The server is asked first, with `server/discover`.
    Auto,
    /// 2024-11-05 to 2025-11-25 only.
    Legacy,
    /// 2026-07-28 and later only.
    Modern,
}

impl Protocol {
    /// Whether the era is not known beforehand.
    pub(crate) fn finds_out(self) -> bool {
        matches!(self, Protocol::Detect | Protocol::Auto)
    }
}

/// What is logged, and where.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LogConfig {
    /// Each step, to stderr and to npm's debug file (`--debug`).
    pub debug: bool,
    /// Nothing at all on stderr (`--silent`).
    pub silent: bool,
    /// One JSON object per line (`--log-format json`).
    pub json: bool,
    /// A file that is given all lines in addition (`--log-file`).
    pub file: Option<PathBuf>,
}

/// Everything about signing in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OAuth {
    /// The host in the redirect URI (`--host`).
    pub host: String,
    /// The path of the redirect URI (`--callback-path`).
    pub callback_path: String,
    /// An address to listen on for the redirect beside the loopback, for published ports (`--callback-bind`).
    pub callback_bind: Option<IpAddr>,
    /// The redirect URI, where it is not the listener's own address (`--redirect-uri`).
    pub redirect_uri: Option<String>,
    /// The callback port, if it was given: then no other is tried.
    pub port: Option<u16>,
    /// How long a host is kept waiting for a sign-in (`--auth-timeout`).
    pub auth_timeout: Duration,
    /// Where the browser is sent after a sign-in (`--auth-success-url`).
    pub success_url: Option<Url>,
    /// A client registered by hand: the JSON object, variables expanded (`--static-oauth-client-info`).
    pub static_client_info: Option<Secret>,
    /// Members that override our client metadata: a JSON object (`--static-oauth-client-metadata`).
    pub static_client_metadata: Option<String>,
    /// The scope to request, exactly; `""` for none (`--scope`).
    pub scope: Option<String>,
    /// The client id metadata document (`--client-metadata-url`).
    pub client_metadata_url: Option<String>,
    /// The resource parameter as it was typed, trimmed (`--resource`).
    pub resource: Option<String>,
    /// Leave the resource parameter out (`--disable-resource-parameter`).
    pub disable_resource: bool,
    /// Extra parameters of the authorization request, in the order given (`--authorize-param`).
    pub authorize_params: Vec<(String, String)>,
    /// Use the id token as bearer (`--use-id-token`).
    pub use_id_token: bool,
    /// Use bearer tokens also where the server asks for bound ones (`--no-dpop`).
    pub no_dpop: bool,
    /// Device authorization grant (`--device-code`).
    pub device_code: bool,
    /// Client credentials grant (`--client-credentials`).
    pub client_credentials: bool,
    /// The file with the JWT of this workload, for the jwt-bearer grant; read again for each request (`--workload-token`).
    pub workload_token: Option<PathBuf>,
    /// The issuer of the company's identity provider, which decides about access to the server (`--enterprise-idp`).
    pub enterprise_idp: Option<String>,
    /// Our client at the identity provider: a JSON object (`--enterprise-client-info`).
    pub enterprise_client_info: Option<Secret>,
    /// The file with the user's id token, instead of a sign-in at the provider (`--enterprise-id-token`).
    pub enterprise_id_token: Option<PathBuf>,
    /// The token endpoint for grants without a user, without discovery (`--token-endpoint`).
    pub token_endpoint: Option<Url>,
    /// The PEM file of the key that signs client assertions (`--client-assertion-key`).
    pub client_assertion_key: Option<PathBuf>,
    /// An issuer that is accepted although the metadata was looked for under another one, at the place where it is found
    /// first, or as `PLACE=ISSUER` at this place (`--accept-issuer`).
    pub accept_issuer: Option<String>,
    /// Sign in although the authorization server does not offer PKCE with S256 (`--accept-missing-s256`).
    pub accept_missing_s256: bool,
    /// Never open a browser (`--no-browser`).
    pub no_browser: bool,
    /// Fail instead of asking a user to sign in (`--no-sign-in`).
    pub no_sign_in: bool,
    /// Never sign in: a 401 is the client's error (`--no-oauth`).
    pub no_oauth: bool,
    /// The header that carries the token, if it is not `Authorization` (`--token-header`).
    pub token_header: Option<String>,
}

impl OAuth {
    /// Whether new tokens may need neither a refresh token nor the user.
    pub(crate) fn is_for_program(&self) -> bool {
        self.client_credentials || self.workload_token.is_some() || self.enterprise_idp.is_some()
    }
}

/// 64 MiB: the longest line from the client and the longest message from the server, unless set otherwise.
pub const DEFAULT_MESSAGE_LIMIT: usize = 64 * 1024 * 1024;

impl Config {
    /// The defaults for this server; nothing is read from the environment.
    pub fn new(server: Url) -> Config {
        Config {
            server_text: server.to_string(),
            server,
            strategy: Strategy::default(),
            protocol: Protocol::default(),
            headers: Vec::new(),
            headers_typed: Vec::new(),
            unset_variables: Vec::new(),
            allow_http: false,
            ignore_tools: Vec::new(),
            allow_tools: Vec::new(),
            ping_interval: None,
            request_timeout: None,
            message_limit: DEFAULT_MESSAGE_LIMIT,
            http: Http::default(),
            cookies: true,
            get_stream: true,
            profile: None,
            store_dir: None,
            oauth: OAuth::default(),
            log: LogConfig::default(),
        }
    }

    fn has_header(&self, wanted: &str) -> bool {
        let mut names = self.headers.iter().map(|(name, _)| name);
        names.any(|name| name.eq_ignore_ascii_case(wanted))
    }

    /// Whether a configured `Authorization` takes the place of the token: then nobody signs in.
    pub(crate) fn has_own_authorization(&self) -> bool {
        self.oauth.token_header.is_none() && self.has_header("authorization")
    }

    /// The name of the header that carries the token.
    pub(crate) fn token_header(&self) -> &str {
        let name = self.oauth.token_header.as_deref();
        name.unwrap_or("authorization")
    }

    /// Takes user name and password out of the server's address: they become a header (RFC 7617), unless one is configured.
    /// Returns the password.
    pub(crate) fn take_user_info(&mut self) -> Secret {
        let decoded = |text: &str| {
            // This decoder takes a whole form.
            let text = text
                .replace('+', "%2B")
                .replace('&', "%26")
                .replace('=', "%3D");
            let mut parsed = url::form_urlencoded::parse(text.as_bytes());
            parsed
                .next()
                .map_or_else(String::new, |(text, _)| text.into_owned())
        };
        let user = decoded(self.server.username());
        let password = decoded(self.server.password().unwrap_or_default());
        if !(user.is_empty() && password.is_empty() || self.has_header("authorization")) {
            let proof = STANDARD.encode(format!("{user}:{password}"));
            let header = (
                "Authorization".to_owned(),
                Secret::new(format!("Basic {proof}")),
            );
            self.headers.push(header);
        }
        // Neither can fail for http and https.
        self.server.set_username("").ok();
        self.server.set_password(None).ok();
        Secret::new(password)
    }

    /// The same with every value where it works: a limit of zero is no limit, as on the command line; one beyond 30 years,
    /// which some clocks cannot add, is 30 years; pings have a pause between them, and a message some room.
    pub(crate) fn within_limits(mut self) -> Config {
        let limits = [
            &mut self.request_timeout,
            &mut self.http.headers_timeout,
            &mut self.http.body_timeout,
        ];
        for limit in limits {
            *limit = limit
                .filter(|limit| !limit.is_zero())
                .map(|limit| limit.min(MAX_DURATION));
        }
        let within = |value: Duration, least| value.clamp(least, MAX_DURATION);
        self.ping_interval = self
            .ping_interval
            .map(|pause| within(pause, MIN_PING_INTERVAL));
        self.http.connect_timeout = within(self.http.connect_timeout, Duration::from_millis(1));
        self.oauth.auth_timeout = within(self.oauth.auth_timeout, Duration::ZERO);
        self.message_limit = self.message_limit.max(MIN_MESSAGE_LIMIT);
        self
    }
}

/// More would overflow the clock of some systems.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(30 * 365 * 86_400);
const MIN_PING_INTERVAL: Duration = Duration::from_millis(50);
/// Less than this has no room for a handshake.
const MIN_MESSAGE_LIMIT: usize = 4 * 1024;

impl Default for Http {
    fn default() -> Http {
        Http {
            connect_timeout: Duration::from_secs(10),
            headers_timeout: Some(Duration::from_secs(300)),
            body_timeout: Some(Duration::from_secs(300)),
            body_timeout_on_streams: false,
            ipv4: false,
            proxy: ProxyVariables::default(),
            ca_files: Vec::new(),
            environment_ca_files: Vec::new(),
            client_cert: None,
        }
    }
}

impl Default for OAuth {
    fn default() -> OAuth {
        OAuth {
            host: if cfg!(windows) {
                "127.0.0.1"
            } else {
                "localhost"
            }
            .to_owned(),
            callback_path: "/oauth/callback".to_owned(),
            callback_bind: None,
            redirect_uri: None,
            port: None,
            auth_timeout: Duration::from_secs(20),
            success_url: None,
            static_client_info: None,
            static_client_metadata: None,
            scope: None,
            client_metadata_url: None,
            resource: None,
            disable_resource: false,
            no_dpop: false,
            authorize_params: Vec::new(),
            use_id_token: false,
            device_code: false,
            client_credentials: false,
            workload_token: None,
            enterprise_idp: None,
            enterprise_client_info: None,
            enterprise_id_token: None,
            token_endpoint: None,
            client_assertion_key: None,
            accept_issuer: None,
            accept_missing_s256: false,
            no_browser: false,
            no_sign_in: false,
            no_oauth: false,
            token_header: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_decoded_and_leave_the_address() {
        for (address, proof) in [
            ("https://ann:p%40ss+w%26%C3%A4@a.test/mcp", "ann:p@ss+w&ä"),
            ("https://:k%3Dy@a.test/mcp", ":k=y"),
        ] {
            let mut config = Config::new(Url::parse(address).unwrap());
            config.take_user_info();
            assert_eq!(config.server.as_str(), "https://a.test/mcp");
            let header = config.headers.pop().unwrap().1;
            assert_eq!(header.expose(), format!("Basic {}", STANDARD.encode(proof)));
        }
        let mut config = Config::new(Url::parse("https://a.test/mcp").unwrap());
        config.take_user_info();
        assert!(config.headers.is_empty());
    }
}
