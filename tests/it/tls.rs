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

#[test]
fn a_self_signed_certificate_that_the_user_named_is_accepted_as_exactly_that_one() {
    let named = fixture("self-signed.pem");
    for (flags, variable) in [
        (vec!["--ca-cert", &named], None),
        (vec![], Some("NODE_EXTRA_CA_CERTS")),
        (vec![], Some("SSL_CERT_FILE")),
    ] {
        let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
        let front = in_front_of(server.address, "self-signed.pem", false);
        let url = format!("https://{front}/mcp");
        let start = Start::bridge(&[&[url.as_str()], flags.as_slice()].concat());
        let mut bridge = match variable {
            Some(variable) => start.env(variable, &named),
            None => start,
        }
        .go();
        bridge.handshake();
        assert_eq!(bridge.ask("1")["result"], json!({}));
        bridge.finish();
    }
    // Not named; another one of the same name and key is; no certificate that it signed; not for the host; not valid any more.
    let unnamed = refused("self-signed.pem", &[], false);
    assert!(unnamed.contains("--ca-cert"), "{unnamed}");
    for (shown, named, words) in [
        ("self-signed.pem", "self-signed-elsewhere.pem", "may use"),
        ("server.pem", "self-signed.pem", "unknown authority"),
        (
            "self-signed-elsewhere.pem",
            "self-signed-elsewhere.pem",
            "not for the name",
        ),
        (
            "self-signed-expired.pem",
            "self-signed-expired.pem",
            "expired",
        ),
    ] {
        let text = refused(shown, &["--ca-cert", &fixture(named)], false);
        assert!(text.contains(words), "{shown}: {text}");
    }
}
