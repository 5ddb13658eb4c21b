//! ICMP errors about live flows: see `tests::fuzz::icmp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::icmp(data));
