//! See `countersign::fuzzing::upstream_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign::fuzzing::upstream_answer(data));
