//! The chunked coding (RFC 9112 section 7.1), by rules R5 and R6.
//!
//! # Theory of operation
//! A byte-driven machine that holds no data: it consumes framing and hands back ranges of the
//! caller's own buffer, trailer fields too. Extensions are checked and dropped (R4). The sizes we write
//! are our own, so nothing of the sender's framing reaches the other side.

use std::ops::Range;

use http::StatusCode;

use super::chars;
use super::reject::{Reject, Rule};
use crate::limits::{BODY_BYTES, CHUNK_EXTENSION_BYTES, CHUNK_SIZE_DIGITS, TRAILER_BYTES};

/// What one call of a decoder found in its input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are done with, data included.
    pub consumed: usize,
    /// Where in the input the data lies; empty if there is none.
    pub data: Range<usize>,
    /// Where in the input field lines of the trailer section lie, or parts of them.
    pub trailers: Range<usize>,
    /// The body is complete; what follows `consumed` is another message.
    pub end: bool,
}

/// Reads the chunked coding.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
    /// Extension bytes so far, over all chunks.
    extensions: usize,
    /// Trailer bytes so far.
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8, value: u64 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl State {
    /// Within a field line of the trailer section.
    const fn is_in_field(self) -> bool {
        matches!(self, Self::TrailerName | Self::TrailerValue | Self::TrailerLf)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, value: 0 }
    }
}

impl Decoder {
    /// Reads `input` up to the end of the first run of data, of the body, or of the input.
    ///
    /// # Errors
    /// R05 for sizes and extensions, R06 for line ends, R07 for trailers, R18 for their size. The
    /// decoder is of no use afterwards.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, Reject> {
        let mut at = 0;
        let mut trailers = 0..0;
        while let Some(&byte) = input.get(at) {
            if let State::Data { left } = self.state {
                let run = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                let left = left - run as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                return Ok(Decoded {
                    consumed: at + run,
                    data: at..at + run,
                    trailers,
                    end: false,
                });
            }
            if self.state == State::End {
                break;
            }
            let before = self.state;
            self.state = self.step(byte)?;
            at += 1;
            if before.is_in_field() || self.state.is_in_field() {
                let start = if trailers.is_empty() { at - 1 } else { trailers.start };
                trailers = start..at;
            }
        }
        Ok(Decoded { consumed: at, data: at..at, trailers, end: self.state == State::End })
    }

    /// Whether the last chunk and its trailers have been read.
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    fn step(&mut self, byte: u8) -> Result<State, Reject> {
        Ok(match (self.state, byte) {
            (State::Size { digits, value }, b'\r' | b';') if digits > 0 => {
                self.after_size(byte, value)?
            }
            (State::Size { digits, value }, _) => more_size(digits, value, byte)?,
            (State::Extension { value }, b'\r') => State::SizeLf { value },
            (State::Extension { value }, _) => self.extension(value, byte)?,
            (State::SizeLf { value: 0 } | State::TrailerLf, b'\n') => State::TrailerStart,
            (State::SizeLf { value }, b'\n') => State::Data { left: value },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::default(),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart | State::TrailerName | State::TrailerValue, _) => {
                self.trailer(byte)?
            }
            (State::EndLf, b'\n') => State::End,
            (State::DataCr, _) => {
                return Err(Reject::bad(Rule::R05, "a chunk is longer than its size"));
            }
            _ => return Err(Reject::bad(Rule::R06, "a chunk line does not end with CRLF")),
        })
    }

    fn after_size(&mut self, byte: u8, value: u64) -> Result<State, Reject> {
        if value > BODY_BYTES {
            return Err(Reject::bad(Rule::R05, "a chunk size is too great"));
        }
        match byte {
            b'\r' => Ok(State::SizeLf { value }),
            _ => self.extension(value, byte),
        }
    }

    fn extension(&mut self, value: u64, byte: u8) -> Result<State, Reject> {
        self.extensions += 1;
        if self.extensions > CHUNK_EXTENSION_BYTES {
            return Err(Reject::bad(Rule::R05, "too much of chunk extensions"));
        }
        if byte == b'\n' {
            return Err(Reject::bad(Rule::R06, "bare LF in a chunk extension"));
        }
        if !chars::is_chunk_extension(byte) {
            return Err(Reject::bad(Rule::R05, "control character in a chunk extension"));
        }
        Ok(State::Extension { value })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Reject> {
        self.trailers += 1;
        if self.trailers > TRAILER_BYTES {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(Reject::new(Rule::R18, status, "the trailers are too long"));
        }
        match (self.state, byte) {
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (_, b'\n' | b'\r') => Err(Reject::bad(Rule::R06, "a bad line end in the trailers")),
            (State::TrailerValue, _) if chars::is_field_value(byte) => Ok(State::TrailerValue),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if chars::is_token(byte) => {
                Ok(State::TrailerName)
            }
            _ => Err(Reject::bad(Rule::R07, "a trailer is not a field")),
        }
    }
}

