//! SYNs to the SNAT pool that nobody asked for.
//!
//! # Theory of operation
//!
//! Two ends may open a connection at the same time, and then the far end's SYN can come before ours has
//! left. So a SYN to a pool port that is not mapped to its sender is kept for [`WAIT`] without an answer
//! (RFC 5382 REQ-4). If a SYN of ours to that sender, from that port, leaves meanwhile, the kept one is
//! forgotten in silence; if none does, its sender is told that the port is unreachable (REQ-4a), or
//! nothing, as configured.
//!
//! This holds for addresses that are the pool's alone. Where a VIP stands in for the pool it is a
//! service's address first, and a SYN on which no service listens is refused at once.
//!
//! All wait equally long, so a queue is a timer.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::{Address, Tuple};
use netstack::{Instant, Packet};

use crate::limits::{PENDING_SYN_LEN, UNSOLICITED_SYNS};

/// How long a SYN waits for ours.
pub const WAIT: Duration = Duration::from_secs(6);

/// The SYNs that wait.
#[derive(Clone, Debug)]
pub struct Unsolicited {
    /// Addresses of the pool that no service listens on.
    addresses: HashSet<Address, FixedState>,
    waiting: HashMap<Tuple, (Instant, Packet), FixedState>,
    /// In the order in which they came. One that was forgotten meanwhile is passed over.
    queue: VecDeque<(Instant, Tuple)>,
}

impl Unsolicited {
    /// None waits; `addresses` are the pool's alone.
    pub fn new(addresses: impl IntoIterator<Item = Address>, seed: u64) -> Self {
        let mut this = Self {
            addresses: HashSet::with_hasher(FixedState::with_seed(seed)),
            waiting: HashMap::with_hasher(FixedState::with_seed(seed)),
            queue: VecDeque::new(),
        };
        this.set_addresses(addresses);
        this
    }

    /// Replaces the addresses.
    pub fn set_addresses(&mut self, addresses: impl IntoIterator<Item = Address>) {
        self.addresses.clear();
        self.addresses.extend(addresses);
    }

    /// True if SYNs to this address wait.
    pub fn covers(&self, address: Address) -> bool {
        self.addresses.contains(&address)
    }

    /// Keeps a SYN; false if it is kept already, or cannot be: there are too many, or it is too long.
    pub fn hold(&mut self, now: Instant, tuple: Tuple, packet: &Packet) -> bool {
        if self.queue.len() >= UNSOLICITED_SYNS
            || packet.len() > PENDING_SYN_LEN
            || self.waiting.contains_key(&tuple)
        {
            return false;
        }
        let mut copy = Packet::with_capacity(packet.len());
        copy.copy_from(packet);
        self.waiting.insert(tuple, (now + WAIT, copy));
        self.queue.push_back((now + WAIT, tuple));
        true
    }

    /// True if no SYN waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets the SYN of this tuple, if there is one.
    pub fn cancel(&mut self, tuple: &Tuple) {
        self.waiting.remove(tuple);
    }

    /// The next SYN that has waited in vain.
    pub fn expire(&mut self, now: Instant) -> Option<Packet> {
        while let Some(&(due, tuple)) = self.queue.front().filter(|(due, _)| *due <= now) {
            self.queue.pop_front();
            // Its tuple may have come again after it was forgotten, and waits anew.
            if self.waiting.get(&tuple).is_some_and(|(waits, _)| *waits == due) {
                return self.waiting.remove(&tuple).map(|(_, packet)| packet);
            }
        }
        None
    }

    /// When [`expire`](Self::expire) may have something.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.front().map(|&(due, _)| due)
    }
}
