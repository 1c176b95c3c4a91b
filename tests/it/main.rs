//! One test binary: the program as a whole, over sockets and pipes.

mod cli;
mod doctor;
mod failures;
mod http_sse;
mod library;
mod manual;
mod messages;
mod process_life;
mod readme;
mod session;
mod setup;
mod streams;
mod support;
mod tidy;
mod usage;
