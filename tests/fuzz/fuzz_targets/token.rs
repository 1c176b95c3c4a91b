#![no_main]
//! See `mcp_remote::fuzz::token`.

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcp_remote::fuzz::token(input));
