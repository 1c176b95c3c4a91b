//! Certificates: what is not known, not for this host or not valid any more is refused before anything is sent.

use serde_json::json;

use crate::support::mcp::{INITIALIZE, answering, result};
use crate::support::process::{Process, Start};
use crate::support::tls_front::{fixture, in_front_of};

/// What the client is told when it asks a server with this certificate; nothing may have reached the server.
fn refused(certificate: &str, flags: &[&str], mutual: bool) -> String {
    let server = crate::support::http::Server::start(|_, reply| reply.status(500));
    let url = format!(
        "https://{}/mcp",
        in_front_of(server.address, certificate, mutual)
    );
    let mut bridge = Start::bridge(&[&[url.as_str()], flags].concat()).go();
    bridge.send(INITIALIZE);
    let answer = bridge.recv();
    let words = answer["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    bridge.finish();
    assert_eq!(server.log(), Vec::<String>::new(), "{words}");
    // The server is allowed not to have been called.
    crate::support::http::call(server.address);
    words
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_and_nothing_is_sent() {
    let words = refused("server.pem", &[], false);
    assert!(
        words.contains("certificate") && words.contains("--ca-cert"),
        "{words}"
    );
}

#[test]
fn an_expired_certificate_and_one_for_another_host_are_refused_with_the_reason() {
    let ca = fixture("ca.pem");
    let expired = refused("expired.pem", &["--ca-cert", &ca], false);
    assert!(expired.contains("expired"), "{expired}");
    let elsewhere = refused("elsewhere.pem", &["--ca-cert", &ca], false);
    assert!(
        elsewhere.contains("host") || elsewhere.contains("name"),
        "{elsewhere}"
    );
}

#[test]
fn without_the_clients_certificate_a_server_that_wants_one_gets_nothing() {
    let words = refused("server.pem", &["--ca-cert", &fixture("ca.pem")], true);
    assert!(words.contains("certificate"), "{words}");
}

#[test]
fn a_known_authority_and_a_clients_certificate_lead_to_an_ordinary_session() {
    let (ca, cert, key) = (
        fixture("ca.pem"),
        fixture("client.pem"),
        fixture("client.key"),
    );
    for mutual in [false, true] {
        let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
        let url = format!(
            "https://{}/mcp",
            in_front_of(server.address, "server.pem", mutual)
        );
        let mut args = vec![url.as_str(), "--ca-cert", &ca];
        if mutual {
            args.extend(["--client-cert", &cert, "--client-key", &key]);
        }
        let mut bridge = Process::connected(&args);
        assert_eq!(bridge.ask("1")["result"], json!({}));
        bridge.finish();
    }
}
