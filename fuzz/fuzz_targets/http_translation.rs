//! Heads of HTTP/2 as the text of HTTP/1.1, held against a second reader: see
//! `tests::fuzz::http::translation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tests::fuzz::http::translation(data));
