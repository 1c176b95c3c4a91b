//! One test binary: the program as a whole, over sockets and pipes.

mod cli;
mod doctor;
mod failures;
mod http_sse;
mod library;
mod manual;
mod messages;
mod one_shot;
mod process_life;
// Windows keeps homes and writes paths in other ways; the code is the same.
#[cfg(unix)]
mod readme;
mod session;
#[cfg(unix)]
mod setup;
mod staged_failures;
mod streams;
mod support;
mod tidy;
mod usage;
