//! Who is on the link: what is known, what is asked, and what waits for an answer.
//!
//! # Theory of operation
//!
//! ```text
//!              a packet                 answered
//!   (none) ────────────► Incomplete ──────────────► Reachable ◄───┐
//!      ▲                  │ 3 × 1 s                   │ 30 s, or   │ answered
//!      │ 3 s              ▼                           ▼ contradicted
//!      └─────────────── Failed ◄── 3 × 1 s ── Probe ◄─── Stale ◄── heard (it asked us)
//!                                                a packet
//! ```
//!
//! It is the machine of RFC 4861 section 7.3 without its state DELAY, for both families (RFC 1122
//! section 2.3.2.1 leaves the manner to ARP). While an entry is `Incomplete` packets wait, the newest
//! [`MAX_WAITING`] of them; in all other states with a hardware address they are sent at once. `Probe`
//! asks the host itself, and everybody the last time, since the address may have moved. Packets to a
//! `Failed` neighbour are refused at once, and after [`NEGATIVE`] it is asked for again.
//!
//! Limits: [`MAX_NEIGHBORS`] entries, of which the one that was longest not used gives way;
//! [`MAX_WAITING`] packets for one neighbour and [`MAX_WAITING_BYTES`] for all. Time moves by what the
//! caller says; deadlines are looked for by scanning, which so few entries allow.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Mac;
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::Address;

/// The most neighbours of one leg.
pub const MAX_NEIGHBORS: usize = 1_024;
/// The most packets that wait for one neighbour.
pub const MAX_WAITING: usize = 16;
/// The most bytes that wait for all neighbours of a leg.
pub const MAX_WAITING_BYTES: usize = 4 << 20;
/// The most packets of failed neighbours that are kept to be reported.
pub const MAX_LOST: usize = 64;
/// Questions before a neighbour is given up (`MAX_MULTICAST_SOLICIT`, RFC 4861 section 10).
pub const MAX_ASKS: u8 = 3;
/// Time between two questions (`RETRANS_TIMER`).
pub const RETRANSMIT: Duration = Duration::from_secs(1);
/// How long an answer is good for (`REACHABLE_TIME`, without its random factor).
pub const REACHABLE: Duration = Duration::from_secs(30);
/// How long a neighbour that did not answer is not asked again.
pub const NEGATIVE: Duration = Duration::from_secs(3);
/// How long an entry that nobody uses is kept.
pub const UNUSED: Duration = Duration::from_mins(10);

/// What became of a packet to a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Send it to this hardware address.
    Send(Mac),
    /// A copy waits; if it took the place of an older one, that one is dropped.
    Waits {
        /// An older packet had to give way.
        instead: bool,
    },
    /// The neighbour did not answer lately.
    Failed,
    /// No room for another neighbour, or for another packet.
    Full,
}

/// A question to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// For whom.
    pub target: Address,
    /// To the host that had the address last; otherwise to everybody.
    pub to: Option<Mac>,
}

/// An answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who is told of.
    pub address: Address,
    /// Its hardware address; none is "as before".
    pub mac: Option<Mac>,
    /// It may replace another hardware address.
    pub overrides: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Incomplete { asked: u8, next: Instant },
    Reachable { until: Instant },
    Stale,
    Probe { asked: u8, next: Instant },
    Failed { until: Instant },
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// Meaningless while incomplete or failed.
    mac: Mac,
    used: Instant,
    waiting: VecDeque<Packet>,
}

/// The table (see the module's theory of operation).
#[derive(Debug, Default)]
pub struct Neighbors {
    entries: BTreeMap<Address, Entry>,
    waiting_bytes: usize,
    deadline: Option<Instant>,
    asks: VecDeque<Ask>,
    ready: VecDeque<(Mac, Packet)>,
    lost: VecDeque<Packet>,
}

