//! What a connection begins with: see `tests::fuzz::preface::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::preface::proxy_header(data));
