//! Root and client certificates.
//!
//! - The built-in roots are always trusted. `--ca-cert`, `SSL_CERT_FILE`, `NODE_EXTRA_CA_CERTS` and the host's own store
//!   add to them: they are read only when a server shows a certificate the built-in roots do not know, and then
//!   the connection is tried once more with them. Nothing was sent by then.
//! - ureq can trust its built-in roots or a list, not both; hence the two configurations.
//!
//! Flags: `--ca-cert`, `--client-cert`, `--client-key`.
//! Spec: RFC 7468 (PEM), RFC 5280 6 (path validation, done by rustls).
//! Not done here: verification cannot be switched off.

use std::fs;
use std::path::{Path, PathBuf};

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RsaKeyPair,
};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::config::Http;
use crate::error::{Error, Kind, Result};

/// Where systems keep their certificates.
const HOST_STORES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// The TLS configuration with the built-in roots.
pub(super) fn built_in(client_cert: Option<&ClientCert>) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::WebPki)
        .client_cert(client_cert.cloned())
        .build()
}

/// The TLS configuration with the certificates of the files that were named and of the host; `None` if there are none.
pub(super) fn additional(http: &Http, client_cert: Option<&ClientCert>) -> Option<TlsConfig> {
    let host = HOST_STORES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists());
    let mut files: Vec<PathBuf> = http
        .ca_files
        .iter()
        .chain(&http.environment_ca_files)
        .cloned()
        .chain(host)
        .collect();
    files.sort();
    files.dedup();
    // Files that were asked for were checked at the start; one that is gone by now trusts nobody.
    let certificates: Vec<Certificate<'static>> = files
        .iter()
        .filter_map(|path| read_certificates(path).ok())
        .flatten()
        .collect();
    if certificates.is_empty() {
        return None;
    }
    let roots = RootCerts::new_with_certs(&certificates);
    Some(
        TlsConfig::builder()
            .root_certs(roots)
            .client_cert(client_cert.cloned())
            .build(),
    )
}

/// The certificates of a PEM file.
///
/// # Errors
/// If the file cannot be read or holds none.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = fs::read(path).map_err(|e| {
        Error::new(
            Kind::Config,
            format!("cannot read certificate file \"{}\": {e}", path.display()),
        )
    })?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Error::new(
            Kind::Config,
            format!("no PEM certificate in \"{}\"", path.display()),
        ));
    }
    Ok(certificates)
}

/// The client certificate and its key.
///
/// # Errors
/// If a file cannot be read, or the two do not belong together.
pub(super) fn read_client_cert(cert: &Path, key: &Path) -> Result<ClientCert> {
    let chain = read_certificates(cert)?;
    let pem = fs::read(key).map_err(|e| {
        Error::new(
            Kind::Config,
            format!("cannot read key file \"{}\": {e}", key.display()),
        )
    })?;
    let private = PrivateKey::from_pem(&pem).map_err(|_| {
        Error::new(
            Kind::Config,
            format!("no PEM private key in \"{}\"", key.display()),
        )
    })?;
    if !belongs_together(&chain, &private) {
        let what = format!(
            "the key in \"{}\" does not belong to the certificate in \"{}\"",
            key.display(),
            cert.display()
        );
        return Err(Error::new(Kind::Config, what));
    }
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// ureq finds a wrong pair only when it connects, and then panics. The public half of the key stands in its
/// certificate as it is (RFC 5280 4.1.2.7); kinds of keys that `ring` cannot read are left to the handshake.
fn belongs_together(chain: &[Certificate<'static>], key: &PrivateKey<'static>) -> bool {
    let Some(public) = public_half(key) else {
        return true;
    };
    chain
        .first()
        .is_some_and(|own| own.der().windows(public.len()).any(|part| part == public))
}

fn public_half(key: &PrivateKey<'static>) -> Option<Vec<u8>> {
    let der = key.der();
    let ec = |kind| {
        EcdsaKeyPair::from_pkcs8(kind, der, &SystemRandom::new())
            .ok()
            .map(|pair| pair.public_key().as_ref().to_vec())
    };
    ec(&ECDSA_P256_SHA256_ASN1_SIGNING)
        .or_else(|| ec(&ECDSA_P384_SHA384_ASN1_SIGNING))
        .or_else(|| {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .ok()
                .map(|pair| pair.public_key().as_ref().to_vec())
        })
        .or_else(|| {
            RsaKeyPair::from_pkcs8(der)
                .or_else(|_| RsaKeyPair::from_der(der))
                .ok()
                .map(|pair| pair.public().as_ref().to_vec())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let error = read_certificates(Path::new("/nonexistent.pem")).unwrap_err();
        assert!(
            error
                .what()
                .starts_with("cannot read certificate file \"/nonexistent.pem\""),
            "{error}"
        );
        let error = read_certificates(Path::new(file!())).unwrap_err();
        assert!(error.what().starts_with("no PEM certificate in"), "{error}");
    }
}
