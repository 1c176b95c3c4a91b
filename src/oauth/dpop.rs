//! DPoP: access tokens that are bound to a key pair, and the proofs that go with them.
//!
//! - Used where the authorization server lists ES256 and the resource asks for it: `dpop_bound_access_tokens_required` in its
//!   metadata, or a `DPoP` challenge. A sign-in that is not asked for it removes the key.
//! - One key pair (P-256) for each server, in a file of the store; only its public half is ever sent. The refresh token is bound to
//!   the same key.
//! - Each proof is made when its request is sent, for this one request. The query of the URL is not part of it.
//! - A bound token is never sent as a bearer token: without its key the user signs in again.
//! - The last nonce of either server goes into its next proof.
//!
//! Flags: `--no-dpop`.
//! Spec: RFC 9449 4.2, 5, 7, 8, 9; RFC 9728 2; MCP SEP-1932.
//! Not done here: `dpop_jkt` (RFC 9449 10): PKCE protects the code. Sending a request again with a nonce (`token.rs`,
//! `transport/http/exchange.rs`).

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::challenge::Challenge;
use super::client_auth::Key;
use super::discovery::Discovered;
use super::discovery::server_metadata::ServerMetadata;
use super::environment::{Environment, random_text};
use super::error::{Failure, Step};
use super::{Authorizer, lock};
use crate::error::{Error, Kind, Result};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{Store, Tokens};

/// The header with the proof.
pub const HEADER: &str = "dpop";
/// The header with a nonce.
pub const NONCE_HEADER: &str = "dpop-nonce";
/// The error code of a server that requires a nonce.
pub const NEEDS_NONCE: &str = "use_dpop_nonce";

const MAX_NONCE: usize = 1024;

/// A key that signs proofs.
#[derive(Debug)]
pub struct ProofKey {
    key: Key,
    /// The header of its proofs, with the public key, encoded.
    header: String,
}

