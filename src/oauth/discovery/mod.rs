//! Discovery: from the server's URL and its challenge to the authorization server.
//!
//! - A URL that returns 4xx, or something other than metadata, has no document: the next URL is tried.
//! - After any other trouble (429 and 5xx, which are retried first, an invalid document, a refused redirect) the next URL is
//!   tried, too: some servers return 5xx or the document of another issuer where they have none. Every document is checked by
//!   itself, so it does not matter which URL it was found at. If no URL has a good document, the trouble ends the sign-in, and
//!   nothing is guessed. A server that cannot be reached is not tried at other URLs.
//! - Resource metadata in trouble does not matter for a server that publishes authorization server metadata itself
//!   (2025-03-26, and npm), unless the tokens come from elsewhere.
//! - If a server at https names http for its own origin, https is used: TLS ends at a proxy.
//!
//! Flags: none of its own; see `resource_metadata`, `server_metadata`, `issuer`.
//! Spec: MCP 2026-07-28 basic/authorization (Authorization Server Discovery), 2025-03-26 basic/authorization 2.3.

use url::Url;

use crate::oauth::error::{Failure, Step, fetch};
pub(crate) mod issuer;
pub(crate) mod resource_metadata;
pub(crate) mod server_metadata;
#[cfg(test)]
mod tests;

use crate::config::Config;
use crate::error::{Error, Kind};
use crate::log::clean;
use crate::oauth::environment::{Environment, Fetch};
use crate::store::{AcceptedIssuer, DiscoveryState, Object, same_issuer};
use crate::url::{from_network, keeping_https, same_origin, shown};
use issuer::Accepted;
use resource_metadata::ResourceMetadata;
use server_metadata::ServerMetadata;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovered {
    /// The resource metadata and its URL; none for a 2025-03-26 server.
    pub resource: Option<(Url, ResourceMetadata)>,
    /// The authorization server.
    pub server: ServerMetadata,
    /// The issuer it was looked for under.
    pub authorization_server: String,
}

impl Discovered {
    /// The resource metadata.
    pub fn resource(&self) -> Option<&ResourceMetadata> {
        self.resource.as_ref().map(|(_, metadata)| metadata)
    }

    /// The issuer that tokens and registrations are bound to.
    pub fn issuer(&self) -> &str {
        let stated = self.server.issuer.as_deref();
        stated.unwrap_or(&self.authorization_server)
    }

    /// Where an issuer was accepted that is not the one it was looked for under.
    pub fn accepted(&self, accepted: &Accepted) -> Option<AcceptedIssuer> {
        let issuer = self.server.issuer.as_deref()?;
        let is_other = !same_issuer(issuer, &self.authorization_server);
        let is_accepted = accepted.issuer().is_some_and(|it| same_issuer(it, issuer));
        (is_other && is_accepted).then(|| AcceptedIssuer {
            place: self.authorization_server.clone(),
            issuer: issuer.to_owned(),
        })
    }

    /// The record that npm mcp-remote keeps beside the verifier.
    pub fn record(&self) -> DiscoveryState {
        let document = &self.server.document;
        DiscoveryState {
            authorization_server_url: self.authorization_server.clone(),
            resource_metadata_url: self.resource.as_ref().map(|(url, _)| url.to_string()),
            resource_metadata: None,
            authorization_server_metadata: (!document.is_empty())
                .then(|| serde_json::Value::Object(document.clone())),
        }
    }
}

/// What earlier sign-ins at the server have shown.
#[derive(Debug, Default)]
pub struct Known {
    /// The issuer of the stored tokens.
    pub issuer: Option<String>,
    /// The issuer of `--accept-issuer`.
    pub accepted: Accepted,
}

