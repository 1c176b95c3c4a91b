//! HTTP exchanges with the MCP server: workers, requests, responses, event streams.

pub(crate) mod cookies;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod http_sse;
pub(crate) mod redirect;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod retry_after;
pub(crate) mod sse;
pub(crate) mod worker;
