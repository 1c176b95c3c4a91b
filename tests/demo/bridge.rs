//! The bridge as a child process, with a client's end of its pipes.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longer than any step takes on a slow machine; a run that hangs helps nobody.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running bridge. Dropping it kills the child.
pub struct Bridge {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    home: PathBuf,
}

impl Bridge {
    /// Starts `command`, to which the server's URL is appended.
    pub fn start(command: &[OsString], url: &str, stderr: Stdio) -> Result<Bridge, String> {
        let (program, words) = command.split_first().ok_or("an empty command")?;
        // Its own directory: the run neither reads nor leaves anything in the user's.
        let home = std::env::temp_dir().join(format!("mcp-remote-demo-{}", std::process::id()));
        let mut child = Command::new(program)
            .args(words)
            .arg(url)
            .env("MCP_REMOTE_CONFIG_DIR", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("the bridge has no stdout")?;
        let (sender, lines) = mpsc::channel();
        // A thread, because a read from a pipe has no time limit.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Bridge {
            child,
            stdin,
            lines,
            home,
        })
    }

    pub fn send(&mut self, mut message: Value) -> Result<(), String> {
        message["jsonrpc"] = json!("2.0");
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        // One write: a pipe has no buffer of ours, and a message in pieces is not what a client sends.
        stdin
            .write_all(format!("{message}\n").as_bytes())
            .map_err(|e| format!("cannot write to the bridge: {e}"))
    }

    pub fn receive(&mut self) -> Result<Value, String> {
        let line = self
            .lines
            .recv_timeout(PATIENCE)
            .map_err(|_| format!("no line from the bridge within {} s", PATIENCE.as_secs()))?;
        serde_json::from_str(&line).map_err(|e| format!("not JSON ({e}): {line}"))
    }

    pub fn request(&mut self, message: Value) -> Result<Value, String> {
        let id = message["id"].clone();
        self.send(message)?;
        let mut answer = self.receive()?;
        if answer["id"] != id {
            return Err(format!("expected the answer to {id}, got {answer}"));
        }
        if !answer["error"].is_null() {
            return Err(format!("an error came back: {}", answer["error"]));
        }
        Ok(answer["result"].take())
    }

    /// Closes stdin, as a client does when it is done, and waits for the bridge to leave by itself.
    pub fn finish(&mut self) -> Result<ExitStatus, String> {
        drop(self.stdin.take());
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("the bridge did not end after its stdin was closed".to_owned())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Both fail when the child is gone already, which is the usual case.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// The bridge from the same build: cargo puts examples into a directory beside the binaries.
pub fn beside_us() -> Result<Vec<OsString>, String> {
    let us = std::env::current_exe().map_err(|e| e.to_string())?;
    let name = format!("mcp-remote{}", std::env::consts::EXE_SUFFIX);
    us.ancestors()
        .nth(2)
        .map(|directory| directory.join(name))
        .filter(|path| path.is_file())
        .map(|path| vec![path.into()])
        .ok_or_else(|| "the bridge is not built; scripts/demo builds it".to_owned())
}