impl Neighbors {
    /// What to do with a packet whose next hop is `address`.
    pub fn resolve(&mut self, now: Instant, address: Address, packet: &Packet) -> Resolution {
        let Some(entry) = self.entries.get_mut(&address) else {
            return self.begin(now, address, packet);
        };
        entry.used = now;
        match entry.state {
            State::Reachable { until } if now < until => return Resolution::Send(entry.mac),
            State::Probe { .. } => return Resolution::Send(entry.mac),
            State::Reachable { .. } | State::Stale => {
                entry.state = State::Probe { asked: 1, next: now + RETRANSMIT };
                let mac = entry.mac;
                self.asks.push_back(Ask { target: address, to: Some(mac) });
                self.wake_at(now + RETRANSMIT);
                return Resolution::Send(mac);
            }
            State::Failed { until } if now < until => return Resolution::Failed,
            State::Failed { .. } => self.ask_everybody(now, address),
            State::Incomplete { .. } => {}
        }
        self.wait(address, packet)
    }

    /// An answer came that was sent to us.
    ///
    /// It is believed while a question is open. Otherwise it is a [claim](Self::claimed).
    pub fn answered(&mut self, now: Instant, answer: Answer) {
        let Some(entry) = self.entries.get_mut(&answer.address) else { return };
        let mac = answer.mac.unwrap_or(entry.mac);
        match entry.state {
            State::Incomplete { .. } if answer.mac.is_none() => return,
            State::Probe { .. } if mac != entry.mac && !answer.overrides => return,
            State::Incomplete { .. } | State::Probe { .. } => {}
            State::Reachable { .. } | State::Stale | State::Failed { .. } => {
                self.claimed(answer.address, mac);
                return;
            }
        }
        entry.state = State::Reachable { until: now + REACHABLE };
        entry.mac = mac;
        self.release(answer.address);
        self.wake_at(now + UNUSED);
    }

    /// A host of the link has put a question to one of our addresses, and so told of itself.
    pub fn heard(&mut self, now: Instant, address: Address, mac: Mac) {
        let Some(entry) = self.entries.get_mut(&address) else {
            if self.has_room(false) {
                let waiting = VecDeque::new();
                self.entries
                    .insert(address, Entry { state: State::Stale, mac, used: now, waiting });
                self.wake_at(now + UNUSED);
            }
            return;
        };
        match entry.state {
            State::Reachable { until } if now < until => self.claimed(address, mac),
            State::Probe { .. } => {}
            _ => {
                entry.state = State::Stale;
                entry.mac = mac;
                self.release(address);
                self.wake_at(now + UNUSED);
            }
        }
    }

    /// Somebody says, unasked, that it has this address. If that contradicts what is known, what is
    /// known is kept, and the next packet makes it be asked anew (RFC 4861 section 7.2.5).
    pub fn claimed(&mut self, address: Address, mac: Mac) {
        if let Some(entry) = self.entries.get_mut(&address)
            && matches!(entry.state, State::Reachable { .. })
            && entry.mac != mac
        {
            entry.state = State::Stale;
        }
    }

    /// Asks again, gives up, and forgets, as the time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        let mut given_up = Vec::new();
        for (address, entry) in &mut self.entries {
            let (asked, next, known) = match &mut entry.state {
                State::Incomplete { asked, next } => (asked, next, None),
                State::Probe { asked, next } => (asked, next, Some(entry.mac)),
                _ => continue,
            };
            if now < *next {
                continue;
            }
            if *asked >= MAX_ASKS {
                given_up.push(*address);
                continue;
            }
            *asked += 1;
            *next = now + RETRANSMIT;
            let to = known.filter(|_| *asked < MAX_ASKS);
            self.asks.push_back(Ask { target: *address, to });
        }
        for address in given_up {
            self.give_up(now, address);
        }
        self.entries.retain(|_, entry| match entry.state {
            State::Failed { until } => now < until,
            State::Reachable { .. } | State::Stale => now < entry.used + UNUSED,
            _ => true,
        });
        self.deadline = self.entries.values().map(Entry::deadline).min();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next question to ask.
    pub fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// The next packet that has waited long enough, and where it goes.
    pub fn poll_ready(&mut self) -> Option<(Mac, Packet)> {
        self.ready.pop_front()
    }

