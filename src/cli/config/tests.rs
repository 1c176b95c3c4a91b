//! Every default and refusal of the command line, as `read` decides it.

use super::*;
use std::ffi::OsString;

fn read_with(words: &[&str], variables: &[(&str, &str)]) -> Result<Read> {
    let typed = super::super::flags::parse(words.iter().map(OsString::from).collect())?;
    let environment = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    read(&typed, &environment)
}

fn config(words: &[&str]) -> Config {
    read_with(words, &[]).unwrap().config
}

fn refusal(words: &[&str]) -> String {
    read_with(words, &[]).unwrap_err().what().to_owned()
}

#[test]
fn only_encrypted_addresses_and_this_machine_are_taken() {
    for url in [
        "https://a.test/mcp",
        "http://localhost:1",
        "http://127.0.0.1/",
        "http://[::1]:8080/mcp",
    ] {
        assert_eq!(config(&[url]).server_text, url);
    }
    config(&["http://a.test", "--allow-http"]);
    assert_eq!(
        refusal(&["http://a.test"]),
        "\"http://a.test\" is not encrypted"
    );
    assert_eq!(
        refusal(&["ftp://a.test"]),
        "\"ftp://a.test\" must begin with https://, not ftp:"
    );
    assert_eq!(
        refusal(&["nonsense"]),
        "\"nonsense\" is no URL: relative URL without a base"
    );
    assert_eq!(refusal(&[]), "the address of the server is missing");
    assert_eq!(
        refusal(&["http://u:hunter2@a.test/x?key=1"]),
        "\"http://a.test/x\" is not encrypted"
    );
}

#[test]
fn a_bad_port_is_refused() {
    assert_eq!(
        config(&["https://a.test", "--debug", "9797"]).oauth.port,
        Some(9797)
    );
    for port in ["0", "65536", "9696abc", "abc"] {
        assert!(
            refusal(&["https://a.test", port]).starts_with("the callback port must be a number"),
            "{port}"
        );
    }
}

#[test]
fn values_that_npm_ignores_are_ignored_with_a_warning() {
    for (words, warning) in [
        (["--transport", "foo"], "--transport must be"),
        (["--protocol", "foo"], "--protocol must be"),
        (["--connect-timeout", "0"], "--connect-timeout must be"),
        (["--headers-timeout", "x"], "--headers-timeout must be"),
        (["--auth-timeout", "-1"], "--auth-timeout must be"),
        (["--callback-path", "x"], "--callback-path must begin"),
        (
            ["--callback-path", "/wait-for-auth"],
            "--callback-path must begin",
        ),
        (
            ["--client-metadata-url", "http://a.test/x"],
            "--client-metadata-url must be",
        ),
        (["--header", "no colon"], "a --header is not"),
        (
            ["--authorize-param", "resource=x"],
            "--authorize-param resource",
        ),
    ] {
        let read = read_with(&["https://a.test", words[0], words[1]], &[]).unwrap();
        assert_eq!(read.warnings.len(), 1, "{words:?} {:?}", read.warnings);
        assert!(read.warnings[0].starts_with(warning), "{:?}", read.warnings);
    }
}

#[test]
fn what_npm_refuses_is_refused() {
    for words in [
        &["--auth-success-url", "ftp://a.test"][..],
        &["--auth-success-url", "https://a.test/?x"],
        &[
            "--auth-success-url",
            "https://a.test",
            "--auth-success-url",
            "https://a.test",
        ],
        &["--static-oauth-client-info", "{"],
        &["--static-oauth-client-info", "[]"],
        &["--static-oauth-client-metadata", "@/nonexistent.json"],
        &["--resource", "no url"],
        &["--authorize-param", "novalue"],
        &["--authorize-param", "=x"],
        &["--authorize-param", "state=x"],
        &["--token-endpoint", "https://a.test/token"],
        &[
            "--client-credentials",
            "--token-endpoint",
            "http://a.test/token",
        ],
        &["--header-file", "/nonexistent.txt"],
        &["--client-cert", "x"],
        &["--client-key", "x"],
        &["--log-format", "xml"],
        &["--max-message-size", "0"],
    ] {
        let mut all = vec!["https://a.test"];
        all.extend(words);
        assert!(read_with(&all, &[]).is_err(), "{words:?}");
    }
}

