//! Bodies: one decoder for every framing, and the framing in which they are sent on.

use super::chunked::{self, Decoded};
use super::framing::Framing;
use super::reject::Reject;

/// Reads a body of any framing out of a buffer that may hold the next message too.
#[derive(Clone, Debug)]
pub enum Decoder {
    /// So many bytes are left.
    Length(u64),
    /// Chunks.
    Chunked(chunked::Decoder),
    /// All bytes until the stream ends.
    UntilClose,
    /// The stream ended, and the body with it.
    Closed,
}

impl Decoder {
    /// The decoder for a body of this framing.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(chunked::Decoder::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether the body is complete.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_end(),
            Self::UntilClose => false,
            Self::Closed => true,
        }
    }

    /// Takes the next run of data out of `input`.
    ///
    /// # Errors
    /// Those of the chunked coding.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, Reject> {
        if let Self::Chunked(decoder) = self {
            return decoder.decode(input);
        }
        let run = self.plain(input.len()).unwrap_or(0);
        self.advance(run);
        Ok(Decoded { consumed: run, data: 0..run, trailers: 0..0, end: self.is_end() })
    }

    /// How many of the next `available` bytes are data as they stand; nothing if they are coded.
    pub fn plain(&self, available: usize) -> Option<usize> {
        match self {
            Self::Length(left) => Some(usize::try_from(*left).unwrap_or(usize::MAX).min(available)),
            Self::UntilClose => Some(available),
            Self::Chunked(_) | Self::Closed => None,
        }
    }

    /// Counts `count` bytes that were taken as [`Self::plain`] said.
    pub fn advance(&mut self, count: usize) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(count as u64);
        }
    }

    /// The stream ended. Whether the body may end here.
    pub fn close(&mut self) -> bool {
        if matches!(self, Self::UntilClose) {
            *self = Self::Closed;
        }
        self.is_end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_stops_before_the_next_message() {
        let mut decoder = Decoder::new(Framing::Length(3));
        let decoded = decoder.decode(b"abGET").unwrap();
        assert_eq!(decoded, Decoded { consumed: 3, data: 0..3, trailers: 0..0, end: true });
        assert_eq!(decoder.decode(b"GET").unwrap().consumed, 0);
        assert!(decoder.close());
    }

    #[test]
    fn only_until_close_may_end_by_closing() {
        assert!(!Decoder::new(Framing::Length(1)).close());
        assert!(!Decoder::new(Framing::Chunked).close());
        let mut decoder = Decoder::new(Framing::UntilClose);
        assert!(!decoder.is_end());
        assert!(decoder.close() && decoder.is_end());
        assert!(Decoder::new(Framing::None).is_end());
    }
}
