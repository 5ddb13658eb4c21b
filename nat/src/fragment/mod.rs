//! Fragments: which datagram each belongs to, and what becomes of it.
//!
//! # Theory of operation
//!
//! Only the first fragment of a datagram has ports, and fragments come in any order. This is *virtual
//! reassembly*: nothing is put together, but each datagram that is on its way is known by source,
//! destination, protocol and identification, and has a fate:
//!
//! ```text
//!                     the first comes: its flow is looked up or made
//!  Unknown ───────────────┬────────────► Known   every fragment gets what the first got
//!  others are held        ├────────────► Whole   its flow ends in this process: all are held,
//!                         │                      and the last to come makes the packet
//!                         └────────────► Dead    the first was refused or dropped
//!        any ── overlap, contradiction ► Dead    whatever else comes is dropped
//! ```
//!
//! Held fragments leave in the order of their offsets, behind the first. An echo request to an address
//! of ours is answered fragment by fragment too, so the reply is cut as the request was, which fitted
//! the way here. Whole is also what an ICMP error must be, for its checksum to be judged. A datagram is
//! forgotten when all of it has been seen, when its time is up, or when it gives way.
//!
//! **Rules.** A fragment that no sender cuts is dropped alone ([`Fragment::is_sound`]), and so is a TCP
//! fragment at eight bytes, which would write over the flags (RFC 3128). Fragments that overlap kill
//! the datagram, in both families (RFC 5722, RFC 8200 section 4.5; RFC 1858 section 3): of those
//! already forwarded the receiver can make nothing. An exact duplicate is dropped and harms nothing
//! (RFC 8200 section 4.5). A first fragment must have the whole transport header (RFC 1858 section 2,
//! RFC 7112 section 5).
//!
//! **Time.** 30 s in IPv4, 60 s in IPv6, from the first that came (RFC 8200 section 4.5; RFC 791
//! section 3.2 recommends 15 s to begin with, Linux has 30).
//!
//! **Limits.** Datagrams ([`Limits::fragments`](crate::Limits)), held packets and their bytes, and
//! fragments and bytes of one datagram ([`limits`](crate::limits)). At each of the first three the
//! datagram that began longest ago gives way. Nothing here is touched by packets that are whole.

mod datagram;
mod identification;

use std::collections::BTreeMap;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::headers::TCP;
use netstack::wire::{Address, Family, Fragment, Headers};
use netstack::{Instant, LegId, Packet};

use crate::flow::{Direction, FlowId};
use crate::limits::{HELD_BYTES, HELD_FRAGMENTS};
use crate::stats::Stats;
use crate::{DropReason, rewrite};

use datagram::{Datagram, Fate};

pub use identification::Identifications;

/// How long a datagram's fragments are waited for, from the first that came.
pub const fn lifetime(family: Family) -> Duration {
    match family {
        Family::V4 => Duration::from_secs(30),
        Family::V6 => Duration::from_mins(1),
    }
}

/// What the fragments of one datagram share (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    src: Address,
    dst: Address,
    /// None in IPv6, where only the first fragment's counts.
    protocol: Option<u8>,
    identification: u32,
}

impl Key {
    /// The key of a fragment.
    pub fn of(headers: &Headers, fragment: &Fragment) -> Self {
        Self {
            src: headers.src,
            dst: headers.dst,
            protocol: (headers.family == Family::V4).then_some(headers.protocol),
            identification: fragment.identification,
        }
    }

    fn family(&self) -> Family {
        self.src.family()
    }
}

/// What became of a first fragment, for the others to get the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// New source.
    pub src: Address,
    /// New destination.
    pub dst: Address,
    /// New identification.
    pub identification: u32,
    /// Where it leaves.
    pub leg: LegId,
    /// The flow that counts it; none if it is passed on as it is, or is part of an echo that is
    /// answered.
    pub flow: Option<(FlowId, Direction)>,
    /// The first was turned into an answer.
    pub reply: bool,
    /// The first was wrapped for the flow's backend: nothing else is changed, and without the flow there
    /// is no way.
    pub wrapped: bool,
}

/// What to do with a fragment.
#[derive(Debug)]
pub enum Step {
    /// It was kept.
    Held,
    /// It is the first: its fate is to be found, and told by [`Fragments::follow`],
    /// [`Fragments::collect`] or [`Fragments::condemn`].
    Decide,
    /// It gets what the first got.
    Follow(Plan),
    /// It was the last that was missing; these are all, in order.
    Whole(Vec<Packet>),
    /// Nothing can come of it.
    Drop(DropReason),
}

