//! A certificate for loopback, made anew for each run: nothing secret is kept, and nothing expires.
//!
//! Spec: RFC 5280 4.1 (what a certificate holds), X.690 (DER), RFC 7468 (PEM).

use std::sync::Arc;

use base64::Engine;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub struct Certificate {
    der: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// For `localhost` and 127.0.0.1, signed by itself.
    pub fn new() -> Result<Certificate, String> {
        let random = SystemRandom::new();
        let scheme = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let failed = |_| "no key could be made".to_owned();
        let key = EcdsaKeyPair::generate_pkcs8(scheme, &random).map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(scheme, key.as_ref(), &random)
            .map_err(|e| format!("the key cannot be used: {e}"))?;

        let ecdsa_with_sha256 = sequence(&[&[0x06, 8, 42, 134, 72, 206, 61, 4, 3, 2]]);
        let common_name = [&[0x06, 3, 85, 4, 3][..], &der(0x0c, b"mcp-remote test")].concat();
        let name = sequence(&[&der(0x31, &sequence(&[&common_name]))]);
        let validity = sequence(&[&der(0x17, b"200101000000Z"), &der(0x18, b"21200101000000Z")]);
        let p256 = [
            &[0x06, 7, 42, 134, 72, 206, 61, 2, 1][..],
            &[0x06, 8, 42, 134, 72, 206, 61, 3, 1, 7],
        ];
        let point = [&[0], pair.public_key().as_ref()].concat();
        let public_key = sequence(&[&sequence(&p256), &der(0x03, &point)]);
        let names = sequence(&[&der(0x82, b"localhost"), &der(0x87, &[127, 0, 0, 1])]);
        let extension = sequence(&[&[0x06, 3, 85, 29, 17], &der(0x04, &names)]);
        let body = sequence(&[
            &der(0xa0, &[2, 1, 2]),
            &[2, 1, 1],
            &ecdsa_with_sha256,
            &name,
            &validity,
            &name,
            &public_key,
            &der(0xa3, &sequence(&[&extension])),
        ]);
        let signature = pair.sign(&random, &body).map_err(failed)?;
        let signature = der(0x03, &[&[0], signature.as_ref()].concat());
        Ok(Certificate {
            der: sequence(&[&body, &ecdsa_with_sha256, &signature]),
            key: key.as_ref().to_vec(),
        })
    }

    /// As a file for `--ca-cert`.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// As a file for `--client-key`.
    #[allow(dead_code, reason = "not every program that makes one needs it")]
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    pub fn server(&self) -> Result<Arc<ServerConfig>, String> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(self.der.clone())], key)
            .map(Arc::new)
            .map_err(|e| e.to_string())
    }

    /// The configuration of a client that trusts it.
    #[allow(dead_code, reason = "not every program that makes one needs it")]
    pub fn client(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(self.der.clone()))
            .map_err(|e| e.to_string())?;
        let builder = ClientConfig::builder().with_root_certificates(roots);
        Ok(Arc::new(builder.with_no_client_auth()))
    }
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        short @ 0..128 => bytes.push(short as u8),
        longer @ 128..256 => bytes.extend([0x81, longer as u8]),
        long => bytes.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    bytes.extend(content);
    bytes
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
