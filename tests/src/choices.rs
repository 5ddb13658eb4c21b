//! Where random tests take their choices from: a seed, or the bytes that a fuzzer varies.

use nat::rng::Rng;

/// A source of choices.
pub trait Choices {
    /// The next 64 bits.
    fn next_u64(&mut self) -> u64;

    /// A number below `bound`; 0 if `bound` is 0.
    fn below(&mut self, bound: u64) -> u64;
}

impl Choices for Rng {
    fn next_u64(&mut self) -> u64 {
        Self::next_u64(self)
    }

    fn below(&mut self, bound: u64) -> u64 {
        Self::below(self, bound)
    }
}

/// Choices spelled by bytes, as few for each as it needs; zeros once they are used up.
///
/// A small change to the bytes is a small change to the choices, which is what lets a fuzzer learn.
#[derive(Clone, Debug)]
pub struct Spelled<'a>(&'a [u8]);

impl<'a> Spelled<'a> {
    /// The choices that `bytes` spell.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// True once all bytes were used.
    pub const fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> u64 {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

impl Choices for Spelled<'_> {
    fn next_u64(&mut self) -> u64 {
        self.take(8)
    }

    fn below(&mut self, bound: u64) -> u64 {
        match bound {
            0 | 1 => 0,
            2..=0x100 => self.take(1) % bound,
            0x101..=0x1_0000 => self.take(2) % bound,
            _ => self.take(8) % bound,
        }
    }
}
