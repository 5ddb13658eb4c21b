//! What a receiver is told at its creation.

use super::super::limits::MAX_BUFFER;

/// The part of a buffer that makes good for windows which are told in units: one in so many.
pub(super) const RESERVE: u32 = 8;

/// The smallest receive buffer.
const LEAST_BUFFER: u32 = 2_048;

/// How a [`Receiver`](super::Receiver) is made. Values out of range are brought into it.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct ReceiverConfig {
    /// Bytes of the receive buffer at first; at least 2,048 and at least 32 units of a scaled window.
    pub(in crate::tcp) initial: u32,
    /// Bytes to which it may grow; at least `initial`, at most 1 GiB.
    pub(in crate::tcp) max: u32,
    /// The MSS that the peer was told, at least 1.
    pub(in crate::tcp) mss: u16,
    /// Shift of our windows: zero unless both sides agreed on scaling, at most 14.
    pub(in crate::tcp) shift: u8,
}

impl ReceiverConfig {
    /// The window of our SYN, which is never scaled. It does not depend on `shift`, which is not
    /// known yet, and promises no more than the first acknowledgment will.
    pub(in crate::tcp) fn syn_window(&self) -> u16 {
        let initial = self.initial.max(LEAST_BUFFER);
        u16::try_from(initial - initial / RESERVE).unwrap_or(u16::MAX)
    }

    /// The shift to offer for a buffer of at most `max` bytes: the least that can tell of all.
    pub(in crate::tcp) fn shift_for(max: u32) -> u8 {
        (0..14).find(|shift| u32::from(u16::MAX) << shift >= max).unwrap_or(14)
    }

    /// Bytes of a unit in which windows are told.
    pub(super) const fn unit(&self) -> u64 {
        1 << self.shift
    }

    pub(super) const fn largest_window(&self) -> u32 {
        (u16::MAX as u32) << self.shift
    }

    /// What of a buffer makes good for windows that are told in units.
    pub(super) const fn reserve(&self, capacity: u32) -> u32 {
        if self.shift == 0 { 0 } else { capacity / RESERVE }
    }

    /// The configuration with every value brought into its range.
    pub(super) fn clamped(mut self) -> Self {
        self.shift = self.shift.min(14);
        self.mss = self.mss.max(1);
        self.initial = self.initial.max(LEAST_BUFFER).max(32 << self.shift).min(MAX_BUFFER as u32);
        self.max = self.max.clamp(self.initial, MAX_BUFFER as u32);
        self
    }
}
