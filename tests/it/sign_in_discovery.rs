//! Where metadata is looked for, and in which order.

use serde_json::json;

use crate::support::authorization_server::{Site, server_metadata};
use crate::support::browser::Browser;
use crate::support::sign_in::{authorization, refused, says, signed_in, works};

/// Signs in and gives the documents that were asked for, in order, with the origin: "s" for the server, "a" for the issuer.
fn looked_for(site: &Site) -> Vec<String> {
    let browser = Browser::new();
    let mut process = signed_in(site, &browser, &[]);
    works(&mut process);
    process.finish();
    let documents = site.seen().into_iter().filter_map(|seen| {
        let origin = if seen.at_issuer { "a" } else { "s" };
        let what = seen.what();
        let document = what.strip_prefix("GET ")?;
        let name = document.replace("/.well-known/", ".");
        (name != document || document.contains("prm")).then(|| format!("{origin}{name}"))
    });
    documents.collect()
}

#[test]
fn the_challenge_says_where_the_resource_metadata_is() {
    let site = Site::start(|rules| {
        let document = rules.resource_metadata();
        rules.documents.clear();
        let issuer = rules.issuer_origin.clone();
        rules.documents.insert(
            format!("{issuer}/.well-known/oauth-authorization-server"),
            server_metadata(&issuer, &issuer),
        );
        let place = format!("{}/elsewhere/.well-known/prm", rules.server_origin);
        // Several schemes, any case, a quoted comma, an unknown parameter.
        rules.challenge = Some(format!(
            "Basic realm=\"a, b\", bEARER x=1, Resource_Metadata=\"{place}\""
        ));
        rules.documents.insert(place, document);
    });
    assert_eq!(
        looked_for(&site),
        ["s/elsewhere.prm", "a.oauth-authorization-server"]
    );
}

#[test]
fn without_a_hint_the_path_form_is_looked_for_first() {
    for challenge in [None, Some("Bearer"), Some("Basic realm=\"x\"")] {
        let site = Site::start(|rules| rules.challenge = challenge.map(str::to_owned));
        assert_eq!(
            looked_for(&site),
            [
                "s.oauth-protected-resource/mcp",
                "a.oauth-authorization-server"
            ],
            "{challenge:?}"
        );
    }
}

#[test]
fn the_root_form_comes_second() {
    let site = Site::start(|rules| {
        let document = rules.resource_metadata();
        rules.without_resource_metadata();
        let root = format!(
            "{}/.well-known/oauth-protected-resource",
            rules.server_origin
        );
        rules.documents.insert(root, document);
    });
    assert_eq!(
        looked_for(&site),
        [
            "s.oauth-protected-resource/mcp",
            "s.oauth-protected-resource",
            "a.oauth-authorization-server"
        ]
    );
}