/// Finds the authorization server. `named_url` is the `resource_metadata` URL of the challenge.
///
/// # Errors
/// If a document is invalid, or none is found.
pub fn discover(
    env: &dyn Environment,
    config: &Config,
    named_url: Option<&Url>,
    known: &Known,
) -> Step<Discovered> {
    let origin = config.server.origin().ascii_serialization();
    let resource = match find_resource(env, config, named_url) {
        Ok(resource) => resource,
        Err(trouble) => return without_resource(env, config, known, origin, trouble),
    };
    let named = resource
        .as_ref()
        .and_then(|(_, metadata)| metadata.authorization_server.clone());
    let authorization_server = named.unwrap_or(origin);
    let issuer_url = address(&config.server, &authorization_server, config.allow_http)
        .map_err(|why| Failure::new(format!("the issuer cannot be used: {why}")))?;
    match &resource {
        Some((url, _)) => env.found("resource metadata", &shown(url)),
        None => env.found("resource metadata", "none (a 2025-03-26 server)"),
    }
    let found = find_server(
        env,
        config,
        known,
        &authorization_server,
        &issuer_url,
        false,
    )?;
    let server = match found {
        Some(server) => server,
        None if same_origin(&issuer_url, &config.server) => {
            ServerMetadata::without_document(&config.server)
        }
        None => return Err(no_metadata(&issuer_url)),
    };
    match &server.issuer {
        Some(issuer) => env.found("server metadata", &clean(issuer, 200)),
        None => env.found("server metadata", "none (a 2025-03-26 server)"),
    }
    Ok(Discovered {
        resource,
        server,
        authorization_server,
    })
}

/// The identity provider that the user named: its address may be on any network, its documents are not redirected.
///
/// # Errors
/// If it has no valid metadata.
pub fn of_provider(env: &dyn Environment, config: &Config) -> Step<Discovered> {
    let issuer = &config.server_text;
    let known = Known::default();
    let found = find_server(env, config, &known, issuer, &config.server, true)?;
    let server = found.ok_or_else(|| no_metadata(&config.server))?;
    env.found("identity provider", &clean(issuer, 200));
    Ok(Discovered {
        resource: None,
        server,
        authorization_server: issuer.clone(),
    })
}

/// The server as its own authorization server, if it publishes metadata and the tokens are not from elsewhere; else the trouble.
fn without_resource(
    env: &dyn Environment,
    config: &Config,
    known: &Known,
    origin: String,
    trouble: Failure,
) -> Step<Discovered> {
    let may_pass = matches!(&trouble, Failure::Passing(error) if error.kind() == Kind::SignIn);
    let issuer = known.issuer.as_deref();
    if !may_pass || issuer.is_some_and(|issuer| !same_issuer(issuer, &origin)) {
        return Err(trouble);
    }
    let Ok(origin_url) = Url::parse(&origin) else {
        return Err(trouble);
    };
    match find_server(env, config, known, &origin, &origin_url, false) {
        Ok(Some(server)) if server.issuer.is_some() => {
            env.found("resource metadata", "none that can be read");
            env.found("server metadata", &origin);
            Ok(Discovered {
                resource: None,
                server,
                authorization_server: origin,
            })
        }
        Ok(_) | Err(_) => Err(trouble),
    }
}

/// An address that a document names, with https where `base` has it and the document names the same origin with http.
fn address(base: &Url, text: &str, allow_http: bool) -> Result<Url, String> {
    let kept = Url::parse(text).map(|url| keeping_https(base, url)).ok();
    match kept.filter(|kept| same_origin(kept, base)) {
        Some(kept) => from_network(kept.as_str(), allow_http),
        None => from_network(text, allow_http),
    }
}

fn find_resource(
    env: &dyn Environment,
    config: &Config,
    named_url: Option<&Url>,
) -> Step<Option<(Url, ResourceMetadata)>> {
    let mut urls = resource_metadata::well_known(&config.server);
    let mut trouble = Trouble::default();
    match named_url.map(|url| address(&config.server, url.as_str(), config.allow_http)) {
        Some(Ok(named_url)) => {
            urls.retain(|url| *url != named_url);
            urls.insert(0, named_url);
        }
        Some(Err(why)) => trouble.add(Failure::new(format!(
            "the resource_metadata URL of the challenge is refused: {why}"
        )))?,
        None => {}
    }
    let any = config.oauth.resource.is_some() || config.oauth.disable_resource;
    for url in urls {
        let read = |document: Object| {
            resource_metadata::read(&document, &url, &config.server, any, config.allow_http)
        };
        let found = document(
            env,
            &url,
            false,
            "resource metadata",
            resource_metadata::is_metadata,
        );
        match found.and_then(|document| document.map(read).transpose()) {
            Ok(Some(metadata)) => return Ok(Some((url, metadata))),
            Ok(None) => {}
            Err(failure) => trouble.add(failure)?,
        }
    }
    trouble.end()
}

