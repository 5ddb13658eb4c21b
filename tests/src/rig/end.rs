//! What stands at an end of a link.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use netstack::{Instant, Packet};

use super::Failure;

/// A TCP stack at an end of a link.
pub trait End {
    /// Takes a packet that has arrived.
    ///
    /// # Errors
    /// The end is gone.
    fn receive(&mut self, now: Instant, packet: &mut Packet) -> Result<(), Failure>;

    /// Fills `packet` with the next one that leaves; false if there is none.
    ///
    /// # Errors
    /// The end is gone.
    fn transmit(&mut self, now: Instant, packet: &mut Packet) -> Result<bool, Failure>;

    /// Lets timers fire, and the application do what it can.
    ///
    /// # Errors
    /// The application says why it cannot go on.
    fn turn(&mut self, _now: Instant) -> Result<(), Failure> {
        Ok(())
    }

    /// When [`turn`](Self::turn) has something to do, whatever arrives.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What becomes readable when there is something to transmit.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// True if packets to this address are for this end.
    fn owns(&self, address: IpAddr) -> bool;
}
