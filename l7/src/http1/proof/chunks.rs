//! A reader of chunks as we write them: no extensions, nothing but sizes, data and trailers.
//!
//! As [`reader`](super::reader), it shares no code with the decoder of what clients send.

use super::reader::{Fault, is_tchar};

/// Reads the chunked framing of one body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    /// Of the size, or of the data that is left.
    count: u64,
    digits: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    LineStart,
    Name,
    Value,
    LineEnd,
    LastLf,
    End,
}

/// A chunk's size has at most so many digits.
const DIGITS: u8 = 16;

impl Chunks {
    /// Reads on, up to the end of the body or of `bytes`; how many were read.
    ///
    /// Data is skipped, not looked at.
    ///
    /// # Errors
    /// What is no chunk as we write them.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut rest = bytes;
        while self.at != At::End {
            if self.at == At::Data {
                let skipped = rest.len().min(usize::try_from(self.count).unwrap_or(usize::MAX));
                rest = rest.get(skipped..).unwrap_or_default();
                self.count -= skipped as u64;
                if self.count > 0 {
                    break;
                }
                self.at = At::DataCr;
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            rest = after;
            self.at = self.step(byte)?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether the body has ended.
    pub fn is_end(&self) -> bool {
        self.at == At::End
    }

    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::Size, b'\r') if self.digits > 0 => Ok(At::SizeEnd),
            (At::Size, _) => self.digit(byte),
            (At::SizeEnd, b'\n') if self.count == 0 => Ok(At::LineStart),
            (At::SizeEnd, b'\n') => Ok(At::Data),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => {
                *self = Self::default();
                Ok(At::Size)
            }
            (At::LineStart, b'\r') => Ok(At::LastLf),
            (At::LineStart | At::Name, _) if is_tchar(byte) => Ok(At::Name),
            (At::Value, b'\r') => Ok(At::LineEnd),
            (At::Name, b':') | (At::Value, b'\t' | b' '..=b'~' | 0x80..) => Ok(At::Value),
            (At::LineEnd, b'\n') => Ok(At::LineStart),
            (At::LastLf, b'\n') => Ok(At::End),
            _ => Err(Fault("chunks that are none")),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<At, Fault> {
        let Some(value) = char::from(byte).to_digit(16) else {
            return Err(Fault("a chunk size that is no number"));
        };
        self.digits += 1;
        self.count = self.count << 4 | u64::from(value);
        if self.digits > DIGITS || self.count > u64::MAX >> 1 {
            return Err(Fault("a chunk size that is too great"));
        }
        Ok(At::Size)
    }
}
