//! An engine of any configuration under packets in any order: see `tests::fuzz::configured`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::configured(data));
