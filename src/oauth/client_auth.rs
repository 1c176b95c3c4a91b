//! Signed client assertions: client authentication with a key pair at the token endpoint.
//!
//! - ES256 (P-256) and RS256 keys, PEM: PKCS #8 for both, PKCS #1 for RSA; the algorithm follows from the key.
//! - An assertion is made for one request: audience, a fresh `jti`, five minutes of life.
//! - The audience is the issuer, as RFC 7523bis requires against replay at another server; without metadata the
//!   token endpoint.
//!
//! Flags: `--client-assertion-key`.
//! Spec: RFC 7523 2.2, 3; RFC 7518 3.3, 3.4; OpenID Connect Core 1.0 9 (`private_key_jwt`).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};

use super::environment::{Environment, random_text};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;

/// `client_assertion_type`.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A key that signs assertions.
pub enum Key {
    /// P-256.
    Es256(Box<EcdsaKeyPair>),
    /// RSA, 2048 bits or more.
    Rs256(Box<RsaKeyPair>),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.algorithm())
    }
}

impl Key {
    /// Reads a PEM text.
    ///
    /// # Errors
    /// If it contains no such key.
    pub fn from_pem(pem: &Secret) -> std::result::Result<Key, String> {
        let (label, der) = pem_block(pem.expose()).ok_or("it contains no PEM block with a key")?;
        let random = SystemRandom::new();
        let rsa = |key: std::result::Result<RsaKeyPair, ring::error::KeyRejected>| {
            key.map(|key| Key::Rs256(Box::new(key)))
                .map_err(|e| format!("the key is refused: {e}"))
        };
        match label {
            "PRIVATE KEY" => {
                let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random);
                match ec {
                    Ok(key) => Ok(Key::Es256(Box::new(key))),
                    Err(_) => rsa(RsaKeyPair::from_pkcs8(&der)),
                }
            }
            "RSA PRIVATE KEY" => rsa(RsaKeyPair::from_der(&der)),
            "EC PRIVATE KEY" => Err(
                "it is in the SEC1 format; convert it with: openssl pkcs8 -topk8 -nocrypt"
                    .to_owned(),
            ),
            "ENCRYPTED PRIVATE KEY" => Err("it is encrypted".to_owned()),
            _ => Err("it contains no private key".to_owned()),
        }
    }

    /// Its name in `alg`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Key::Es256(_) => "ES256",
            Key::Rs256(_) => "RS256",
        }
    }

    pub(super) fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Key::Es256(key) => key.sign(&random, text).ok().map(|s| s.as_ref().to_vec()),
            Key::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
                    .ok()?;
                Some(signature)
            }
        }
    }
}

/// An assertion for one request to this audience.
///
/// # Errors
/// If the key cannot sign or there are no random bytes.
pub fn assertion(
    env: &dyn Environment,
    key: &Key,
    client_id: &str,
    audience: &str,
) -> Result<Secret> {
    let now = env.now() / 1000;
    let header = serde_json::json!({"alg": key.algorithm(), "typ": "JWT"});
    let claims = serde_json::json!({
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": now,
        "exp": now + 300,
        "jti": random_text(env)?,
    });
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(text.as_bytes()).ok_or_else(|| {
        Error::new(
            Kind::Config,
            "the key of --client-assertion-key cannot sign",
        )
    })?;
    Ok(Secret::new(format!(
        "{text}.{}",
        URL_SAFE_NO_PAD.encode(signature)
    )))
}

/// The first PEM block that is a private key: its label and content (RFC 7468).
fn pem_block(text: &str) -> Option<(&str, Vec<u8>)> {
    let mut rest = text;
    loop {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (content, after) = after.split_once("-----END ")?;
        if label.ends_with("PRIVATE KEY") {
            let packed: String = content.split_whitespace().collect();
            return Some((label, STANDARD.decode(packed).ok()?));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    };

    use super::*;
    use crate::oauth::scripted_environment::Scripted;

    const RSA: &str = include_str!("../../tests/it/fixtures/rsa-key.pem");
    const EC: &str = include_str!("../../tests/it/fixtures/ec-key.pem");

    fn read(pem: &str) -> std::result::Result<Key, String> {
        Key::from_pem(&Secret::new(pem))
    }

    fn verifies(key: &Key, text: &str, signature: &[u8]) -> bool {
        let text = text.as_bytes();
        match key {
            Key::Es256(key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref())
                    .verify(text, signature)
            }
            Key::Rs256(key) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
                    .verify(text, signature)
            }
        }
        .is_ok()
    }

    #[test]
    fn an_assertion_is_signed_with_the_kind_of_key_it_names() {
        for (pem, algorithm) in [(RSA, "RS256"), (EC, "ES256")] {
            let key = read(pem).unwrap();
            let made = assertion(&Scripted::new(), &key, "c1", "https://as.test").unwrap();
            let parts: Vec<&str> = made.expose().split('.').collect();
            let decoded = |at: usize| URL_SAFE_NO_PAD.decode(parts[at]).unwrap();
            let json = |at| serde_json::from_slice::<serde_json::Value>(&decoded(at)).unwrap();
            assert_eq!(json(0)["alg"], algorithm);
            let claims = json(1);
            assert_eq!(claims["iss"], "c1");
            assert_eq!(claims["sub"], "c1");
            assert_eq!(claims["aud"], "https://as.test");
            let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
            assert!(life <= 300 && !claims["jti"].as_str().unwrap().is_empty());
            let text = format!("{}.{}", parts[0], parts[1]);
            assert!(verifies(&key, &text, &decoded(2)), "{algorithm}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_refused_with_the_reason() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (pem, says) in [
            (String::new(), "no PEM block"),
            (block("CERTIFICATE"), "no PEM block"),
            (block("EC PRIVATE KEY"), "openssl pkcs8"),
            (block("ENCRYPTED PRIVATE KEY"), "encrypted"),
            (block("RSA PRIVATE KEY"), "refused"),
            (block("PRIVATE KEY"), "refused"),
        ] {
            let why = read(&pem).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        // Another block before it does no harm.
        assert!(read(&format!("{}{RSA}", block("CERTIFICATE"))).is_ok());
    }
}
