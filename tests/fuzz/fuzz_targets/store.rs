#![no_main]
//! See `mcp_remote::fuzz::store`.

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcp_remote::fuzz::store(input));