    /// The next packet that waited in vain.
    pub fn poll_lost(&mut self) -> Option<Packet> {
        self.lost.pop_front()
    }

    /// Entries, whatever their state.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if nobody is known nor asked for.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn begin(&mut self, now: Instant, address: Address, packet: &Packet) -> Resolution {
        if !self.has_room(true) {
            return Resolution::Full;
        }
        let state = State::Stale;
        let entry = Entry { state, mac: Mac::ZERO, used: now, waiting: VecDeque::new() };
        self.entries.insert(address, entry);
        self.ask_everybody(now, address);
        self.wait(address, packet)
    }

    fn ask_everybody(&mut self, now: Instant, address: Address) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.state = State::Incomplete { asked: 1, next: now + RETRANSMIT };
            self.asks.push_back(Ask { target: address, to: None });
            self.wake_at(now + RETRANSMIT);
        }
    }

    /// Keeps a copy of the packet. RFC 1122 section 2.3.2.2 wants the latest kept.
    fn wait(&mut self, address: Address, packet: &Packet) -> Resolution {
        let Some(entry) = self.entries.get_mut(&address) else { return Resolution::Full };
        let mut instead = false;
        if entry.waiting.len() >= MAX_WAITING
            && let Some(oldest) = entry.waiting.pop_front()
        {
            self.waiting_bytes -= oldest.len();
            instead = true;
        }
        if self.waiting_bytes + packet.len() > MAX_WAITING_BYTES {
            return Resolution::Full;
        }
        self.waiting_bytes += packet.len();
        // Not a clone: the buffer that it was read into has room for the longest packet.
        let mut copy = Packet::with_capacity(packet.len());
        copy.copy_from(packet);
        entry.waiting.push_back(copy);
        Resolution::Waits { instead }
    }

    /// Lets go what waited for a neighbour whose hardware address is known now.
    fn release(&mut self, address: Address) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        let mac = entry.mac;
        for packet in entry.waiting.drain(..) {
            self.waiting_bytes -= packet.len();
            self.ready.push_back((mac, packet));
        }
    }

    fn give_up(&mut self, now: Instant, address: Address) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        entry.state = State::Failed { until: now + NEGATIVE };
        for packet in entry.waiting.drain(..) {
            self.waiting_bytes -= packet.len();
            if self.lost.len() < MAX_LOST {
                self.lost.push_back(packet);
            }
        }
    }

    /// Makes room for one more entry; one that others wait for, or that is used, gives way only to what
    /// is `wanted` by ourselves.
    fn has_room(&mut self, wanted: bool) -> bool {
        if self.entries.len() < MAX_NEIGHBORS {
            return true;
        }
        let gives_way = self.entries.iter().filter(|(_, entry)| match entry.state {
            State::Failed { .. } | State::Stale => true,
            State::Reachable { .. } => wanted,
            State::Incomplete { .. } | State::Probe { .. } => false,
        });
        let rank = |entry: &Entry| (matches!(entry.state, State::Reachable { .. }), entry.used);
        let first = gives_way.min_by_key(|(_, entry)| rank(entry)).map(|(address, _)| *address);
        first.is_some_and(|address| self.entries.remove(&address).is_some())
    }

    fn wake_at(&mut self, at: Instant) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }
}

impl Entry {
    fn deadline(&self) -> Instant {
        match self.state {
            State::Incomplete { next, .. } | State::Probe { next, .. } => next,
            State::Failed { until } => until,
            State::Reachable { .. } | State::Stale => self.used + UNUSED,
        }
    }
}
