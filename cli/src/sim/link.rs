//! A wire that delays, loses, duplicates, reorders and spoils, by a seed.

use std::time::Duration;

use nat::rng::Rng;
use netstack::packet::Offload;
use netstack::segment::segment;
use netstack::wire::checksum;
use netstack::{Instant, Packet};

/// What a link does to packets, in each direction alike. Chances are in parts of a million.
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
    /// Cut super-packets into packets of this MTU first, as a network card would: chances are then
    /// per packet. 0 leaves them whole.
    pub mtu: u16,
}

const MILLION: u64 = 1_000_000;
const REORDER: Duration = Duration::from_millis(2);

/// A link between the balancer and one host.
#[derive(Debug)]
pub struct Link {
    impairment: Impairment,
    rng: Rng,
    last_arrival: Instant,
}

impl Link {
    /// A link whose chances follow from `seed`.
    pub const fn new(impairment: Impairment, seed: u64) -> Self {
        Self { impairment, rng: Rng::new(seed), last_arrival: Instant::ZERO }
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
        if self.chance(loss) {
            return;
        }
        let late = Duration::from_micros(self.rng.below(jitter.as_micros() as u64 + 1));
        let mut at = (now + delay + late).max(self.last_arrival);
        if self.chance(reorder) {
            at += Duration::from_micros(1 + self.rng.below(REORDER.as_micros() as u64));
        } else {
            self.last_arrival = at;
        }
        let duplicated = self.chance(duplicate);
        for _ in 0..=u8::from(duplicated) {
            let mut copy = Packet::with_capacity(packet.len());
            copy.copy_from(packet);
            if packet.offload.gso.is_none() && self.chance(corrupt) {
                self.corrupt(&mut copy);
            }
            arrive(at, copy);
        }
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
