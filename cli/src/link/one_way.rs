//! One way of a link: when, and whether, a packet arrives.

use std::time::Duration;

use nat::rng::Rng;
use netstack::packet::Offload;
use netstack::segment::segment;
use netstack::wire::checksum;
use netstack::{Instant, Packet};

/// What one way of a link does to packets. Chances are in parts of a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// How long a packet takes.
    pub delay: Duration,
    /// How much longer it may take at random; packets keep their order all the same.
    pub jitter: Duration,
    /// Chance that it is lost.
    pub loss: u32,
    /// Chance that it arrives twice.
    pub duplicate: u32,
    /// Chance that it arrives after packets sent up to 2 ms later.
    pub reorder: u32,
    /// Chance that one bit of it is flipped on the way, of a packet that is no super-packet. The
    /// receiver finds no virtio header that vouches for it, only checksums.
    pub corrupt: u32,
    /// Bits a second that the sender can put on the wire; 0 is no limit.
    pub rate: u64,
    /// Bytes that may wait for their turn at that rate; 0 is what the rate sends in 100 ms, and at
    /// least 64 KiB.
    pub queue: u64,
    /// Cut super-packets into packets of this MTU first, as a network card would: chances are then
    /// per packet. 0 leaves them whole.
    pub mtu: u16,
}

impl Impairment {
    /// Bytes that may wait to be sent.
    pub fn queue_len(&self) -> u64 {
        if self.queue > 0 { self.queue } else { (self.rate / 80).max(LEAST_QUEUE) }
    }
}

/// What a byte at one bit a second takes.
const NANOS: u128 = 8_000_000_000;
const MILLION: u64 = 1_000_000;
const REORDER: Duration = Duration::from_millis(2);
/// One super-packet, which a sender may hand over at once.
const LEAST_QUEUE: u64 = 64 << 10;

/// What happened to packets on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sent off, those dropped and lost included.
    pub offered: u64,
    /// Dropped because too much waited already.
    pub queue_full: u64,
    /// Lost.
    pub lost: u64,
    /// Arriving twice.
    pub duplicated: u64,
    /// Arriving late.
    pub reordered: u64,
    /// With a flipped bit.
    pub corrupted: u64,
}

/// One way of a link.
#[derive(Debug)]
pub struct OneWay {
    pub(super) impairment: Impairment,
    pub(super) stats: Stats,
    rng: Rng,
    last_arrival: Instant,
    /// When the sender will have put everything on the wire.
    busy_until: Instant,
}