impl ProofKey {
    /// A new key pair, as PEM.
    fn generate() -> Option<Secret> {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?;
        let encoded = STANDARD.encode(made.as_ref());
        Some(Secret::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n"
        )))
    }

    fn from_pem(pem: &Secret) -> Option<ProofKey> {
        let key = Key::from_pem(pem).ok()?;
        let Key::Es256(pair) = &key else { return None };
        // The form of an uncompressed point (SEC 1 2.3.3): 4, x, y.
        let point = pair.public_key().as_ref().strip_prefix(&[4])?;
        let (x, y) = point.split_at_checked(32)?;
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        let header = json!({
            "typ": "dpop+jwt",
            "alg": key.algorithm(),
            "jwk": {"kty": "EC", "crv": "P-256", "x": x, "y": y},
        });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        Some(ProofKey { key, header })
    }

    /// The proof for one request; `token` is the access token that it carries.
    ///
    /// # Errors
    /// If there are no random bytes.
    pub fn proof(
        &self,
        env: &dyn Environment,
        method: &str,
        url: &Url,
        token: Option<&Secret>,
        nonce: Option<&str>,
    ) -> Result<String> {
        let mut target = url.clone();
        target.set_query(None);
        target.set_fragment(None);
        // A URL that cannot hold a user name has none.
        target.set_username("").ok();
        target.set_password(None).ok();
        let mut claims = json!({
            "jti": random_text(env)?,
            "htm": method,
            "htu": target.as_str(),
            "iat": env.now() / 1000,
        });
        if let Some(token) = token {
            claims["ath"] = URL_SAFE_NO_PAD
                .encode(Sha256::digest(token.expose()))
                .into();
        }
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        let text = format!(
            "{}.{}",
            self.header,
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.key.sign(text.as_bytes()).ok_or_else(|| {
            Error::new(
                Kind::SignIn,
                "the DPoP key of the sign-in cannot sign a proof",
            )
        })?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Makes the proofs of a token request: one each time it is sent.
#[derive(Debug, Clone)]
pub struct Prover {
    /// The key.
    pub key: Arc<ProofKey>,
    /// The nonce of the authorization server.
    pub nonce: Option<String>,
}

/// The token to send, and what binds it.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The token.
    pub token: Secret,
    /// The key of a bound token; a bearer token has none.
    pub key: Option<Arc<ProofKey>>,
    /// The nonce for the proof.
    pub nonce: Option<String>,
}

impl Credential {
    /// A bearer token.
    pub fn bearer(token: Secret) -> Credential {
        Credential {
            token,
            key: None,
            nonce: None,
        }
    }

    /// The value of the header that carries the token.
    pub fn authorization(&self) -> Secret {
        let scheme = if self.key.is_some() { "DPoP" } else { "Bearer" };
        Secret::new(format!("{scheme} {}", self.token.expose()))
    }
}

/// A credential is its token.
impl PartialEq for Credential {
    fn eq(&self, other: &Credential) -> bool {
        self.token == other.token
    }
}

/// The key pair of one server, and the last nonces.
#[derive(Default)]
pub struct Dpop {
    loaded: Mutex<Option<Loaded>>,
    server_nonce: Mutex<Option<String>>,
    resource_nonce: Mutex<Option<String>>,
}

struct Loaded {
    pem: Secret,
    key: Arc<ProofKey>,
    /// The access token that this is the key of: with another one, the file is read again.
    token: Option<Secret>,
}

impl Dpop {
    /// The key in the store: another instance may have made a new one.
    fn key(&self, store: &Store, token: Option<&Secret>) -> Option<Arc<ProofKey>> {
        let mut loaded = lock(&self.loaded);
        if let Some(known) = &*loaded
            && token.is_some()
            && known.token.as_ref() == token
        {
            return Some(Arc::clone(&known.key));
        }
        let pem = store.dpop_key()?;
        let known = loaded.take().filter(|known| known.pem == pem);
        let key = match known {
            Some(known) => known.key,
            None => Arc::new(ProofKey::from_pem(&pem)?),
        };
        *loaded = Some(Loaded {
            pem,
            key: Arc::clone(&key),
            token: token.cloned(),
        });
        Some(key)
    }

    /// What a request to the authorization server is proved with.
    pub(super) fn prover(&self, store: &Store, server: &ServerMetadata) -> Option<Prover> {
        if !lists_es256(server) {
            return None;
        }
        Some(Prover {
            key: self.key(store, None)?,
            nonce: lock(&self.server_nonce).clone(),
        })
    }

    /// Keeps the nonce that the authorization server sent.
    pub(super) fn keep_server_nonce(&self, nonce: &str) {
        *lock(&self.server_nonce) = Some(nonce.to_owned());
    }
}

impl Authorizer {
    /// The credential of these tokens; none for bound ones whose key is lost, or with `--no-dpop`.
    pub(super) fn credential(&self, tokens: &Tokens) -> Option<Credential> {
        let token = tokens.access_token.clone();
        if !tokens.is_bound() {
            return Some(Credential::bearer(token));
        }
        if self.config.oauth.no_dpop {
            return None;
        }
        Some(Credential {
            key: Some(self.dpop.key(&self.store, Some(&token))?),
            token,
            nonce: lock(&self.dpop.resource_nonce).clone(),
        })
    }

    /// The proof for a request to the MCP server; none for a bearer token.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn proof(
        &self,
        credential: &Credential,
        method: &str,
        url: &Url,
    ) -> Result<Option<String>> {
        let Some(key) = &credential.key else {
            return Ok(None);
        };
        let (token, nonce) = (Some(&credential.token), credential.nonce.as_deref());
        key.proof(&*self.env, method, url, token, nonce).map(Some)
    }

    /// Keeps the nonce that the MCP server sent.
    pub(crate) fn keep_resource_nonce(&self, nonce: &str) {
        *lock(&self.dpop.resource_nonce) = Some(nonce.to_owned());
    }

    /// Makes the key pair if the tokens of this server are to be bound.
    pub(super) fn bind_if_asked(&self, discovered: &Discovered, challenge: &Challenge) -> Step<()> {
        if self.config.oauth.no_dpop || !is_asked_for(discovered, challenge) {
            return Ok(());
        }
        if self.dpop.key(&self.store, None).is_none() {
            let pem = ProofKey::generate()
                .ok_or_else(|| Failure::new("no key pair could be generated for DPoP"))?;
            self.store.save_dpop_key(&pem);
        }
        self.env.found("DPoP", "the tokens are bound to a key pair");
        Ok(())
    }

    /// The same at a new sign-in, which does not need the key of the last one. A step-up keeps to what there is.
    pub(super) fn bind_anew(&self, discovered: &Discovered, challenge: &Challenge) -> Step<()> {
        let is_asked = is_asked_for(discovered, challenge);
        if is_required(discovered) && !is_asked {
            let what = "the MCP server requires DPoP, but its authorization server does not list ES256: the tokens are bearer tokens";
            self.env.say(Level::Warn, what);
        }
        if self.config.oauth.no_dpop || !is_asked && !challenge.is_insufficient_scope() {
            self.store.remove_dpop_key();
        }
        self.bind_if_asked(discovered, challenge)
    }
}

