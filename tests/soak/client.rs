//! The client of the soak: counts what it asked and what it was told, and looks at what the process holds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::held::Held;

/// More requests are not open at once.
pub const MOST_OPEN: usize = 24;
/// Every request is answered in this time, whatever happens.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Default)]
struct Book {
    /// What is not answered yet.
    open: BTreeMap<u64, Instant>,
    answers: u64,
    results: u64,
    problem: Option<String>,
}

type Shared = Arc<(Mutex<Book>, Condvar)>;

pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    book: Shared,
    stopped: Arc<AtomicBool>,
    last: u64,
}

impl Client {
    pub fn start(url: &str) -> std::io::Result<Client> {
        let program = std::env::current_exe()?.with_file_name("../mcp-remote");
        let mut child = Command::new(program)
            .args([url, "--silent", "--transport", "http-only"])
            .args([
                "--headers-timeout",
                "3",
                "--body-timeout",
                "3",
                "--request-timeout",
                "15",
            ])
            .env_clear()
            // What it finds out is not kept beyond the run.
            .env("HOME", "/nonexistent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let book = Shared::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let (to_reader, pause) = (Arc::clone(&book), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                while pause.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                note(&to_reader, line.unwrap_or_else(|e| e.to_string()));
            }
        });
        Ok(Client {
            stdin: child.stdin.take(),
            child,
            book,
            stopped,
            last: 0,
        })
    }

    pub fn handshake(&mut self) -> Result<(), String> {
        self.ask("initialize", r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"soak","version":"1"}}"#)?;
        self.drain()?;
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
    }

    /// Asks without pause for this long; `slow`: without reading the answers meanwhile.
    pub fn ask_for(&mut self, time: Duration, slow: bool) -> Result<(), String> {
        let end = Instant::now() + time;
        self.stopped.store(slow, Ordering::SeqCst);
        while Instant::now() < end {
            if self.lock(|book| book.open.len()) < MOST_OPEN {
                let method = ["tools/list", "tools/call", "ping"][(self.last % 3) as usize];
                self.ask(method, "{}")?;
                if self.last.is_multiple_of(7) {
                    self.send(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#)?;
                }
            } else {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.check()?;
        }
        self.stopped.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Waits until everything is answered.
    pub fn drain(&mut self) -> Result<(), String> {
        while self.lock(|book| !book.open.is_empty()) {
            self.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        self.check()
    }

    /// A request now has a result.
    pub fn works(&mut self) -> Result<(), String> {
        let before = self.lock(|book| book.results);
        self.ask("tools/list", "{}")?;
        self.drain()?;
        match self.lock(|book| book.results) > before {
            true => Ok(()),
            false => Err("a request after the faults does not work".to_owned()),
        }
    }

    pub fn answers(&self) -> u64 {
        self.lock(|book| book.answers)
    }

    /// Ends in order.
    pub fn leave(&mut self) -> Result<(), String> {
        self.stdin = None;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return self.check(),
                Ok(Some(status)) => return Err(format!("it left with {status}")),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Err("it does not leave".to_owned())
    }

    pub fn holds(&self) -> Held {
        Held::of(self.child.id())
    }

    fn ask(&mut self, method: &str, params: &str) -> Result<(), String> {
        self.last += 1;
        let id = self.last;
        self.lock(|book| book.open.insert(id, Instant::now()));
        self.send(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#
        ))
    }

    fn send(&mut self, line: &str) -> Result<(), String> {
        let stdin = self.stdin.as_mut().ok_or("stdin is closed")?;
        writeln!(stdin, "{line}").map_err(|e| format!("it does not read: {e}"))
    }

    fn check(&mut self) -> Result<(), String> {
        let slow = self.stopped.load(Ordering::SeqCst);
        self.lock(|book| {
            let oldest = book
                .open
                .iter()
                .next()
                .map(|(id, since)| (*id, since.elapsed()));
            match (&book.problem, oldest) {
                (Some(problem), _) => Err(problem.clone()),
                (None, Some((id, age))) if age > PATIENCE && !slow => {
                    Err(format!("{id} is not answered after {} s", age.as_secs()))
                }
                _ => Ok(()),
            }
        })
    }

    fn lock<T>(&self, with: impl FnOnce(&mut Book) -> T) -> T {
        with(&mut self.book.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn note(shared: &Shared, line: String) {
    let mut book = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
    let message: Value = match serde_json::from_str(&line) {
        Ok(message) => message,
        Err(e) => {
            book.problem = Some(format!("no JSON on stdout ({e}): {line}"));
            return;
        }
    };
    if message["method"].is_string() {
        return;
    }
    match message["id"]
        .as_u64()
        .filter(|id| book.open.remove(id).is_some())
    {
        Some(_) => {
            book.answers += 1;
            book.results += u64::from(message["result"].is_object());
        }
        None => book.problem = Some(format!("an answer that nobody waits for: {line}")),
    }
    shared.1.notify_all();
}
