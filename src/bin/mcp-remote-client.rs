//! The doctor: `mcp-remote-client URL`.
fn main() -> std::process::ExitCode {
    mcp_remote::cli::doctor()
}
