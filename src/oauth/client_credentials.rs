//! The client credentials grant: a program signs itself in, without a person.
//!
//! - A client must have been registered by hand, with a secret or a key.
//! - `--token-endpoint` spares discovery; then the endpoint is the person's own word and may be anywhere.
//!
//! Flags: `--client-credentials`, `--token-endpoint`.
//! Spec: RFC 6749 4.4; RFC 7523 2.2; MCP 2026-07-28 extension "OAuth Client Credentials".

use super::error::Step;
use super::token;
use crate::store::Tokens;

/// Asks for a token.
///
/// # Errors
/// If the server refuses.
pub fn request(
    endpoint: token::Endpoint<'_>,
    scope: Option<&str>,
    resource: Option<&str>,
) -> Step<Tokens> {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(scope.map(|scope| ("scope", scope)));
    form.extend(resource.map(|resource| ("resource", resource)));
    token::request(endpoint, &form, "signing in with client credentials")
}
