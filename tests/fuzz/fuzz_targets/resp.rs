//! Fuzzes `targets::resp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::resp::run(data));
