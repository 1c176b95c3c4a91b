//! Makes a `Config` from the command line, the environment and files: all defaults and all checks.
//!
//! npm's rule for each flag is kept: an error there is an error here, a warning there is a warning here.
//!
//! Flags: `--protocol`, `--allow-http`, `--max-message-size`, `--host`, `--callback-path`, `--auth-timeout`,
//! `--auth-success-url`, `--no-browser`, `--static-oauth-client-info`, `--static-oauth-client-metadata`,
//! `--client-metadata-url`, `--client-assertion-key`, `--resource`, `--disable-resource-parameter`,
//! `--authorize-param`, `--use-id-token`, `--device-code`, `--client-credentials`, `--token-endpoint`.

mod headers;
mod oauth;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::args::Typed;
use crate::config::{Config, LogConfig, MAX_DURATION, Protocol, ProxyVariables, Strategy};
use crate::error::{Error, Kind, Result};
use crate::log::clean;
use crate::secret::Secret;
pub use headers::Environment;
use headers::expand;

/// The configuration, and what to log about it.
#[derive(Debug)]
pub struct Read {
    /// The configuration.
    pub config: Config,
    /// Shown to the user.
    pub warnings: Vec<String>,
    /// Debug log lines: names, never values.
    pub notes: Vec<String>,
    /// The start of a debug log: version, platform, the names of flags and variables.
    pub about: String,
}

/// Makes the configuration. If no server is needed and none is given, `server` is `about:blank`.
///
/// # Errors
/// If a value is missing or invalid.
pub fn read(typed: &Typed, needs_server: bool, environment: Environment<'_>) -> Result<Read> {
    let mut warnings = typed.warnings.clone();
    let mut notes = Vec::new();
    let address = typed.url.as_deref();
    let address = address.map(|text| expand(text, environment, &mut warnings, &mut notes));
    let server = server(address.as_deref(), needs_server, typed.has("--allow-http"))?;
    let mut config = Config::new(server);
    config.server_text = address.unwrap_or_default();
    config.unset_variables = headers::unset(typed.url.as_deref().unwrap_or(""), environment);
    config.allow_http = typed.has("--allow-http");
    config.strategy = strategy(typed, &mut warnings);
    config.protocol = protocol(typed, &mut warnings);
    config.ignore_tools = typed.values("--ignore-tool").map(str::to_owned).collect();
    config.allow_tools = typed.values("--allow-tool").map(str::to_owned).collect();
    config.cookies = !typed.has("--disable-cookies");
    config.get_stream = !typed.has("--no-get-stream");
    config.request_timeout =
        seconds(typed, "--request-timeout", true, &mut warnings).filter(|limit| !limit.is_zero());
    if typed.has("--keep-alive") || typed.has("--ping-interval") {
        let interval = seconds(typed, "--ping-interval", false, &mut warnings);
        config.ping_interval = Some(interval.unwrap_or(Duration::from_secs(30)));
    }
    if let Some(mib) = typed.value("--max-message-size") {
        let limit = mib
            .parse::<usize>()
            .ok()
            .filter(|mib| *mib > 0)
            .and_then(|mib| mib.checked_mul(1024 * 1024));
        config.message_limit = limit.ok_or_else(|| {
            usage(format!(
                "--max-message-size must be a whole number of MiB, not \"{}\"",
                clean(mib, 20)
            ))
        })?;
    }
    if (config.protocol, config.strategy) == (Protocol::Modern, Strategy::SseOnly) {
        let what = "--protocol modern does not work over HTTP+SSE: remove --transport sse-only, or use --protocol legacy";
        return Err(usage(what.to_owned()));
    }
    network(typed, environment, &mut config, &mut warnings)?;
    read_headers(typed, &mut config, &mut warnings, &mut notes)?;
    headers::expand_all(environment, &mut config, &mut warnings, &mut notes)?;
    config.store_dir = store_dir(environment);
    config.oauth = oauth::read(typed, environment, &mut warnings, &mut notes)?;
    config.profile = profile(typed)?;
    config.log = log_config(typed)?;
    Ok(Read {
        config,
        warnings,
        notes,
        about: about(typed, environment),
    })
}