/// The datagrams that are on their way (see the module's theory of operation).
#[derive(Clone, Debug)]
pub struct Fragments {
    datagrams: HashMap<Key, Datagram, FixedState>,
    /// By when they began, which is also the order of their deadlines: the families apart.
    began: [BTreeMap<u64, Key>; 2],
    /// How many ever began.
    count: u64,
    limit: usize,
    held: Held,
}

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Packets.
    pub packets: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Why one fragment, of none or of its datagram, is dropped alone; nothing if it may go on.
pub fn refusal(headers: &Headers, fragment: &Fragment) -> Option<DropReason> {
    if !fragment.is_sound(headers) {
        Some(DropReason::FragmentBounds)
    } else if headers.protocol == TCP && fragment.offset == 8 {
        // RFC 3128 section 4.
        Some(DropReason::FragmentTiny)
    } else {
        None
    }
}

impl Fragments {
    /// None yet; at most `limit` datagrams at a time.
    pub fn new(limit: usize, seed: u64) -> Self {
        Self {
            datagrams: HashMap::with_hasher(FixedState::with_seed(seed)),
            began: [BTreeMap::new(), BTreeMap::new()],
            count: 0,
            limit,
            held: Held::default(),
        }
    }

    /// How many datagrams are on their way.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// How much is held.
    pub const fn held(&self) -> Held {
        self.held
    }

    /// Takes note of a fragment for which there is no [`refusal`].
    pub fn take_in(
        &mut self,
        now: Instant,
        key: Key,
        fragment: &Fragment,
        packet: &Packet,
        stats: &mut Stats,
    ) -> Step {
        if !self.datagrams.contains_key(&key) && !self.begin(now, key, stats) {
            return Step::Drop(DropReason::FragmentLimit);
        }
        let Some(datagram) = self.datagrams.get_mut(&key) else {
            return Step::Drop(DropReason::FragmentLimit);
        };
        match datagram.note(fragment) {
            Ok(()) => {}
            Err(reason @ DropReason::FragmentDuplicate) => return Step::Drop(reason),
            Err(reason) => {
                self.condemn(&key, reason, stats);
                return Step::Drop(reason);
            }
        }
        match datagram.fate {
            Fate::Unknown if fragment.is_first() => Step::Decide,
            Fate::Unknown => self.hold(key, fragment, packet, stats),
            Fate::Whole => self.hold_for_whole(key, fragment, packet, stats),
            Fate::Known(plan) => {
                if datagram.is_complete() {
                    self.forget(&key);
                }
                Step::Follow(plan)
            }
            Fate::Dead(reason) => Step::Drop(reason),
        }
    }

    /// The first fragment went by this plan: hands out the held ones, in order, to go the same way.
    pub fn follow(&mut self, key: &Key, plan: Plan) -> Vec<Packet> {
        let Some(datagram) = self.datagrams.get_mut(key) else { return Vec::new() };
        datagram.fate = Fate::Known(plan);
        let held = datagram.release();
        self.held.minus(held.iter().map(Packet::len));
        if datagram.is_complete() {
            self.forget(key);
        }
        held
    }

    /// The datagram is for this process: keeps the first fragment, `packet`, too.
    pub fn collect(
        &mut self,
        key: Key,
        fragment: &Fragment,
        packet: &Packet,
        stats: &mut Stats,
    ) -> Step {
        if let Some(datagram) = self.datagrams.get_mut(&key) {
            datagram.fate = Fate::Whole;
        }
        self.hold_for_whole(key, fragment, packet, stats)
    }

    /// Nothing can come of this datagram: drops what is held of it, and will drop what comes.
    pub fn condemn(&mut self, key: &Key, reason: DropReason, stats: &mut Stats) {
        let Some(datagram) = self.datagrams.get_mut(key) else { return };
        datagram.fate = Fate::Dead(reason);
        let held = datagram.release();
        self.held.minus(held.iter().map(Packet::len));
        stats.drop_held(reason, held.len());
    }

