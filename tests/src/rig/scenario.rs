//! A link, and who stands at its ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use balun::link::{Impairment, Settings};
use netstack::wire::Family;

/// The MTU of every link.
pub const MTU: u16 = 1_500;
/// The smallest queue of a link that has a rate, in bytes.
const LEAST_QUEUE: u64 = 256 << 10;

/// A link as it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Round trip without queueing.
    pub rtt: Duration,
    /// Chance that a packet is lost, in a million.
    pub loss: u32,
    /// Losses only of packets from the far end to the near one; else of both.
    pub loss_from_only: bool,
    /// Chance that a packet arrives up to 2 ms late, in a million, both ways.
    pub reorder: u32,
    /// Bits a second; 0 has no limit.
    pub rate: u64,
}

impl Path {
    /// Twice the bandwidth-delay product wait in front of it at most, and at least 256 KiB.
    pub fn settings(&self) -> Settings {
        let bdp = self.rate / 8 * self.rtt.as_micros() as u64 / 1_000_000;
        let from = Impairment {
            delay: self.rtt / 2,
            loss: self.loss,
            reorder: self.reorder,
            rate: self.rate,
            queue: (2 * bdp).max(LEAST_QUEUE),
            mtu: MTU,
            ..Impairment::default()
        };
        let loss = if self.loss_from_only { 0 } else { self.loss };
        Settings { to: Impairment { loss, ..from }, from }
    }
}

/// A stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The kernel's.
    Linux,
    /// The endpoint of this project.
    Ours,
}

/// The address of host `number` and the length of its prefix, to which nobody else belongs.
pub const fn address(family: Family, number: u8) -> (IpAddr, u8) {
    match family {
        Family::V4 => (IpAddr::V4(Ipv4Addr::new(10, 9, number, 1)), 24),
        Family::V6 => (IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, number as u16, 0, 0, 0, 1)), 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_holds_twice_what_is_on_the_way() {
        let path = |rtt| Path {
            rtt: Duration::from_millis(rtt),
            loss: 10_000,
            loss_from_only: true,
            reorder: 0,
            rate: 1_000_000_000,
        };
        assert_eq!(path(1).settings().to.queue, LEAST_QUEUE);
        let long = path(100).settings();
        assert_eq!((long.to.queue, long.from.delay), (25_000_000, Duration::from_millis(50)));
        assert_eq!((long.to.loss, long.from.loss), (0, 10_000));
    }
}