fn more_size(digits: u8, value: u64, byte: u8) -> Result<State, Reject> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\n' => return Err(Reject::bad(Rule::R06, "bare LF after a chunk size")),
        _ => return Err(Reject::bad(Rule::R05, "a chunk size is not a hexadecimal number")),
    };
    if digits == CHUNK_SIZE_DIGITS {
        return Err(Reject::bad(Rule::R05, "a chunk size has too many digits"));
    }
    Ok(State::Size { digits: digits + 1, value: value << 4 | u64::from(digit) })
}

/// Room that a chunk's framing may take: sixteen digits and two line ends.
pub const CHUNK_OVERHEAD: usize = CHUNK_SIZE_DIGITS as usize + 4;
/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes the line before a chunk of `len` bytes into `line` and returns it.
pub fn size_line(len: usize, line: &mut [u8; CHUNK_OVERHEAD]) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let count = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1) as usize;
    for (index, place) in line.iter_mut().take(count).enumerate() {
        *place = DIGITS[len >> (4 * (count - 1 - index)) & 15];
    }
    line[count] = b'\r';
    line[count + 1] = b'\n';
    &line[..count + 2]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `input` given in pieces that end at `splits`; the data, and how much was consumed.
    fn decode(input: &[u8], splits: &[usize]) -> Result<(Vec<u8>, usize, bool), Reject> {
        let mut decoder = Decoder::default();
        let (mut data, mut at) = (Vec::new(), 0);
        for &end in splits.iter().chain([&input.len()]) {
            loop {
                let piece = &input[at..end.max(at)];
                let decoded = decoder.decode(piece)?;
                data.extend_from_slice(&piece[decoded.data.clone()]);
                at += decoded.consumed;
                if decoded.end || decoded.consumed == 0 {
                    break;
                }
            }
        }
        Ok((data, at, decoder.is_end()))
    }

    #[test]
    fn trailer_fields_are_handed_back_and_nothing_else() {
        let input = b"1;a=b\r\nx\r\n0\r\nA: b\r\nC:\td\r\n\r\nGET";
        for step in 1..input.len() {
            let (mut decoder, mut found, mut at) = (Decoder::default(), Vec::new(), 0);
            while !decoder.is_end() {
                let piece = &input[at..input.len().min(at + step)];
                let decoded = decoder.decode(piece).unwrap();
                found.extend_from_slice(&piece[decoded.trailers]);
                at += decoded.consumed;
            }
            assert_eq!(found, b"A: b\r\nC:\td\r\n", "in pieces of {step}");
        }
    }

    fn verdict(input: &str) -> Result<(String, bool), Rule> {
        let text = |(data, _, end)| (String::from_utf8(data).unwrap(), end);
        decode(input.as_bytes(), &[]).map(text).map_err(|reject| reject.rule)
    }

    #[test]
    fn r05_r06_r07_table() {
        let done = |text: &str| Ok((text.to_owned(), true));
        let partial = |text: &str| Ok((text.to_owned(), false));
        for (input, expected) in [
            ("0\r\n\r\n", done("")),
            ("5\r\nhello\r\n0\r\n\r\n", done("hello")),
            ("5\r\nhello\r\n0\r\n\r\nGET /", done("hello")),
            ("A\r\n0123456789\r\n00\r\n\r\n", done("0123456789")),
            ("0000000000000005\r\nhello\r\n0\r\n\r\n", done("hello")),
            ("5;a=b\r\nhello\r\n0;x=\"y z\"\r\n\r\n", done("hello")),
            ("1\r\na\r\n0\r\nA: b\r\nC:\td\r\n\r\n", done("a")),
            ("5\r\nhel", partial("hel")),
            ("5\r\nhello\r\n0\r\n", partial("hello")),
            ("00000000000000005\r\nhello", Err(Rule::R05)),
            ("8000000000000000\r\n", Err(Rule::R05)),
            ("7fffffffffffffff\r\nx", partial("x")),
            ("\r\n", Err(Rule::R05)),
            ("-5\r\n", Err(Rule::R05)),
            ("+5\r\n", Err(Rule::R05)),
            ("0x5\r\n", Err(Rule::R05)),
            ("5_0\r\n", Err(Rule::R05)),
            (" 5\r\n", Err(Rule::R05)),
            ("5 \r\n", Err(Rule::R05)),
            ("5 ;a\r\n", Err(Rule::R05)),
            (";a\r\n", Err(Rule::R05)),
            ("5;a\u{1}\r\n", Err(Rule::R05)),
            ("5;a\tb\r\n", Err(Rule::R05)),
            ("5;a\n", Err(Rule::R06)),
            ("5;a\r\r\n", Err(Rule::R06)),
            ("5\nhello", Err(Rule::R06)),
            ("5\rhello", Err(Rule::R06)),
            ("5\r\nhello0", Err(Rule::R05)),
            ("5\r\nhello\n0", Err(Rule::R05)),
            ("5\r\nhello\r0", Err(Rule::R06)),
            ("0\r\n\n", Err(Rule::R06)),
            ("0\r\nA: b\n", Err(Rule::R06)),
            ("0\r\nA: b\rC", Err(Rule::R06)),
            ("0\r\nA b: c\r\n", Err(Rule::R07)),
            ("0\r\n A: b\r\n", Err(Rule::R07)),
            ("0\r\n: b\r\n", Err(Rule::R07)),
            ("0\r\nA: b\u{1}\r\n", Err(Rule::R07)),
            ("0\r\nA\r\n", Err(Rule::R06)),
            ("0\r\n\rX", Err(Rule::R06)),
        ] {
            assert_eq!(verdict(input), expected, "{input:?}");
        }
    }

    #[test]
    fn r05_extensions_stop_at_their_limit_over_the_whole_body() {
        // Each extension below counts its `;` and three letters.
        let chunk = "1;abc\r\nx\r\n";
        let fit = CHUNK_EXTENSION_BYTES / 4;
        let good = format!("{}0\r\n\r\n", chunk.repeat(fit));
        assert_eq!(verdict(&good).unwrap().0.len(), fit);
        let bad = format!("{}0;\r\n\r\n", chunk.repeat(fit));
        assert_eq!(verdict(&bad), Err(Rule::R05));
    }

    #[test]
    fn r18_trailers_stop_at_their_limit() {
        for (pad, good) in [(TRAILER_BYTES - 4, true), (TRAILER_BYTES - 3, false)] {
            let input = format!("0\r\nA:{}\r\n\r\n", "b".repeat(pad + 1));
            assert_eq!(verdict(&input).map(|(_, end)| end).ok(), good.then_some(true), "{pad}");
        }
    }

    #[test]
    fn size_lines_are_hexadecimal() {
        for len in [0, 1, 15, 16, 255, 4096, 65_535, 1 << 40, usize::MAX] {
            let mut line = [0; CHUNK_OVERHEAD];
            assert_eq!(size_line(len, &mut line), format!("{len:x}\r\n").as_bytes());
        }
    }

    proptest! {
        #[test]
        fn all_splits_give_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            extension in "(;[ -~]{0,8})?",
            tail in prop::collection::vec(any::<u8>(), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\nX: y\r\n\r\n");
            let end = input.len();
            input.extend_from_slice(&tail);
            let mut splits: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
            splits.sort_unstable();
            let whole: Vec<u8> = chunks.concat();
            prop_assert_eq!(decode(&input, &splits), Ok((whole, end, true)));
        }

        #[test]
        fn any_bytes_give_the_same_verdict_whole_and_bytewise(input in "[0-2a;:\r\n \tx]{0,40}") {
            let splits: Vec<_> = (0..input.len()).collect();
            let bytewise = decode(input.as_bytes(), &splits);
            prop_assert_eq!(decode(input.as_bytes(), &[]), bytewise);
        }
    }
}
