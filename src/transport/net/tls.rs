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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};

use crate::transport::net::resolver::AtConnect;

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
    let client_cert = ClientCert::new_with_certs(&chain, private);
    if !is_usable(&client_cert) {
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

/// What is in a key file; whether it is a key is for the caller to see.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read_key(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| {
        let what = format!("cannot read key file \"{}\": {}", path.display(), plain(&e));
        Error::new(Kind::Config, what)
    })
}

/// Whether rustls takes the pair. ureq asks it only when a handshake begins, and then panics if it does not: so one is
/// begun here, over a connection that goes nowhere, where that can be caught.
fn is_usable(client_cert: &ClientCert) -> bool {
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .tls_config(built_in(Some(client_cert)))
        .build();
    let chain = Nowhere.chain(RustlsConnector::default());
    let agent = ureq::Agent::with_parts(config, chain, AtConnect);
    // The words of the panic would puzzle a person. No other thread of ours runs this early.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let tried = catch_unwind(AssertUnwindSafe(|| {
        agent.get("https://127.0.0.1/").call().is_err()
    }));
    std::panic::set_hook(hook);
    tried.is_ok()
}

/// Connections that fail at their first byte.
#[derive(Debug, Default)]
struct Nowhere;

impl Connector<()> for Nowhere {
    type Out = NoTransport;

    fn connect(
        &self,
        _: &ConnectionDetails,
        _: Option<()>,
    ) -> std::result::Result<Option<NoTransport>, ureq::Error> {
        Ok(Some(NoTransport(LazyBuffers::new(1024, 1024))))
    }
}

#[derive(Debug)]
struct NoTransport(LazyBuffers);

impl Transport for NoTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.0
    }

    fn transmit_output(
        &mut self,
        _: usize,
        _: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        Err(ureq::Error::ConnectionFailed)
    }

    fn await_input(&mut self, _: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        Err(ureq::Error::ConnectionFailed)
    }

    fn is_open(&mut self) -> bool {
        false
    }
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
