//! The command line and what is written to stderr, files and `--help`.

use crate::support::mcp::{answering, result};
use crate::support::process::{Process, Start};

#[test]
fn help_and_version_go_to_stdout_and_end_with_0() {
    for (flag, start) in [
        ("--help", "Connects an MCP client"),
        ("-h", "Connects an MCP client"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("-V", env!("CARGO_PKG_VERSION")),
    ] {
        let mut process = Start::bridge(&["nonsense", flag]).go();
        assert!(process.recv_raw().starts_with(start), "{flag}");
        assert!(process.wait_exit().success());
        assert_eq!(process.stderr(), "");
    }
}

#[test]
fn an_error_is_one_line_with_a_hint_and_exit_1() {
    for (args, expected) in [
        (
            &[][..],
            "mcp-remote: the address of the server is missing\nhint: mcp-remote https://host/mcp\n",
        ),
        (
            &["ftp://a.test"],
            "mcp-remote: \"ftp://a.test\" must begin with https://, not ftp:\n",
        ),
        (
            &["mcp.example.com/mcp"],
            "mcp-remote: \"mcp.example.com/mcp\" is not a valid URL\nhint: did you mean https://mcp.example.com/mcp?\n",
        ),
        (
            &["localhost:8080/mcp"],
            "mcp-remote: \"localhost:8080/mcp\" is not a valid URL\nhint: did you mean http://localhost:8080/mcp?\n",
        ),
        (
            &["'https://a.test/mcp'"],
            "mcp-remote: \"'https://a.test/mcp'\" is not a valid URL\nhint: did you mean https://a.test/mcp?\n",
        ),
        (
            &["https://a.test", "0"],
            "mcp-remote: the callback port must be a number from 1 to 65535, not \"0\"\n",
        ),
        (
            &["https://a.test", "--ca-cert", "/no.pem"],
            "mcp-remote: cannot read certificate file \"/no.pem\": no such file\n",
        ),
        (&["--silent"], ""),
    ] {
        let mut process = Start::bridge(args).go();
        assert_eq!(process.wait_exit().code(), Some(1));
        assert_eq!(process.stderr(), expected, "{args:?}");
    }
}

#[test]
fn a_typo_is_reported_and_the_bridge_works() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let mut bridge = Process::connected(&["--alow-http", &server.url("/mcp")]);
    bridge.finish();
    assert!(
        bridge
            .stderr()
            .contains("unknown option --alow-http is ignored; did you mean --allow-http?")
    );
}

#[test]
fn stderr_is_quiet_and_silent_is_silent() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    for (flags, lines) in [(&[][..], 1), (&["--silent"], 0)] {
        let url = server.url("/mcp");
        let mut args = vec![url.as_str()];
        args.extend(flags);
        let mut bridge = Process::connected(&args);
        bridge.ask("1");
        bridge.finish();
        assert_eq!(
            bridge.stderr().lines().count(),
            lines,
            "{}",
            bridge.stderr()
        );
    }
}

#[test]
fn secrets_reach_the_server_and_nothing_else() {
    let server = answering(|request, reply| {
        assert_eq!(request.header("authorization"), Some("Bearer hunter2"));
        assert_eq!(request.header("x-key"), Some("hunter3"));
        if request.id() == "1" {
            reply.full(401, "", "who are you")
        } else {
            reply.hang_up()
        }
    });
    let home;
    {
        let url = server.url("/mcp?key=hunter4");
        let start = Start::bridge(&[
            &url,
            "--debug",
            "--log-format",
            "json",
            "--header",
            "Authorization: Bearer ${TOKEN}",
            "--header",
            "X-Key: hunter3",
        ]);
        let mut bridge = start.env("TOKEN", "hunter2").go();
        bridge.handshake();
        let refused = bridge.ask("1");
        assert!(
            refused["error"]["message"]
                .as_str()
                .unwrap()
                .contains("did not accept the Authorization header"),
            "{refused}"
        );
        let broken = bridge.ask("2");
        bridge.finish();
        let stderr = bridge.stderr();
        assert!(stderr.contains("answered 401"), "{stderr}");
        for line in stderr.lines() {
            assert!(
                serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].is_string()
            );
        }
        assert!(
            !format!("{stderr}{refused}{broken}").contains("hunter"),
            "{stderr}"
        );
        home = std::sync::Arc::clone(&bridge.home);
    }
    let directory = home.0.join(".mcp-auth/mcp-remote-v1");
    let mut files = 0;
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        files += 1;
        assert!(
            !std::fs::read_to_string(&path).unwrap().contains("hunter"),
            "{}",
            path.display()
        );
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(
                &std::fs::metadata(&path).unwrap().permissions()
            ) & 0o777,
            0o600
        );
    }
    assert!(files > 0, "--debug writes a file");
}

#[test]
fn the_debug_log_begins_with_version_flags_and_variables_and_holds_no_secret() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let url = server.url("/mcp?key=hunter2");
    let args = [
        &*url,
        "--debug",
        "--header",
        "X-Key: hunter3",
        "--profile",
        "work",
        "--authorize-param",
        "audience=hunter4",
    ];
    let start = Start::bridge(&args).env("HTTPS_PROXY", "http://u:hunter5@proxy.test:1");
    let mut bridge = start.go();
    bridge.handshake();
    bridge.ask("1");
    bridge.finish();
    let stderr = bridge.stderr();
    let about = format!(
        "mcp-remote {} on {} {}\n    flags: --debug --header --profile --authorize-param\n    variables: HTTPS_PROXY\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let (_, first) = stderr.split_once("] ").unwrap();
    let first = first.split_once("] ").map_or(first, |(_, text)| text);
    assert!(
        stderr.lines().next().unwrap().contains("mcp-remote")
            && format!("{first}{stderr}").contains(&about),
        "{stderr}"
    );
    assert!(!stderr.contains("hunter"), "{stderr}");
    // Also in the file beside the credentials.
    let directory = bridge.home.0.join(".mcp-auth/mcp-remote-v1");
    let files = std::fs::read_dir(directory).unwrap().flatten();
    let debug = files
        .map(|file| file.path())
        .find(|path| path.to_str().unwrap().ends_with("_debug.log"))
        .unwrap();
    let text = std::fs::read_to_string(debug).unwrap();
    let introduced = text
        .lines()
        .next()
        .unwrap()
        .contains(about.lines().next().unwrap());
    assert!(introduced && !text.contains("hunter"), "{text}");
}

