//! The manual pages and completions of `scripts/manual`, checked with every installed program that reads them.

use std::process::{Command, Stdio};

use crate::support::TempDir;
use crate::support::process::Start;

#[path = "../manual/main.rs"]
#[allow(dead_code, reason = "what the example itself starts with")]
mod making;

/// Runs a program, if it is installed; it must print no error.
fn accepted(program: &str, args: &[&str]) {
    let Ok(output) = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
    else {
        eprintln!("{program} is not installed: not checked");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{program} {args:?}: {said}"
    );
}

#[cfg(unix)]
#[test]
fn the_files_of_scripts_manual_are_valid() {
    let out = TempDir::new();
    making::write(&out.0).unwrap();
    for program in ["mcp-remote", "mcp-remote-client"] {
        let path = |name: String| out.0.join(name).to_str().unwrap().to_owned();
        let page = path(format!("man/{program}.1"));
        let text = std::fs::read_to_string(&page).unwrap();
        for flag in making::flags::FLAGS {
            let named = text.contains(&flag.name.replace('-', "\\-"));
            assert!(named || program == "mcp-remote", "{}", flag.name);
        }
        accepted("groff", &["-man", "-ww", "-z", &page]);
        accepted("mandoc", &["-T", "lint", "-W", "error", &page]);
        accepted(
            "bash",
            &["-n", &path(format!("completions/{program}.bash"))],
        );
        accepted("zsh", &["-n", &path(format!("completions/_{program}"))]);
        accepted(
            "fish",
            &["--no-execute", &path(format!("completions/{program}.fish"))],
        );
    }
}

/// The completions of both programs, beside a file to complete.
#[cfg(unix)]
fn completions() -> TempDir {
    let out = TempDir::new();
    making::write(&out.0).unwrap();
    std::fs::write(out.0.join("ca 1.pem"), "").unwrap();
    out
}

#[test]
fn the_clients_that_are_completed_are_those_that_setup_names() {
    let mut client = Start::client(&["--setup", "unknown"]).go();
    client.wait_exit();
    let listed = making::flags::SETUP_CLIENTS.join(", ");
    let stderr = client.stderr();
    assert!(stderr.ends_with(&format!("one of {listed}\n")), "{stderr}");
}

/// The output of a shell script, or `None` if the shell is not installed.
#[cfg(unix)]
fn said_by(shell: &str, args: &[&str], at: &TempDir) -> Option<Vec<String>> {
    let started = Command::new(shell)
        .args(args)
        .current_dir(&at.0)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &at.0)
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .output();
    let Ok(output) = started else {
        eprintln!("{shell} is not installed: its completions are not checked");
        return None;
    };
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaint.is_empty(),
        "{shell}: {complaint}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

#[cfg(unix)]
#[test]
fn bash_completes_flags_values_and_files() {
    let out = completions();
    let complete = |words: &[&str]| {
        let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let script = format!(
            "source completions/mcp-remote-client.bash; COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); \
             _mcp_remote_client; IFS='|'; echo \"${{COMPREPLY[*]}}\"; complete -p mcp-remote-client",
            list.join(" ")
        );
        said_by("bash", &["--norc", "-c", &script], &out)
    };
    for (words, expected) in [
        (&["mcp-remote-client", "--ca-"][..], "--ca-cert"),
        (
            &["mcp-remote-client", "--transport", "sse"],
            "sse-first|sse-only",
        ),
        (
            &["mcp-remote-client", "--transport", "=", "sse"],
            "sse-first|sse-only",
        ),
        (&["mcp-remote-client", "--log-format", "="], "text|json"),
        (
            &["mcp-remote-client", "--setup", "c"],
            "claude-desktop|claude-code|cursor|codex|cline|copilot",
        ),
        (&["mcp-remote-client", "--ca-cert", "ca"], "ca 1.pem"),
        (&["mcp-remote-client", "--header", "x"], ""),
    ] {
        if let Some(found) = complete(words) {
            assert_eq!(found[0], expected, "{words:?}");
            let registered = "complete -o filenames -F _mcp_remote_client mcp-remote-client";
            assert_eq!(found[1], registered);
        }
    }
}

