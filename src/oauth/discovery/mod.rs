//! Discovery: from the server's URL and its challenge to the authorization server.
//!
//! - A URL that returns 4xx, or something other than a JSON object, has no document: the next URL is tried.
//! - 429 and 5xx are retried and then end the sign-in for now: the document may be there in a minute. For authorization server
//!   metadata the next URL is tried first: the URLs are equivalent, because the document must name its issuer.
//! - An invalid document ends the sign-in with the reason; no other URL is tried.
//!
//! Flags: none of its own; see `resource_metadata`, `server_metadata`, `issuer`.
//! Spec: MCP 2026-07-28 basic/authorization (Authorization Server Discovery), 2025-03-26 basic/authorization 2.3.

use url::Url;

use crate::oauth::error::{Failure, Step, fetch};
pub(crate) mod issuer;
pub(crate) mod resource_metadata;
pub(crate) mod server_metadata;

use crate::config::Config;
use crate::error::{Error, Kind};
use crate::log::clean;
use crate::oauth::environment::{Environment, Fetch};
use crate::store::{DiscoveryState, Object, same_issuer};
use crate::url::{from_network, same_origin, shown};
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

/// Finds the authorization server. `named_url` is the `resource_metadata` URL of the challenge.
///
/// # Errors
/// If a document is invalid, or none is found.
pub fn discover(
    env: &dyn Environment,
    config: &Config,
    named_url: Option<&Url>,
) -> Step<Discovered> {
    let resource = find_resource(env, config, named_url)?;
    let named = resource
        .as_ref()
        .and_then(|(_, metadata)| metadata.authorization_server.clone());
    let authorization_server =
        named.unwrap_or_else(|| config.server.origin().ascii_serialization());
    let issuer_url = Url::parse(&authorization_server).map_err(|e| {
        Failure::new(format!(
            "the issuer \"{}\" is not a valid URL: {e}",
            clean(&authorization_server, 200)
        ))
    })?;
    match &resource {
        Some((url, _)) => env.found("resource metadata", &shown(url)),
        None => env.found("resource metadata", "none (a 2025-03-26 server)"),
    }
    let server = find_server(env, config, &authorization_server, &issuer_url)?;
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

fn find_resource(
    env: &dyn Environment,
    config: &Config,
    named_url: Option<&Url>,
) -> Step<Option<(Url, ResourceMetadata)>> {
    let mut urls = Vec::new();
    if let Some(named_url) = named_url {
        let named_url = from_network(named_url.as_str(), config.allow_http).map_err(|why| {
            Failure::new(format!(
                "the resource_metadata URL of the challenge is refused: {why}"
            ))
        })?;
        urls.push(named_url);
    }
    for url in resource_metadata::well_known(&config.server) {
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    let any = config.oauth.resource.is_some() || config.oauth.disable_resource;
    for url in urls {
        if let Some(document) = document(env, &url, "resource metadata")? {
            let metadata =
                resource_metadata::read(&document, &url, &config.server, any, config.allow_http)?;
            return Ok(Some((url, metadata)));
        }
    }
    Ok(None)
}

fn find_server(
    env: &dyn Environment,
    config: &Config,
    issuer_text: &str,
    issuer_url: &Url,
) -> Step<ServerMetadata> {
    let urls = server_metadata::well_known(issuer_url);
    let mut in_trouble = None;
    for url in &urls {
        let document = match document(env, url, "authorization server metadata") {
            // Some servers return 5xx where they have no document. A server that cannot be reached is not tried again.
            Err(Failure::Passing(error)) if error.kind() == Kind::SignIn => {
                in_trouble.get_or_insert(error);
                None
            }
            found => found?,
        };
        if let Some(document) = document {
            let metadata = server_metadata::read(document, config.allow_http)?;
            let accepted = config.oauth.accept_issuer.as_deref();
            let stated = metadata.issuer.as_deref();
            issuer::check_metadata(issuer_text, stated, accepted)?;
            if stated.is_some_and(|stated| !same_issuer(issuer_text, stated)) {
                let what = "the metadata names another issuer than it was looked for under (--accept-issuer)";
                env.found("warning", what);
            }
            return Ok(metadata);
        }
    }
    if let Some(error) = in_trouble {
        return Err(Failure::Passing(error));
    }
    if same_origin(issuer_url, &config.server) {
        return Ok(ServerMetadata::without_document(&config.server));
    }
    let tried: Vec<String> = urls.iter().map(shown).collect();
    let what = format!(
        "authorization server \"{}\" publishes no metadata (tried {})",
        shown(issuer_url),
        tried.join(", ")
    );
    let error = Error::new(Kind::SignIn, what)
        .with_hint("ask the operator of the server for the right URL");
    Err(Failure::Final(error))
}

fn document(env: &dyn Environment, url: &Url, what: &str) -> Step<Option<Object>> {
    let response = fetch(env, &Fetch::document(url.clone()), what)?;
    if response.status != 200 {
        return Ok(None);
    }
    Ok(response.object())
}
