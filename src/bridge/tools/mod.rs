//! What the bridge knows of the server's tools.

pub(crate) mod filter;
pub(crate) mod headers;