#[test]
fn a_profile_has_its_own_sign_in() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let issued = AtomicU32::new(0);
    let server = crate::support::mcp::server(move |request, reply| {
        if request.path == "/token" {
            let token = issued.fetch_add(1, Ordering::Relaxed);
            reply.json(format!(
                r#"{{"access_token":"t{token}","token_type":"Bearer","expires_in":3600}}"#
            ));
        } else if request.header("authorization").is_none() {
            reply.status(401);
        } else {
            return false;
        }
        true
    });
    let (url, token) = (server.url("/mcp"), server.url("/token"));
    let args = [
        &*url,
        "--client-credentials",
        "--token-endpoint",
        &token,
        "--static-oauth-client-info",
        r#"{"client_id":"c","client_secret":"s"}"#,
    ];
    let home = std::sync::Arc::new(crate::support::TempDir::new());
    for profile in [&[][..], &["--profile", "work"], &["--profile", "default"]] {
        let mut bridge = Start::bridge(&[&args[..], profile].concat())
            .home(&home)
            .go();
        bridge.handshake();
        bridge.finish();
    }
    let count = |path: &str| {
        server
            .seen()
            .iter()
            .filter(|request| request.path == path)
            .count()
    };
    // "default" means no profile.
    assert_eq!(count("/token"), 2);
    let mut list = Start::client(&["--list"]).home(&home).go();
    list.close_stdin();
    assert!(list.recv_raw().starts_with(&format!("{url}  signed in")));
    assert!(
        list.recv_raw()
            .starts_with(&format!("{url} --profile work  signed in"))
    );
    let mut logout = Start::client(&[
        &url,
        "--profile",
        "work",
        "--logout",
        "--token-endpoint",
        &token,
        "--client-credentials",
    ])
    .home(&home)
    .go();
    logout.wait_exit();
    let mut status = Start::client(&[
        &url,
        "--token-endpoint",
        &token,
        "--client-credentials",
        "--status",
    ])
    .home(&home)
    .go();
    assert!(status.wait_exit().success(), "{}", status.stderr());
}

#[test]
fn an_invalid_profile_name_is_refused() {
    for name in ["", "a/b", "-a", "a b", "\u{1b}[31m"] {
        let flag = format!("--profile={name}");
        let mut bridge = Start::bridge(&["https://a.test", &flag]).go();
        assert_eq!(bridge.wait_exit().code(), Some(1));
        let stderr = bridge.stderr();
        assert!(
            stderr.contains("--profile must be 1 to 64 letters"),
            "{stderr}"
        );
        assert!(!stderr.contains('\u{1b}'), "{stderr}");
    }
}

/// `script` runs a program at a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn at_a_terminal_the_bridge_says_what_it_waits_for() {
    let command = format!(
        "{} https://a.test/mcp?key=hunter2",
        env!("CARGO_BIN_EXE_mcp-remote")
    );
    let mut process = Start::program("/usr/bin/script", &["-qec", &command, "/dev/null"]).go();
    let line = process.recv_raw();
    let (_, said) = line.trim_end().split_once("] ").unwrap();
    assert_eq!(
        said,
        "waiting for an MCP client; to check the server or sign in, run: mcp-remote-client https://a.test/mcp"
    );
    process.signal("TERM");
}

#[test]
fn an_unset_variable_is_named_in_the_error_that_the_client_shows() {
    for text in [None, Some("put the value here")] {
        let server = crate::support::http::Server::start(|_, reply| reply.status(403));
        let url = server.url("/mcp");
        let start = Start::bridge(&[&url, "--header", "X-Key: ${user_config.key}"]);
        let mut bridge = match text {
            Some(text) => start.env("user_config.key", text),
            None => start,
        }
        .go();
        bridge.send(crate::support::mcp::INITIALIZE);
        let answer = bridge.recv()["error"]["message"].to_string();
        assert!(
            answer.contains("the variable user_config.key is not set"),
            "{answer}"
        );
        bridge.finish();
    }
    let mut bridge = Start::bridge(&["https://${MCP_HOST}/mcp"]).go();
    bridge.send(crate::support::mcp::INITIALIZE);
    let answer = bridge.recv()["error"]["message"].to_string();
    assert!(answer.contains("the variable MCP_HOST"), "{answer}");
    bridge.finish();
}

#[test]
fn user_and_password_of_the_address_are_sent_decoded() {
    let server = answering(|request, reply| reply.json(result(&request.id(), "{}")));
    let url = server.url("/mcp").replace("//", "//ann:p%40ss@");
    let mut bridge = Process::connected(&[&url]);
    bridge.ask("1");
    bridge.finish();
    for request in server.seen() {
        assert_eq!(
            request.header("authorization"),
            Some("Basic YW5uOnBAc3M="),
            "{request:?}"
        );
    }
}
