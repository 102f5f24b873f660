//! Fuzzes `targets::snapshot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::snapshot::run(data));