fn is_asked_for(discovered: &Discovered, challenge: &Challenge) -> bool {
    (challenge.is_dpop || is_required(discovered)) && lists_es256(&discovered.server)
}

fn is_required(discovered: &Discovered) -> bool {
    let resource = discovered.resource();
    resource.is_some_and(|resource| resource.requires_dpop)
}

/// Fails if the server refused the proof of a bound token: other tokens would need the same kind of proof.
///
/// # Errors
/// With what the user can check.
pub(super) fn check_proof(used: Option<&Credential>, challenge: &Challenge) -> Step<()> {
    let is_bound = used.is_some_and(|used| used.key.is_some());
    if !is_bound || challenge.error.as_deref() != Some("invalid_dpop_proof") {
        return Ok(());
    }
    let error = Error::new(
        Kind::SignIn,
        "the server refused the DPoP proof of a request",
    );
    Err(Failure::Final(error.with_hint(
        "check the clock of this machine; or sign out with mcp-remote-client URL --logout, and use --no-dpop",
    )))
}

fn lists_es256(server: &ServerMetadata) -> bool {
    let listed = server.document.get("dpop_signing_alg_values_supported");
    let listed = listed.and_then(|listed| listed.as_array());
    listed.is_some_and(|listed| listed.iter().any(|one| one == "ES256"))
}