impl OneWay {
    /// One whose chances follow from `seed`.
    pub const fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            stats: Stats {
                offered: 0,
                queue_full: 0,
                lost: 0,
                duplicated: 0,
                reordered: 0,
                corrupted: 0,
            },
            rng: Rng::new(seed),
            last_arrival: Instant::ZERO,
            busy_until: Instant::ZERO,
        }
    }

    /// Says when copies of `packet` arrive: never, once or twice, each by a call of `arrive`.
    pub fn carry(
        &mut self,
        now: Instant,
        packet: &Packet,
        mut arrive: impl FnMut(Instant, Packet),
    ) {
        if self.impairment.mtu == 0 || packet.offload.gso.is_none() {
            self.carry_one(now, packet, &mut arrive);
            return;
        }
        let Ok(mut pieces) = segment(packet, self.impairment.mtu.into()) else { return };
        let mut piece = Packet::with_capacity(self.impairment.mtu.into());
        while pieces.next_into(&mut piece) {
            self.carry_one(now, &piece, &mut arrive);
        }
    }

    fn carry_one(
        &mut self,
        now: Instant,
        packet: &Packet,
        arrive: &mut impl FnMut(Instant, Packet),
    ) {
        let Impairment { delay, jitter, loss, duplicate, reorder, corrupt, .. } = self.impairment;
        self.stats.offered += 1;
        let Some(sent) = self.serialise(now, packet.len() as u64) else {
            self.stats.queue_full += 1;
            return;
        };
        if self.chance(loss) {
            self.stats.lost += 1;
            return;
        }
        let late = Duration::from_micros(self.rng.below(jitter.as_micros() as u64 + 1));
        let mut at = (sent + delay + late).max(self.last_arrival);
        if self.chance(reorder) {
            self.stats.reordered += 1;
            at += Duration::from_micros(1 + self.rng.below(REORDER.as_micros() as u64));
        } else {
            self.last_arrival = at;
        }
        let duplicated = self.chance(duplicate);
        self.stats.duplicated += u64::from(duplicated);
        for _ in 0..=u8::from(duplicated) {
            let mut copy = Packet::with_capacity(packet.len());
            copy.copy_from(packet);
            if packet.offload.gso.is_none() && self.chance(corrupt) {
                self.stats.corrupted += 1;
                self.corrupt(&mut copy);
            }
            arrive(at, copy);
        }
    }

    /// When the last bit of a packet is on the wire; never, if too much waits before it.
    fn serialise(&mut self, now: Instant, len: u64) -> Option<Instant> {
        let rate = u128::from(self.impairment.rate);
        if rate == 0 {
            return Some(now);
        }
        let backlog = self.busy_until.saturating_since(now).as_nanos() * rate / NANOS;
        if backlog + u128::from(len) > u128::from(self.impairment.queue_len()) {
            return None;
        }
        let time = u128::from(len) * NANOS / rate;
        let time = Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX));
        self.busy_until = self.busy_until.max(now) + time;
        Some(self.busy_until)
    }

    fn corrupt(&mut self, packet: &mut Packet) {
        checksum::complete(packet);
        packet.offload = Offload::default();
        let bit = self.rng.below(packet.len() as u64 * 8) as usize;
        if let Some(byte) = packet.data_mut().get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }

    fn chance(&mut self, in_a_million: u32) -> bool {
        in_a_million > 0 && self.rng.below(MILLION) < u64::from(in_a_million)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(way: &mut OneWay, now: Instant) -> Option<Duration> {
        let mut arrival = None;
        way.carry(now, &Packet::from_ip(&[0; 1250]), |at, _| arrival = Some(at));
        arrival.map(|at| at.saturating_since(Instant::ZERO))
    }

    #[test]
    fn a_rate_sends_one_packet_after_the_other() {
        // 1,250 bytes are 10,000 bits: 10 ms each.
        let slow = Impairment { rate: 1_000_000, ..Impairment::default() };
        let mut way = OneWay::new(slow, 1);
        let arrivals: Vec<_> = (0..3).filter_map(|_| send(&mut way, Instant::ZERO)).collect();
        assert_eq!(arrivals, [10, 20, 30].map(Duration::from_millis));
        let later = Instant::ZERO + Duration::from_millis(100);
        assert_eq!(send(&mut way, later), Some(Duration::from_millis(110)), "it was idle");
    }

    #[test]
    fn a_queue_that_is_full_drops_at_its_tail() {
        let slow = Impairment { rate: 1_000_000, queue: 3_000, ..Impairment::default() };
        let mut way = OneWay::new(slow, 1);
        let sent = (0..5).filter(|_| send(&mut way, Instant::ZERO).is_some()).count();
        assert_eq!((sent, way.stats.queue_full), (2, 3));
        let later = Instant::ZERO + Duration::from_millis(10);
        assert!(send(&mut way, later).is_some(), "one has left");
    }

    #[test]
    fn chances_follow_from_the_seed() {
        let lossy = Impairment { loss: 500_000, ..Impairment::default() };
        let lost = |seed| {
            let mut way = OneWay::new(lossy, seed);
            (0..64).map(|_| send(&mut way, Instant::ZERO).is_none()).collect::<Vec<_>>()
        };
        assert_eq!(lost(1), lost(1));
        assert_ne!(lost(1), lost(2));
    }
}
