//! One test binary: the program as a whole, over sockets and pipes.

mod cli;
mod doctor;
mod eras;
mod eras_matrix;
mod failures;
mod http_sse;
mod messages;
mod process_life;
mod session;
mod streams;
mod support;
mod tidy;
mod usage;
