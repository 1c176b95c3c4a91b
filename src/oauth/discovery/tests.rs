//! Discovery with scripted documents.

use super::*;
use crate::oauth::scripted_environment::Scripted;

const GOOD: &str = r#"{"issuer":"https://as.test","token_endpoint":"https://as.test/token"}"#;
const RESOURCE: &str =
    r#"{"resource":"https://a.test/mcp","authorization_servers":["https://as.test"]}"#;

fn config() -> Config {
    Config::new(Url::parse("https://a.test/mcp").unwrap())
}

fn find(env: &Scripted, config: &Config, named: Option<&str>) -> Step<Discovered> {
    let named = named.map(|url| Url::parse(url).unwrap());
    let known = Known {
        accepted: Accepted {
            typed: config.oauth.accept_issuer.clone(),
            before: None,
        },
        ..Known::default()
    };
    discover(env, config, named.as_ref(), &known)
}

/// What is found when the first URL of the resource metadata has this response.
fn after_resource(status: u16, text: &str) -> Step<Discovered> {
    let env = Scripted::new();
    for _ in 0..if status >= 500 { 3 } else { 1 } {
        env.answer(status, text);
    }
    env.answer(200, RESOURCE);
    env.answer(200, GOOD);
    find(&env, &config(), None)
}

/// The same for the first URL of the authorization server metadata.
fn after_server(status: u16, text: &str) -> Step<Discovered> {
    let env = Scripted::new();
    env.answer(200, RESOURCE);
    for _ in 0..if status >= 500 { 3 } else { 1 } {
        env.answer(status, text);
    }
    env.answer(200, GOOD);
    find(&env, &config(), None)
}

