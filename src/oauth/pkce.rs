//! Code verifier and S256 challenge. `plain` is never used.
//!
//! Spec: RFC 7636 4.1, 4.2; RFC 9700 2.1.1.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::environment::Environment;
use crate::error::Result;
use crate::secret::Secret;

/// A fresh verifier: 32 random bytes, 43 characters.
///
/// # Errors
/// If the operating system has no random bytes.
pub fn verifier(env: &dyn Environment) -> Result<Secret> {
    random_text(env).map(Secret::new)
}

/// 32 random bytes, fit for a URL and a file name.
///
/// # Errors
/// If the operating system has no random bytes.
pub fn random_text(env: &dyn Environment) -> Result<String> {
    let mut bytes = [0; 32];
    env.random(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The challenge that goes into the authorization request.
pub fn challenge(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_standards_example() {
        // RFC 7636 appendix B.
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            challenge(&verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
