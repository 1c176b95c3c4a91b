//! The bridge: `mcp-remote URL`.
fn main() -> std::process::ExitCode {
    mcp_remote::cli::proxy()
}
