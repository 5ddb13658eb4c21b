//! What the engine did to a packet, and why.
//!
//! # Theory of operation
//!
//! An engine that is asked to ([`Engine::set_accounting`](crate::Engine::set_accounting)) keeps an
//! [`Account`] of the last packet that it was handed. Most of it is seen from outside: the packet and
//! its flow are looked at before and after, so that a packet of a known flow goes exactly the way that
//! it goes when nobody looks. What cannot be seen from outside, such as why it was this backend, the
//! engine notes where it decides: each [`Note`] is of a packet that makes or changes a flow.
//!
//! An account holds numbers, not text: who writes it down calls [`steps`](Account::steps) for people
//! who want every detail and [`brief`](Account::brief) for one line.

mod explain;
mod view;

pub use explain::{Step, Subject};
pub use view::View;

use std::time::Duration;

use netstack::wire::Address;

use crate::flow::{Direction, Flow, FlowId, State, TransportAddr};
use crate::{BackendId, PoolId, ServiceId, Verdict};

/// What became of one packet (see the module's theory of operation).
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The packet as it came; nothing if it could not be read.
    pub before: Option<View>,
    /// The packet as it leaves; nothing if it does not.
    pub after: Option<View>,
    /// The flow that it belongs to.
    pub flow: Option<FlowAccount>,
    /// What was decided on the way, in that order.
    pub notes: Vec<Note>,
    /// What became of it.
    pub verdict: Option<Verdict>,
}

/// A packet's part in its flow.
#[derive(Clone, Debug)]
pub struct FlowAccount {
    /// The flow's name.
    pub id: FlowId,
    /// The way of the packet.
    pub direction: Direction,
    /// The flow as it was before; nothing if the packet made it.
    pub before: Option<State>,
    /// The flow after; nothing if the packet ended it, or made none after all.
    pub after: Option<Flow>,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A service listens on the destination.
    Service(ServiceId),
    /// The packet's addresses are exempt from translation.
    Bypass,
    /// This flow was over, and is forgotten: the packet begins another on its tuple.
    Replaced(FlowId),
    /// This flow gave way, since a limit is reached.
    Evicted(FlowId),
    /// A backend was chosen.
    Chosen {
        /// Its pool.
        pool: PoolId,
        /// The backend.
        backend: BackendId,
        /// Why this one.
        choice: Choice,
    },
    /// What a backend sees was mapped.
    Mapped {
        /// Address and port of the SNAT pool.
        source: TransportAddr,
        /// They were still held by a flow that had ended.
        early: bool,
        /// They are of the address that the client's other ports are of.
        paired: bool,
    },
    /// A backend refused or did not answer this flow's SYN, which goes to the next.
    FailedOver {
        /// The pool of both.
        pool: PoolId,
        /// Who did not take it.
        from: BackendId,
    },
    /// The packet is of a connection older than this process.
    PickedUp,
    /// An ICMP error about a packet of this flow.
    About(FlowId, Direction),
    /// The answer of this backend to a health probe.
    Probe,
}

/// Why a backend was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Affinity: it is the client's already.
    Affinity,
    /// In turn.
    RoundRobin,
    /// Drawn by weight.
    Random,
    /// It had the fewest open flows by weight.
    LeastConnections {
        /// Its open flows before this one.
        active: u32,
    },
    /// The less loaded of two that were drawn.
    P2c {
        /// Its open flows before this one.
        active: u32,
    },
    /// The one of two with the lower cost.
    Ewma {
        /// Its open flows before this one.
        active: u32,
        /// What its flows have waited lately, if any has answered.
        latency: Option<Duration>,
    },
    /// By a hash of the client's address.
    SourceHash,
    /// By a hash of the client's address and port.
    Maglev {
        /// The place in the table that the client hashes to.
        place: u32,
        /// The places of the table.
        of: u32,
    },
}

impl Account {
    /// Forgets the last packet.
    pub(crate) fn clear(&mut self) {
        let mut notes = std::mem::take(&mut self.notes);
        notes.clear();
        *self = Self { notes, ..Self::default() };
    }

    /// The packet made its flow.
    pub fn is_new_flow(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.before.is_none() && flow.after.is_some())
    }

    /// The service that the packet is of, if one is known.
    pub fn service(&self) -> Option<ServiceId> {
        let flow = self.flow.as_ref().and_then(|flow| flow.after.as_ref());
        flow.and_then(|flow| flow.assignment.service).or_else(|| {
            self.notes.iter().find_map(|note| match note {
                Note::Service(service) => Some(*service),
                _ => None,
            })
        })
    }

    /// The backend of the packet's flow.
    pub fn backend(&self) -> Option<(PoolId, BackendId)> {
        self.flow.as_ref()?.after.as_ref()?.assignment.backend
    }

    /// The state of the packet's flow before and after, if it changed.
    pub fn transition(&self) -> Option<(Option<State>, State)> {
        let flow = self.flow.as_ref()?;
        let after = flow.after.as_ref()?.state;
        (flow.before != Some(after)).then_some((flow.before, after))
    }

    /// The address of the client of the packet's flow.
    pub fn client(&self) -> Option<Address> {
        self.flow.as_ref()?.after.as_ref().map(|flow| flow.client.address)
    }
}
