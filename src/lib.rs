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
//!  stdin ─▶ reader ──┐                                         ┌──▶ writer ─▶ stdout
//!                    ├──▶ inbox: news ─▶ Bridge (no IO):  ─────┤
//!  lanes ────────────┘    handle, poll, deadline               └──▶ lanes: open, close
//!                               ▲
//!  main thread: time, signals ──┘
//! ```
//!
//! - [`jsonrpc`]: messages as they are; the envelope is read, the text is kept.
//! - [`bridge`]: the one pure state machine that decides everything that happens to a message. It is given events and
//!   the time, and asks for actions.
//! - [`mcp`]: what the two protocol eras say, as data: versions, per-request `_meta`, mirrored headers, results.
//! - [`transport`]: threads, channels and HTTP. Threads own descriptors and decide nothing; what runs the bridge there does
//!   what it says.
//! - `connection`: the library's API.
//! - [`cli`]: the two programs. `flags` is what was typed, `config` what it means, `doctor` mcp-remote-client, `setup` the
//!   files of MCP clients.
//! - [`oauth`]: sign-in, one file per standard. [`store`]: the credential files shared with npm mcp-remote.
//! - [`config`]: what a connection needs to know.
//! - [`error`], [`log`], [`secret`], [`flow`], [`url`]: failures in one sentence, lines on stderr, what is never printed, how
//!   much may be under way, what the `url` crate leaves open.
//!
//! Invariants, each kept by a test:
//!
//! - Every request read from the client gets exactly one answer, under its own id.
//! - stdout carries whole JSON-RPC lines and nothing else.
//! - What no rule changes passes byte for byte.
//! - Nothing is sent before the client's own first message; it is the probe for the transport and for the server's era.
//! - Client and server of the same era cost no request of ours, unless `--protocol auto` asks for one.
//! - Only the files listed in `tests/it/tidy.rs` do IO; `bridge` depends on none of them.
//! - Nothing the network sends can panic, hang or grow the process without bound.
//!
//! Where a rule lives: the file named with the standard's word. JSON-RPC: `jsonrpc`. stdio framing: `transport/stdio`.
//! What a POST carries and an answer means: `transport/streamable_http`, `transport/answer`. HTTP+SSE: `transport/http_sse`,
//! `bridge/strategy`. Sessions: `bridge/session`, `bridge/renewal`. Resumption: `bridge/resume`. Cancellation:
//! `bridge/cancellation`. What may be tried again: `bridge/retry`. Redirects: `transport/redirect`.
//! Sign-in: a file of `oauth` for each standard; `bridge/sign_in` holds back the requests that wait for it; `transport/fetch` is
//! its world, `transport/reach` where documents may lead it.
//! Protocol eras: `bridge/era` finds them out by `bridge/verdict`, for as long as `bridge/probing` says; `bridge/modern` and
//! `bridge/tool_headers` hold what a modern server needs from either client; `bridge/legacy_to_modern` (with `mrtr`,
//! `subscriptions`) and `bridge/modern_to_legacy` (with `parked`, `listeners`) are the adapters, pure, told and asked by
//! `bridge/adapting`.
//!
//! Different from the first design: the bridge has no thread of its own, whoever has news runs it (`transport/inbox`), because
//! two thread switches cost a fifth of a call's time; a message holds a part of a budget until it is written (`flow`),
//! because channels without a bound would grow with a client that does not read, and bounded ones would stop the bridge; all
//! time limits but connecting are the bridge's, because ureq cannot tell a stream from a document beforehand.

#![forbid(unsafe_code)]

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
