//! The manual pages and completions, as `scripts/manual` writes them: every reader that is at hand takes them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::TempDir;

/// What a program says to this input, if it is installed; it must not complain.
fn accepted(program: &str, args: &[&str]) {
    let Ok(output) = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
    else {
        return; // Not installed here.
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{program} {args:?}: {said}"
    );
}

#[cfg(unix)]
#[test]
fn what_scripts_manual_writes_is_read_without_complaint() {
    let out = TempDir::new();
    let programs = Path::new(env!("CARGO_BIN_EXE_mcp-remote"))
        .parent()
        .unwrap();
    let status = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/manual"))
        .arg(&out.0)
        .env("PROGRAMS", programs)
        .status()
        .unwrap();
    assert!(status.success());
    for program in ["mcp-remote", "mcp-remote-client"] {
        let path = |name: String| out.0.join(name).to_str().unwrap().to_owned();
        let page = path(format!("man/{program}.1"));
        let text = std::fs::read_to_string(&page).unwrap();
        for flag in mcp_remote::cli::flags::FLAGS {
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

#[cfg(unix)]
#[test]
fn bash_completes_flags_values_and_files() {
    let out = TempDir::new();
    let print = Command::new(env!("CARGO_BIN_EXE_mcp-remote-client"))
        .args(["--print-completions", "bash"])
        .output()
        .unwrap();
    let script = out.0.join("completion.bash");
    std::fs::write(&script, print.stdout).unwrap();
    std::fs::write(out.0.join("ca.pem"), "").unwrap();
    let complete = |words: &[&str]| {
        let list = words.join(" ");
        let test = format!(
            "source completion.bash; COMP_WORDS=({list}); [ '{0}' = '' ] && COMP_WORDS+=(''); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _mcp_remote_client; echo \"${{COMPREPLY[*]}}\"",
            words.last().unwrap()
        );
        let output = Command::new("bash")
            .args(["-c", &test])
            .current_dir(&out.0)
            .output()
            .ok()?;
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    for (words, expected) in [
        (&["mcp-remote-client", "--ca-"][..], "--ca-cert"),
        (
            &["mcp-remote-client", "--transport", "sse"],
            "sse-first sse-only",
        ),
        (
            &["mcp-remote-client", "--setup", "c"],
            "claude-desktop claude-code cursor codex cline",
        ),
        (&["mcp-remote-client", "--ca-cert", "ca"], "ca.pem"),
        (&["mcp-remote-client", "--header", "x"], ""),
    ] {
        if let Some(found) = complete(words) {
            assert_eq!(found, expected, "{words:?}");
        }
    }
}
