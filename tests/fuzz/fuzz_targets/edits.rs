//! Fuzzes `targets::edits`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::edits::run(data));
