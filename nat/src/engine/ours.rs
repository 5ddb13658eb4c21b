//! Packets to addresses of our own that no service takes, and the errors we send.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use netstack::wire::{Address, Family, Headers, TcpFlags, Transport};
use netstack::{Instant, Packet};

use super::Engine;
use crate::divert::{LOCAL_V4, LOCAL_V6};
use crate::icmp::{self, IcmpError};
use crate::{Config, DropReason, ServiceConfig, Verdict};

/// The addresses that balun answers for: VIPs, the SNAT pool, those of legs that no kernel answers for, and
/// its own connections' stand-ins. What
/// services listen on by prefix is not among them: see [`listen`](crate::listen).
#[derive(Clone, Debug)]
pub(super) struct OwnAddresses {
    set: HashSet<Address, FixedState>,
    legs: Vec<Address>,
    v4: Option<Address>,
    v6: Option<Address>,
}

impl OwnAddresses {
    pub(super) fn new(config: &Config) -> Self {
        let vips: Vec<_> = config.services.iter().flat_map(ServiceConfig::hosts).collect();
        let listed = vips.iter().chain(&config.snat.addresses).copied();
        let set = HashSet::with_hasher(FixedState::with_seed(config.seed));
        let legs = config.legs.iter().flat_map(|leg| &leg.own).copied().collect();
        let mut own = Self { set, legs, v4: None, v6: None };
        own.set(listed);
        own
    }

    /// Replaces all of them but those of legs.
    pub(super) fn set(&mut self, listed: impl Iterator<Item = Address> + Clone) {
        self.set.clear();
        self.set.extend(listed.clone());
        self.set.extend(&self.legs);
        self.set.extend([Address::from_v4(LOCAL_V4), Address::from_v6(LOCAL_V6)]);
        self.v4 = listed.clone().find(|a| a.is_v4());
        self.v6 = { listed }.find(|a| !a.is_v4());
    }

    pub(super) fn contains(&self, address: Address) -> bool {
        self.set.contains(&address)
    }

    /// One to speak from when a packet does not name one of them.
    pub(super) const fn any(&self, family: Family) -> Option<Address> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// True for the source of this process's own connections, before they are translated.
pub(super) fn is_stand_in(address: Address) -> bool {
    [Address::from_v4(LOCAL_V4), Address::from_v6(LOCAL_V6)].contains(&address)
}

impl Engine {
    /// Answers a packet to an address of ours on which no service took it.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
    ) -> Verdict {
        match headers.transport {
            Transport::Echo { request: true, .. } => {
                icmp::echo_reply(packet, headers);
                self.identifications.renew(packet, headers);
                let leg = self.leg_to(headers.src, packet.leg);
                match self.leave(packet, headers, leg) {
                    Verdict::Forward => Verdict::Reply,
                    other => other,
                }
            }
            Transport::Tcp { flags, .. } if flags.contains(TcpFlags::RST) => {
                Verdict::Drop(DropReason::NoFlow)
            }
            Transport::Tcp { flags, .. }
                if flags.is_initial_syn() && self.unsolicited.covers(headers.dst) =>
            {
                self.hold_syn(now, packet, headers)
            }
            Transport::Tcp { flags, .. } => {
                let reason =
                    if flags.is_initial_syn() { DropReason::NoService } else { DropReason::NoFlow };
                self.reject_reset(now, packet, headers, reason)
            }
            Transport::Udp { .. } => {
                self.reject(now, packet, headers, IcmpError::PortUnreachable, DropReason::NoService)
            }
            Transport::Echo { .. } => Verdict::Drop(DropReason::NoFlow),
            _ => Verdict::Drop(DropReason::ProtocolUnsupported),
        }
    }

    /// Refuses a TCP segment with a RST, if the budget of errors allows.
    pub(super) fn reject_reset(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        reason: DropReason,
    ) -> Verdict {
        if !self.errors.take(now, headers.src) {
            return Verdict::Drop(DropReason::RateLimited);
        }
        icmp::reset(packet, headers);
        packet.leg = self.leg_to(headers.src, packet.leg);
        Verdict::Reject(reason)
    }

    /// Refuses a packet with an ICMP error, if there [may be one](icmp::may_report) about it, its leg
    /// wants to hear of it, and the budget allows.
    pub(super) fn reject(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        error: IcmpError,
        reason: DropReason,
    ) -> Verdict {
        let leg = self.leg_to(headers.src, packet.leg);
        if !icmp::may_report(packet, headers) || self.silent_legs.contains(&leg) {
            return Verdict::Drop(reason);
        }
        // RFC 1812 section 4.3.2.4.
        let Some(source) = self.speaks_from(headers.dst) else { return Verdict::Drop(reason) };
        if !self.errors.take(now, headers.src) {
            return Verdict::Drop(DropReason::RateLimited);
        }
        let mtu = self.mtus.of(leg, headers.family);
        icmp::error(packet, headers, source, error, mtu);
        packet.leg = leg;
        Verdict::Reject(reason)
    }

    /// The address of ours to speak from to somebody who has spoken to `asked`: best that one, which he
    /// knows. An address that is not ours, of a prefix that a service listens on, is none: anybody
    /// chooses it, and each one used has a port range of its own.
    pub(super) fn speaks_from(&self, asked: Address) -> Option<Address> {
        if self.own.contains(asked) { Some(asked) } else { self.own_address(asked.family()) }
    }

    /// Refuses a packet whose TTL ends here.
    pub(super) fn reject_ttl(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
    ) -> Verdict {
        self.reject(now, packet, headers, IcmpError::TimeExceeded, DropReason::TtlExceeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LegConfig, Listen, Mode, PoolConfig, PoolId};
    use netstack::wire::{Protocol, text};

    #[test]
    fn an_error_is_about_the_first_fragment_alone() {
        let service = |address: &str| {
            let address = address.parse::<std::net::IpAddr>().unwrap().into();
            let listen = Listen::new(Protocol::Udp, address, 53);
            ServiceConfig::new(listen, Mode::Divert, PoolId(0))
        };
        let services = vec![service("10.99.0.1"), service("fd99::1")];
        let pools = vec![PoolConfig::new("none", Vec::new())];
        let config = Config::new(1, vec![LegConfig::default()], pools, services);
        let mut engine = Engine::new(config).unwrap();
        let refused = Verdict::Reject(DropReason::PacketTooBig);
        let silent = Verdict::Drop(DropReason::PacketTooBig);
        for (ends, df) in [("10.1.0.5 > 10.99.0.1", " df"), ("fd01::5 > fd99::1", "")] {
            for (frag, verdict) in [("0+", refused), ("8+", silent), ("1480", silent)] {
                let line = format!("udp {ends} frag={frag} ipid=7 len=1480{df}");
                let mut packet = text::packet(&line).unwrap();
                let headers = Headers::parse(&packet).unwrap();
                let (now, error) = (Instant::ZERO, IcmpError::TooBig { mtu: 1280 });
                let reason = DropReason::PacketTooBig;
                let found = engine.reject(now, &mut packet, &headers, error, reason);
                assert_eq!(found, verdict, "{line}");
            }
        }
    }
}
