//! See `countersign::fuzzing::jsonrpc_http`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign::fuzzing::jsonrpc_http(data));
