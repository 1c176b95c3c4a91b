//! The records that npm mcp-remote knows too: what is in the files, as types.
//!
//! They have npm mcp-remote's shapes exactly, because npm reads and writes the same files:
//! - [`Tokens`] (`tokens.json`): RFC 6749 5.1 plus `expires_at` (Unix milliseconds), `requested_scope`, `issuer`;
//! - [`ClientInfo`] (`client_info.json`): the RFC 7591 3.2.1 answer plus `issuer`;
//! - [`DiscoveryState`] (`discovery_state_<state>.json`): what was discovered before the browser was opened.
//!
//! A reader is lenient about everything but the members a record is useless without: npm's clients leave out many.
//!
//! Not done here: no file is touched (`mod.rs`); what npm does not know is in `own_records.rs`.

use std::fmt;

use serde_json::{Map, Value};

use crate::secret::Secret;

/// A JSON object.
pub type Object = Map<String, Value>;

/// Milliseconds since 1970.
pub type UnixMillis = u64;

/// A token that ends within a minute is as good as ended (npm's TOKEN_EXPIRY_MARGIN_MS).
pub const EXPIRY_MARGIN: UnixMillis = 60_000;

/// The largest integer a JavaScript number holds exactly: npm reads the same file.
const LARGEST: u64 = (1 << 53) - 1;

/// What the token endpoint gave us, and what we know about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// The access token.
    pub access_token: Secret,
    /// `Bearer` or `DPoP`, in any case.
    pub token_type: String,
    /// The OpenID Connect id token.
    pub id_token: Option<Secret>,
    /// The life of the access token in seconds, as the server said.
    pub expires_in: Option<u64>,
    /// The scope that was granted, if the server said so.
    pub scope: Option<String>,
    /// The refresh token.
    pub refresh_token: Option<Secret>,
    /// When the access token ends; made from `expires_in` when the tokens are saved, unless it is set.
    pub expires_at: Option<UnixMillis>,
    /// The scope that was asked for, `""` for none. npm discards tokens whose text differs from what it would ask for.
    pub requested_scope: Option<String>,
    /// The issuer of the tokens. npm loses it at each refresh ahead of time.
    pub issuer: Option<String>,
}

impl Tokens {
    /// Tokens from JSON, or the name of the member that is missing.
    ///
    /// # Errors
    /// If `access_token` or `token_type` is missing: npm treats such tokens as absent, and so must we.
    pub fn from_object(object: &Object) -> Result<Tokens, &'static str> {
        Ok(Tokens {
            access_token: secret(object, "access_token").ok_or("access_token")?,
            token_type: text(object, "token_type").ok_or("token_type")?,
            id_token: secret(object, "id_token"),
            expires_in: number(object, "expires_in"),
            scope: text(object, "scope"),
            refresh_token: secret(object, "refresh_token"),
            expires_at: number(object, "expires_at"),
            requested_scope: text(object, "requested_scope"),
            issuer: text(object, "issuer"),
        })
    }

    /// The JSON that npm reads.
    pub fn to_object(&self) -> Object {
        let mut object = Object::new();
        let expose = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
        put(
            &mut object,
            "access_token",
            Some(self.access_token.expose().to_owned()),
        );
        put(&mut object, "token_type", Some(self.token_type.clone()));
        put(&mut object, "id_token", expose(&self.id_token));
        put(&mut object, "expires_in", self.expires_in);
        put(&mut object, "scope", self.scope.clone());
        put(&mut object, "refresh_token", expose(&self.refresh_token));
        put(&mut object, "expires_at", self.expires_at);
        put(&mut object, "requested_scope", self.requested_scope.clone());
        put(&mut object, "issuer", self.issuer.clone());
        object
    }

    /// The same with `expires_at` made from `expires_in`; a life of zero tells nothing, as in npm.
    pub fn with_expiry(mut self, now: UnixMillis) -> Tokens {
        let from_life = self
            .expires_in
            .filter(|life| *life > 0)
            .map(|life| life.saturating_mul(1000).saturating_add(now));
        self.expires_at = self.expires_at.or(from_life).map(|at| at.min(LARGEST));
        self.expires_in = self.expires_in.map(|life| life.min(LARGEST));
        self
    }

    /// Whether the access token has ended or will within `margin`; not if its life is unknown.
    pub fn is_expired(&self, now: UnixMillis, margin: UnixMillis) -> bool {
        self.expires_at
            .is_some_and(|at| now.saturating_add(margin) >= at)
    }

    /// npm's rule for "no sign-in is needed": the access token holds for a minute, or there is a refresh token.
    pub fn is_usable(&self, now: UnixMillis) -> bool {
        self.refresh_token.is_some() || !self.is_expired(now, EXPIRY_MARGIN)
    }

    /// Whether the access token is bound to a key by DPoP (RFC 9449 5).
    pub fn is_bound(&self) -> bool {
        self.token_type.eq_ignore_ascii_case("dpop")
    }

    /// Whether these tokens are known to come from this issuer; npm's files differ by a final slash.
    pub fn is_from(&self, issuer: &str) -> bool {
        let known = self.issuer.as_deref();
        known.is_some_and(|known| same_issuer(known, issuer))
    }
}

