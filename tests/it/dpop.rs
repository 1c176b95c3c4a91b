//! Tokens that are bound to a key (RFC 9449), against servers that verify every proof.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::support::authorization_server::{Rules, Site};
use crate::support::browser::Browser;
use crate::support::http::Request;
use crate::support::process::Start;
use crate::support::sign_in::{signed_in, start, works};
use crate::support::{TempDir, store};

/// The keys and identifiers of all proofs so far.
#[derive(Clone, Default)]
struct Proofs(Arc<Mutex<(HashSet<String>, HashSet<String>)>>);

impl Proofs {
    /// Verifies the proof of a request; returns its nonce.
    fn verify(&self, request: &Request, method: &str, url: &str) -> Option<String> {
        let proofs: Vec<&str> = request
            .headers
            .iter()
            .filter(|(name, _)| name == "dpop")
            .map(|(_, value)| value.as_str())
            .collect();
        let [proof] = proofs[..] else {
            panic!("{} proofs in {}", proofs.len(), request.what());
        };
        let parts: Vec<&str> = proof.split('.').collect();
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let json = |text: &str| serde_json::from_slice::<Value>(&decoded(text)).unwrap();
        let (header, claims) = (json(parts[0]), json(parts[1]));
        let mut point = vec![4];
        for part in ["x", "y"] {
            point.extend(decoded(header["jwk"][part].as_str().unwrap()));
        }
        let signed = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
            .verify(signed.as_bytes(), &decoded(parts[2]))
            .unwrap();
        assert_eq!(header["typ"], "dpop+jwt");
        assert!(header["jwk"].get("d").is_none());
        assert_eq!(claims["htm"], method);
        assert_eq!(claims["htu"], url);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(claims["iat"].as_u64().unwrap().abs_diff(now.as_secs()) < 300);
        let token = request.header("authorization");
        let token = token.and_then(|value| value.strip_prefix("DPoP "));
        let hash = token.map(|it| URL_SAFE_NO_PAD.encode(digest(&SHA256, it.as_bytes())));
        assert_eq!(claims["ath"].as_str(), hash.as_deref());
        let mut known = self.0.lock().unwrap();
        known.0.insert(header["jwk"].to_string());
        assert!(
            known.1.insert(claims["jti"].to_string()),
            "a proof was used twice"
        );
        claims["nonce"].as_str().map(str::to_owned)
    }

    fn keys(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }
}

/// A site whose tokens are bound. With nonces, either server requires its own.
fn bound(nonces: bool, change: impl FnOnce(&mut Rules)) -> (Site, Proofs) {
    let site = Site::start(|rules| {
        rules.server_document()["dpop_signing_alg_values_supported"] = json!(["ES256"]);
        rules.token = json!({"token_type": "DPoP"});
        let place = rules.resource_metadata_url();
        rules.challenge = Some(format!("DPoP resource_metadata=\"{place}\""));
        change(rules);
    });
    let proofs = Proofs::default();
    let (known, url) = (proofs.clone(), site.issuer.url("/token"));
    site.on("/token", move |request, reply| {
        let nonce = known.verify(request, "POST", &url);
        if nonces && nonce.as_deref() != Some("of-the-issuer") {
            let header = "content-type: application/json\r\ndpop-nonce: of-the-issuer\r\n";
            reply.full(400, header, r#"{"error":"use_dpop_nonce"}"#);
            return true;
        }
        false
    });
    let (known, url) = (proofs.clone(), site.url());
    site.on("/mcp", move |request, reply| {
        let Some(value) = request.header("authorization") else {
            assert_eq!(request.header("dpop"), None);
            return false;
        };
        assert!(value.starts_with("DPoP "), "{}", request.what());
        let nonce = known.verify(request, &request.method, &url);
        if nonces && nonce.as_deref() != Some("of-the-server") {
            let header =
                "www-authenticate: DPoP error=\"use_dpop_nonce\"\r\ndpop-nonce: of-the-server\r\n";
            reply.full(401, header, "a nonce, please");
            return true;
        }
        false
    });
    (site, proofs)
}

fn key_file(home: &TempDir, site: &Site) -> std::path::PathBuf {
    store::path(home, &site.url(), "dpop_key.pem")
}

#[test]
fn every_request_of_a_bound_sign_in_has_a_proof_of_its_own() {
    let required = |rules: &mut Rules| {
        let place = rules.resource_metadata_url();
        rules.challenge = Some(format!("Bearer resource_metadata=\"{place}\""));
        rules.resource_document()["dpop_bound_access_tokens_required"] = json!(true);
    };
    for by_metadata in [false, true] {
        let (site, proofs) = bound(false, |rules| {
            if by_metadata {
                required(rules);
            }
        });
        let browser = Browser::new();
        let mut first = signed_in(&site, &browser, &[]);
        works(&mut first);
        site.expire_access_tokens();
        works(&mut first);
        first.finish();
        // The next process has the same key.
        site.expire_access_tokens();
        let mut second = start(&site, &[]).browser(&browser).home(&first.home).go();
        second.handshake();
        works(&mut second);
        second.finish();
        assert_eq!(site.grants("refresh_token").len(), 2);
        assert_eq!(browser.urls().len(), 1);
        assert_eq!(proofs.keys(), 1);
    }
}

#[test]
fn the_nonces_of_both_servers_are_used_until_they_send_others() {
    let (site, _) = bound(true, |_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    for _ in 0..3 {
        works(&mut process);
    }
    site.expire_access_tokens();
    works(&mut process);
    process.finish();
    // Only the first request to each had no nonce.
    assert_eq!(site.requests("/token").len(), 3);
    let asked = |request: &&Request| request.rpc() == "ask";
    assert_eq!(site.requests("/mcp").iter().filter(asked).count(), 5);
    assert_eq!(browser.urls().len(), 1);
}

#[test]
fn the_private_key_is_the_users_alone_and_a_sign_out_removes_it() {
    let (site, _) = bound(false, |_| {});
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &["--debug"]);
    works(&mut process);
    process.finish();
    let stderr = process.stderr();
    let path = key_file(&process.home, &site);
    let pem = std::fs::read_to_string(&path).unwrap();
    let key = pem.lines().nth(1).unwrap();
    assert!(key.len() > 100);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(!stderr.contains(key));
    for file in store::files(&process.home.0) {
        let text = std::fs::read(&file).unwrap();
        let has_key = String::from_utf8_lossy(&text).contains(key);
        assert_eq!(has_key, file == path, "{}", file.display());
    }
    let url = site.url();
    let mut logout = Start::client(&[&url, "--logout"]).home(&process.home).go();
    assert!(logout.wait_exit().success());
    assert!(!path.exists());
}

#[test]
fn no_dpop_leaves_a_server_that_announces_it_with_bearer_tokens() {
    let site = Site::start(|rules| {
        rules.server_document()["dpop_signing_alg_values_supported"] = json!(["ES256"]);
        rules.challenge_with("scope=\"a\"");
        let bearer = rules.challenge.clone().unwrap();
        rules.challenge = Some(format!("{bearer}, DPoP algs=\"ES256\""));
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &["--no-dpop"]);
    works(&mut process);
    process.finish();
    let requests = [site.requests("/mcp"), site.requests("/token")].concat();
    assert!(requests.iter().all(|it| it.header("dpop").is_none()));
    assert!(!key_file(&process.home, &site).exists());
}
