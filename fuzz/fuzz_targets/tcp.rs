//! A TCP endpoint among peers that send anything: see `tests::fuzz::tcp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::tcp(data));
