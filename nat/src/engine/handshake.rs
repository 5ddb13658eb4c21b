//! SYNs that their backend refuses or does not answer.
//!
//! # Theory of operation
//!
//! A client's SYN is kept while its handshake lasts, if there is another backend to offer it to. That
//! is done when the backend answers with a RST, when it is said to be unreachable, and when the client
//! sends its SYN again after [`SYN_PATIENCE`] without an answer, or sooner if the backend has been taken
//! out since: the client's own timer (1 s for the first, RFC 6298 section 2) drives it, so there is
//! none here. The flow keeps its client's side and gets a new backend and source port.
//!
//! The backend that was left may still answer. Its SYN belongs to no flow any more: under full NAT it
//! is to an address of ours and gets a RST, which ends its half-open connection; under DNAT it is
//! routed to the client as from a host that the client never spoke to, which sends that RST itself.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::wire::{Headers, Tcp, Transport};
use netstack::{Instant, Packet};

use super::Engine;
use super::track::rewrite_of;
use crate::account::Note;
use crate::flow::tcp::TcpState;
use crate::flow::{Direction, FlowId, Kind, State};
use crate::limits::{PENDING_SYN_LEN, PENDING_SYNS, SYN_ATTEMPTS, SYN_PATIENCE};
use crate::rewrite;
use crate::schedule::Client;
use crate::snat::Left;
use crate::{BackendId, DropReason, Nat, PoolId, Verdict};

/// The SYNs of half-open flows, to be offered to another backend if theirs does not take them.
pub(super) type PendingSyns = HashMap<FlowId, PendingSyn, FixedState>;

/// A client's SYN as it came, and who did not take it.
#[derive(Clone, Debug)]
pub(super) struct PendingSyn {
    packet: Packet,
    seq: u32,
    nat: Nat,
    tried: Vec<BackendId>,
    /// When it was sent to the last of them.
    sent: Instant,
    /// True if that one was sent it twice: what its answer answers cannot be told.
    repeated: bool,
}

impl Engine {
    /// Keeps a copy of a SYN while its handshake lasts, if there is another backend to offer it to.
    pub(super) fn keep_syn(
        &self,
        now: Instant,
        packet: &Packet,
        headers: &Headers,
        pool: PoolId,
        nat: Nat,
        chosen: BackendId,
    ) -> Option<PendingSyn> {
        let worth_it = matches!(headers.transport, Transport::Tcp { flags, .. } if flags.is_initial_syn())
            && self.pools[usize::from(pool.0)].backends().len() > 1
            && packet.len() <= PENDING_SYN_LEN
            && self.pending_syns.len() < PENDING_SYNS;
        let seq = seq_of(packet, headers).filter(|_| worth_it)?;
        let mut copy = Packet::with_capacity(packet.len());
        copy.copy_from(packet);
        Some(PendingSyn { packet: copy, seq, nat, tried: vec![chosen], sent: now, repeated: false })
    }

    /// A backend answered a SYN with a RST, or is said to be unreachable: offers the SYN to another.
    ///
    /// On success `packet` is the client's SYN, rewritten for the next backend. Nothing if there is no
    /// other; then the client is to hear the refusal.
    pub(super) fn backend_refused(
        &mut self,
        now: Instant,
        id: FlowId,
        packet: &mut Packet,
    ) -> Option<Verdict> {
        let (pool, refused) = self.flows.get(id)?.assignment.backend?;
        self.pools[usize::from(pool.0)].connect_failed(now, refused);
        let mut pending = self.pending_syns.remove(&id)?;
        if !self.offer_to_next(now, id, &mut pending) {
            return None;
        }
        packet.copy_from(&pending.packet);
        self.pending_syns.insert(id, pending);
        Some(self.resend_syn(now, id, packet))
    }

    /// Sends a client's SYN to the backend that its flow has now.
    fn resend_syn(&mut self, now: Instant, id: FlowId, packet: &mut Packet) -> Verdict {
        let headers = match Headers::parse(packet) {
            Ok(headers) => headers,
            Err(malformed) => return Verdict::Drop(malformed.into()),
        };
        let Some(flow) = self.flows.get(id) else { return Verdict::Drop(DropReason::NoFlow) };
        if !rewrite::pass_hop(packet, &headers, self.hide_hop) {
            return Verdict::Drop(DropReason::TtlExceeded);
        }
        if flow.kind == Kind::Tunnel {
            return self.offer_wrapped(now, packet, &headers, id);
        }
        let leg = flow.backend_leg;
        self.mtus.clamp_mss([flow.client_leg, leg], packet, &headers);
        rewrite_of(flow, Direction::Forward).apply(packet, &headers);
        self.identifications.renew(packet, &headers);
        self.leave(packet, &headers, leg)
    }

