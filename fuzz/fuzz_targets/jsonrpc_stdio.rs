//! See `countersign::fuzzing::jsonrpc_stdio`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign::fuzzing::jsonrpc_stdio(data));
