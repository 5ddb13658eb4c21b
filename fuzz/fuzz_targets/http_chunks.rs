//! Chunked bodies, held against a second reader: see `tests::fuzz::http::chunks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::http::chunks(data));