    /// The sequence number of the SYN that a flow's backend has yet to answer, if the SYN was kept.
    pub(super) fn pending_sequence(&self, id: FlowId) -> Option<u32> {
        self.pending_syns.get(&id).map(|pending| pending.seq)
    }

    /// The client sent its SYN again: gives its flow another backend if the SYN is lost on this one.
    /// The packet then goes the way of every packet of the flow.
    pub(super) fn syn_again(
        &mut self,
        now: Instant,
        id: FlowId,
        packet: &Packet,
        headers: &Headers,
    ) {
        let Some(flow) = self.flows.get(id) else { return };
        let Some((pool, backend)) = flow.assignment.backend else { return };
        if flow.state != State::Tcp(TcpState::SynSent)
            || packet.len() > PENDING_SYN_LEN
            // It is refused here, and must not be what another backend is offered.
            || !rewrite::may_pass_hop(headers, self.hide_hop)
        {
            return;
        }
        let Some(seq) = seq_of(packet, headers) else { return };
        let Some(mut pending) = self.pending_syns.remove(&id) else { return };
        pending.packet.copy_from(packet);
        if seq == pending.seq {
            let pool = &mut self.pools[usize::from(pool.0)];
            let unanswered = now - pending.sent >= SYN_PATIENCE;
            if unanswered {
                pool.connect_timed_out(now, backend);
            }
            let leave = unanswered || !pool.is_eligible(backend);
            if !(leave && self.offer_to_next(now, id, &mut pending)) {
                pending.repeated = true;
                pending.sent = if unanswered { now } else { pending.sent };
            }
        } else {
            // Another connection on the same tuple, before the first came about.
            pending =
                PendingSyn { seq, tried: vec![backend], sent: now, repeated: false, ..pending };
        }
        self.pending_syns.insert(id, pending);
    }

    /// A backend answered a SYN with its own.
    pub(super) fn backend_accepted(&mut self, now: Instant, id: FlowId) {
        let pending = self.pending_syns.remove(&id);
        let Some(flow) = self.flows.get(id) else { return };
        let Some((pool, backend)) = flow.assignment.backend else { return };
        let sent = match pending {
            Some(pending) => (!pending.repeated).then_some(pending.sent),
            None => (flow.forward.packets == 1).then_some(flow.created),
        };
        let pool = &mut self.pools[usize::from(pool.0)];
        pool.connect_succeeded(now, backend);
        if let Some(sent) = sent {
            pool.observe(now, backend, now - sent);
        }
    }

    /// Gives a half-open flow the next backend; false if there is none, and nothing has changed.
    fn offer_to_next(&mut self, now: Instant, id: FlowId, pending: &mut PendingSyn) -> bool {
        if pending.tried.len() >= usize::from(SYN_ATTEMPTS) {
            return false;
        }
        let Some(old) = self.flows.get(id).cloned() else { return false };
        let Some((pool, left)) = old.assignment.backend else { return false };
        let asking = Client { address: old.client.address, port: old.client.port };
        let next = self.pools[usize::from(pool.0)].choose(now, asking, &pending.tried);
        let Ok(next) = next else { return false };
        self.note(Note::FailedOver { pool, from: left });
        self.note_choice(now, pool, asking, next);
        let mut new = old.clone();
        if self.assign(now, &mut new, pending.nat, pool, next).is_err() {
            return false;
        }
        if self.flows.lookup(&new.reverse_key()).is_some_and(|(other, _)| other != id) {
            self.unassign(now, &new, Left::Clean);
            return false;
        }
        self.unassign(now, &old, Left::Uncertain);
        self.flows.update(id, |flow| *flow = new);
        pending.tried.push(next);
        (pending.sent, pending.repeated) = (now, false);
        self.stats.syn_failovers += 1;
        true
    }
}

fn seq_of(packet: &Packet, headers: &Headers) -> Option<u32> {
    packet.data().get(headers.l4()..).and_then(Tcp::new_checked).map(|tcp| tcp.seq())
}
