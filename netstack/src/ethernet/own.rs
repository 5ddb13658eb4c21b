//! Our addresses on a link: probed, announced, answered for, defended.
//!
//! # Theory of operation
//!
//! An IPv6 address is *tentative* for a second: it is asked for once, and if somebody has it, or asks for
//! it at the same time, it is never used on this link (RFC 4862 section 5.4). An IPv4 address is used at
//! once, as Linux does: who moves an address here wants its traffic, and the seven seconds of RFC 5227
//! section 2.1 would be seven of silence. Both are announced [`ANNOUNCEMENTS`] times, which moves the
//! entries of hosts that knew somebody else by the address.
//!
//! If somebody claims an address that is ours already, we announce it again and go on (RFC 5227 section
//! 2.4 c), but no more often than every [`DEFEND_INTERVAL`]: two that are stubborn would fill the link.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::time::Instant;
use crate::wire::Address;

/// How long somebody has to object to an IPv6 address (one `RetransTimer`).
pub const PROBE_TIME: Duration = Duration::from_secs(1);
/// Announcements of an address at the start (`ANNOUNCE_NUM`, RFC 5227 section 1.1).
pub const ANNOUNCEMENTS: u8 = 2;
/// Time between them (`ANNOUNCE_INTERVAL`).
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// Least time between two defences of an address (`DEFEND_INTERVAL`).
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// Something to say of an address, to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speak {
    /// "Does anybody have it?"
    Probe(Address),
    /// "I have it."
    Announce(Address),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Tentative { until: Instant },
    Valid { announcements: u8, next: Instant },
    Duplicate,
}

#[derive(Debug)]
struct Own {
    state: State,
    defended: Option<Instant>,
}

/// The addresses (see the module's theory of operation).
#[derive(Debug, Default)]
pub struct OwnAddresses {
    addresses: BTreeMap<Address, Own>,
    speaks: VecDeque<Speak>,
    deadline: Option<Instant>,
}

impl OwnAddresses {
    /// These addresses, from now on.
    pub fn new(now: Instant, addresses: impl IntoIterator<Item = Address>) -> Self {
        let mut own = Self::default();
        for address in addresses {
            let state = if address.is_v4() {
                State::Valid { announcements: ANNOUNCEMENTS, next: now }
            } else {
                State::Tentative { until: now + PROBE_TIME }
            };
            let before = own.addresses.insert(address, Own { state, defended: None });
            if before.is_none() && !address.is_v4() {
                own.speaks.push_back(Speak::Probe(address));
            }
        }
        own.deadline = own.next_deadline();
        own
    }

    /// True if the address is one of them, whatever has become of it.
    pub fn contains(&self, address: Address) -> bool {
        self.addresses.contains_key(&address)
    }

    /// True if we answer for the address: it is one of them, and nobody has objected.
    pub fn answers(&self, address: Address) -> bool {
        let own = self.addresses.get(&address);
        own.is_some_and(|own| matches!(own.state, State::Valid { .. }))
    }

    /// Somebody else has an address of ours, or is about to.
    pub fn contested(&mut self, now: Instant, address: Address) {
        let Some(own) = self.addresses.get_mut(&address) else { return };
        match own.state {
            State::Tentative { .. } => own.state = State::Duplicate,
            State::Valid { .. } if own.defended.is_none_or(|at| at + DEFEND_INTERVAL <= now) => {
                own.defended = Some(now);
                self.speaks.push_back(Speak::Announce(address));
            }
            State::Valid { .. } | State::Duplicate => {}
        }
    }

    /// Addresses that somebody else was found to have.
    pub fn duplicates(&self) -> impl Iterator<Item = Address> {
        let duplicate = |own: &Own| own.state == State::Duplicate;
        self.addresses.iter().filter(move |(_, own)| duplicate(own)).map(|(address, _)| *address)
    }

    /// Takes possession and announces, as the time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        for (address, own) in &mut self.addresses {
            if let State::Tentative { until } = own.state
                && until <= now
            {
                own.state = State::Valid { announcements: ANNOUNCEMENTS, next: now };
            }
            if let State::Valid { announcements, next } = &mut own.state
                && *announcements > 0
                && *next <= now
            {
                *announcements -= 1;
                *next = now + ANNOUNCE_INTERVAL;
                self.speaks.push_back(Speak::Announce(*address));
            }
        }
        self.deadline = self.next_deadline();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next thing to say.
    pub fn poll_speak(&mut self) -> Option<Speak> {
        self.speaks.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadline = |own: &Own| match own.state {
            State::Tentative { until } => Some(until),
            State::Valid { announcements: 1.., next } => Some(next),
            State::Valid { .. } | State::Duplicate => None,
        };
        self.addresses.values().filter_map(deadline).min()
    }
}