/// A nonce as a server may send it (RFC 9449 8.1).
pub fn valid_nonce(text: &str) -> Option<&str> {
    let is_valid = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
    let fits = (1..=MAX_NONCE).contains(&text.len()) && text.bytes().all(is_valid);
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;
    use crate::oauth::Recovered;
    use crate::oauth::scripted_environment::{Scripted, authorizer, authorizer_in};
    use crate::store::ClientInfo;
    use crate::store::test_dir::TestDir;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// The claims of a proof whose signature is that of the key in its header.
    fn claims(proof: &str) -> Value {
        let parts: Vec<&str> = proof.split('.').collect();
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let header: Value = serde_json::from_slice(&decoded(parts[0])).unwrap();
        assert_eq!(header["typ"], "dpop+jwt");
        assert_eq!(header["alg"], "ES256");
        let members: Vec<&String> = header["jwk"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["crv", "kty", "x", "y"]);
        let mut point = vec![4];
        for part in ["x", "y"] {
            point.extend(decoded(header["jwk"][part].as_str().unwrap()));
        }
        let text = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(text.as_bytes(), &decoded(parts[2]))
            .unwrap();
        serde_json::from_slice(&decoded(parts[1])).unwrap()
    }

    fn key() -> ProofKey {
        ProofKey::from_pem(&ProofKey::generate().unwrap()).unwrap()
    }

    /// An authorizer with these tokens and a client, before the discovery of a server with DPoP.
    fn with_tokens(env: &Scripted, kind: &str, resource: &str) -> Authorizer {
        let authorizer = authorizer(env);
        let store = &authorizer.store;
        let tokens = Tokens {
            access_token: Secret::new("t0"),
            token_type: kind.to_owned(),
            refresh_token: Some(Secret::new("r0")),
            issuer: Some("https://a.test".to_owned()),
            ..Tokens::default()
        };
        store.save_tokens(tokens, env.now());
        store.save_client_info(&ClientInfo {
            client_id: "c".to_owned(),
            redirect_uris: vec!["http://localhost:1/oauth/callback".to_owned()],
            ..ClientInfo::default()
        });
        env.answer(
            200,
            &format!(r#"{{"resource":"https://a.test/mcp"{resource}}}"#),
        );
        env.answer(
            200,
            r#"{"issuer":"https://a.test","token_endpoint":"https://a.test/token","dpop_signing_alg_values_supported":["PS256","ES256"]}"#,
        );
        authorizer
    }

    fn challenge(text: &str) -> Challenge {
        Challenge::of([text].into_iter())
    }

    const BOUND: &str = r#"{"access_token":"t1","token_type":"dpop"}"#;

    #[test]
    fn a_proof_is_for_one_request_and_signed_with_the_key_it_shows() {
        let env = Scripted::new();
        let place = url("https://u:p@a.test/mcp?x=1#y");
        let (token, nonce) = (Secret::new("t0"), Some("n1"));
        let made = key()
            .proof(&env, "POST", &place, Some(&token), nonce)
            .unwrap();
        let claims = claims(&made);
        assert_eq!(claims["htm"], "POST");
        assert_eq!(claims["htu"], "https://a.test/mcp");
        assert_eq!(claims["iat"], env.now() / 1000);
        assert_eq!(claims["nonce"], "n1");
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest("t0"));
        assert_eq!(claims["ath"], hash);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 43);
    }

    #[test]
    fn a_proof_for_a_token_request_has_neither_token_nor_nonce() {
        let made = key()
            .proof(
                &Scripted::new(),
                "POST",
                &url("https://a.test/token"),
                None,
                None,
            )
            .unwrap();
        let claims = claims(&made);
        assert!(claims.get("ath").is_none() && claims.get("nonce").is_none());
    }

    #[test]
    fn debug_output_shows_no_key() {
        let shown = format!("{:?}", key());
        assert!(shown.starts_with("ProofKey { key: Key(ES256)"), "{shown}");
    }

    #[test]
    fn a_bound_token_is_never_sent_without_its_key() {
        let dir = TestDir::new();
        let env = Scripted::new();
        let mut authorizer = authorizer_in(&env, Some(dir.path()));
        let tokens = Tokens {
            access_token: Secret::new("t0"),
            token_type: "DPoP".to_owned(),
            refresh_token: Some(Secret::new("r0")),
            ..Tokens::default()
        };
        authorizer.store.save_tokens(tokens, env.now());
        assert_eq!(authorizer.bearer(), None);
        let recovered = authorizer.recover(None, &Challenge::default()).unwrap();
        assert!(matches!(recovered, Recovered::NeedsSignIn));
        authorizer
            .store
            .save_dpop_key(&ProofKey::generate().unwrap());
        let credential = authorizer.bearer().unwrap();
        assert_eq!(credential.authorization().expose(), "DPoP t0");
        let place = url("https://a.test/mcp");
        let proof = authorizer.proof(&credential, "GET", &place).unwrap();
        assert_eq!(claims(&proof.unwrap())["htm"], "GET");
        authorizer.config.oauth.no_dpop = true;
        assert_eq!(authorizer.bearer(), None);
    }

    #[test]
    fn tokens_are_bound_where_the_resource_asks_for_it_and_the_server_can() {
        let required = r#","dpop_bound_access_tokens_required":true"#;
        let other = r#","dpop_bound_access_tokens_required":true,"dpop_signing_alg_values_supported":["EdDSA"]"#;
        for (resource, header, no_dpop, expected) in [
            ("", "Bearer", false, false),
            ("", "DPoP", false, true),
            (required, "Bearer", false, true),
            (required, "DPoP", true, false),
            (other, "Bearer", false, false),
        ] {
            let env = Scripted::new();
            let mut authorizer = with_tokens(&env, "Bearer", resource);
            authorizer.config.oauth.no_dpop = no_dpop;
            let used = authorizer.present_bearer();
            let kind = if expected { "DPoP" } else { "Bearer" };
            env.answer(
                200,
                &format!(r#"{{"access_token":"t1","token_type":"{kind}"}}"#),
            );
            authorizer
                .recover(used.as_ref(), &challenge(header))
                .unwrap();
            let token_request = env.sent().pop().unwrap();
            assert_eq!(
                token_request.dpop.is_some(),
                expected,
                "{resource} {header}"
            );
            let credential = authorizer.bearer().unwrap();
            assert_eq!(credential.token, Secret::new("t1"));
            assert_eq!(credential.key.is_some(), expected);
        }
    }

    #[test]
    fn a_refresh_is_proved_with_the_same_key_and_with_the_nonce_that_the_server_requires() {
        let env = Scripted::new();
        let authorizer = with_tokens(&env, "DPoP", "");
        authorizer
            .store
            .save_dpop_key(&ProofKey::generate().unwrap());
        let used = authorizer.present_bearer().unwrap();
        env.answer_with_nonce(400, "n1", r#"{"error":"use_dpop_nonce"}"#);
        env.answer_with_nonce(200, "n2", BOUND);
        authorizer
            .recover(Some(&used), &Challenge::default())
            .unwrap();
        let provers: Vec<Prover> = env.sent().into_iter().filter_map(|it| it.dpop).collect();
        let nonces: Vec<_> = provers.iter().map(|it| it.nonce.as_deref()).collect();
        assert_eq!(nonces, [None, Some("n1")]);
        let key = used.key.unwrap();
        assert!(provers.iter().all(|it| it.key.header == key.header));
        assert_eq!(authorizer.bearer().unwrap().key.unwrap().header, key.header);
        let next = lock(&authorizer.dpop.server_nonce).clone();
        assert_eq!(next.as_deref(), Some("n2"));
    }

    #[test]
    fn a_server_that_never_takes_the_nonce_is_not_asked_for_ever() {
        let env = Scripted::new();
        let authorizer = with_tokens(&env, "DPoP", "");
        authorizer
            .store
            .save_dpop_key(&ProofKey::generate().unwrap());
        let used = authorizer.present_bearer();
        for _ in 0..2 {
            env.answer_with_nonce(400, "n1", r#"{"error":"use_dpop_nonce"}"#);
        }
        let recovered = authorizer
            .recover(used.as_ref(), &Challenge::default())
            .unwrap();
        assert!(matches!(recovered, Recovered::NeedsSignIn));
    }

    #[test]
    fn a_refused_proof_is_an_error_that_names_the_clock_and_the_flag() {
        let env = Scripted::new();
        let authorizer = with_tokens(&env, "DPoP", "");
        authorizer
            .store
            .save_dpop_key(&ProofKey::generate().unwrap());
        let used = authorizer.present_bearer();
        let refused = challenge("DPoP error=\"invalid_dpop_proof\"");
        let failure = authorizer.recover(used.as_ref(), &refused).unwrap_err();
        let shown = format!("{:?}", failure.error());
        assert!(
            shown.contains("clock") && shown.contains("--no-dpop"),
            "{shown}"
        );
        assert_eq!(env.sent().len(), 0);
    }

    #[test]
    fn a_sign_in_that_is_not_asked_for_it_removes_the_key_and_a_step_up_keeps_it() {
        let env = Scripted::new();
        let authorizer = with_tokens(&env, "DPoP", "");
        let discovered = authorizer.discover(None).unwrap();
        let store = &authorizer.store;
        store.save_dpop_key(&ProofKey::generate().unwrap());
        let step_up = challenge("Bearer error=insufficient_scope, scope=s");
        authorizer.bind_anew(&discovered, &step_up).unwrap();
        let before = store.dpop_key();
        authorizer
            .bind_anew(&discovered, &challenge("DPoP"))
            .unwrap();
        assert!(before.is_some() && store.dpop_key() == before);
        authorizer
            .bind_anew(&discovered, &challenge("Bearer"))
            .unwrap();
        assert!(store.dpop_key().is_none());
    }

    #[test]
    fn a_nonce_that_does_not_fit_the_syntax_is_ignored() {
        assert_eq!(valid_nonce("a-._~b"), Some("a-._~b"));
        for bad in ["", "a b", "a\"b", "a\\b", "ä", &"n".repeat(MAX_NONCE + 1)] {
            assert_eq!(valid_nonce(bad), None);
        }
    }
}
