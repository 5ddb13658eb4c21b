//! Fragments on the path of a packet: see [`fragment`](crate::fragment).

use netstack::wire::{Family, Fragment, Headers, Transport, fragment};
use netstack::{Instant, Packet};

use super::Engine;
use crate::flow::Kind;
use crate::fragment::{Key, Plan, Step, refusal};
use crate::{DropReason, Mode, Verdict};

impl Engine {
    /// Decides on a fragment.
    pub(super) fn fragment(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
    ) -> Verdict {
        let Some(fragment) = Fragment::of(packet.data(), headers) else {
            return Verdict::Drop(DropReason::FragmentBounds);
        };
        if !(self.own.contains(headers.dst)
            || self.services.cover(headers.dst)
            || self.inside.contains(headers.src))
        {
            // Nobody's: passed on like any packet. About a first one there may be an error, which is
            // known by its transport.
            let first = fragment.is_first().then(|| fragment::first(packet.data(), headers).ok());
            return self.route(now, packet, &first.flatten().unwrap_or(*headers));
        }
        if let Some(reason) = refusal(headers, &fragment) {
            return Verdict::Drop(reason);
        }
        let key = Key::of(headers, &fragment);
        match self.fragments.take_in(now, key, &fragment, packet, &mut self.stats) {
            Step::Decide => self.first_fragment(now, packet, headers, key, &fragment),
            Step::Follow(plan) => self.as_the_first(now, packet, headers, &plan),
            step => self.kept(now, packet, step),
        }
    }

    /// Finds out what becomes of a datagram, now that its first fragment is here.
    fn first_fragment(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        key: Key,
        fragment: &Fragment,
    ) -> Verdict {
        let Ok(first) = fragment::first(packet.data(), headers) else {
            self.fragments.condemn(&key, DropReason::FragmentTiny, &mut self.stats);
            return Verdict::Drop(DropReason::FragmentTiny);
        };
        if self.wants_whole(&first) {
            let step = self.fragments.collect(key, fragment, packet, &mut self.stats);
            return self.kept(now, packet, step);
        }
        let found = self.look_up(&first);
        let verdict = self.classify(now, packet, &first, found);
        match self.plan(packet, &first, verdict) {
            Ok(plan) => self.release(now, &key, plan),
            Err(reason) => self.fragments.condemn(&key, reason, &mut self.stats),
        }
        verdict
    }

    /// True if all fragments are needed to go on: the flow ends in this process, or the message is an
    /// error, whose checksum must be right before it is believed.
    fn wants_whole(&self, first: &Headers) -> bool {
        let Some(tuple) = first.tuple() else { return first.transport == Transport::IcmpError };
        if self.probes.awaits(&tuple) {
            return true;
        }
        if let Some((id, _)) = self.flows.lookup(&tuple) {
            let flow = self.flows.get(id);
            return flow.is_some_and(|flow| !matches!(flow.kind, Kind::Nat | Kind::Tunnel));
        }
        let service = self.services.lookup(tuple.protocol, tuple.dst, tuple.dst_port);
        service.is_some_and(|(_, service)| service.mode == Mode::Divert)
    }

    /// What the others must get, after the first got this verdict and was rewritten; or why there is
    /// nothing for them.
    fn plan(
        &mut self,
        packet: &mut Packet,
        first: &Headers,
        verdict: Verdict,
    ) -> Result<Plan, DropReason> {
        let flow = first.tuple().and_then(|tuple| self.flows.lookup(&tuple));
        if let Some((id, _)) = flow {
            // A part of a SYN cannot be offered to another backend.
            self.pending_syns.remove(&id);
        }
        let reply = match verdict {
            Verdict::Forward => false,
            Verdict::Reply => true,
            Verdict::Reject(reason) | Verdict::Drop(reason) => return Err(reason),
            Verdict::Divert(_) | Verdict::Hold | Verdict::Consumed => {
                return Err(DropReason::ProtocolUnsupported);
            }
        };
        let flow = flow.filter(|_| !reply);
        let is_carried = |id| self.flows.get(id).is_some_and(|flow| flow.kind == Kind::Tunnel);
        if flow.is_some_and(|(id, _)| is_carried(id)) {
            // It is wrapped; what was cut is carried as it is.
            let (src, dst, leg) = (first.src, first.dst, packet.leg);
            let identification = 0; // Each keeps its own.
            return Ok(Plan { src, dst, identification, leg, flow, reply, wrapped: true });
        }
        // It was the packet of a refused SYN, if it is no first fragment any more.
        let gone = DropReason::NoFlow;
        let headers = Headers::parse(packet).map_err(|_| gone)?;
        let fragment = Fragment::of(packet.data(), &headers).ok_or(gone)?;
        let mut identification = fragment.identification;
        // Over IPv4 it is new already.
        if headers.family == Family::V6 && (reply || flow.is_some()) {
            let Headers { src, dst, protocol, .. } = headers;
            identification = self.identifications.next(src, dst, protocol, 1);
            fragment::set_identification(packet.data_mut(), &headers, identification);
        }
        let (src, dst, leg) = (headers.src, headers.dst, packet.leg);
        Ok(Plan { src, dst, identification, leg, flow, reply, wrapped: false })
    }

    /// Sends the held fragments the way of their first.
    fn release(&mut self, now: Instant, key: &Key, plan: Plan) {
        for mut packet in self.fragments.follow(key, plan) {
            let Ok(headers) = Headers::parse(&packet) else { continue };
            // If it is cut, its other pieces go there.
            let behind = self.outbox.len();
            let verdict = self.as_the_first(now, &mut packet, &headers, &plan);
            if let Verdict::Drop(reason) = verdict {
                self.stats.drop_held(reason, 1);
            } else {
                self.stats.released += 1;
                self.outbox.insert(behind, packet);
            }
        }
    }

    /// Does to a fragment what was done to the first of its datagram.
    fn as_the_first(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        plan: &Plan,
    ) -> Verdict {
        if plan.wrapped {
            return match plan.flow {
                Some((id, _)) => self.carry_fragment(now, packet, headers, id),
                None => Verdict::Drop(DropReason::NoFlow),
            };
        }
        if !plan.apply(packet, headers, self.hide_hop) {
            return Verdict::Drop(DropReason::TtlExceeded);
        }
        if let Some((id, direction)) = plan.flow
            && let Some(flow) = self.flows.touch(id)
        {
            let counters = flow.counters_mut(direction);
            counters.packets += 1;
            counters.bytes += packet.len() as u64;
        }
        match self.leave(packet, headers, plan.leg) {
            Verdict::Forward if plan.reply => Verdict::Reply,
            verdict => verdict,
        }
    }

    /// The verdict on a fragment that was kept, if that could be; or on the whole that it completed.
    fn kept(&mut self, now: Instant, packet: &mut Packet, step: Step) -> Verdict {
        match step {
            Step::Held => Verdict::Hold,
            Step::Drop(reason) => Verdict::Drop(reason),
            Step::Whole(pieces) => {
                self.stats.released += pieces.len() as u64;
                let whole = fragment::join(&pieces, packet).map(|()| Headers::parse(packet));
                match whole {
                    Some(Ok(headers)) => {
                        let found = self.look_up(&headers);
                        self.classify(now, packet, &headers, found)
                    }
                    Some(Err(malformed)) => Verdict::Drop(malformed.into()),
                    None => Verdict::Drop(DropReason::FragmentBounds),
                }
            }
            Step::Decide | Step::Follow(_) => Verdict::Drop(DropReason::FragmentBounds),
        }
    }
}