/// Names only: values may be secrets.
fn about(typed: &Typed, environment: Environment<'_>) -> String {
    let list = |names: Vec<&str>| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(" ")
        }
    };
    let set = VARIABLES
        .iter()
        .filter(|name| environment(name).is_some_and(|value| !value.is_empty()));
    format!(
        "mcp-remote {} on {} {}\nflags: {}\nvariables: {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        list(typed.flags.iter().map(|(name, _)| *name).collect()),
        list(set.copied().collect()),
    )
}

/// The variables that change what the program does.
const VARIABLES: &[&str] = &[
    "MCP_REMOTE_CONFIG_DIR",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "BROWSER",
];

/// A name that is safe in a list and on a command line. "default" means no profile.
fn profile(typed: &Typed) -> Result<Option<String>> {
    let Some(name) = typed.value("--profile") else {
        return Ok(None);
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || name.starts_with('-') || !name.chars().all(is_allowed)
    {
        let what = format!(
            "--profile must be 1 to 64 letters, digits, \"-\", \"_\" or \".\", not \"{}\"",
            clean(name, 70)
        );
        return Err(usage(what));
    }
    Ok(Some(name.to_owned()).filter(|name| name != "default"))
}

/// The log settings.
///
/// # Errors
/// If the format is unknown.
pub fn log_config(typed: &Typed) -> Result<LogConfig> {
    let json = match typed.value("--log-format") {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => {
            return Err(usage(format!(
                "--log-format must be text or json, not \"{}\"",
                clean(other, 20)
            )));
        }
    };
    Ok(LogConfig {
        debug: typed.has("--debug"),
        silent: typed.has("--silent"),
        json,
        file: typed.value("--log-file").map(PathBuf::from),
    })
}

/// An error on the command line.
pub(super) fn usage(what: impl Into<String>) -> Error {
    Error::new(Kind::Usage, what)
}

fn server(address: Option<&str>, needs_server: bool, allow_http: bool) -> Result<Url> {
    let text = address.or((!needs_server).then_some("about:blank"));
    let Some(text) = text else {
        return Err(
            usage("the address of the server is missing").with_hint("mcp-remote https://host/mcp")
        );
    };
    super::address::check(address, &unparsed(text))?;
    let url = Url::parse(text).map_err(|e| {
        // Unicode host names need large tables; see Cargo.toml.
        let hint = match e {
            url::ParseError::IdnaError => "write the host's name in ASCII: xn--...",
            _ => "it must look like https://host/mcp",
        };
        usage(format!("\"{}\" is not a valid URL: {e}", unparsed(text))).with_hint(hint)
    })?;
    if address.is_some() {
        crate::url::check_server(&url, allow_http, &unparsed(text))?;
    }
    Ok(url)
}

/// The text of an invalid URL without the parts that may be a password or a key.
fn unparsed(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let text = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    clean(text, 200)
}

fn strategy(typed: &Typed, warnings: &mut Vec<String>) -> Strategy {
    match typed.value("--transport") {
        None | Some("http-first") => Strategy::HttpFirst,
        Some("sse-first") => Strategy::SseFirst,
        Some("http-only") => Strategy::HttpOnly,
        Some("sse-only") => Strategy::SseOnly,
        Some(other) => {
            warnings.push(format!("--transport must be http-first, sse-first, http-only or sse-only, not \"{}\"; using http-first", clean(other, 20)));
            Strategy::HttpFirst
        }
    }
}

fn protocol(typed: &Typed, warnings: &mut Vec<String>) -> Protocol {
    match typed.value("--protocol") {
        None | Some("detect") => Protocol::Detect,
        Some("auto") => Protocol::Auto,
        Some("legacy") => Protocol::Legacy,
        Some("modern") => Protocol::Modern,
        Some(other) => {
            warnings.push(format!(
                "--protocol must be detect, auto, legacy or modern, not \"{}\"; using detect",
                clean(other, 20)
            ));
            Protocol::Detect
        }
    }
}

/// A time in seconds, fractions allowed. An invalid one is ignored with a warning, as in npm.
fn seconds(
    typed: &Typed,
    name: &'static str,
    zero: bool,
    warnings: &mut Vec<String>,
) -> Option<Duration> {
    let text = typed.value(name)?;
    let value = text
        .trim()
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite() && (*value > 0.0 || zero && *value == 0.0));
    if value.is_none() {
        let least = if zero { "0 or more" } else { "more than 0" };
        warnings.push(format!(
            "{name} must be a number of seconds, {least}, not \"{}\"; ignored",
            clean(text, 20)
        ));
    }
    // A very large number means no limit.
    value.map(|value| {
        Duration::try_from_secs_f64(value)
            .unwrap_or(MAX_DURATION)
            .min(MAX_DURATION)
    })
}

