//! Root and client certificates.
//!
//! - The built-in roots are always trusted first. Certificates of `--ca-cert`, `SSL_CERT_FILE`, `NODE_EXTRA_CA_CERTS` and the
//!   system's store are read only if the built-in roots do not contain the issuer of a server's certificate. Then the connection
//!   is tried once more with them; nothing was sent before.
//! - ureq can trust its built-in roots or a list, not both; hence the two configurations.
//!
//! Flags: `--ca-cert`, `--client-cert`, `--client-key`.
//! Spec: RFC 7468 (PEM), RFC 5280 6 (path validation, done by rustls).
//! Not done here: verification cannot be switched off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::config::Http;
use crate::error::{Error, Kind, Result, plain};

/// Where systems keep their certificates.
const HOST_STORES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// The TLS configuration with the built-in roots.
pub(crate) fn built_in(client_cert: Option<&ClientCert>) -> TlsConfig {
    TlsConfig::builder()
        .root_certs(RootCerts::WebPki)
        .client_cert(client_cert.cloned())
        .build()
}

/// The TLS configuration with the certificates of the files that were named and of the host; `None` if there are none.
pub(crate) fn additional(http: &Http, client_cert: Option<&ClientCert>) -> Option<TlsConfig> {
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
    // Configured files were checked at the start; one that is gone by now is left out.
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
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let pem = fs::read(path).map_err(|e| {
        Error::new(
            Kind::Config,
            format!(
                "cannot read certificate file \"{}\": {}",
                path.display(),
                plain(&e)
            ),
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
pub(crate) fn read_client_cert(cert: &Path, key: &Path) -> Result<ClientCert> {
    let chain = read_certificates(cert)?;
    let pem = read_key(key)?;
    let private = PrivateKey::from_pem(&pem).map_err(|_| {
        Error::new(
            Kind::Config,
            format!("no PEM private key in \"{}\"", key.display()),
        )
    })?;
    if !is_usable(&chain, &pem) {
        let what = format!(
            "the certificate in \"{}\" and the key in \"{}\" do not belong together, or are of a kind that is not supported",
            cert.display(),
            key.display()
        );
        return Err(Error::new(Kind::Config, what)
            .with_hint("certificates must be X.509 version 3, keys RSA (2048 bits or more), ECDSA P-256 or P-384, or Ed25519"));
    }
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// Reads a key file, without checking that it is a key.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_key(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| {
        let what = format!("cannot read key file \"{}\": {}", path.display(), plain(&e));
        Error::new(Kind::Config, what)
    })
}

/// Whether rustls accepts the certificate and its key. ureq passes them to rustls at the first handshake, and panics there
/// if they are refused.
fn is_usable(chain: &[Certificate<'static>], key: &[u8]) -> bool {
    let chain = chain
        .iter()
        .map(|certificate| CertificateDer::from(certificate.der().to_vec()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let with_versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let (Ok(builder), Ok(key)) = (with_versions, PrivateKeyDer::from_pem_slice(key)) else {
        return false;
    };
    builder
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(chain.collect(), key)
        .is_ok()
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
