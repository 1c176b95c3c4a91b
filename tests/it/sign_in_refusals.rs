//! What a server may say that ends a sign-in before anything is opened, and in which words.

use serde_json::json;

use crate::support::authorization_server::{Rules, Site};
use crate::support::browser::Browser;
use crate::support::http::Reply;
use crate::support::sign_in::{bridge, error, refused, says, signed_in};

/// What the client is told if the site is like this.
fn refusal(change: impl FnOnce(&mut Rules)) -> String {
    refused(&Site::start(change), &[])
}

#[test]
fn metadata_of_another_resource_is_refused() {
    for other in [
        "https://other.example/mcp",
        "http://127.0.0.1:1/mcp",
        "not a url",
    ] {
        let text = refusal(|rules| rules.resource_document()["resource"] = json!(other));
        says(&text, &["resource", other, "/mcp"]);
    }
    let text = refusal(|rules| {
        let other = format!("{}/mcp-other", rules.server_origin);
        rules.resource_document()["resource"] = json!(other);
    });
    says(&text, &["resource", "/mcp-other"]);
}

#[test]
fn metadata_of_another_issuer_is_refused_with_both_names() {
    let site = Site::start(|rules| {
        rules.server_document()["issuer"] = json!("https://other.example");
    });
    let text = refused(&site, &[]);
    says(
        &text,
        &["issuer", "https://other.example", &site.issuer.url("")],
    );
    let text = refusal(|rules| {
        let longer = format!("{}/x", rules.issuer_origin);
        rules.server_document()["issuer"] = json!(longer);
    });
    says(&text, &["issuer"]);
    let text = refusal(|rules| {
        let document = rules.server_document();
        document.as_object_mut().unwrap().remove("issuer");
    });
    says(&text, &["issuer"]);
}

#[test]
fn metadata_without_s256_is_refused() {
    for methods in [json!(["plain"]), json!([]), json!(null)] {
        let text = refusal(|rules| {
            let document = rules.server_document();
            document["code_challenge_methods_supported"] = methods.clone();
            if methods.is_null() {
                let members = document.as_object_mut().unwrap();
                members.remove("code_challenge_methods_supported");
            }
        });
        says(&text, &["S256"]);
    }
}

#[test]
fn only_http_addresses_are_opened() {
    for evil in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "vscode://x",
    ] {
        let text = refusal(|rules| {
            rules.server_document()["authorization_endpoint"] = json!(evil);
        });
        says(&text, &["authorization_endpoint"]);
    }
}

#[test]
fn endpoints_are_https_or_on_this_machine() {
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
    ] {
        let text = refusal(|rules| {
            rules.server_document()[endpoint] = json!("http://as.example/x");
        });
        says(&text, &[endpoint, "https", "as.example"]);
    }
}

#[test]
fn an_issuer_on_plain_http_elsewhere_is_refused() {
    let text = refusal(|rules| {
        rules.resource_document()["authorization_servers"] = json!(["http://as.example"]);
    });
    says(&text, &["\"http://as.example\" is not https"]);
}

#[test]
fn addresses_that_only_the_inside_can_reach_are_not_asked() {
    for inside in [
        "https://169.254.169.254",
        "https://[fe80::1]",
        "https://[::ffff:169.254.169.254]",
        "https://0.0.0.0/x",
    ] {
        let text = refusal(|rules| {
            rules.resource_document()["authorization_servers"] = json!([inside]);
        });
        let host = url::Url::parse(inside).unwrap();
        says(&text, &[host.host_str().unwrap(), "network"]);
    }
}

#[test]
fn a_redirect_of_metadata_into_the_network_is_not_followed() {
    let site = Site::start(|_| {});
    site.on("/.well-known/oauth-authorization-server", |_, reply| {
        reply.full(302, "location: https://169.254.169.254/latest\r\n", "");
        true
    });
    says(&refused(&site, &[]), &["169.254.169.254", "is not asked"]);
}

#[test]
fn a_circle_of_redirects_ends() {
    let site = Site::start(|_| {});
    site.on("/.well-known/oauth-authorization-server", |_, reply| {
        reply.full(
            302,
            "location: /.well-known/oauth-authorization-server\r\n",
            "",
        );
        true
    });
    says(&refused(&site, &[]), &["redirect"]);
    assert!(site.requests("/oauth-authorization-server").len() < 50);
}