/// A client registration.
#[derive(Clone, PartialEq, Default)]
pub struct ClientInfo {
    /// The client id.
    pub client_id: String,
    /// The client secret, if it is a confidential client.
    pub client_secret: Option<Secret>,
    /// The redirect URIs it was registered with.
    pub redirect_uris: Vec<String>,
    /// How it proves itself at the token endpoint.
    pub token_endpoint_auth_method: Option<String>,
    /// When the secret ends, in Unix seconds; 0 for never.
    pub client_secret_expires_at: Option<u64>,
    /// Whose registration it is.
    pub issuer: Option<String>,
    /// All other members of the answer, as they came. They may be secret (`registration_access_token`).
    pub more: Object,
}

impl ClientInfo {
    /// A client from JSON (a registration answer, a file, `--static-oauth-client-info`), or the name of the missing member.
    ///
    /// # Errors
    /// If there is no `client_id`.
    pub fn from_object(mut object: Object) -> Result<ClientInfo, &'static str> {
        let client = ClientInfo {
            client_id: text(&object, "client_id").ok_or("client_id")?,
            client_secret: secret(&object, "client_secret"),
            redirect_uris: texts(&object, "redirect_uris").unwrap_or_default(),
            token_endpoint_auth_method: text(&object, "token_endpoint_auth_method"),
            client_secret_expires_at: number(&object, "client_secret_expires_at"),
            issuer: text(&object, "issuer"),
            more: Object::new(),
        };
        for known in client.to_object().keys() {
            object.remove(known);
        }
        // null says nothing, and npm's reader refuses it.
        object.retain(|_, value| !value.is_null());
        Ok(ClientInfo {
            more: object,
            ..client
        })
    }

    /// The JSON that npm reads.
    pub fn to_object(&self) -> Object {
        let mut object = self.more.clone();
        let secret = self.client_secret.as_ref().map(|s| s.expose().to_owned());
        put(&mut object, "client_id", Some(self.client_id.clone()));
        put(&mut object, "client_secret", secret);
        put(
            &mut object,
            "redirect_uris",
            Some(self.redirect_uris.clone()),
        );
        put(
            &mut object,
            "token_endpoint_auth_method",
            self.token_endpoint_auth_method.clone(),
        );
        put(
            &mut object,
            "client_secret_expires_at",
            self.client_secret_expires_at,
        );
        put(&mut object, "issuer", self.issuer.clone());
        object
    }

    /// Whether this registration may be used at this issuer: one of unknown origin only if it has no secret.
    pub fn is_usable_at(&self, issuer: &str) -> bool {
        match &self.issuer {
            Some(known) => same_issuer(known, issuer),
            None => self.client_secret.is_none(),
        }
    }

    /// Whether the secret has ended (RFC 7591 3.2.1: 0 is never).
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.client_secret.is_some()
            && self
                .client_secret_expires_at
                .is_some_and(|at| at != 0 && now / 1000 >= at)
    }
}

impl fmt::Debug for ClientInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientInfo")
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("redirect_uris", &self.redirect_uris)
            .field("issuer", &self.issuer)
            .field("more", &self.more.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// What was discovered before the browser was opened, kept beside the verifier so that a sibling can finish the sign-in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DiscoveryState {
    /// The authorization server.
    pub authorization_server_url: String,
    /// Where the resource metadata was.
    pub resource_metadata_url: Option<String>,
    /// The resource metadata.
    pub resource_metadata: Option<Value>,
    /// The authorization server metadata.
    pub authorization_server_metadata: Option<Value>,
}