#[test]
fn trouble_at_one_url_does_not_hide_the_document_at_the_next() {
    for (status, text) in [
        (502, "<html>bad gateway</html>"),
        (404, ""),
        (200, "<!doctype html><title>Welcome</title>"),
        (200, "{}"),
        (200, "[]"),
        (200, r#"{"message":"no such page"}"#),
        (200, r#"{"resource":"","issuer":""}"#),
        (200, r#"{"issuer":"https://as.test"}"#),
        (200, r#"{"resource":"https://other.test/"}"#),
        (
            200,
            r#"{"issuer":"https://other.test","token_endpoint":"https://other.test/t"}"#,
        ),
        (
            200,
            r#"{"issuer":"https://as.test","token_endpoint":"javascript:x"}"#,
        ),
    ] {
        for found in [after_resource(status, text), after_server(status, text)] {
            let found = found.unwrap_or_else(|failure| panic!("{status} {text}: {failure:?}"));
            assert_eq!(found.issuer(), "https://as.test", "{status} {text}");
        }
    }
}

#[test]
fn a_byte_order_mark_is_ignored() {
    let env = Scripted::new();
    env.answer(200, &format!("\u{feff}{RESOURCE}"));
    env.answer(200, &format!("\u{feff}{GOOD}"));
    assert!(find(&env, &config(), None).is_ok());
}

#[test]
fn empty_strings_are_members_that_are_not_there() {
    let env = Scripted::new();
    let resource = RESOURCE.replace(r#"["#, r#"["","#);
    env.answer(200, &resource);
    env.answer(
        200,
        &GOOD.replace(r#""token"#, r#""registration_endpoint":"","token"#),
    );
    let found = find(&env, &config(), None).unwrap();
    assert_eq!(found.server.registration_endpoint, None);
    assert_eq!(found.issuer(), "https://as.test");
}

#[test]
fn a_server_at_https_that_names_itself_with_http_is_asked_with_https() {
    let env = Scripted::new();
    let resource = RESOURCE.replace("https://as.test", "http://a.test");
    env.answer(200, &resource);
    env.answer(
        200,
        r#"{"issuer":"http://a.test","token_endpoint":"http://a.test/token"}"#,
    );
    let found = find(&env, &config(), Some("http://a.test/prm")).unwrap();
    let asked: Vec<String> = env.sent().iter().map(|sent| sent.url.to_string()).collect();
    assert_eq!(
        asked,
        [
            "https://a.test/prm",
            "https://a.test/.well-known/oauth-authorization-server"
        ]
    );
    let token = found.server.token_endpoint.unwrap();
    assert_eq!(token.as_str(), "https://a.test/token");
}

#[test]
fn a_challenge_that_names_an_address_that_is_refused_does_not_hide_the_well_known_one() {
    let env = Scripted::new();
    env.answer(200, RESOURCE);
    env.answer(200, GOOD);
    assert!(find(&env, &config(), Some("http://other.test/prm")).is_ok());
    let first = env.sent().remove(0).url;
    assert_eq!(first.host_str(), Some("a.test"));
}

/// Nothing is guessed for a server whose document is in trouble; one that publishes its own server metadata is used.
#[test]
fn resource_metadata_in_trouble_everywhere_ends_the_search_unless_the_server_has_its_own() {
    let own = r#"{"issuer":"https://a.test","token_endpoint":"https://a.test/token"}"#;
    for (text, known, is_found) in [
        (own, None, true),
        (own, Some("https://a.test"), true),
        (own, Some("https://as.test"), false),
        ("", None, false),
    ] {
        let env = Scripted::new();
        for _ in 0..6 {
            env.answer(503, "");
        }
        env.answer(200, text);
        env.answer(404, "");
        let known = Known {
            issuer: known.map(str::to_owned),
            ..Known::default()
        };
        let found = discover(&env, &config(), None, &known);
        assert_eq!(found.is_ok(), is_found, "{text} {known:?}");
        if let Err(failure) = found {
            assert!(matches!(failure, Failure::Passing(_)), "{failure:?}");
        }
    }
}

#[test]
fn metadata_of_another_issuer_at_the_root_needs_the_flag_and_the_error_names_it() {
    let mut config = config();
    for accepted in [None, Some("https://as.test")] {
        config.oauth.accept_issuer = accepted.map(str::to_owned);
        let env = Scripted::new();
        env.answer(200, &RESOURCE.replace("as.test", "as.test/tenant"));
        for _ in 0..3 {
            env.answer(404, "");
        }
        env.answer(200, GOOD);
        env.answer(404, "");
        match find(&env, &config, None) {
            Ok(found) => assert_eq!(
                (accepted, found.issuer()),
                (Some("https://as.test"), "https://as.test")
            ),
            Err(failure) => {
                assert_eq!(accepted, None);
                let hint = failure.error().hint().unwrap().to_owned();
                assert!(hint.contains("--accept-issuer https://as.test"), "{hint}");
            }
        }
    }
}

#[test]
fn a_server_that_names_its_endpoint_as_issuer_has_the_metadata_of_its_own_origin() {
    let env = Scripted::new();
    env.answer(200, &RESOURCE.replace("as.test", "a.test/mcp"));
    for _ in 0..3 {
        env.answer(404, "");
    }
    env.answer(
        200,
        r#"{"issuer":"https://a.test","token_endpoint":"https://a.test/oauth/token"}"#,
    );
    let found = find(&env, &config(), None).unwrap();
    let token = found.server.token_endpoint.as_ref().unwrap();
    assert_eq!(token.as_str(), "https://a.test/oauth/token");
    assert_eq!(found.issuer(), "https://a.test");
}

#[test]
fn an_accepted_issuer_is_bound_to_the_place_that_claimed_it_first() {
    let env = Scripted::new();
    let mut authorizer = crate::oauth::scripted_environment::authorizer(&env);
    authorizer.config.oauth.accept_issuer = Some("https://x.test".to_owned());
    let claims = |origin: &str| {
        env.answer(200, &RESOURCE.replace("https://as.test", origin));
        env.answer(200, &GOOD.replace("https://as.test", "https://x.test"));
    };
    for _ in 0..2 {
        claims("https://good.test");
        assert!(authorizer.discover(None).is_ok());
    }
    claims("https://evil.test");
    env.answer(404, "");
    let failure = authorizer.discover(None).unwrap_err();
    let hint = failure.error().hint().unwrap();
    assert!(hint.contains("only at https://good.test"), "{hint}");
    assert!(!hint.contains("evil.test"), "{hint}");
    // The user says that it has moved.
    authorizer.config.oauth.accept_issuer = Some("https://evil.test=https://x.test".to_owned());
    claims("https://evil.test");
    assert!(authorizer.discover(None).is_ok());
}
