//! Packets in any order through an engine: see `tests::fuzz::engine`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::engine(data));
