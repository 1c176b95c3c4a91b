//! mcp-remote joins a local MCP client, which speaks newline-delimited JSON-RPC on stdin and stdout, to a remote MCP
//! server, which speaks Streamable HTTP or the older HTTP+SSE.
//!
//! To use it as a library: [`Connection`] is a pair of channels to a remote server, [`run`] the whole bridge over any reader
//! and writer; both take a [`Config`]. What is not re-exported here or in [`config`], [`error`] and [`jsonrpc`] is public for
//! the programs and tests of this package only, is left out of this documentation, and may change in any release.
//!
//! The rest of this page is the map of the code.
//!
//! ```text
//!  stdin ─▶ reader ──┐                                           ┌──▶ writer ─▶ stdout
//!                    ├──▶ event loop: events ─▶ Bridge (no IO): ─┤
//!  workers ──────────┘    handle, poll, deadline                 └──▶ workers: open, close
//!                               ▲
//!  main thread: time, signals ──┘
//! ```
//!
//! - [`jsonrpc`]: messages as text; the envelope is read, the text is kept.
//! - [`mcp`]: what the two protocol eras define, as data: versions, per-request `_meta`, mirrored headers, results.
//! - [`bridge`]: the pure state machine that decides what happens to each message. It is given events and the time, and
//!   returns actions.
//! - [`transport`]: threads, channels and HTTP. `http` speaks the two transports, `net` makes connections. These threads
//!   decide nothing.
//! - [`oauth`]: sign-in, one file for each standard. [`store`]: the credential files shared with npm mcp-remote.
//! - [`cli`]: the two programs. `args` reads the command line, `flags` is the table of all flags, `config` makes a [`Config`],
//!   `doctor` checks a server, `call` sends one request, `sessions` manages sign-ins, `setup` edits the files of MCP clients.
//! - `connection`: the library's API. [`config`]: the settings of a connection. [`error`]: kind, sentence and hint. [`log`]:
//!   lines on stderr. [`secret`]: values that are never printed. [`url`]: what the `url` crate leaves open.
//!   `blocking`: a stdin or stdout that the host made non-blocking.
//!
//! A `tools/call` from stdin to stdout passes these files, in this order:
//!
//! 1. `transport/stdio`: reads the line.
//! 2. `jsonrpc/message`: reads its envelope.
//! 3. `transport/event_loop`: runs the bridge on the reader's thread.
//! 4. `bridge/mod`: defers it until the handshake, the sign-in and the transport are ready.
//! 5. `bridge/request/lifecycle`: enters it into the table of open requests and sends it.
//! 6. `bridge/http_exchanges`: opens an exchange for it.
//! 7. `transport/http/worker`: hands the exchange to a thread with a connection.
//! 8. `transport/http/exchange`: adds the token and POSTs it (`request` makes the headers).
//! 9. `transport/http/response`: reads the JSON body or the event stream; its events go through 3 and 6.
//! 10. `bridge/request/response`: completes the request; the writer thread of 1 writes the line.
//!
//! A 401 becomes a stored token along these:
//!
//! 1. `oauth/challenge`: parses `WWW-Authenticate`.
//! 2. `oauth/mod`: `recover` decides between another token, a refresh and a sign-in.
//! 3. `bridge/session/sign_in`: defers the requests that wait, and asks for the sign-in.
//! 4. `oauth/sign_in/mod`: the flow from top to bottom.
//! 5. `oauth/coordination`: one instance leads, the others follow.
//! 6. `oauth/callback/mod`: binds the port for the redirect.
//! 7. `oauth/discovery/mod`: finds the authorization server.
//! 8. `oauth/registration`: finds or registers the client.
//! 9. `oauth/sign_in/authorize`: makes the authorization request; `oauth/browser` opens it.
//! 10. `oauth/sign_in/wait`: waits for the redirect; `oauth/authorization_code` checks it.
//! 11. `oauth/token`: redeems the code. `oauth/token_cache`: stores the tokens with [`store`].
//!
//! Invariants, each kept by a test:
//!
//! - Every request read from the client gets exactly one response, under its own id.
//! - stdout carries whole JSON-RPC lines and nothing else.
//! - What no rule changes passes byte for byte.
//! - Nothing is sent before the client's own first message; it detects the transport and the server's era.
//! - Client and server of the same era cost no request of ours, unless `--protocol auto` asks for one.
//! - Only the files listed in `tests/it/tidy.rs` do IO; `bridge` depends on none of them.
//! - Nothing the network sends can panic, hang or grow the process without bound.
//!
//! Where a rule is kept: in the file named with the standard's word. Three design decisions are not visible in one file:
//!
//! - The bridge has no thread of its own: the thread that has events runs it (`transport/event_loop`), because two thread
//!   switches cost a fifth of a call's time.
//! - A message holds a permit for its bytes until it is written (`transport/backpressure`): channels without a bound would grow
//!   with a client that does not read, and bounded ones would stop the bridge.
//! - All time limits except the one for connecting are the bridge's, because ureq cannot tell a stream from a document beforehand.
//!
//! Process-wide state: of the programs only, the signal handler and a panic hook that keeps the panics of tiny_http's threads
//! off stderr; of the library, the open callback ports, which live until two minutes after their sign-in.

#![forbid(unsafe_code)]

mod blocking;
#[doc(hidden)]
pub mod bridge;
#[doc(hidden)]
pub mod cli;
pub mod config;
mod connection;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod jsonrpc;
#[doc(hidden)]
pub mod log;
#[doc(hidden)]
pub mod mcp;
#[doc(hidden)]
pub mod oauth;
#[doc(hidden)]
pub mod secret;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod transport;
#[doc(hidden)]
pub mod url;

pub use ::url::Url;
pub use config::Config;
pub use connection::{Connection, run};
pub use error::{Error, Result};
pub use jsonrpc::{Message, RequestId};
pub use secret::Secret;

/// The examples of the README are compiled with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
