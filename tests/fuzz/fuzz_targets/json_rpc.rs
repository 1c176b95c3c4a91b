#![no_main]
//! See `mcp_remote::fuzz::json_rpc`.

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcp_remote::fuzz::json_rpc(input));
