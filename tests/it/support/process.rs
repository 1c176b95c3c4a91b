//! The program under test, with a home of its own and an empty environment.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::browser::Browser;
use super::mcp::{INITIALIZE, INITIALIZED};
use super::{Gate, LIMIT, TempDir};

/// A running program.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    kept: Vec<String>,
    stderr: Arc<Mutex<String>>,
    stderr_ended: Gate,
    pub home: Arc<TempDir>,
}

/// How it is started.
pub struct Start {
    command: Command,
    home: Arc<TempDir>,
    stderr: Option<PathBuf>,
}

impl Start {
    pub fn bridge(args: &[&str]) -> Start {
        Start::program(env!("CARGO_BIN_EXE_mcp-remote"), args)
    }

    /// The bridge under a limit of the shell, such as `-n 20`.
    #[cfg(unix)]
    pub fn limited(limit: &str, args: &[&str]) -> Start {
        Start::limited_program(limit, env!("CARGO_BIN_EXE_mcp-remote"), args)
    }

    /// The same with a copy of the program.
    #[cfg(unix)]
    pub fn limited_program(limit: &str, program: &str, args: &[&str]) -> Start {
        let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
        let words = [&["-c", script.as_str(), program], args].concat();
        Start::program("/bin/sh", &words)
    }

    pub fn client(args: &[&str]) -> Start {
        Start::program(env!("CARGO_BIN_EXE_mcp-remote-client"), args)
    }

    /// Any program that starts one of ours.
    pub fn program(path: &str, args: &[&str]) -> Start {
        let mut command = Command::new(path);
        command.args(args).env_clear();
        Start {
            command,
            home: Arc::new(TempDir::new()),
            stderr: None,
        }
    }

    /// Run by a user whom permissions stop: nobody, if this is root.
    #[cfg(unix)]
    pub fn unprivileged(self) -> Start {
        use std::os::unix::fs::MetadataExt;
        if std::fs::metadata(&self.home.0).unwrap().uid() != 0 {
            return self;
        }
        let setpriv = ["/usr/bin/setpriv", "/bin/setpriv"];
        let setpriv = setpriv.iter().find(|path| Path::new(path).exists());
        // The build directory may be closed to others.
        let program = self.home.0.join("program");
        std::fs::copy(self.command.get_program(), &program).unwrap();
        let mut command = Command::new(setpriv.expect("setpriv, to be somebody else than root"));
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(program)
            .args(self.command.get_args())
            .env_clear();
        Start { command, ..self }
    }

    pub fn env(mut self, name: &str, value: &str) -> Start {
        self.command.env(name, value);
        self
    }

    /// With this browser.
    pub fn browser(self, browser: &Browser) -> Start {
        self.env("BROWSER", &browser.command())
    }

    /// As this user, which only root can ask for.
    #[cfg(unix)]
    pub fn user(mut self, id: u32) -> Start {
        std::os::unix::process::CommandExt::uid(&mut self.command, id);
        self
    }

    /// With stderr in this file.
    pub fn stderr_to(mut self, path: &Path) -> Start {
        self.stderr = Some(path.to_owned());
        self
    }

    /// In the home of another process.
    pub fn home(mut self, home: &Arc<TempDir>) -> Start {
        self.home = Arc::clone(home);
        self
    }

    pub fn go(mut self) -> Process {
        self.command
            .env("HOME", &self.home.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(match &self.stderr {
                Some(path) => Stdio::from(File::create(path).unwrap()),
                None => Stdio::piped(),
            });
        let mut child = self.command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::with_capacity(1 << 16, stdout).split(b'\n') {
                let line = line.map(|bytes| String::from_utf8(bytes).expect("stdout is UTF-8"));
                if line.is_err() || sender.send(line.unwrap_or_default()).is_err() {
                    break;
                }
            }
        });
        let (stderr, stderr_ended) = (Arc::new(Mutex::new(String::new())), Gate::default());
        let (text, ended) = (Arc::clone(&stderr), stderr_ended.clone());
        let pipe: Box<dyn Read + Send> = match child.stderr.take() {
            Some(pipe) => Box::new(pipe),
            None => Box::new(std::io::empty()),
        };
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe
                .by_ref()
                .take(1 << 16)
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                text.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
            ended.open();
        });
        Process {
            stdin: child.stdin.take(),
            child,
            lines,
            kept: Vec::new(),
            stderr,
            stderr_ended,
            home: self.home,
        }
    }
}

