//! Fuzzes `targets::append_only`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::append_only::run(data));
