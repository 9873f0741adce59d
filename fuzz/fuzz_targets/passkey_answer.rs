//! See `countersign::fuzzing::passkey_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign::fuzzing::passkey_answer(data));
