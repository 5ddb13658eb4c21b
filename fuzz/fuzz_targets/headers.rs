//! Any bytes as a packet: see `tests::fuzz::headers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::headers(data));
