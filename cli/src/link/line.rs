//! A link in real time: it keeps what is on its way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use netstack::{Instant, Packet};

use super::arrival::Arrival;
use super::{Link, Settings, Way};

/// Packets on their way, each way.
pub const MAX_PACKETS: usize = 16_384;
/// Bytes on their way, each way.
pub const MAX_BYTES: usize = 64 << 20;

/// A link with the packets that are on it.
#[derive(Debug)]
pub struct Line {
    link: Link,
    to: Flight,
    from: Flight,
    mtu: u16,
}

/// Packets on their way.
#[derive(Debug, Default)]
struct Flight {
    arrivals: BinaryHeap<Reverse<Arrival<Packet>>>,
    bytes: usize,
    sequence: u64,
    overflow: u64,
}

impl Line {
    /// A line whose chances follow from `seed`. Super-packets are cut to `mtu` first, so that what
    /// befalls a packet befalls one packet.
    pub fn new(settings: Settings, mtu: u16, seed: u64) -> Self {
        let link = Link::with(settings.cut_to(mtu), seed);
        Self { link, to: Flight::default(), from: Flight::default(), mtu }
    }

    /// What it does.
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// Changes what it does to packets that are sent from now on.
    pub const fn set(&mut self, settings: Settings) {
        self.link.set(settings.cut_to(self.mtu));
    }

    /// Packets that were dropped because the line was full.
    pub const fn overflow(&self, way: Way) -> u64 {
        match way {
            Way::To => self.to.overflow,
            Way::From => self.from.overflow,
        }
    }

    /// Sends a packet off.
    pub fn put(&mut self, way: Way, now: Instant, packet: &Packet) {
        let flight = match way {
            Way::To => &mut self.to,
            Way::From => &mut self.from,
        };
        self.link.carry(way, now, packet, |at, packet| flight.push(at, packet));
    }

    /// Fills `packet` with the next one that has arrived; false if there is none.
    pub fn take(&mut self, way: Way, now: Instant, packet: &mut Packet) -> bool {
        let flight = match way {
            Way::To => &mut self.to,
            Way::From => &mut self.from,
        };
        let Some(arrived) = flight.pop(now) else { return false };
        packet.copy_from(&arrived);
        true
    }

    /// When the next packet arrives, at either end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [&self.to, &self.from].into_iter().filter_map(Flight::next).min()
    }
}

impl Settings {
    const fn cut_to(mut self, mtu: u16) -> Self {
        self.to.mtu = mtu;
        self.from.mtu = mtu;
        self
    }
}

impl Flight {
    fn push(&mut self, at: Instant, packet: Packet) {
        if self.arrivals.len() >= MAX_PACKETS || self.bytes + packet.len() > MAX_BYTES {
            self.overflow += 1;
            return;
        }
        self.bytes += packet.len();
        self.sequence += 1;
        self.arrivals.push(Reverse(Arrival { at, sequence: self.sequence, what: packet }));
    }

    fn pop(&mut self, now: Instant) -> Option<Packet> {
        self.next().filter(|at| *at <= now)?;
        let Reverse(Arrival { what: packet, .. }) = self.arrivals.pop()?;
        self.bytes -= packet.len();
        Some(packet)
    }

    fn next(&self) -> Option<Instant> {
        self.arrivals.peek().map(|Reverse(arrival)| arrival.at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Impairment;
    use super::*;

    const START: Instant = Instant::ZERO;

    fn packet(n: u8) -> Packet {
        Packet::from_ip(&[n; 100])
    }

    #[test]
    fn a_packet_waits_for_its_delay_one_way_and_not_the_other() {
        let delay = Duration::from_millis(10);
        let to = Impairment { delay, ..Impairment::default() };
        let mut line = Line::new(Settings { to, ..Settings::default() }, 1500, 1);
        line.put(Way::To, START, &packet(1));
        line.put(Way::From, START, &packet(2));
        let mut out = Packet::max_sized();
        assert!(line.take(Way::From, START, &mut out) && out.data()[0] == 2);
        assert!(!line.take(Way::To, START, &mut out));
        assert_eq!(line.poll_timeout(), Some(START + delay));
        assert!(line.take(Way::To, START + delay, &mut out) && out.data()[0] == 1);
        assert_eq!(line.poll_timeout(), None);
    }

    #[test]
    fn a_full_line_drops_and_counts() {
        let slow = Impairment { delay: Duration::from_secs(1), ..Impairment::default() };
        let mut line = Line::new(Settings::both(slow), 1500, 1);
        for _ in 0..MAX_PACKETS + 3 {
            line.put(Way::To, START, &packet(1));
        }
        assert_eq!((line.overflow(Way::To), line.overflow(Way::From)), (3, 0));
        let mut out = Packet::max_sized();
        assert!(line.take(Way::To, START + Duration::from_secs(1), &mut out));
        line.put(Way::To, START, &packet(1));
        assert_eq!(line.overflow(Way::To), 3, "there is room again");
    }
}
