//! What a connection begins with: see `tests::fuzz::preface::hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::preface::hello(data));
