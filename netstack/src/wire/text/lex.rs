//! Words of a line, and the values that stand in them.

use std::net::IpAddr;
use std::ops::Range;

use super::ParseError;
use crate::wire::Address;

/// One word: `name`, or `name=value`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// Offset of the word from the start of the line.
    pub(super) at: usize,
}

impl<'a> Word<'a> {
    pub(super) fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// The part in front of the first `=`, and the part behind it.
    pub(super) fn split(self) -> (&'a str, Option<Word<'a>>) {
        match self.text.split_once('=') {
            Some((name, text)) => (name, Some(Word { text, at: self.at + name.len() + 1 })),
            None => (self.text, None),
        }
    }

    pub(super) fn error(self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.span(), message)
    }

    /// A number from 0 to `max`, decimal or with `0x`.
    pub(super) fn number(self, name: &str, max: u32) -> Result<u32, ParseError> {
        let digits = |text: &str, radix| {
            // from_str_radix would take a sign.
            let plain = text.starts_with(|c: char| c.is_ascii_hexdigit());
            plain.then(|| u32::from_str_radix(text, radix).ok()).flatten()
        };
        let value = match self.text.strip_prefix("0x") {
            Some(hex) => digits(hex, 16),
            None => digits(self.text, 10),
        };
        value
            .filter(|&value| value <= max)
            .ok_or_else(|| self.error(format!("{name} is a number from 0 to {max}")))
    }

    pub(super) fn u8(self, name: &str) -> Result<u8, ParseError> {
        self.number(name, u8::MAX.into()).map(|value| value as u8)
    }

    pub(super) fn u16(self, name: &str) -> Result<u16, ParseError> {
        self.number(name, u16::MAX.into()).map(|value| value as u16)
    }

    pub(super) fn u32(self, name: &str) -> Result<u32, ParseError> {
        self.number(name, u32::MAX)
    }

    /// Bytes in hexadecimal.
    pub(super) fn hex(self, name: &str) -> Result<Vec<u8>, ParseError> {
        let digits = self.text.as_bytes();
        let nibble = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
        let pair = |pair: &[u8]| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.get(1)?)?);
        digits
            .chunks(2)
            .map(pair)
            .collect::<Option<_>>()
            .ok_or_else(|| self.error(format!("{name} is an even count of hexadecimal digits")))
    }

    /// Bytes, as text in quotes or in hexadecimal.
    pub(super) fn bytes(self, name: &str) -> Result<Vec<u8>, ParseError> {
        if self.text.ends_with("...") {
            return Err(self.error("these bytes were cut when they were printed"));
        }
        match self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => Word { text: inner, at: self.at + 1 }.unescape(),
            None => self.hex(name).map_err(|mut e| {
                e.message.push_str(", or text in double quotes");
                e
            }),
        }
    }

    fn unescape(self) -> Result<Vec<u8>, ParseError> {
        let mut bytes = Vec::with_capacity(self.text.len());
        let mut rest = self.text.chars();
        while let Some(c) = rest.next() {
            if c != '\\' {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            let at = self.text.len() - rest.as_str().len() - 1;
            bytes.push(match rest.next() {
                Some('n') => b'\n',
                Some('r') => b'\r',
                Some('t') => b'\t',
                Some(c @ ('"' | '\\')) => c as u8,
                Some('x') => {
                    let text = rest.as_str().get(..2).unwrap_or_default();
                    let byte = Word { text, at: self.at + at }.hex("\\x").ok();
                    let byte = byte.and_then(|bytes| bytes.first().copied());
                    rest = rest.as_str().get(2..).unwrap_or_default().chars();
                    byte.ok_or_else(|| self.escape(at, "\\x takes two hexadecimal digits"))?
                }
                _ => return Err(self.escape(at, r#"the escapes are \n \r \t \" \\ and \xHH"#)),
            });
        }
        Ok(bytes)
    }

    fn escape(self, at: usize, message: &str) -> ParseError {
        let len = self.text[at..].chars().take(2).map(char::len_utf8).sum::<usize>();
        ParseError::new(self.at + at..self.at + at + len, message)
    }

    pub(super) fn address(self) -> Result<Address, ParseError> {
        let wrong =
            || self.error("an IPv4 or IPv6 address is needed here, such as 10.1.0.5 or fd99::1");
        let address: IpAddr = self.text.parse().map_err(|_| wrong())?;
        match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                Err(self.error("an IPv4-mapped address is in no packet: write the IPv4 address"))
            }
            address => Ok(address.into()),
        }
    }

    /// `10.1.0.5`, `10.1.0.5:80`, `fd99::1`, `[fd99::1]` or `[fd99::1]:80`.
    pub(super) fn endpoint(self) -> Result<(Address, Option<u16>), ParseError> {
        let (address, port) = match self.text.strip_prefix('[') {
            Some(rest) => {
                let Some((address, tail)) = rest.split_once(']') else {
                    return Err(self.error("the ] behind the address is missing"));
                };
                let port = match tail.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if tail.is_empty() => None,
                    None => return Err(self.error("a port follows as :80")),
                };
                (Word { text: address, at: self.at + 1 }, port)
            }
            None => match self.text.split_once(':') {
                Some((address, port)) if !port.contains(':') => {
                    (Word { text: address, at: self.at }, Some(port))
                }
                _ => (self, None),
            },
        };
        let end = self.at + self.text.len();
        let port =
            port.map(|text| Word { text, at: end - text.len() }.u16("a port")).transpose()?;
        Ok((address.address()?, port))
    }
}

/// Splits at white space, but not inside quotes and parentheses.
pub(super) fn words(text: &str, at: usize) -> Result<Vec<Word<'_>>, ParseError> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut parens) = (None, None, Vec::new());
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote.is_some() => escaped = true,
            '"' => quote = if quote.is_some() { None } else { Some(i) },
            _ if quote.is_some() => {}
            '(' => parens.push(i),
            ')' if parens.pop().is_none() => {
                return Err(ParseError::new(at + i..at + i + 1, "this parenthesis closes nothing"));
            }
            _ => {}
        }
        let inside = quote.is_some() || !parens.is_empty();
        if c.is_whitespace() && !inside {
            if let Some(from) = start.take() {
                words.push(Word { text: &text[from..i], at: at + from });
            }
        } else if start.is_none() {
            start = Some(i);
        }
    }
    if let Some(open) = quote.or(parens.pop()) {
        let what = if quote.is_some() {
            "this quote is not closed"
        } else {
            "this parenthesis is not closed"
        };
        return Err(ParseError::new(at + open..at + open + 1, what));
    }
    if let Some(from) = start {
        words.push(Word { text: &text[from..], at: at + from });
    }
    Ok(words)
}
