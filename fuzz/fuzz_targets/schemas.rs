//! See `countersign::fuzzing::schemas`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign::fuzzing::schemas(data));