    /// Forgets datagrams whose time is up: at most `budget` of each family.
    pub fn expire(&mut self, now: Instant, budget: usize, stats: &mut Stats) {
        for family in [Family::V4, Family::V6] {
            for _ in 0..budget {
                let Some(key) = self.oldest_of(family) else { break };
                if self.datagrams.get(&key).is_some_and(|datagram| datagram.deadline > now) {
                    break;
                }
                stats.datagrams_expired += 1;
                self.drop_datagram(&key, DropReason::FragmentTimeout, stats);
            }
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        [Family::V4, Family::V6]
            .into_iter()
            .filter_map(|family| Some(self.datagrams.get(&self.oldest_of(family)?)?.deadline))
            .min()
    }

    /// Checks that the counts are those of what is there.
    ///
    /// # Panics
    /// If they are not: for tests and simulations, after each step.
    pub fn assert_consistent(&self) {
        let packets = || self.datagrams.values().flat_map(Datagram::held);
        let held = Held { packets: packets().count(), bytes: packets().map(Packet::len).sum() };
        assert_eq!(self.held, held, "held fragments and their count");
        let queued: usize = self.began.iter().map(BTreeMap::len).sum();
        assert_eq!(queued, self.datagrams.len(), "datagrams and their order");
        assert!(self.datagrams.len() <= self.limit, "the limit of datagrams");
        assert!(
            held.packets <= HELD_FRAGMENTS && held.bytes <= HELD_BYTES,
            "the limits of holding"
        );
    }

    /// Makes an entry for a datagram; false if there may be none.
    fn begin(&mut self, now: Instant, key: Key, stats: &mut Stats) -> bool {
        if self.limit == 0 {
            return false;
        }
        while self.datagrams.len() >= self.limit {
            self.give_way(stats);
        }
        let deadline = now + lifetime(key.family());
        self.datagrams.insert(key, Datagram::new(self.count, deadline));
        self.began[queue(key.family())].insert(self.count, key);
        self.count += 1;
        true
    }

    /// Keeps a copy of a fragment.
    fn hold(&mut self, key: Key, fragment: &Fragment, packet: &Packet, stats: &mut Stats) -> Step {
        while self.held.packets >= HELD_FRAGMENTS || self.held.bytes + packet.len() > HELD_BYTES {
            if !self.give_way(stats) {
                break;
            }
        }
        // It may have been this datagram that gave way.
        let Some(datagram) = self.datagrams.get_mut(&key) else {
            return Step::Drop(DropReason::FragmentLimit);
        };
        if !datagram.hold(fragment.offset, packet) {
            self.condemn(&key, DropReason::FragmentLimit, stats);
            return Step::Drop(DropReason::FragmentLimit);
        }
        self.held.packets += 1;
        self.held.bytes += packet.len();
        Step::Held
    }

    fn hold_for_whole(
        &mut self,
        key: Key,
        fragment: &Fragment,
        packet: &Packet,
        stats: &mut Stats,
    ) -> Step {
        let step = self.hold(key, fragment, packet, stats);
        let Some(datagram) = self.datagrams.get_mut(&key).filter(|d| d.is_complete()) else {
            return step;
        };
        if !matches!(step, Step::Held) {
            return step;
        }
        let pieces = datagram.release();
        self.held.minus(pieces.iter().map(Packet::len));
        self.forget(&key);
        Step::Whole(pieces)
    }

    /// Gives up the datagram that began longest ago; false if there is none.
    fn give_way(&mut self, stats: &mut Stats) -> bool {
        let first =
            self.began.iter().filter_map(BTreeMap::first_key_value).min_by_key(|(n, _)| **n);
        let Some((_, &key)) = first else { return false };
        stats.datagrams_evicted += 1;
        self.drop_datagram(&key, DropReason::FragmentLimit, stats);
        true
    }

    fn drop_datagram(&mut self, key: &Key, reason: DropReason, stats: &mut Stats) {
        self.condemn(key, reason, stats);
        self.forget(key);
    }

    /// Forgets a datagram of which nothing is held.
    fn forget(&mut self, key: &Key) {
        if let Some(datagram) = self.datagrams.remove(key) {
            self.began[queue(key.family())].remove(&datagram.number);
        }
    }

    fn oldest_of(&self, family: Family) -> Option<Key> {
        self.began[queue(family)].first_key_value().map(|(_, key)| *key)
    }
}

impl Held {
    fn minus(&mut self, lengths: impl Iterator<Item = usize>) {
        for len in lengths {
            self.packets -= 1;
            self.bytes -= len;
        }
    }
}

impl Plan {
    /// Rewrites a later fragment as the first was; false if its TTL ends here (it is then
    /// unchanged).
    #[must_use]
    pub fn apply(&self, packet: &mut Packet, headers: &Headers, hide_hop: bool) -> bool {
        if self.reply {
            rewrite::set_ttl(packet, headers, crate::icmp::TTL);
        } else if !rewrite::pass_hop(packet, headers, hide_hop) {
            return false;
        }
        rewrite::readdress(packet, headers, self.src, self.dst);
        netstack::wire::fragment::set_identification(
            packet.data_mut(),
            headers,
            self.identification,
        );
        true
    }
}

const fn queue(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}
