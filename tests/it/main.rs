//! One test binary: the program as a whole, over sockets and pipes.

mod cli;
mod client;
mod doctor;
mod failures;
mod grants;
mod http_sse;
mod instances;
mod messages;
mod process_life;
mod secrets;
mod session;
mod sign_in;
mod sign_in_callback;
mod sign_in_discovery;
mod sign_in_later;
mod sign_in_pending;
mod sign_in_refusals;
mod sign_in_registration;
mod sign_in_scopes;
mod sign_in_support;
mod streams;
mod support;
mod tidy;
mod tokens;
mod tokens_store;
mod usage;
