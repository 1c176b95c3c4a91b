//! Drives a static program where there is nothing: `empty-root PROGRAM [RUNNER]`.
//!
//! The program is put into a directory that becomes its root, alone but for one certificate: no libc, no /etc, no home, no
//! /proc; read-only; as a user without rights. There it must bridge over TLS, keep its state in memory with one
//! warning, and survive a panic in one of its parts. With a RUNNER (`qemu-aarch64-static`) it is run by that,
//! outside such a root. Where the kernel allows no new root, the checks run outside, too, and the last line says so.

#[path = "../bench/certificate.rs"]
mod certificate;
#[path = "../bench/server.rs"]
mod server;
#[path = "../bench/wire.rs"]
mod wire;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use certificate::Certificate;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("tests/static: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let program = words.first().ok_or("usage: empty-root PROGRAM [RUNNER]")?;
    let root = std::env::temp_dir().join(format!("mcp-remote-root-{}", std::process::id()));
    let done = std::fs::create_dir_all(&root)
        .map_err(|e| e.to_string())
        .and_then(|()| checks(Path::new(program), words.get(1), &root));
    // What cannot be removed is the system's to clean.
    let _ = std::fs::remove_dir_all(&root);
    done
}

fn checks(program: &Path, runner: Option<&String>, root: &Path) -> Result<(), String> {
    let [ours, other] = [Certificate::new()?, Certificate::new()?];
    let put = |name: &str, text: String| std::fs::write(root.join(name), text);
    std::fs::copy(program, root.join("mcp-remote"))
        .and_then(|_| put("ca.pem", ours.pem()))
        .and_then(|()| put("other.key", other.key_pem()))
        .map_err(|e| format!("cannot fill {}: {e}", root.display()))?;
    let port = server::start(Some(ours.server()?)).map_err(|e| e.to_string())?;
    let url = format!("https://localhost:{port}/no-standing-stream");
    let place = match runner {
        Some(runner) => Place::Runner(runner.clone()),
        None if empty(root, &["--version"])
            .output()
            .is_ok_and(|out| out.status.success()) =>
        {
            Place::EmptyRoot
        }
        None => Place::Outside,
    };
    if matches!(place, Place::Outside) && std::env::var_os("CI").is_some() {
        return Err("no empty root can be made here, and CI must have one".to_owned());
    }

    bridges(&place, root, &url)?;
    refuses_whom_nobody_vouches_for(&place, root, &url)?;
    survives_a_panic(&place, root, &url)?;
    match place {
        Place::EmptyRoot => println!("tests/static: all passed, in an empty root"),
        Place::Runner(runner) => println!("tests/static: all passed, with {runner}"),
        Place::Outside => println!(
            "tests/static: passed, but the empty root was left out: unshare or chroot is refused"
        ),
    }
    Ok(())
}

enum Place {
    EmptyRoot,
    Runner(String),
    Outside,
}

impl Place {
    fn command(&self, root: &Path, words: &[&str]) -> Command {
        let mut command = match self {
            Place::EmptyRoot => return empty(root, words),
            Place::Runner(runner) => {
                let mut command = Command::new(runner);
                command.arg("./mcp-remote");
                command
            }
            Place::Outside => Command::new(root.join("mcp-remote")),
        };
        command.args(words).current_dir(root).env_clear();
        command.env("MCP_REMOTE_CONFIG_DIR", "/dev/null/nowhere");
        command
    }
}

/// The program alone in its root, read-only, as a user without rights. Whoever is not root becomes it in a namespace.
fn empty(root: &Path, words: &[&str]) -> Command {
    const ENTER: &str = r#"
        mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 125
        cd "$1" && root=$1 && shift
        if [ "$AS_ROOT" = 1 ]; then as=--userspec=65532:65532; else as=; fi
        exec env -i "$(command -v chroot)" $as "$root" /mcp-remote "$@""#;
    let as_root = Command::new("id").arg("-u").output();
    let as_root = as_root.is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    let mut command = Command::new("unshare");
    if !as_root {
        command.arg("--map-root-user");
    }
    command
        .args(["--mount", "sh", "-c", ENTER, "sh"])
        .arg(root)
        .args(words)
        .env("AS_ROOT", if as_root { "1" } else { "0" });
    command
}

fn bridges(place: &Place, root: &Path, url: &str) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("the program cannot be driven: {e}");
    // That the server speaks the other transport is worth remembering: so there is something to keep.
    let words = [url, "--ca-cert", "ca.pem", "--transport", "sse-first"];
    let mut child = place
        .command(root, &words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
    let mut stderr = child.stderr.take().ok_or("no stderr")?;
    let mut answers = String::new();
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"json"}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"event"}}"#,
    ] {
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .map_err(fail)?;
        stdout.read_line(&mut answers).map_err(fail)?;
    }
    drop(stdin);
    let mut said = String::new();
    stderr.read_to_string(&mut said).map_err(fail)?;
    let code = child.wait().map_err(fail)?.code();
    expect(
        answers.matches("\"result\"").count() == 3,
        "three answers",
        &(answers + &said),
    )?;
    expect(code == Some(0), "an orderly end", &said)?;
    expect(
        said.matches("in memory").count() == 1,
        "one warning that state stays in memory",
        &said,
    )
}

/// The built-in roots are there, and do not know this server.
fn refuses_whom_nobody_vouches_for(place: &Place, root: &Path, url: &str) -> Result<(), String> {
    let said = run_to_end(place, root, &[url])?.1;
    expect(
        said.contains("unknown authority"),
        "\"unknown authority\"",
        &said,
    )
}

/// A key that does not fit its certificate makes the TLS library panic, which becomes a sentence: so unwinding works.
fn survives_a_panic(place: &Place, root: &Path, url: &str) -> Result<(), String> {
    let words = [url, "--client-cert", "ca.pem", "--client-key", "other.key"];
    let (code, said) = run_to_end(place, root, &words)?;
    expect(
        code == Some(1) && said.contains("other.key"),
        "a refusal that names the key",
        &said,
    )
}

fn run_to_end(place: &Place, root: &Path, words: &[&str]) -> Result<(Option<i32>, String), String> {
    let fail = |e: std::io::Error| format!("the program cannot be driven: {e}");
    let mut child = place
        .command(root, words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    // It may have refused and gone already.
    let _ = stdin.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
    drop(stdin);
    let out = child.wait_with_output().map_err(fail)?;
    let said = [out.stdout, out.stderr].concat();
    Ok((
        out.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

fn expect(holds: bool, what: &str, said: &str) -> Result<(), String> {
    holds
        .then_some(())
        .ok_or_else(|| format!("expected {what}, got:\n{said}"))
}