impl Process {
    /// The bridge to this server, after the handshake.
    pub fn connected(args: &[&str]) -> Process {
        let mut process = Start::bridge(args).go();
        process.handshake();
        process
    }

    pub fn handshake(&mut self) -> Value {
        self.send(INITIALIZE);
        let answer = self.recv();
        assert!(answer["result"].is_object(), "{answer}");
        self.send(INITIALIZED);
        answer
    }

    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// The same to a program that may have left already.
    pub fn send_if_alive(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).ok();
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// The next line.
    pub fn recv_raw(&mut self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line on stdout")
    }

    /// The next line, if there is one before the end.
    pub fn next_raw(&mut self) -> Option<String> {
        self.lines.recv_timeout(LIMIT).ok()
    }

    /// The next line, if it comes in this time.
    pub fn try_recv(&mut self, limit: Duration) -> Option<Value> {
        let line = self.lines.recv_timeout(limit).ok()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// The next line, which must be JSON.
    pub fn recv(&mut self) -> Value {
        let line = self.recv_raw();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"))
    }

    /// Asks `ask` with this id and gives the answer to it.
    pub fn ask(&mut self, id: &str) -> Value {
        self.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ask"}}"#));
        self.recv()
    }

    /// Lines that come until stdout ends.
    pub fn rest(&mut self) -> Vec<Value> {
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        rest
    }

    /// Lines that come until stdout ends, whatever they are.
    pub fn rest_raw(&mut self) -> Vec<String> {
        let mut rest = std::mem::take(&mut self.kept);
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            rest.push(line);
        }
        rest
    }

    /// All lines so far; [`Process::rest_raw`] gives them again.
    pub fn so_far(&mut self) -> &[String] {
        self.kept.extend(self.lines.try_iter());
        &self.kept
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The most memory it has held so far, in KiB (Linux).
    pub fn peak_memory(&self) -> u64 {
        status(self.pid(), "VmHWM:")
    }

    /// How many threads it has (Linux).
    pub fn threads(&self) -> u64 {
        status(self.pid(), "Threads:")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        kill(name, self.pid());
    }

    /// Ends it the hard way, on every system.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait_exit();
    }

    /// Waits until it has left.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "it did not leave");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Ends stdin and waits; it must leave with 0 and say nothing more on stdout.
    pub fn finish(&mut self) {
        self.close_stdin();
        assert!(self.wait_exit().success(), "{}", self.stderr());
        assert_eq!(self.rest(), Vec::<Value>::new());
    }

    /// All of stderr, after the process has left; what there is so far, before.
    pub fn stderr(&mut self) -> String {
        if self.child.try_wait().unwrap().is_some() {
            self.stderr_ended.wait_for(LIMIT);
        }
        self.stderr.lock().unwrap().clone()
    }
}

/// Sends a signal by its name.
#[cfg(unix)]
pub fn kill(name: &str, pid: u32) {
    // The shell's own kill: a small system has no program of that name.
    let kill = format!("kill -s {name} {pid}");
    let status = Command::new("/bin/sh").args(["-c", &kill]).status();
    assert!(status.unwrap().success());
}

/// The program with a home of its own, for tests that hold its ends themselves: stdin and stdout are pipes, stderr is nothing.
pub fn program(home: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-remote"));
    command.env_clear().env("HOME", &home.0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::null());
    command
}

/// A number from what Linux says about a process.
pub fn status(pid: u32, name: &str) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!(
                "---- stderr of the program under test:\n{}----",
                self.stderr.lock().unwrap()
            );
        }
    }
}
