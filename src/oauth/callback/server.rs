//! The threads behind the listener: one for each socket, one for each connection while its request is read and answered.
//!
//! Bounds: [`READING`] connections whose request has not come yet (the oldest idle one goes when another one comes, so that they
//! lock nobody out), [`THREADS`] threads in all, and the limits of `http.rs`. A panic ends its connection only.
//!
//! Spec: npm mcp-remote 0.15.1 (`/wait-for-auth`); RFC 6749 3.1, 4.1.2.
//! Not done here: no thread of a connection decides anything about the sign-in.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use super::http::{self, Answer, Request};
use super::page::Page;
use super::{Callback, Place, Responder, lock, sibling};
use crate::secret::Secret;
use crate::store::ServerHash;

/// What the threads of one listener share.
pub struct Shared {
    place: Place,
    /// The port that was bound.
    pub port: u16,
    path: String,
    hash: ServerHash,
    closed: AtomicBool,
    threads: AtomicUsize,
    reading: Mutex<Vec<(usize, Instant, TcpStream)>>,
    outcome: Mutex<Option<bool>>,
    outcome_known: Condvar,
    callbacks: SyncSender<Callback>,
}

impl Shared {
    /// For a listener on this port.
    pub fn new(
        place: &Place,
        port: u16,
        hash: &ServerHash,
        callbacks: SyncSender<Callback>,
    ) -> Shared {
        Shared {
            // The path in the redirect URI is spelled by `url` too.
            path: Url::parse(&format!("http://localhost{}", place.path))
                .map_or_else(|_| place.path.clone(), |url| url.path().to_owned()),
            place: place.clone(),
            port,
            hash: hash.clone(),
            closed: AtomicBool::new(false),
            threads: AtomicUsize::new(0),
            reading: Mutex::default(),
            outcome: Mutex::default(),
            outcome_known: Condvar::new(),
            callbacks,
        }
    }

    #[cfg(test)]
    pub fn threads_now(&self) -> usize {
        self.threads.load(Ordering::SeqCst)
    }

    /// Tells those who wait for it how the sign-in ended.
    pub fn finish(&self, signed_in: bool) {
        *lock(&self.outcome) = Some(signed_in);
        self.outcome_known.notify_all();
    }