impl DiscoveryState {
    /// From JSON, or the name of the member that is missing.
    ///
    /// # Errors
    /// If there is no `authorizationServerUrl`.
    pub fn from_object(object: &Object) -> Result<DiscoveryState, &'static str> {
        let value = |name: &str| object.get(name).filter(|value| value.is_object()).cloned();
        Ok(DiscoveryState {
            authorization_server_url: text(object, "authorizationServerUrl")
                .ok_or("authorizationServerUrl")?,
            resource_metadata_url: text(object, "resourceMetadataUrl"),
            resource_metadata: value("resourceMetadata"),
            authorization_server_metadata: value("authorizationServerMetadata"),
        })
    }

    /// The JSON that npm reads.
    pub fn to_object(&self) -> Object {
        let mut object = Object::new();
        let url = Some(self.authorization_server_url.clone());
        put(&mut object, "authorizationServerUrl", url);
        put(
            &mut object,
            "resourceMetadataUrl",
            self.resource_metadata_url.clone(),
        );
        put(
            &mut object,
            "resourceMetadata",
            self.resource_metadata.clone(),
        );
        put(
            &mut object,
            "authorizationServerMetadata",
            self.authorization_server_metadata.clone(),
        );
        object
    }
}

pub(super) fn put<T: Into<Value>>(object: &mut Object, name: &str, value: Option<T>) {
    if let Some(value) = value {
        object.insert(name.to_owned(), value.into());
    }
}

pub(super) fn text(object: &Object, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(str::to_owned)
}

pub(super) fn texts(object: &Object, name: &str) -> Option<Vec<String>> {
    let values = object.get(name)?.as_array()?;
    values
        .iter()
        .map(|v| v.as_str().map(str::to_owned))
        .collect()
}

pub(super) fn secret(object: &Object, name: &str) -> Option<Secret> {
    let text = object.get(name)?.as_str()?;
    (!text.is_empty()).then(|| Secret::new(text))
}

/// A whole number not below zero, spelled as a number or as a string, fractions cut off.
pub(super) fn number(object: &Object, name: &str) -> Option<u64> {
    let value = object.get(name)?;
    let float = match value {
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        other => match other.as_u64() {
            Some(whole) => return Some(whole),
            None => other.as_f64()?,
        },
    };
    // Holds because `as` cuts off at both ends: a negative life is over, a huge one stays huge.
    float.is_finite().then_some(float as u64)
}

/// Whether two issuers are equal. An empty path and `/` after the authority are the same URI (RFC 3986 6.2.3).
pub fn same_issuer(a: &str, b: &str) -> bool {
    without_empty_path(a) == without_empty_path(b)
}

