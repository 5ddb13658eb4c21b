//! Bytes that say by themselves whether they are the right ones, at the right place.

use nat::rng::mix;

/// An endless run of bytes that follows from a salt. Bytes that are lost, doubled, swapped or of another
/// stream do not match.
#[derive(Clone, Debug)]
pub struct Pattern {
    salt: u64,
    at: u64,
}

impl Pattern {
    /// The run of `salt`, from its start.
    pub const fn new(salt: u64) -> Self {
        Self { salt, at: 0 }
    }

    /// How many bytes were made or recognised.
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// Fills `bytes` with what comes next.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next_byte();
        }
    }

    /// The first `len` bytes.
    pub fn bytes(salt: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Self::new(salt).fill(&mut bytes);
        bytes
    }

    /// Checks that `bytes` come next.
    ///
    /// # Errors
    /// Where the first wrong byte is, from the start of the run.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), u64> {
        for &byte in bytes {
            let at = self.at;
            if self.next_byte() != byte {
                return Err(at);
            }
        }
        Ok(())
    }

    fn next_byte(&mut self) -> u8 {
        let word = mix(self.salt ^ mix(self.at / 8)).to_le_bytes();
        let byte = word[(self.at % 8) as usize];
        self.at += 1;
        byte
    }
}
