//! What both programs say to a command line before anything is connected: the whole text, on both outputs.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

const BRIDGE: &str = env!("CARGO_BIN_EXE_mcp-remote");
const CLIENT: &str = env!("CARGO_BIN_EXE_mcp-remote-client");

/// Exit code, stdout and stderr.
fn run<S: AsRef<OsStr>>(
    program: &str,
    args: &[S],
    variables: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[track_caller]
fn refused(args: &[&str], stderr: &str) {
    let expected = (Some(1), String::new(), stderr.to_owned());
    assert_eq!(run(BRIDGE, args, &[]), expected, "{args:?}");
}

#[test]
fn what_was_ignored_is_said_before_what_is_refused() {
    refused(
        &["http://a.test", "--alow-http"],
        "mcp-remote: warning: unknown option --alow-http is ignored; did you mean --allow-http?\n\
         mcp-remote: \"http://a.test/\" is not encrypted\n\
         hint: use https, or --allow-http on a network you trust\n",
    );
    refused(
        &["--frobnicate", "value"],
        "mcp-remote: warning: unknown option --frobnicate is ignored; see --help\n\
         mcp-remote: the address of the server is missing\n\
         hint: mcp-remote https://host/mcp\n",
    );
}

#[test]
fn a_host_in_another_script_is_asked_for_in_ascii() {
    refused(
        &["https://m\u{fc}ller.example/mcp"],
        "mcp-remote: \"https://m\u{fc}ller.example/mcp\" is not a valid URL: invalid international domain name\n\
         hint: write the host's name in ASCII: xn--...\n",
    );
}

#[test]
fn no_message_repeats_what_may_be_a_secret() {
    let refusal = "mcp-remote: \"http://a.test/\" is not encrypted\n\
                   hint: use https, or --allow-http on a network you trust\n";
    for (args, warning) in [
        (
            &["--headerAuthorization: Bearer hunter2"][..],
            "mcp-remote: warning: unknown option --headerAuthorization is ignored; see --help\n",
        ),
        (
            &["9000", "hunter2"],
            "mcp-remote: warning: words after the address and the callback port are ignored: 1\n",
        ),
        (
            &["--token=hunter2"],
            "mcp-remote: warning: unknown option --token is ignored; see --help\n",
        ),
    ] {
        refused(
            &[&["http://u:hunter2@a.test?k=hunter2"], args].concat(),
            &format!("{warning}{refusal}"),
        );
    }
    refused(
        &[
            "https://a.test",
            "--static-oauth-client-info",
            "{\"hunter2\"",
        ],
        "mcp-remote: --static-oauth-client-info is not valid JSON (line 1, column 10)\n",
    );
    refused(
        &["https://a.test", "--header", "X: hunter2\nY: 1"],
        "mcp-remote: the value of header \"X\" contains a line break or control character\n",
    );
}

#[test]
fn a_variable_cannot_smuggle_in_a_header() {
    let (code, _, stderr) = run(
        BRIDGE,
        &["https://a.test", "--header", "X: ${TOKEN}"],
        &[("TOKEN", "hunter2\r\nY: 1")],
    );
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        "mcp-remote: the value of header \"X\" contains a line break or control character\n"
    );
}

#[test]
fn what_only_makes_sense_together_is_refused_alone() {
    for (args, what) in [
        (
            ["--client-cert", "c"],
            "--client-cert needs --client-key FILE",
        ),
        (
            ["--client-key", "k"],
            "--client-key needs --client-cert FILE",
        ),
        (
            ["--token-endpoint", "https://a.test/t"],
            "--token-endpoint can only be used with --client-credentials or --workload-token",
        ),
        (
            ["--enterprise-idp", "https://idp.test"],
            "--enterprise-idp needs --enterprise-client-info '{\"client_id\":\"…\"}', our client at the provider",
        ),
        (
            ["--enterprise-client-info", "{}"],
            "--enterprise-client-info needs --enterprise-idp",
        ),
        (
            ["--enterprise-id-token", "f"],
            "--enterprise-id-token needs --enterprise-idp",
        ),
        (
            ["--client-credentials", "--workload-token=f"],
            "choose one way to sign in: --client-credentials and --workload-token were given",
        ),
    ] {
        refused(
            &[&["https://a.test"], &args[..]].concat(),
            &format!("mcp-remote: {what}\n"),
        );
    }
    refused(
        &["https://a.test", "--token-endpoint"],
        "mcp-remote: --token-endpoint needs a value\nhint: --token-endpoint URL\n",
    );
}

#[test]
fn a_port_that_is_none_is_refused_wherever_it_stands() {
    for port in ["0", "65536", "9696abc", "abc"] {
        refused(
            &["https://a.test", "--debug", port],
            &format!(
                "mcp-remote: the callback port must be a number from 1 to 65535, not \"{port}\"\n"
            ),
        );
    }
}

#[test]
fn help_and_version_count_wherever_they_stand() {
    for args in [
        &["--header", "--help"][..],
        &["u", "1", "2", "-h", "--silent"],
    ] {
        let (code, stdout, stderr) = run(BRIDGE, args, &[]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(stdout.starts_with("Connects an MCP client"), "{stdout}");
    }
    for flag in ["--version", "-V", "-v"] {
        let version = concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned();
        for program in [BRIDGE, CLIENT] {
            assert_eq!(
                run(program, &[flag], &[]),
                (Some(0), version.clone(), String::new())
            );
        }
    }
    // After "--" nothing is an option.
    assert_eq!(run(BRIDGE, &["--", "--help"], &[]).0, Some(1));
}

#[test]
fn each_program_helps_with_its_own_options() {
    let options = |program| run(program, &["--help"], &[]).1;
    let (bridge, client) = (options(BRIDGE), options(CLIENT));
    for name in ["--json", "--list", "--status", "--logout", "--all"] {
        let line = format!("\n  {name} ");
        assert!(client.contains(&line) && !bridge.contains(&line), "{name}");
    }
}

#[test]
fn the_client_does_one_task_at_a_time() {
    for (args, what) in [
        (
            &["https://a.test", "--list", "--logout"][..],
            "--list and --logout exclude each other",
        ),
        (
            &["https://a.test", "--all"],
            "--all can only be used with --logout",
        ),
        (
            &["https://a.test", "--logout", "--all"],
            "--logout takes an address or --all, not both",
        ),
        (
            &["--logout"],
            "the address of the server is missing\nhint: mcp-remote https://host/mcp",
        ),
    ] {
        let expected = (
            Some(1),
            String::new(),
            format!("mcp-remote-client: {what}\n"),
        );
        assert_eq!(run(CLIENT, args, &[]), expected, "{args:?}");
    }
}

#[cfg(unix)]
#[test]
fn an_argument_that_is_not_utf_8_is_named_by_its_place() {
    let bad: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"X: hunter2\xe9");
    let address = OsStr::new("https://a.test");
    let header = OsStr::new("--header");
    assert_eq!(
        run(BRIDGE, &[address, header, bad], &[]),
        (
            Some(1),
            String::new(),
            "mcp-remote: argument 3 is not UTF-8\n".to_owned()
        )
    );
    // Silence and help do not depend on it.
    let silent = run(BRIDGE, &[bad, OsStr::new("--silent")], &[]);
    assert_eq!(silent, (Some(1), String::new(), String::new()));
    assert_eq!(run(BRIDGE, &[bad, OsStr::new("--help")], &[]).0, Some(0));
}