    /// Ends everything but the answers under way. A thread in `accept` must be woken by a connection.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Through the lock, or a thread between its look and its wait would miss the call.
        drop(lock(&self.outcome));
        self.outcome_known.notify_all();
        for (_, _, stream) in lock(&self.reading).drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

/// Connections whose request has not come yet; the oldest goes when another one comes.
const READING: usize = 32;
/// A connection that has sent no request for so long may be closed to make room.
const IDLE: Duration = Duration::from_millis(100);
/// How long a connection waits for room.
const ROOM_TIME: Duration = Duration::from_secs(1);
/// Threads in all, long polls and connections in their last moments included.
const THREADS: usize = 96;
/// npm's default for `--auth-timeout`, which bounds the long poll there.
const LONG_POLL: Duration = Duration::from_secs(30);
const LONG_POLL_PATH: &str = "/wait-for-auth";

/// Accepts connections until the listener is closed; the socket is closed when this returns.
pub fn accept(socket: TcpListener, shared: &Arc<Shared>) {
    let mut count = 0;
    while !shared.closed.load(Ordering::SeqCst) {
        match socket.accept() {
            Ok((stream, _)) if !shared.closed.load(Ordering::SeqCst) => {
                count += 1;
                admit(stream, count, shared);
            }
            Ok(_) => {}
            // The peer went already.
            Err(error) if is_of_the_peer(&error) => {}
            // No descriptors left, say: that passes, and must not end a sign-in.
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Gives a connection its thread, once there is room; the next ones wait in the system's queue meanwhile.
fn admit(stream: TcpStream, id: usize, shared: &Arc<Shared>) {
    let guard = Busy::new(shared);
    let Ok(handle) = stream.try_clone() else {
        return;
    };
    if !make_room(shared) {
        return;
    }
    lock(&shared.reading).push((id, Instant::now(), handle));
    if shared.closed.load(Ordering::SeqCst) {
        // The listener may have been closed before it could see this one.
        stream.shutdown(Shutdown::Both).ok();
    }
    let of_thread = Arc::clone(shared);
    let spawned = thread::Builder::new()
        .name("callback connection".to_owned())
        .spawn(move || {
            let _guard = guard;
            serve(stream, id, &of_thread);
        });
    if spawned.is_err() {
        lock(&shared.reading).retain(|(known, _, _)| *known != id);
    }
}

/// Waits for room, closing connections that are idle; `false` if none comes.
fn make_room(shared: &Shared) -> bool {
    let deadline = Instant::now() + ROOM_TIME;
    while !shared.closed.load(Ordering::SeqCst) && Instant::now() < deadline {
        let mut reading = lock(&shared.reading);
        if reading.len() < READING && shared.threads.load(Ordering::SeqCst) <= THREADS {
            return true;
        }
        // One that came just now may be the browser, whose request has not been read yet.
        if reading.len() >= READING
            && reading
                .first()
                .is_some_and(|(_, since, _)| since.elapsed() > IDLE)
        {
            let (_, _, oldest) = reading.remove(0);
            oldest.shutdown(Shutdown::Both).ok();
            continue;
        }
        drop(reading);
        thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Counts a thread for as long as it lives, also if it panics.
struct Busy {
    shared: Arc<Shared>,
}

impl Busy {
    fn new(shared: &Arc<Shared>) -> Busy {
        shared.threads.fetch_add(1, Ordering::SeqCst);
        Busy {
            shared: Arc::clone(shared),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.shared.threads.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve(stream: TcpStream, id: usize, shared: &Arc<Shared>) {
    let head = http::read_head(&stream);
    lock(&shared.reading).retain(|(known, _, _)| *known != id);
    let Ok(head) = head else {
        return;
    };
    let request = match http::parse(&head, &shared.place.host, shared.port) {
        Ok(request) => request,
        Err(refusal) => {
            refusal.answer().send(&stream, head.starts_with(b"HEAD "));
            return http::drain(&stream);
        }
    };
    let answer = match request.url.path() {
        sibling::ID_PATH => Answer::json(sibling::id_document(&shared.hash)),
        LONG_POLL_PATH => wait_for_outcome(shared, &request),
        path if path == shared.path => return take_callback(stream, &request, shared),
        _ => Answer::text(404, "there is nothing here\n"),
    };
    answer.send(&stream, request.is_head);
}

/// npm's answers to older instances: 200 signed in, 202 not yet, 500 failed.
fn wait_for_outcome(shared: &Shared, request: &Request) -> Answer {
    let polls = request
        .url
        .query_pairs()
        .any(|(name, value)| name == "poll" && value == "false");
    let crowded = shared.threads.load(Ordering::SeqCst) > THREADS / 3;
    let patience = if polls || crowded || request.is_head {
        Duration::ZERO
    } else {
        LONG_POLL
    };
    let is_pending =
        |outcome: &mut Option<bool>| outcome.is_none() && !shared.closed.load(Ordering::SeqCst);
    let (outcome, _) = shared
        .outcome_known
        .wait_timeout_while(lock(&shared.outcome), patience, is_pending)
        .unwrap_or_else(PoisonError::into_inner);
    match *outcome {
        Some(true) => Answer::text(200, "Authentication completed"),
        Some(false) => Answer::text(500, "Authentication failed"),
        None => Answer::text(202, "Authentication in progress"),
    }
}

fn take_callback(stream: TcpStream, request: &Request, shared: &Shared) {
    let server = &shared.place.server;
    if request.is_head {
        // A look at a link by some program must not spend its code.
        return Answer::text(200, "").send(&stream, true);
    }
    let Some(parameters) = Parameters::read(&request.url) else {
        return Answer::page(&Page::unknown(server)).send(&stream, false);
    };
    let callback = Callback {
        code: parameters.code.map(Secret::new),
        state: parameters.state,
        iss: parameters.iss,
        error: parameters.error,
        error_description: parameters.error_description,
        responder: Responder {
            stream: Some(stream),
            server: server.clone(),
        },
    };
    // If the flow does not look, or is gone, the responder says so when it is dropped.
    shared.callbacks.try_send(callback).ok();
}

#[derive(Default)]
pub(super) struct Parameters {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Parameters {
    /// `None` if it is no authorization response: neither code nor error, or a parameter twice (RFC 6749 3.1).
    pub(super) fn read(url: &Url) -> Option<Parameters> {
        let mut read = Parameters::default();
        for (name, value) in url.query_pairs() {
            let place = match name.as_ref() {
                "code" => &mut read.code,
                "state" => &mut read.state,
                "iss" => &mut read.iss,
                "error" => &mut read.error,
                "error_description" => &mut read.error_description,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        let present = |value: &Option<String>| value.as_ref().is_some_and(|v| !v.is_empty());
        (present(&read.code) || present(&read.error)).then_some(read)
    }
}
