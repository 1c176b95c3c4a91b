//! Root and client certificates.
//!
//! - The built-in roots are always trusted first. Certificates of `--ca-cert`, `SSL_CERT_FILE`, `NODE_EXTRA_CA_CERTS` and the
//!   system's store are read only if the built-in roots do not contain the issuer of a server's certificate. Then the connection
//!   is tried once more with them; nothing was sent before.
//! - A certificate that the user named is also accepted as the server's own, if it is exactly that one, its dates are valid and
//!   it names the host: `openssl req -x509` makes certificates of an authority, which may not be a server's otherwise.
//!
//! Flags: `--ca-cert`, `--client-cert`, `--client-key`.
//! Spec: RFC 7468 (PEM), RFC 5280 6 (path validation, done by rustls; 4.2.1.9: authorities).
//! Not done here: verification cannot be switched off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::config::Http;
use crate::error::{Error, Kind, Result, plain};
use crate::transport::net::tls_transport::TlsConnector;

/// Where systems keep their certificates.
const HOST_STORES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// A client certificate with its chain, and its key.
#[derive(Debug)]
pub(crate) struct ClientCert {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// TLS with the built-in roots.
///
/// # Errors
/// If rustls refuses the configuration.
pub(crate) fn built_in(client_cert: Option<&ClientCert>) -> Result<TlsConnector> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    connector(roots, Vec::new(), client_cert)
        .map_err(|e| Error::new(Kind::Config, format!("cannot set up TLS: {e}")))
}

/// TLS with the certificates of the files that were named and of the host; `None` if there are none.
pub(crate) fn additional(http: &Http, client_cert: Option<&ClientCert>) -> Option<TlsConnector> {
    // Configured files were checked at the start; one that is gone by now is left out.
    let read = |path: &PathBuf| read_certificates(path).unwrap_or_default();
    let files = http.ca_files.iter().chain(&http.environment_ca_files);
    let named: Vec<_> = files.flat_map(read).collect();
    let host = HOST_STORES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(named.iter().cloned().chain(host.iter().flat_map(read)));
    connector(roots, named, client_cert).ok()
}

fn connector(
    roots: RootCertStore,
    named: Vec<CertificateDer<'static>>,
    client_cert: Option<&ClientCert>,
) -> std::result::Result<TlsConnector, Box<dyn std::error::Error>> {
    let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { roots, named }));
    let config = match client_cert {
        Some(ClientCert { chain, key }) => {
            builder.with_client_auth_cert(chain.clone(), key.clone_key())?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector(Arc::new(config)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Verifies as rustls does, and accepts the certificates that the user named as what they are.
#[derive(Debug)]
struct Verifier {
    roots: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        use CertificateError::Other;
        let verified = (self.roots).verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // The dates are checked before the kind of the certificate, which is what `Other` is about, and the name after it.
            Err(rustls::Error::InvalidCertificate(Other(_)))
                if self.named.contains(certificate) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.roots
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// If the file cannot be read or holds none.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
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
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .filter_map(std::result::Result::ok)
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
    let key_der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        Error::new(
            Kind::Config,
            format!("no PEM private key in \"{}\"", key.display()),
        )
    })?;
    let client_cert = ClientCert {
        chain,
        key: key_der,
    };
    if built_in(Some(&client_cert)).is_err() {
        let what = format!(
            "the certificate in \"{}\" and the key in \"{}\" do not belong together, or are of a kind that is not supported",
            cert.display(),
            key.display()
        );
        return Err(Error::new(Kind::Config, what)
            .with_hint("certificates must be X.509 version 3, keys RSA (2048 bits or more), ECDSA P-256 or P-384, or Ed25519"));
    }
    Ok(client_cert)
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
