//! mcp-remote: joins a local MCP client on stdin/stdout to a remote MCP server.

pub mod cli;
pub mod config;
pub mod error;
pub mod jsonrpc;
pub mod log;
pub mod secret;
pub mod transport;
pub mod url;