/// Prints each line as TAB completes it, in a zsh at a terminal: DIRECTORY LINE...
#[cfg(unix)]
const TAB_IN_ZSH: &str = r#"
zmodload zsh/zpty
zpty terminal zsh -f -i
zpty -w terminal "PS1=; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w terminal 'tab() { zle complete-word; print -r -- "<$BUFFER>"; BUFFER= }; zle -N tab; bindkey "^I" tab; print READY'
zpty -r terminal text $'*\nREADY*'
shift
for line; do
  zpty -w -n terminal "$line"$'\t'
  zpty -r terminal text '*<*>*'
  print -r -- "${${text##*<}%%>*}"
done
zpty -d terminal
"#;

#[cfg(unix)]
#[test]
fn zsh_completes_flags_values_and_files() {
    let out = completions();
    let lines = [
        ("mcp-remote --tr", "mcp-remote --transport="),
        (
            "mcp-remote --transport sse-f",
            "mcp-remote --transport sse-first ",
        ),
        (
            "mcp-remote --transport=http-o",
            "mcp-remote --transport=http-only ",
        ),
        (
            "mcp-remote https://a.test --no-b",
            "mcp-remote https://a.test --no-browser ",
        ),
        (
            "mcp-remote https://a.test 1 --no-b",
            "mcp-remote https://a.test 1 --no-browser ",
        ),
        (
            "mcp-remote --debug --no-b",
            "mcp-remote --debug --no-browser ",
        ),
        (
            "mcp-remote --ca-cert ca",
            "mcp-remote --ca-cert ca\\ 1.pem ",
        ),
        // Only repeatable flags are offered again.
        (
            "mcp-remote --ignore-tool a --ignore-t",
            "mcp-remote --ignore-tool a --ignore-tool=",
        ),
        ("mcp-remote --debug --debu", "mcp-remote --debug --debu"),
        ("mcp-remote htt", "mcp-remote htt"),
        (
            "mcp-remote-client --setup cur",
            "mcp-remote-client --setup cursor ",
        ),
        (
            "mcp-remote-client --list-t",
            "mcp-remote-client --list-tools ",
        ),
    ];
    let directory = out.0.join("completions");
    let directory = directory.to_str().unwrap();
    let typed = lines.iter().map(|(line, _)| *line);
    let args: Vec<&str> = ["-f", "-c", TAB_IN_ZSH, "zsh", directory]
        .into_iter()
        .chain(typed)
        .collect();
    if let Some(found) = said_by("zsh", &args, &out) {
        let expected: Vec<&str> = lines.iter().map(|(_, expected)| *expected).collect();
        assert_eq!(found, expected);
    }
}

#[cfg(unix)]
#[test]
fn fish_completes_flags_values_and_files() {
    let out = completions();
    for (line, expected) in [
        ("mcp-remote --tr", &["--transport"][..]),
        ("mcp-remote --transport sse", &["sse-first", "sse-only"]),
        ("mcp-remote --transport=http-o", &["--transport=http-only"]),
        ("mcp-remote https://a.test --no-b", &["--no-browser"]),
        ("mcp-remote --ca-cert ca", &["ca 1.pem"]),
        ("mcp-remote --header x", &[]),
        ("mcp-remote htt", &[]),
        ("mcp-remote-client --setup cu", &["cursor"]),
        ("mcp-remote-client --list-t", &["--list-tools"]),
    ] {
        let script = "source completions/mcp-remote.fish; source completions/mcp-remote-client.fish; complete -C $argv[1]";
        let found = said_by("fish", &["--no-config", "-c", script, line], &out);
        // The description follows a tab.
        let words = found
            .iter()
            .flatten()
            .filter_map(|line| line.split('\t').next());
        if found.is_some() {
            assert_eq!(words.collect::<Vec<_>>(), expected, "{line}");
        }
    }
}
