//! The OAuth part of the configuration: the defaults and checks of the sign-in flags, as in npm.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::super::args::Typed;
use super::client_info::{client_info, enterprise, json_object};
use super::headers::{self, Environment};
use super::usage;
use crate::config::OAuth;
use crate::error::Result;
use crate::log::clean;
use crate::url::is_loopback;

/// Reads the sign-in flags.
///
/// # Errors
/// If a value is invalid.
pub(super) fn read(
    typed: &Typed,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<OAuth> {
    let mut oauth = OAuth {
        port: port(typed)?,
        ..OAuth::default()
    };
    if let Some(host) = typed.value("--host") {
        oauth.host = host.to_owned();
    }
    callback_path(typed, &mut oauth, warnings);
    oauth.callback_bind = callback_bind(typed, warnings)?;
    oauth.redirect_uri = redirect_uri(typed, warnings)?;
    let is_elsewhere = oauth.callback_bind.is_some_and(|at| !at.is_loopback())
        || oauth.redirect_uri.as_deref().is_some_and(is_elsewhere);
    if is_elsewhere && oauth.port.is_none() {
        let text = "the callback port may change: name one after the server's address, so that it can be published or forwarded";
        warnings.push(text.to_owned());
    }
    oauth.auth_timeout = auth_timeout(typed, warnings).unwrap_or(oauth.auth_timeout);
    oauth.success_url = success_url(typed)?;
    let name = "--static-oauth-client-info";
    oauth.static_client_info = client_info(typed, name, environment, warnings, notes)?;
    oauth.static_client_metadata = match typed.value("--static-oauth-client-metadata") {
        Some(value) => Some(json_object("--static-oauth-client-metadata", value)?.to_string()),
        None => None,
    };
    oauth.scope = typed.value("--scope").map(|scope| scope.trim().to_owned());
    oauth.client_metadata_url = client_metadata_url(typed, warnings);
    resource(typed, &mut oauth, warnings)?;
    oauth.authorize_params = authorize_params(typed, warnings)?;
    oauth.use_id_token = typed.has("--use-id-token");
    oauth.no_dpop = typed.has("--no-dpop");
    oauth.device_code = typed.has("--device-code");
    oauth.client_credentials = typed.has("--client-credentials");
    oauth.workload_token = typed.value("--workload-token").map(PathBuf::from);
    enterprise(typed, environment, &mut oauth, warnings, notes)?;
    let ways = [
        "--client-credentials",
        "--workload-token",
        "--enterprise-idp",
    ];
    let chosen: Vec<&str> = ways.into_iter().filter(|name| typed.has(name)).collect();
    if chosen.len() > 1 {
        let chosen = chosen.join(" and ");
        return Err(usage(format!(
            "choose one way to sign in: {chosen} were given"
        )));
    }
    oauth.token_endpoint = token_endpoint(typed)?;
    oauth.client_assertion_key = typed.value("--client-assertion-key").map(PathBuf::from);
    oauth.accept_issuer = typed.value("--accept-issuer").map(str::to_owned);
    oauth.accept_missing_s256 = typed.has("--accept-missing-s256");
    oauth.no_browser = typed.has("--no-browser");
    oauth.no_sign_in = typed.has("--no-sign-in");
    oauth.no_oauth = typed.has("--no-oauth");
    oauth.token_header = token_header(typed)?;
    Ok(oauth)
}

fn port(typed: &Typed) -> Result<Option<u16>> {
    let Some(text) = &typed.port else {
        return Ok(None);
    };
    let port = text.parse::<u16>().ok().filter(|port| *port > 0);
    port.map(Some).ok_or_else(|| {
        usage(format!(
            "the callback port must be a number from 1 to 65535, not \"{}\"",
            // Cut: the word may be a token that was split off its header.
            clean(text, 8)
        ))
    })
}

/// Whole seconds, as JavaScript's `parseInt` reads them: `30s` is 30.
fn auth_timeout(typed: &Typed, warnings: &mut Vec<String>) -> Option<Duration> {
    let text = typed.value("--auth-timeout")?;
    let digits: String = text
        .trim_start()
        .trim_start_matches('+')
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let seconds = digits.parse::<u64>().ok().filter(|seconds| *seconds > 0);
    if seconds.is_none() {
        warnings.push(format!(
            "--auth-timeout must be a whole number of seconds, more than 0, not \"{}\"; ignored",
            clean(text, 20)
        ));
    }
    // At most a day.
    seconds.map(|seconds| Duration::from_secs(seconds.min(86_400)))
}

fn callback_path(typed: &Typed, oauth: &mut OAuth, warnings: &mut Vec<String>) {
    match typed.value("--callback-path") {
        None => {}
        // Instances find each other by these two paths.
        Some(path)
            if !path.starts_with('/') || path == "/wait-for-auth" || path == "/.mcp-remote/id" =>
        {
            warnings.push(format!("--callback-path must begin with / and not be a reserved path, not \"{}\"; using {}", clean(path, 100), oauth.callback_path));
        }
        Some(path) => oauth.callback_path = path.to_owned(),
    }
}

fn callback_bind(typed: &Typed, warnings: &mut Vec<String>) -> Result<Option<IpAddr>> {
    let Some(text) = typed.value("--callback-bind").map(str::trim) else {
        return Ok(None);
    };
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = match bare {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => bare.parse::<IpAddr>(),
    };
    let address = address.map_err(|_| {
        usage(format!(
            "--callback-bind must be an IP address, not \"{}\"",
            clean(text, 50)
        ))
        .with_hint("0.0.0.0 is every address of this machine")
    })?;
    if !address.is_loopback() {
        warnings.push(format!(
            "--callback-bind {address}: programs on other machines can reach the callback port during a sign-in"
        ));
    }
    Ok(Some(address))
}

fn redirect_uri(typed: &Typed, warnings: &mut Vec<String>) -> Result<Option<String>> {
    let Some(text) = typed.value("--redirect-uri").map(str::trim) else {
        return Ok(None);
    };
    let url =
        Url::parse(text).map_err(|e| usage(format!("--redirect-uri is not a valid URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(usage("--redirect-uri must begin with https:// or http://"));
    }
    // RFC 6749 3.1.2.
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(usage(
            "--redirect-uri must not contain a user name or fragment",
        ));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        warnings.push("--redirect-uri is not encrypted: others on the network can read the authorization code".to_owned());
    }
    Ok(Some(text.to_owned()))
}

/// Whether something else must forward the callback to the listener.
fn is_elsewhere(redirect_uri: &str) -> bool {
    !Url::parse(redirect_uri).is_ok_and(|url| is_loopback(&url) && url.scheme() == "http")
}

fn success_url(typed: &Typed) -> Result<Option<Url>> {
    let mut values = typed.values("--auth-success-url");
    let Some(text) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(usage("--auth-success-url can be given only once"));
    }
    let url = Url::parse(text)
        .map_err(|e| usage(format!("--auth-success-url is not a valid URL: {e}")))?;
    let safe = url.scheme() == "https"
        || url.scheme() == "http" && (typed.has("--allow-http") || is_loopback(&url));
    if !safe {
        return Err(usage(
            "--auth-success-url must be https, or http on this machine",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains(['?', '#']) {
        return Err(usage(
            "--auth-success-url must not contain a user name, query or fragment",
        ));
    }
    Ok(Some(url))
}

fn client_metadata_url(typed: &Typed, warnings: &mut Vec<String>) -> Option<String> {
    let text = typed.value("--client-metadata-url")?.trim();
    let usable = Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.path() != "/");
    if !usable {
        warnings.push(format!(
            "--client-metadata-url must be https with a path, not \"{}\"; ignored",
            clean(text, 200)
        ));
    }
    usable.then(|| text.to_owned())
}

fn resource(typed: &Typed, oauth: &mut OAuth, warnings: &mut Vec<String>) -> Result<()> {
    oauth.disable_resource = typed.has("--disable-resource-parameter");
    let Some(resource) = typed.value("--resource").map(str::trim) else {
        return Ok(());
    };
    if resource.is_empty() {
        oauth.disable_resource = true;
    } else if oauth.disable_resource {
        warnings.push("--resource is ignored: --disable-resource-parameter wins".to_owned());
    } else {
        Url::parse(resource).map_err(|e| usage(format!("--resource is not a valid URL: {e}")))?;
        oauth.resource = Some(resource.to_owned());
    }
    Ok(())
}

fn authorize_params(typed: &Typed, warnings: &mut Vec<String>) -> Result<Vec<(String, String)>> {
    const RESERVED: [&str; 6] = [
        "client_id",
        "redirect_uri",
        "response_type",
        "state",
        "code_challenge",
        "code_challenge_method",
    ];
    let mut params: Vec<(String, String)> = Vec::new();
    for text in typed.values("--authorize-param") {
        let (key, value) = text
            .split_once('=')
            .map(|(key, value)| (key.trim(), value))
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| usage("--authorize-param must be KEY=VALUE"))?;
        if RESERVED.contains(&key) {
            return Err(usage(format!(
                "--authorize-param cannot set {key}: mcp-remote sets it"
            )));
        }
        if key == "resource" {
            warnings.push("--authorize-param resource=… replaces the resource parameter; use --resource instead".to_owned());
        }
        match params.iter_mut().find(|(old, _)| old == key) {
            Some((_, old)) => *old = value.to_owned(),
            None => params.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok(params)
}

/// `Authorization` itself is the default.
fn token_header(typed: &Typed) -> Result<Option<String>> {
    const RESERVED: [&str; 9] = [
        "accept",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "mcp-protocol-version",
        "mcp-session-id",
        "transfer-encoding",
    ];
    let Some(name) = typed.value("--token-header") else {
        return Ok(None);
    };
    let shown = clean(name, 50);
    let name = name.trim().to_ascii_lowercase();
    if headers::parse(&format!("{name}:")).is_none() {
        let what = format!("--token-header must be the name of a header, not \"{shown}\"");
        return Err(usage(what).with_hint("--token-header X-Forwarded-Authorization"));
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(usage(format!(
            "--token-header cannot be {shown}: mcp-remote sets it"
        )));
    }
    Ok(Some(name).filter(|name| name != "authorization"))
}

fn token_endpoint(typed: &Typed) -> Result<Option<Url>> {
    let Some(text) = typed.value("--token-endpoint") else {
        return Ok(None);
    };
    if !typed.has("--client-credentials") && typed.value("--workload-token").is_none() {
        return Err(usage(
            "--token-endpoint can only be used with --client-credentials or --workload-token",
        ));
    }
    let url =
        Url::parse(text).map_err(|e| usage(format!("--token-endpoint is not a valid URL: {e}")))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
        return Err(usage(
            "--token-endpoint must be https, or http on this machine",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(usage(
            "--token-endpoint must not contain a user name or fragment",
        ));
    }
    Ok(Some(url))
}
