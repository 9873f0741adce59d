//! See `countersign::fuzzing::upstream_sse`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign::fuzzing::upstream_sse(data));
