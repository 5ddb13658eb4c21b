//! Options: pairs of a code and a value behind a block's fixed part.

use super::MAX_TEXT;

pub(super) const END: u16 = 0;
pub(super) const COMMENT: u16 = 1;

pub(super) const SECTION_HARDWARE: u16 = 2;
pub(super) const SECTION_OS: u16 = 3;
pub(super) const SECTION_APPLICATION: u16 = 4;

pub(super) const INTERFACE_NAME: u16 = 2;
pub(super) const INTERFACE_RESOLUTION: u16 = 9;
pub(super) const INTERFACE_OFFSET: u16 = 14;

pub(super) const PACKET_FLAGS: u16 = 2;
pub(super) const PACKET_DROPPED: u16 = 4;
pub(super) const PACKET_ID: u16 = 5;

pub(super) const STATISTICS_END: u16 = 3;
pub(super) const STATISTICS_RECEIVED: u16 = 4;
pub(super) const STATISTICS_ACCEPTED: u16 = 6;
pub(super) const STATISTICS_DROPPED: u16 = 7;
pub(super) const STATISTICS_WRITTEN: u16 = 8;

/// The byte order of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) big_endian: bool,
}

impl Order {
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(super) fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// A time in two halves, the higher first in either order.
    pub(super) fn ticks(self, bytes: &[u8], at: usize) -> Option<u64> {
        Some(u64::from(self.u32(bytes, at)?) << 32 | u64::from(self.u32(bytes, at + 4)?))
    }
}

/// The options of a block, one after the other. What is broken ends them: a packet is not refused for
/// what is said about it.
#[derive(Clone, Debug)]
pub(super) struct Options<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) order: Order,
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (code, len) = (self.order.u16(self.bytes, 0)?, self.order.u16(self.bytes, 2)?);
        let value = self.bytes.get(4..4 + usize::from(len)).filter(|_| code != END)?;
        let padded = 4 + usize::from(len).next_multiple_of(4);
        self.bytes = self.bytes.get(padded..).unwrap_or_default();
        Some((code, value))
    }
}

/// The comments on a packet, in the order of the file.
#[derive(Clone, Debug)]
pub struct Comments<'a> {
    pub(super) options: Options<'a>,
}

impl Comments<'_> {
    /// No comments.
    pub const NONE: Self =
        Self { options: Options { bytes: &[], order: Order { big_endian: false } } };
}

impl<'a> Iterator for Comments<'a> {
    type Item = &'a str;

    /// The next comment that is text.
    fn next(&mut self) -> Option<&'a str> {
        self.options
            .by_ref()
            .filter(|(code, _)| *code == COMMENT)
            .find_map(|(_, value)| str::from_utf8(value).ok())
    }
}

/// A text of a file, up to [`MAX_TEXT`] bytes of it, without the zero that some writers add.
pub(super) fn text(value: &[u8]) -> String {
    let value = value.get(..MAX_TEXT).unwrap_or(value);
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// As much of a text as is written.
pub(super) fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text)
}
