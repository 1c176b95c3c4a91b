//! The session with the server, from the handshake to the orderly end.

pub(crate) mod get_stream;
pub(crate) mod handshake;
pub(crate) mod keep_alive;
mod reinitialize;
pub(crate) mod shutdown;
pub(crate) mod sign_in;