fn network(
    typed: &Typed,
    environment: Environment<'_>,
    config: &mut Config,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let http = &mut config.http;
    http.connect_timeout =
        seconds(typed, "--connect-timeout", false, warnings).unwrap_or(http.connect_timeout);
    if let Some(limit) = seconds(typed, "--headers-timeout", true, warnings) {
        http.headers_timeout = Some(limit).filter(|limit| !limit.is_zero());
    }
    if let Some(limit) = seconds(typed, "--body-timeout", true, warnings) {
        http.body_timeout = Some(limit).filter(|limit| !limit.is_zero());
        http.body_timeout_on_streams = true;
    }
    http.ipv4 = typed.has("--ipv4");
    if !typed.has("--no-proxy") {
        http.proxy = proxies(environment);
    }
    http.ca_files = typed.values("--ca-cert").map(PathBuf::from).collect();
    for name in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
        let Some(path) = environment(name).filter(|path| !path.is_empty()) else {
            continue;
        };
        if fs::metadata(&path).is_ok_and(|file| file.is_file()) {
            http.environment_ca_files.push(PathBuf::from(path));
        } else {
            warnings.push(format!(
                "{name} names \"{}\", which is not a file; ignored",
                clean(&path, 200)
            ));
        }
    }
    http.client_cert = match (typed.value("--client-cert"), typed.value("--client-key")) {
        (Some(cert), Some(key)) => Some((PathBuf::from(cert), PathBuf::from(key))),
        (None, None) => None,
        (Some(_), None) => return Err(usage("--client-cert needs --client-key FILE")),
        (None, Some(_)) => return Err(usage("--client-key needs --client-cert FILE")),
    };
    Ok(())
}

/// curl's rules: lower case wins, and an empty variable counts as unset. With REQUEST_METHOD set, the upper-case
/// HTTP_PROXY is ignored: a web server may have made it from a request header.
fn proxies(environment: Environment<'_>) -> ProxyVariables {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    let either = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
    let http = match environment("REQUEST_METHOD") {
        Some(_) => variable("http_proxy"),
        None => either("HTTP_PROXY"),
    };
    ProxyVariables {
        http: http.map(Secret::new),
        https: either("HTTPS_PROXY").map(Secret::new),
        all: either("ALL_PROXY").map(Secret::new),
        none_for: either("NO_PROXY"),
    }
}

fn read_headers(
    typed: &Typed,
    config: &mut Config,
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<()> {
    for (name, value) in &typed.flags {
        match *name {
            "--header" => match headers::parse(value) {
                Some(header) => headers::put(&mut config.headers_typed, header),
                None => {
                    warnings.push("a --header is not a valid \"Name: value\"; ignored".to_owned())
                }
            },
            "--header-file" => {
                let path = clean(value, 200);
                let text = fs::read_to_string(value).map_err(|e| {
                    Error::new(
                        Kind::Config,
                        format!("cannot read header file \"{path}\": {}", plain(&e)),
                    )
                })?;
                let read = headers::parse_file(&path, &text, warnings);
                notes.push(format!("headers read from \"{path}\": {}", read.len()));
                for header in read {
                    headers::put(&mut config.headers_typed, header);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The text of a file error, without the number of the operating system.
pub(super) fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        _ => crate::error::plain(error),
    }
}

fn store_dir(environment: Environment<'_>) -> Option<PathBuf> {
    let dir = environment("MCP_REMOTE_CONFIG_DIR").filter(|dir| !dir.is_empty());
    dir.map(PathBuf::from)
        .or_else(|| Some(dirs::home_dir()?.join(".mcp-auth")))
}

#[cfg(test)]
mod tests;
