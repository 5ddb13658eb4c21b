//! The bytes of an input that are looked at, in place.

use std::io::{self, Read};
use std::ops::Range;

/// Bytes that are asked for at once.
const CHUNK: usize = 256 << 10;

/// What was read and not yet taken, in one piece.
#[derive(Debug)]
pub(super) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    unread: Range<usize>,
}

impl<R: Read> Window<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), unread: 0..0 }
    }

    /// True if nothing follows.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(!self.has(1)?)
    }

    /// Takes the next `len` bytes; nothing if there are not as many. They stay where they are until
    /// this is asked again.
    pub(super) fn take(&mut self, len: usize) -> io::Result<Option<Range<usize>>> {
        if !self.has(len)? {
            return Ok(None);
        }
        let start = self.unread.start;
        self.unread.start += len;
        Ok(Some(start..start + len))
    }

    /// What was taken from there.
    pub(super) fn bytes(&self, taken: Range<usize>) -> &[u8] {
        self.buffer.get(taken).unwrap_or_default()
    }

    /// Passes over `len` bytes, however many; false if there are not as many.
    pub(super) fn pass_over(&mut self, len: u64) -> io::Result<bool> {
        let here = self.unread.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        self.unread.start += here;
        let left = len - here as u64;
        Ok(io::copy(&mut self.input.by_ref().take(left), &mut io::sink())? == left)
    }

    #[inline]
    fn has(&mut self, len: usize) -> io::Result<bool> {
        Ok(self.unread.len() >= len || self.fill(len)?)
    }

    #[cold]
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.buffer.len() < len.max(CHUNK) {
            self.buffer.resize(len.max(CHUNK), 0);
        }
        while self.unread.len() < len {
            let room = self.buffer.get_mut(self.unread.end..).unwrap_or_default();
            match self.input.read(room) {
                Ok(0) => return Ok(false),
                Ok(read) => self.unread.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives as many bytes at a time as its turn says.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(buffer.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    #[test]
    fn what_is_taken_is_what_comes_next_however_it_comes() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * CHUNK).collect();
        for drip in [1, 7, 4096, usize::MAX] {
            let mut window = Window::new(Drip(&bytes, drip));
            let mut at = 0;
            for len in [0, 1, 5, CHUNK + 3, 8] {
                let taken = window.take(len).unwrap().unwrap();
                assert_eq!(window.bytes(taken), &bytes[at..at + len], "{drip}");
                at += len;
            }
            assert!(window.pass_over(CHUNK as u64).unwrap());
            at += CHUNK;
            let rest = bytes.len() - at;
            assert_eq!(window.take(rest + 1).unwrap(), None, "there is less");
            let taken = window.take(rest).unwrap().unwrap();
            assert_eq!(window.bytes(taken), &bytes[at..], "{drip}");
            assert!(window.is_at_end().unwrap() && !window.pass_over(1).unwrap());
        }
    }
}