#[test]
fn a_huge_document_is_not_read_to_its_end() {
    let site = Site::start(|_| {});
    site.on("/.well-known/oauth-authorization-server", |_, reply| {
        reply.raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999999999\r\n\r\n");
        let part = vec![b' '; 1 << 16];
        for _ in 0..400 {
            reply.raw(&part);
        }
        reply.hang_up();
        true
    });
    says(&refused(&site, &[]), &["oauth-authorization-server"]);
}

/// What the client is told if server metadata is answered like this.
fn metadata_answered(answer: impl Fn(&mut Reply<'_>) + Send + Sync + 'static) -> String {
    let site = Site::start(|_| {});
    site.on(
        "/.well-known/oauth-authorization-server",
        move |_, reply| {
            answer(reply);
            true
        },
    );
    refused(&site, &[])
}

#[test]
fn metadata_that_is_none_is_named() {
    let text = metadata_answered(|reply| reply.full(200, "content-type: text/html\r\n", "<html>"));
    says(&text, &["oauth-authorization-server"]);
    let text = metadata_answered(|reply| reply.json("[]"));
    says(&text, &["oauth-authorization-server"]);
    let text = metadata_answered(|reply| reply.json(r#"{"issuer":7}"#));
    says(&text, &["issuer"]);
}

#[test]
fn metadata_that_stays_away_is_named_and_no_browser_is_opened() {
    let text = metadata_answered(|reply| reply.full(500, "", "out of order"));
    says(&text, &["500"]);
}

#[test]
fn resource_metadata_without_metadata_of_its_issuer_is_refused() {
    let text = refusal(|rules| {
        let issuer = rules.issuer_origin.clone();
        rules
            .documents
            .retain(|place, _| !place.starts_with(&issuer));
    });
    says(&text, &["metadata"]);
}

#[test]
fn a_sign_in_that_cannot_be_is_tried_again_with_the_next_request() {
    let site = Site::start(|rules| {
        rules.server_document()["code_challenge_methods_supported"] = json!(["plain"]);
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &[]);
    says(&error(&mut process), &["S256"]);
    site.change(|rules| {
        rules.server_document()["code_challenge_methods_supported"] = json!(["S256"]);
    });
    crate::support::sign_in::sign_in(&mut process, &browser);
    process.finish();
}

#[test]
fn a_token_endpoint_that_redirects_is_not_followed() {
    let site = Site::start(|_| {});
    let other = site.server.url("/stolen");
    site.on("/token", move |_, reply| {
        reply.full(307, &format!("location: {other}\r\n"), "");
        true
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--auth-timeout", "5"]);
    process.send(crate::support::mcp::INITIALIZE);
    assert!(browser.sign_in(1).status >= 400);
    assert!(process.recv()["error"].is_object());
    process.finish();
    assert_eq!(site.requests("/stolen").len(), 0);
}

#[test]
fn an_unknown_token_type_is_refused() {
    let site = Site::start(|rules| rules.token = json!({"token_type": "mac"}));
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--auth-timeout", "5"]);
    process.send(crate::support::mcp::INITIALIZE);
    assert!(browser.sign_in(1).status >= 400);
    says(
        &process.recv()["error"]["message"].to_string(),
        &["type", "mac"],
    );
    process.finish();
}

#[test]
fn a_token_endpoint_that_answers_with_html_is_described() {
    let site = Site::start(|_| {});
    site.on("/token", |_, reply| {
        reply.full(
            400,
            "content-type: text/html\r\n",
            "<html><title>Oops</title><body>no",
        );
        true
    });
    let browser = Browser::new();
    let mut process = bridge(&site, &browser, &["--auth-timeout", "5"]);
    process.send(crate::support::mcp::INITIALIZE);
    let page = browser.sign_in(1);
    assert!(page.status >= 400 && !page.text.contains("<title>Oops"));
    says(&process.recv()["error"]["message"].to_string(), &["400"]);
    process.finish();
}

#[test]
fn odd_but_usable_metadata_is_used() {
    let site = Site::start(|rules| {
        let document = rules.server_document();
        for extra in ["response_types_supported", "grant_types_supported"] {
            document.as_object_mut().unwrap().remove(extra);
        }
        document["unknown"] = json!({"a": [1]});
        document["revocation_endpoint"] = json!(null);
    });
    signed_in(&site, &Browser::new(), &[]).finish();
}
