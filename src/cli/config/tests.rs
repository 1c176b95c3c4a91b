//! Every default and refusal of the command line, as `read` decides it.

use super::super::flags::Program;
use super::*;
use std::ffi::OsString;

fn read_with(words: &[&str], variables: &[(&str, &str)]) -> Result<Read> {
    let typed =
        super::super::args::parse(Program::Proxy, words.iter().map(OsString::from).collect())?;
    let environment = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned())
    };
    read(&typed, true, &environment)
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
        "\"http://a.test/\" is not encrypted"
    );
    assert_eq!(
        refusal(&["ftp://a.test"]),
        "\"ftp://a.test\" must begin with https://, not ftp:"
    );
    assert_eq!(
        refusal(&["nonsense"]),
        "\"nonsense\" is not a valid URL: relative URL without a base"
    );
    assert_eq!(
        refusal(&["http://a.test/@scope/x"]),
        "\"http://a.test/@scope/x\" is not encrypted"
    );
    assert_eq!(
        refusal(&["u:hunter2@a.test?key=1"]),
        "\"a.test\" must begin with https://, not u:"
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
        &["--authorize-param", " state =x"],
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
fn very_long_times_are_taken_as_for_ever() {
    let read = read_with(&["https://a.test", "--body-timeout", "1e300"], &[]).unwrap();
    assert_eq!(read.warnings, [""; 0]);
    assert_eq!(read.config.http.body_timeout, Some(MAX_DURATION));
    for text in ["inf", "NaN", "-1", "x", ""] {
        let read = read_with(&["https://a.test", "--body-timeout", text], &[]).unwrap();
        assert_eq!(read.warnings.len(), 1, "{text}");
    }
}

#[test]
fn a_request_timeout_of_zero_is_none() {
    let timeout = |text| config(&["https://a.test", "--request-timeout", text]).request_timeout;
    assert_eq!(timeout("0"), None);
    assert_eq!(timeout("2.5"), Some(Duration::from_millis(2500)));
}

#[test]
fn the_sign_in_timeout_is_read_as_npm_reads_it() {
    for (text, seconds) in [("60", 60), ("45s", 45), (" 7.9", 7), ("x", 20), ("0", 20)] {
        let timeout = config(&["https://a.test", "--auth-timeout", text])
            .oauth
            .auth_timeout;
        assert_eq!(timeout, Duration::from_secs(seconds), "{text}");
    }
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
        http(
            &["https://a.test"],
            &[("HTTP_PROXY", "u"), ("http_proxy", "")]
        )
        .as_deref(),
        Some("u")
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

#[test]
fn header_files_and_headers_count_in_the_order_they_were_given() {
    let path = std::env::temp_dir().join(format!("mcp-remote-headers-{}", std::process::id()));
    std::fs::write(&path, "\u{feff}X: file\n# no: header\nY: ${A}\n").unwrap();
    let file = path.to_str().unwrap();
    let x = |words: &[&str]| {
        let read = read_with(&[&["https://a.test"], words].concat(), &[("A", "1")]).unwrap();
        assert_eq!(read.warnings, [""; 0]);
        assert!(
            read.notes
                .iter()
                .any(|note| note.contains("custom headers")),
            "{:?}",
            read.notes
        );
        read.config
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.expose()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        x(&["--header", "X: typed", "--header-file", file]),
        ["X=file", "Y=1"]
    );
    assert_eq!(
        x(&["--header-file", file, "--header", "X: typed"]),
        ["X=typed", "Y=1"]
    );
    std::fs::remove_file(&path).ok();
}

#[test]
fn names_that_differ_in_case_are_two_headers_for_the_hash() {
    let headers = config(&["https://a.test", "--header", "X-A: 1", "--header", "x-a: 2"]);
    assert_eq!(headers.headers_typed.len(), 2);
}

#[test]
fn notes_hold_names_and_no_values() {
    let words = ["https://a.test", "--header", "X: ${A}hunter2"];
    let read = read_with(&words, &[("A", "hunter3")]).unwrap();
    assert_eq!(
        read.notes,
        ["the environment variable A is used", "custom headers: X"]
    );
}

#[test]
fn a_task_for_every_server_needs_no_address() {
    let typed = super::super::args::parse(Program::Client, vec!["--list".into()]).unwrap();
    let read = read(&typed, false, &|_| None).unwrap();
    assert_eq!(read.config.server.as_str(), "about:blank");
    // Nobody can type it.
    assert!(read_with(&["about:blank"], &[]).is_err());
}

#[test]
fn certificate_files_of_the_environment_are_trusted_in_addition() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let read = read_with(
        &["https://a.test", "--ca-cert", "a.pem"],
        &[
            ("NODE_EXTRA_CA_CERTS", manifest),
            ("SSL_CERT_FILE", "/nonexistent"),
        ],
    )
    .unwrap();
    let http = read.config.http;
    assert_eq!(http.ca_files, [PathBuf::from("a.pem")]);
    assert_eq!(http.environment_ca_files, [PathBuf::from(manifest)]);
    assert_eq!(
        read.warnings,
        ["SSL_CERT_FILE names \"/nonexistent\", which is not a file; ignored"]
    );
}

#[test]
fn the_modern_protocol_over_http_sse_is_refused() {
    let refused = refusal(&[
        "https://a.test",
        "--protocol",
        "modern",
        "--transport",
        "sse-only",
    ]);
    assert_eq!(
        refused,
        "--protocol modern does not work over HTTP+SSE: remove --transport sse-only, or use --protocol legacy"
    );
}

#[test]
fn variables_in_the_address_are_replaced_and_values_of_headers_are_trimmed() {
    let words = [
        "https://${HOST}/mcp/${NOT_SET}",
        "--header",
        "X-Key:  ${KEY} ",
    ];
    let environment = [("HOST", "a.test"), ("KEY", "k3y\n")];
    let config = read_with(&words, &environment).unwrap().config;
    assert_eq!(config.server.host_str(), Some("a.test"));
    assert_eq!(config.headers[0].1.expose(), "k3y");
    assert_eq!(config.unset_variables, ["NOT_SET"]);
}

#[test]
fn the_token_header_is_a_name_that_nothing_else_needs() {
    let header = |name: &str| {
        config(&["https://a.test", "--token-header", name])
            .oauth
            .token_header
    };
    assert_eq!(header("X-Token").as_deref(), Some("x-token"));
    assert_eq!(header("Authorization"), None);
    assert_eq!(
        refusal(&["https://a.test", "--token-header", "X Token"]),
        "--token-header must be the name of a header, not \"X Token\""
    );
    assert_eq!(
        refusal(&["https://a.test", "--token-header", "Mcp-Session-Id"]),
        "--token-header cannot be Mcp-Session-Id: mcp-remote sets it"
    );
}

#[test]
fn a_callback_beyond_this_machine_is_warned_about() {
    let warnings = |words: &[&str]| read_with(words, &[]).unwrap().warnings;
    let url = "https://a.test";
    for quiet in [
        &[url, "--callback-bind", "127.0.0.1"][..],
        &[url, "--callback-bind", "[::1]"],
        &[url, "--redirect-uri", "http://localhost:3000/cb"],
        &[url, "3000", "--redirect-uri", "https://b.test/cb"],
    ] {
        assert_eq!(warnings(quiet), [] as [String; 0], "{quiet:?}");
    }
    assert_eq!(
        warnings(&[url, "3000", "--callback-bind", "0.0.0.0"]),
        [
            "--callback-bind 0.0.0.0: programs on other machines can reach the callback port during a sign-in"
        ]
    );
    assert_eq!(
        warnings(&[url, "--redirect-uri", "https://b.test/cb"]),
        [
            "the callback port may change: name one after the server's address, so that it can be published or forwarded"
        ]
    );
    assert_eq!(
        warnings(&[url, "3000", "--redirect-uri", "http://b.test/cb"]),
        ["--redirect-uri is not encrypted: others on the network can read the authorization code"]
    );
}

#[test]
fn an_address_or_redirect_uri_that_cannot_work_is_refused() {
    let url = "https://a.test";
    for (words, what) in [
        (
            ["--callback-bind", "eth0"],
            "--callback-bind must be an IP address, not \"eth0\"",
        ),
        (
            ["--redirect-uri", "/cb"],
            "--redirect-uri is not a valid URL: relative URL without a base",
        ),
        (
            ["--redirect-uri", "app://cb"],
            "--redirect-uri must begin with https:// or http://",
        ),
        (
            ["--redirect-uri", "https://b.test/cb#x"],
            "--redirect-uri must not contain a user name or fragment",
        ),
    ] {
        assert_eq!(refusal(&[url, words[0], words[1]]), what);
    }
}
