//! A link with what is on its way, for more than a lab's line holds.

use std::collections::VecDeque;

use balun::link::{Link, Settings, Way};
use netstack::{Instant, Packet};

/// Packets on their way, each way: 12 MB in flight and 25 MB in a queue are 25,000 of 1,500 bytes.
pub const MAX_PACKETS: usize = 65_536;

/// A link and the packets on it, in order of arrival. It reads no clock: the same packets at the same
/// times fare the same.
#[derive(Debug)]
pub struct Wire {
    link: Link,
    to: Flight,
    from: Flight,
}

/// Packets on their way, sorted by arrival.
#[derive(Debug)]
struct Flight {
    packets: VecDeque<(Instant, Packet)>,
    overflow: u64,
}

impl Wire {
    /// A wire whose chances follow from `seed`.
    pub const fn new(settings: Settings, seed: u64) -> Self {
        Self { link: Link::with(settings, seed), to: Flight::new(), from: Flight::new() }
    }

    /// What it does, and what happened on it.
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Packets that were dropped because there were [`MAX_PACKETS`] on their way, which no real link
    /// would do: with any of them a measurement is void.
    pub const fn overflow(&self) -> u64 {
        self.to.overflow + self.from.overflow
    }

    /// Sends a packet off.
    pub fn put(&mut self, way: Way, now: Instant, packet: &Packet) {
        let flight = match way {
            Way::To => &mut self.to,
            Way::From => &mut self.from,
        };
        self.link.carry(way, now, packet, |at, packet| flight.push(at, packet));
    }

    /// The next packet that has arrived, and when it did.
    pub fn take(&mut self, way: Way, now: Instant) -> Option<(Instant, Packet)> {
        let flight = match way {
            Way::To => &mut self.to,
            Way::From => &mut self.from,
        };
        flight.packets.front().filter(|(at, _)| *at <= now)?;
        flight.packets.pop_front()
    }

    /// When the next packet arrives, at either end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [&self.to, &self.from].into_iter().filter_map(|f| f.packets.front()).map(|p| p.0).min()
    }
}

impl Flight {
    const fn new() -> Self {
        Self { packets: VecDeque::new(), overflow: 0 }
    }

    fn push(&mut self, at: Instant, packet: Packet) {
        if self.packets.len() >= MAX_PACKETS {
            self.overflow += 1;
            return;
        }
        // Only packets that a reordering holds back arrive after this one, and they are few.
        let later = self.packets.iter().rev().take_while(|(other, _)| *other > at).count();
        self.packets.insert(self.packets.len() - later, (at, packet));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use balun::link::Impairment;

    use super::*;

    fn numbers(wire: &mut Wire, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| wire.take(Way::To, now)).map(|(_, p)| p.data()[0]).collect()
    }

    #[test]
    fn packets_arrive_in_order_of_arrival_and_not_before() {
        let delay = Duration::from_millis(5);
        let late = Impairment { delay, reorder: 1_000_000, ..Impairment::default() };
        let mut wire = Wire::new(Settings { to: late, ..Settings::default() }, 1);
        for n in 0..50 {
            wire.put(Way::To, Instant::ZERO, &Packet::from_ip(&[n; 20]));
        }
        assert!(numbers(&mut wire, Instant::ZERO + delay).is_empty(), "all are held back");
        let first = wire.poll_timeout().unwrap();
        assert_eq!(numbers(&mut wire, first).len(), 1);
        let mut rest = numbers(&mut wire, first + Duration::from_millis(2));
        assert!(!rest.is_sorted(), "{rest:?}");
        rest.sort_unstable();
        assert_eq!((rest.len(), wire.poll_timeout()), (49, None));
    }

    #[test]
    fn what_a_wire_cannot_hold_is_counted() {
        let slow = Impairment { delay: Duration::from_secs(1), ..Impairment::default() };
        let mut wire = Wire::new(Settings::both(slow), 1);
        for _ in 0..MAX_PACKETS + 2 {
            wire.put(Way::From, Instant::ZERO, &Packet::from_ip(&[0; 20]));
        }
        assert_eq!(wire.overflow(), 2);
    }
}
