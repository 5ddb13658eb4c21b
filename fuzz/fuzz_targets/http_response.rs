//! Responses of HTTP/1, held against a second reader: see `tests::fuzz::http::response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::http::response(data));
