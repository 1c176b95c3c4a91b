//! TLS in front of a scripted server, with the certificates of `tests/it/fixtures/tls`.
//!
//! There, `ca.pem` is the authority of all others; `server.pem` is for `localhost` and 127.0.0.1, `expired.pem` was until
//! 2021, `elsewhere.pem` is for another name; `self-signed*.pem` are the same, each its own authority, as `openssl req -x509`
//! makes them; their key is `server.key`. `client.pem` and `client.key` are a client's.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// Where a fixture is.
pub fn fixture(name: &str) -> String {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/fixtures/tls"
    ));
    folder.join(name).to_str().unwrap().to_owned()
}

/// A port that speaks TLS with this certificate; whether it asks for a client's.
pub fn in_front_of(server: SocketAddr, certificate: &str, mutual: bool) -> SocketAddr {
    let read = |name: &str| CertificateDer::from_pem_file(fixture(name)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(read("ca.pem")).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match mutual {
        true => builder.with_client_cert_verifier(clients.build().unwrap()),
        false => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let config = Arc::new(
        builder
            .with_single_cert(vec![read(certificate)], key)
            .unwrap(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A peer that does not like the certificate leaves; its test looks at what it says.
            std::thread::spawn(move || pass(StreamOwned::new(connection, stream), server).ok());
        }
    });
    address
}

fn pass(
    mut outside: StreamOwned<ServerConnection, TcpStream>,
    server: SocketAddr,
) -> std::io::Result<()> {
    while outside.conn.is_handshaking() {
        if let Err(error) = outside.conn.complete_io(&mut outside.sock) {
            // The peer hears why before the connection ends: what it sent is read, so that nothing is reset.
            outside.sock.shutdown(std::net::Shutdown::Write)?;
            while outside.sock.read(&mut [0; 4096])? > 0 {}
            return Err(error);
        }
    }
    let mut inside = TcpStream::connect(server)?;
    let turn = Some(Duration::from_millis(5));
    outside.sock.set_read_timeout(turn)?;
    inside.set_read_timeout(turn)?;
    loop {
        if !copy(&mut outside, &mut inside)? {
            return Ok(());
        }
        if !copy(&mut inside, &mut outside)? {
            outside.conn.send_close_notify();
            return outside.flush();
        }
    }
}

/// Copies what is there; false at the end.
fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<bool> {
    let mut bytes = [0; 4096];
    match from.read(&mut bytes) {
        Ok(0) => Ok(false),
        Ok(length) => {
            to.write_all(&bytes[..length])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