fn without_empty_path(issuer: &str) -> &str {
    match issuer.strip_suffix('/') {
        // `https://a.test/` has no other slash after those of its scheme.
        Some(stem) if stem.matches('/').count() == 2 => stem,
        _ => issuer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn two_members_are_enough_for_tokens_and_one_is_not() {
        let tokens = Tokens::from_object(&object(r#"{"access_token":"a","token_type":"bearer"}"#));
        assert_eq!(tokens.unwrap().access_token.expose(), "a");
        let missing = |text: &str| Tokens::from_object(&object(text)).unwrap_err();
        assert_eq!(missing(r#"{"access_token":"a"}"#), "token_type");
        assert_eq!(missing(r#"{"token_type":"bearer"}"#), "access_token");
        assert_eq!(
            missing(r#"{"access_token":"","token_type":"b"}"#),
            "access_token"
        );
    }

    #[test]
    fn tokens_survive_being_written_and_read() {
        let text = r#"{"access_token":"a","expires_at":1700000000123,"expires_in":3600,"id_token":"i","issuer":"https://as.test","refresh_token":"r","requested_scope":"","scope":"x y","token_type":"Bearer"}"#;
        let tokens = Tokens::from_object(&object(text)).unwrap();
        assert_eq!(Value::Object(tokens.to_object()).to_string(), text);
    }

    #[test]
    fn the_life_of_a_token_may_be_spelled_in_many_ways() {
        for (text, life) in [
            ("3600", Some(3600)),
            ("\"3600\"", Some(3600)),
            ("\" 3600.9 \"", Some(3600)),
            ("3599.5", Some(3599)),
            ("0", Some(0)),
            ("-5", Some(0)),
            ("1e30", Some(u64::MAX)),
            ("null", None),
            ("\"soon\"", None),
            ("\"inf\"", None),
        ] {
            let json = format!(r#"{{"access_token":"a","token_type":"b","expires_in":{text}}}"#);
            assert_eq!(
                Tokens::from_object(&object(&json)).unwrap().expires_in,
                life,
                "{text}"
            );
        }
    }

    #[test]
    fn the_end_of_a_token_is_written_in_milliseconds_a_javascript_number_can_hold() {
        let with_life = |life| Tokens {
            expires_in: life,
            ..Tokens::default()
        };
        assert_eq!(
            with_life(Some(60)).with_expiry(1_000).expires_at,
            Some(61_000)
        );
        assert_eq!(with_life(Some(0)).with_expiry(1_000).expires_at, None);
        assert_eq!(with_life(None).with_expiry(1_000).expires_at, None);
        let huge = with_life(Some(u64::MAX)).with_expiry(1_000);
        assert_eq!(
            (huge.expires_at, huge.expires_in),
            (Some(LARGEST), Some(LARGEST))
        );
        let known = Tokens {
            expires_at: Some(5),
            ..with_life(Some(60))
        };
        assert_eq!(known.with_expiry(1_000).expires_at, Some(5));
    }

    #[test]
    fn tokens_are_usable_for_as_long_as_npm_thinks() {
        let tokens = Tokens {
            expires_at: Some(100_000),
            ..Tokens::default()
        };
        assert!(tokens.is_usable(39_999));
        assert!(!tokens.is_usable(40_000));
        let renewable = Tokens {
            refresh_token: Some(Secret::new("r")),
            ..tokens
        };
        assert!(renewable.is_usable(200_000));
        assert!(Tokens::default().is_usable(u64::MAX));
    }

    #[test]
    fn an_issuer_that_differs_by_a_slash_is_the_same_and_an_unknown_one_is_not() {
        let of = |issuer: Option<&str>| Tokens {
            issuer: issuer.map(str::to_owned),
            ..Tokens::default()
        };
        assert!(!of(None).is_from("https://as.test"));
        assert!(of(Some("https://as.test/")).is_from("https://as.test"));
        assert!(of(Some("https://as.test")).is_from("https://as.test/"));
        assert!(!of(Some("https://as.test/a")).is_from("https://as.test"));
        assert!(!of(Some("https://as.test//")).is_from("https://as.test"));
    }

    #[test]
    fn a_registration_keeps_what_we_do_not_know() {
        let text = r#"{"client_id":"c","client_secret":"s","client_secret_expires_at":0,"grant_types":["x"],"issuer":"https://as.test","redirect_uris":["http://localhost:1/cb"],"registration_access_token":"rat"}"#;
        let client = ClientInfo::from_object(object(text)).unwrap();
        assert_eq!(client.more.len(), 2);
        assert_eq!(Value::Object(client.to_object()).to_string(), text);
        assert_eq!(
            ClientInfo::from_object(object("{}")).unwrap_err(),
            "client_id"
        );
    }

    #[test]
    fn a_client_secret_ends_unless_its_end_is_zero() {
        let client = |at| ClientInfo {
            client_secret: Some(Secret::new("s")),
            client_secret_expires_at: at,
            ..ClientInfo::default()
        };
        assert!(client(Some(10)).is_expired(10_000));
        assert!(!client(Some(10)).is_expired(9_999));
        assert!(!client(Some(0)).is_expired(10_000));
        assert!(!client(None).is_expired(10_000));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let tokens = r#"{"access_token":"hush1","token_type":"b","refresh_token":"hush2","id_token":"hush3"}"#;
        let client =
            r#"{"client_id":"c","client_secret":"hush4","registration_access_token":"hush5"}"#;
        let shown = format!(
            "{:?} {:?}",
            Tokens::from_object(&object(tokens)),
            ClientInfo::from_object(object(client))
        );
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn a_discovery_state_is_spelled_as_npm_spells_it() {
        let text = r#"{"authorizationServerMetadata":{"issuer":"i"},"authorizationServerUrl":"https://as.test/","resourceMetadata":{"resource":"r"},"resourceMetadataUrl":"https://rs.test/x"}"#;
        let state = DiscoveryState::from_object(&object(text)).unwrap();
        assert_eq!(Value::Object(state.to_object()).to_string(), text);
        assert!(DiscoveryState::from_object(&object("{}")).is_err());
    }
}