#[test]
fn limits_of_zero_are_none_and_streams_obey_only_a_given_one() {
    let plain = config(&["https://a.test"]).http;
    assert_eq!(
        (plain.headers_timeout, plain.body_timeout_on_streams),
        (Some(Duration::from_secs(300)), false)
    );
    let off = config(&[
        "https://a.test",
        "--headers-timeout",
        "0",
        "--body-timeout",
        "0",
        "--connect-timeout",
        "1.5",
    ])
    .http;
    assert_eq!(
        (off.headers_timeout, off.body_timeout, off.connect_timeout),
        (None, None, Duration::from_millis(1500))
    );
    assert!(
        config(&["https://a.test", "--body-timeout", "9"])
            .http
            .body_timeout_on_streams
    );
}

#[test]
fn a_ping_interval_turns_pings_on() {
    assert_eq!(config(&["https://a.test"]).ping_interval, None);
    assert_eq!(
        config(&["https://a.test", "--keep-alive"]).ping_interval,
        Some(Duration::from_secs(30))
    );
    assert_eq!(
        config(&["https://a.test", "--ping-interval", "0.5"]).ping_interval,
        Some(Duration::from_millis(500))
    );
}

#[test]
fn header_values_are_expanded_but_the_hash_sees_what_was_typed() {
    let read = read_with(
        &[
            "https://a.test",
            "--header",
            "X: ${A}",
            "--header",
            "X: b${A}",
        ],
        &[("A", "1")],
    )
    .unwrap();
    let texts = |headers: &[headers::Header]| {
        headers
            .iter()
            .map(|(n, v)| format!("{n}={}", v.expose()))
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&read.config.headers), ["X=b1"]);
    assert_eq!(texts(&read.config.headers_typed), ["X=b${A}"]);
    assert!(read_with(&["https://a.test", "--header", "X: ${A}"], &[("A", "1\n2")]).is_err());
}

#[test]
fn a_quote_in_a_secret_does_not_break_the_client_info() {
    let read = read_with(
        &[
            "https://a.test",
            "--static-oauth-client-info",
            r#"{"client_id":"a","client_secret":"${S}"}"#,
        ],
        &[("S", "x\"y\\")],
    )
    .unwrap();
    let info = read.config.oauth.static_client_info.unwrap();
    let info: serde_json::Value = serde_json::from_str(info.expose()).unwrap();
    assert_eq!(info["client_secret"], "x\"y\\");
}

#[test]
fn proxies_come_from_the_environment_in_curls_way() {
    let http = |words: &[&str], variables: &[(&str, &str)]| {
        read_with(words, variables)
            .unwrap()
            .config
            .http
            .proxy
            .http
            .map(|p| p.expose().to_owned())
    };
    assert_eq!(
        http(
            &["https://a.test"],
            &[("HTTP_PROXY", "u"), ("http_proxy", "l")]
        )
        .as_deref(),
        Some("l")
    );
    assert_eq!(
        http(&["https://a.test"], &[("HTTP_PROXY", "u")]).as_deref(),
        Some("u")
    );
    assert_eq!(
        http(
            &["https://a.test"],
            &[("HTTP_PROXY", "u"), ("REQUEST_METHOD", "GET")]
        ),
        None
    );
    assert_eq!(
        http(&["https://a.test", "--no-proxy"], &[("HTTP_PROXY", "u")]),
        None
    );
}

#[test]
fn the_store_is_where_the_environment_says() {
    let read = read_with(&["https://a.test"], &[("MCP_REMOTE_CONFIG_DIR", "/x")]).unwrap();
    assert_eq!(read.config.store_dir, Some(PathBuf::from("/x")));
}