/// The metadata of an issuer, which is asked for at `issuer_url`.
fn find_server(
    env: &dyn Environment,
    config: &Config,
    known: &Known,
    issuer_text: &str,
    issuer_url: &Url,
    trusted: bool,
) -> Step<Option<ServerMetadata>> {
    let mut trouble = Trouble::default();
    let mut incomplete = None;
    for url in server_metadata::well_known(issuer_url) {
        let what = "authorization server metadata";
        let found = document(env, &url, trusted, what, server_metadata::is_metadata);
        let read = |document| read_server(env, config, known, issuer_text, issuer_url, document);
        match found.and_then(|document| document.map(read).transpose()) {
            Ok(Some(metadata)) if metadata.token_endpoint.is_some() => return Ok(Some(metadata)),
            Ok(Some(metadata)) => {
                incomplete.get_or_insert(metadata);
            }
            Ok(None) => {}
            Err(failure) => trouble.add(failure)?,
        }
    }
    match incomplete {
        Some(metadata) => Ok(Some(metadata)),
        None => trouble.end(),
    }
}

fn read_server(
    env: &dyn Environment,
    config: &Config,
    known: &Known,
    issuer_text: &str,
    issuer_url: &Url,
    document: Object,
) -> Step<ServerMetadata> {
    let stated = server_metadata::issuer(&document);
    // Some servers name their MCP endpoint as issuer, and publish the metadata of their origin.
    let own = config.server.origin().ascii_serialization();
    let is_own = same_origin(issuer_url, &config.server)
        && stated.is_some_and(|stated| same_issuer(&own, stated));
    if !is_own && issuer::check_metadata(issuer_text, stated, &known.accepted)? {
        let what =
            "the metadata names another issuer than it was looked for under (--accept-issuer)";
        env.found("warning", what);
    }
    let mut metadata = server_metadata::read(document, issuer_url, config.allow_http)?;
    metadata
        .issuer
        .get_or_insert_with(|| issuer_text.to_owned());
    Ok(metadata)
}

fn no_metadata(issuer_url: &Url) -> Failure {
    let urls = server_metadata::well_known(issuer_url);
    let tried: Vec<String> = urls.iter().map(shown).collect();
    let what = format!(
        "authorization server \"{}\" publishes no metadata (tried {})",
        shown(issuer_url),
        tried.join(", ")
    );
    let error = Error::new(Kind::SignIn, what)
        .with_hint("ask the operator of the server for the right URL");
    Failure::Final(error)
}

/// What went wrong at the URLs tried so far.
#[derive(Default)]
struct Trouble {
    passing: Option<Failure>,
    refused: Option<Failure>,
}

impl Trouble {
    /// Keeps the first failure of its kind.
    ///
    /// # Errors
    /// If no other URL is worth a try, because the server cannot be reached.
    fn add(&mut self, failure: Failure) -> Step<()> {
        match &failure {
            Failure::Passing(error) if error.kind() != Kind::SignIn => return Err(failure),
            Failure::Passing(_) => self.passing.get_or_insert(failure),
            Failure::Refused(..) | Failure::Final(_) => self.refused.get_or_insert(failure),
        };
        Ok(())
    }

    /// The end of the search: a document that was refused says more than a URL without one.
    fn end<T>(self) -> Step<Option<T>> {
        match self.refused.or(self.passing) {
            Some(failure) => Err(failure),
            None => Ok(None),
        }
    }
}

fn document(
    env: &dyn Environment,
    url: &Url,
    trusted: bool,
    what: &str,
    is_metadata: fn(&Object) -> bool,
) -> Step<Option<Object>> {
    let request = Fetch {
        follow: !trusted,
        trusted,
        ..Fetch::document(url.clone())
    };
    let response = fetch(env, &request, what)?;
    if response.status != 200 {
        return Ok(None);
    }
    Ok(response.object().filter(is_metadata))
}
