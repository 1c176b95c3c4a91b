//! What the site offers and refuses.

use std::collections::HashMap;

use serde_json::{Value, json};

/// By default: a server as the specification of 2025-11-25 wants it, with dynamic registration.
#[derive(Clone)]
pub struct Rules {
    pub server_origin: String,
    pub issuer_origin: String,
    /// The MCP endpoint.
    pub path: String,
    /// It wants a token.
    pub guarded: bool,
    /// What follows "WWW-Authenticate: "; none without.
    pub challenge: Option<String>,
    /// The scope without which `ask` is answered 403 `insufficient_scope`.
    pub needs: Option<String>,
    /// Any scope is insufficient.
    pub never_enough: bool,
    /// The id token is what is wanted.
    pub wants_id_token: bool,
    /// The documents that are served, by their addresses.
    pub documents: HashMap<String, Value>,
    /// The issuer in responses (RFC 9207).
    pub iss: Option<String>,
    /// The person says no.
    pub denies: bool,
    /// Members of token responses that differ; null removes one.
    pub token: Value,
    /// A refresh leads to a new refresh token, and the old one is void.
    pub rotates: bool,
    /// Error code of every refresh.
    pub refuses_refresh: Option<String>,
    /// The token endpoint refuses the resource parameter as Entra does.
    pub refuses_resource: bool,
    /// How a registered client is told to prove itself; what it asked for if there is none.
    pub registered_method: Option<String>,
    /// How often a device poll is told to wait.
    pub device_pending: u32,
    /// What the device poll ends with instead of tokens.
    pub device_error: Option<String>,
    /// The public key of a client with signed assertions (P-256, uncompressed).
    pub assertion_key: Option<Vec<u8>>,
}

impl Rules {
    pub fn none() -> Rules {
        Rules::at("http://127.0.0.1:0", "http://127.0.0.1:0")
    }

    pub fn at(server: &str, issuer: &str) -> Rules {
        let mut rules = Rules {
            server_origin: server.to_owned(),
            issuer_origin: issuer.to_owned(),
            path: "/mcp".to_owned(),
            guarded: true,
            challenge: None,
            needs: None,
            never_enough: false,
            wants_id_token: false,
            documents: HashMap::new(),
            iss: Some(issuer.to_owned()),
            denies: false,
            token: json!({}),
            rotates: true,
            refuses_refresh: None,
            refuses_resource: false,
            registered_method: None,
            device_pending: 0,
            device_error: None,
            assertion_key: None,
        };
        let place = rules.resource_metadata_url();
        rules.challenge = Some(format!("Bearer resource_metadata=\"{place}\""));
        rules.documents.insert(place, rules.resource_metadata());
        let place = format!("{issuer}/.well-known/oauth-authorization-server");
        rules
            .documents
            .insert(place, server_metadata(issuer, issuer));
        rules
    }

    /// Where resource metadata is by default.
    pub fn resource_metadata_url(&self) -> String {
        format!(
            "{}/.well-known/oauth-protected-resource{}",
            self.server_origin, self.path
        )
    }

    pub fn resource_metadata(&self) -> Value {
        json!({
            "resource": format!("{}{}", self.server_origin, self.path),
            "authorization_servers": [self.issuer_origin],
        })
    }

    /// The resource metadata, to be changed.
    pub fn resource_document(&mut self) -> &mut Value {
        self.documents
            .get_mut(&self.resource_metadata_url())
            .unwrap()
    }

    /// The server metadata, to be changed.
    pub fn server_document(&mut self) -> &mut Value {
        let place = format!(
            "{}/.well-known/oauth-authorization-server",
            self.issuer_origin
        );
        self.documents.get_mut(&place).unwrap()
    }

    /// No resource metadata anywhere, and a challenge that says nothing.
    pub fn without_resource_metadata(&mut self) {
        let place = self.resource_metadata_url();
        self.documents.remove(&place);
        self.challenge = Some("Bearer".to_owned());
    }

    /// The challenge with this after the address of the resource metadata.
    pub fn challenge_with(&mut self, more: &str) {
        let place = self.resource_metadata_url();
        self.challenge = Some(format!("Bearer resource_metadata=\"{place}\", {more}"));
    }
}

/// Server metadata with endpoints below `base`.
pub fn server_metadata(issuer: &str, base: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{base}/authorize"),
        "token_endpoint": format!("{base}/token"),
        "registration_endpoint": format!("{base}/register"),
        "device_authorization_endpoint": format!("{base}/device_authorization"),
        "revocation_endpoint": format!("{base}/revoke"),
        "response_types_supported": ["code"],
        "grant_types_supported": [
            "authorization_code", "refresh_token", "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [
            "none", "client_secret_basic", "client_secret_post", "private_key_jwt",
        ],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "RS256"],
        "authorization_response_iss_parameter_supported": true,
    })
}