#[test]
fn an_origin_as_resource_covers_its_paths() {
    let site = Site::start(|rules| {
        let origin = rules.server_origin.clone();
        rules.resource_document()["resource"] = json!(origin);
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let resource = authorization(&browser, 1)["resource"].clone();
    assert_eq!(resource.trim_end_matches('/'), site.server.url(""));
}

/// An issuer at `path` whose metadata is at `place`.
fn issuer_at(path: &'static str, place: &'static str) -> Site {
    Site::start(move |rules| {
        let origin = rules.issuer_origin.clone();
        let issuer = format!("{origin}{path}");
        let place = format!("{origin}{place}");
        rules
            .documents
            .remove(&format!("{origin}/.well-known/oauth-authorization-server"));
        rules
            .documents
            .insert(place, server_metadata(&issuer, &origin));
        rules.iss = Some(issuer.clone());
        rules.resource_document()["authorization_servers"] = json!([issuer]);
    })
}

#[test]
fn an_issuer_without_a_path_has_its_documents_looked_for_in_order() {
    let site = issuer_at("", "/.well-known/openid-configuration");
    assert_eq!(
        looked_for(&site)[1..],
        ["a.oauth-authorization-server", "a.openid-configuration"]
    );
}

#[test]
fn an_issuer_with_a_path_has_its_documents_looked_for_in_order() {
    let inserted = "a.oauth-authorization-server/tenant";
    let openid = "a.openid-configuration/tenant";
    let appended = "a/tenant.openid-configuration";
    for (place, order) in [
        (
            "/.well-known/oauth-authorization-server/tenant",
            &[inserted][..],
        ),
        (
            "/.well-known/openid-configuration/tenant",
            &[inserted, openid],
        ),
        (
            "/tenant/.well-known/openid-configuration",
            &[inserted, openid, appended],
        ),
    ] {
        let site = issuer_at("/tenant", place);
        assert_eq!(looked_for(&site)[1..], *order);
    }
}

#[test]
fn a_final_slash_is_no_other_issuer() {
    let site = Site::start(|rules| {
        let slashed = format!("{}/", rules.issuer_origin);
        rules.resource_document()["authorization_servers"] = json!([slashed]);
    });
    looked_for(&site);
}

#[test]
fn without_resource_metadata_the_servers_own_origin_is_the_issuer() {
    // The specification of 2025-03-26.
    let site = Site::start(|rules| {
        rules.documents.clear();
        rules.challenge = None;
        let server = rules.server_origin.clone();
        rules.documents.insert(
            format!("{server}/.well-known/oauth-authorization-server"),
            server_metadata(&server, &server),
        );
        rules.iss = Some(server);
    });
    let looked = looked_for(&site);
    assert!(looked.iter().all(|document| document.starts_with("s.")));
    assert_eq!(looked.last().unwrap(), "s.oauth-authorization-server");
}

#[test]
fn without_any_metadata_the_default_endpoints_are_used() {
    let site = Site::start(|rules| {
        rules.documents.clear();
        rules.challenge = None;
        rules.iss = None;
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    works(&mut process);
    process.finish();
    let server = site.server.url("");
    assert!(
        browser
            .wait_for(1)
            .starts_with(&format!("{server}/authorize?"))
    );
    assert_eq!(authorization(&browser, 1)["code_challenge_method"], "S256");
    assert!(site.seen().iter().all(|seen| !seen.at_issuer));
    assert_eq!(site.requests("/register").len(), 1);
    assert_eq!(site.requests("/token").len(), 1);
}

#[test]
fn metadata_is_asked_for_again_after_a_hiccup() {
    let site = Site::start(|_| {});
    let first = std::sync::atomic::AtomicBool::new(true);
    site.on(
        "/.well-known/oauth-authorization-server",
        move |_, reply| {
            let fails = first.swap(false, std::sync::atomic::Ordering::Relaxed);
            if fails {
                reply.full(503, "retry-after: 0\r\n", "just a moment");
            }
            fails
        },
    );
    looked_for(&site);
}

#[test]
fn a_place_of_server_metadata_that_is_in_trouble_does_not_hide_the_next_one() {
    let site = Site::start(|rules| {
        let issuer = rules.issuer_origin.clone();
        let place = |name: &str| format!("{issuer}/.well-known/{name}");
        let oauth = place("oauth-authorization-server");
        let document = rules.documents.remove(&oauth).unwrap();
        rules
            .documents
            .insert(place("openid-configuration"), document);
    });
    site.on("/.well-known/oauth-authorization-server", |_, reply| {
        reply.full(500, "", "no such page");
        true
    });
    let looked_for = looked_for(&site);
    assert_eq!(
        looked_for.first().unwrap(),
        "s.oauth-protected-resource/mcp"
    );
    assert_eq!(looked_for.last().unwrap(), "a.openid-configuration");
}

/// What is guessed for old servers is not for those that only cannot answer just now.
#[test]
fn server_metadata_that_is_in_trouble_everywhere_is_told_and_nothing_is_guessed() {
    let site = Site::start(|rules| rules.without_resource_metadata());
    for name in ["oauth-authorization-server", "openid-configuration"] {
        site.on(&format!("/.well-known/{name}"), |_, reply| {
            reply.full(503, "retry-after: 0\r\n", "just a moment");
            true
        });
    }
    let text = refused(&site, &[]);
    says(&text, &["authorization server metadata", "503"]);
    assert_eq!(site.requests("/register").len(), 0);
}

#[test]
fn a_redirect_of_metadata_is_followed_without_credentials() {
    let site = Site::start(|rules| {
        let document = rules
            .documents
            .remove(&rules.resource_metadata_url())
            .unwrap();
        let place = format!("{}/moved/.well-known/prm", rules.server_origin);
        rules.documents.insert(place, document);
    });
    site.on("/.well-known/oauth-protected-resource/mcp", |_, reply| {
        reply.full(307, "location: /moved/.well-known/prm\r\n", "");
        true
    });
    looked_for(&site);
    let moved = site.requests("prm").remove(0);
    assert_eq!(moved.header("authorization"), None);
}

/// Signs in with a configured header; gives the requests with it and those without, "a" for the issuer's origin.
fn with_header(site: &Site) -> (Vec<String>, Vec<String>) {
    let browser = Browser::new();
    let header = ["--header", "X-Gateway: key-of-the-gateway"];
    let mut process = signed_in(site, &browser, &header);
    works(&mut process);
    process.finish();
    // The browser has a way of its own to pass the gateway, and asks for pages only.
    let ours = site.seen().into_iter().filter(|seen| {
        let accept = seen.request.header("accept").unwrap_or_default();
        accept.contains("json")
    });
    let (with, without): (Vec<_>, Vec<_>) =
        ours.partition(|seen| seen.request.header("x-gateway") == Some("key-of-the-gateway"));
    let names = |all: Vec<crate::support::authorization_server::Seen>| {
        let name = |seen: &crate::support::authorization_server::Seen| {
            let origin = if seen.at_issuer { "a" } else { "s" };
            format!("{origin} {}", seen.what())
        };
        all.iter().map(name).collect()
    };
    (names(with), names(without))
}

#[test]
fn configured_headers_go_to_everything_on_the_servers_own_origin() {
    let site = Site::start(|rules| {
        rules.documents.clear();
        rules.challenge = None;
        rules.iss = None;
    });
    let (with, without) = with_header(&site);
    assert!(without.is_empty(), "{without:?}");
    for path in [
        "oauth-protected-resource",
        "oauth-authorization-server",
        "POST /register",
        "POST /token",
    ] {
        assert!(
            with.iter().any(|what| what.contains(path)),
            "{path}: {with:?}"
        );
    }
}

#[test]
fn configured_headers_go_to_no_other_origin_and_not_across_a_redirect_to_one() {
    let site = Site::start(|rules| {
        let place = rules.resource_metadata_url();
        let document = rules.documents.remove(&place).unwrap();
        let moved = format!("{}/moved/.well-known/prm", rules.issuer_origin);
        rules.documents.insert(moved, document);
    });
    let target = site.issuer.url("/moved/.well-known/prm");
    site.on(
        "/.well-known/oauth-protected-resource/mcp",
        move |_, reply| {
            reply.full(307, &format!("location: {target}\r\n"), "");
            true
        },
    );
    let (with, without) = with_header(&site);
    assert!(with.iter().all(|what| what.starts_with('s')), "{with:?}");
    assert!(
        without.iter().all(|what| what.starts_with('a')),
        "{without:?}"
    );
    assert!(
        without.iter().any(|what| what.contains("/moved")),
        "{without:?}"
    );
}

/// Without `iss`, nothing else shows that a document names the authorization endpoint of another party.
#[test]
fn endpoints_of_different_sites_are_told_before_the_browser_opens() {
    let site = Site::start(|rules| {
        rules.iss = None;
        let server = rules.server_origin.clone();
        let document = rules.server_document();
        document["token_endpoint"] = json!(format!("{server}/token"));
        let members = document.as_object_mut().unwrap();
        members.remove("authorization_response_iss_parameter_supported");
    });
    let browser = Browser::new();
    let mut process = signed_in(&site, &browser, &[]);
    process.finish();
    let stderr = process.stderr();
    assert!(stderr.contains("endpoints of different sites"), "{stderr}");
}
