//! TLS in front of a scripted server, with a certificate of `tests/it/fixtures`.
//!
//! There, `ca.pem` is the authority that has signed `server.pem` (until 2125) and `expired.pem` (until 2021), both for
//! `localhost` and 127.0.0.1; `server.key` is the key of both.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Where a fixture is.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/fixtures")
        .join(name)
}

/// A port that speaks TLS with this certificate and passes everything on to the server at this address.
pub fn in_front_of(server: SocketAddr, certificate: &str) -> SocketAddr {
    let chain = vec![CertificateDer::from_pem_file(fixture(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    let config = Arc::new(config);
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

type Tls = StreamOwned<ServerConnection, TcpStream>;

fn pass(mut outside: Tls, server: SocketAddr) -> std::io::Result<()> {
    outside.flush()?;
    while outside.conn.is_handshaking() {
        outside.conn.complete_io(&mut outside.sock)?;
    }
    let mut inside = TcpStream::connect(server)?;
    let turn = Some(Duration::from_millis(5));
    outside.sock.set_read_timeout(turn)?;
    inside.set_read_timeout(turn)?;
    let mut bytes = [0; 4096];
    loop {
        let from_outside = outside.read(&mut bytes);
        if !copied(from_outside, &bytes, &mut inside)? {
            return Ok(());
        }
        let from_inside = inside.read(&mut bytes);
        if !copied(from_inside, &bytes, &mut outside)? {
            outside.conn.send_close_notify();
            return outside.flush();
        }
    }
}

/// False at the end of what is copied.
fn copied(
    read: std::io::Result<usize>,
    bytes: &[u8],
    to: &mut impl Write,
) -> std::io::Result<bool> {
    match read {
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
