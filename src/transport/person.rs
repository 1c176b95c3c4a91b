//! The user who runs a sign-in by hand, at a terminal: receives the progress, may paste an address.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::log::Level;

/// The user who runs a sign-in by hand, at a terminal.
pub struct Person {
    news: Sender<News>,
    /// Lines of stdin, read once an address has been asked for.
    pasted: Mutex<Option<Receiver<String>>>,
}

/// Progress for the user, in order.
#[derive(Debug)]
pub enum News {
    /// A step of the sign-in was done.
    Found(Found),
    /// A line for stderr, such as the address to open: it must not overtake the steps before it.
    Said(Level, String),
}

/// What a step of the sign-in found.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub step: &'static str,
    /// What was found.
    pub what: String,
    /// When.
    pub at: Instant,
}

impl Person {
    /// A user who receives the progress.
    pub fn new(news: Sender<News>) -> Person {
        Person {
            news,
            pasted: Mutex::default(),
        }
    }

    /// Shows the progress; the receiver may be gone.
    pub(super) fn show(&self, news: News) {
        self.news.send(news).ok();
    }

    /// The next line that the user has pasted, if any.
    pub(super) fn pasted(&self) -> Option<String> {
        let mut lines = self.pasted.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get_or_insert_with(read_stdin).try_recv().ok()
    }
}

/// The longest line of input, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// The lines of stdin, on a thread that ends with it, or with the process.
fn read_stdin() -> Receiver<String> {
    let (sender, lines) = channel();
    let read = move || {
        let mut input = BufReader::new(crate::blocking::Blocking(std::io::stdin()));
        loop {
            let mut line = String::new();
            match input.by_ref().take(MAX_LINE).read_line(&mut line) {
                Ok(1..) if sender.send(line).is_ok() => {}
                Ok(_) | Err(_) => return,
            }
        }
    };
    let started = std::thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(read);
    // Without the thread, only the browser can complete the sign-in.
    drop(started);
    lines
}
