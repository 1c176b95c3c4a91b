//! JSON-RPC messages, read and edited as text.
//!
//! - `message`: a message, its id and its kind; the text is kept.
//! - `batch`: reads a batch in bounded memory.
//! - `envelope`: reads the members that routing needs.
//! - `edit`: finds and replaces members of an object in its text.
//!
//! Spec: JSON-RPC 2.0.

mod batch;
mod edit;
mod envelope;
mod message;

#[doc(hidden)]
pub use edit::{
    is_empty, member, member_at, members, quoted, replace_member, string, without_member,
};
pub use message::{Kind, Malformed, Message, RequestId};
#[doc(hidden)]
pub use message::{Parsed, failure, notification, request, response};
