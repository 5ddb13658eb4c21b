//! Packets to addresses of our own that no service takes, and the errors we send.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use netstack::wire::{Address, Family, Headers, TcpFlags, Transport};
use netstack::{Instant, Packet};

use super::Engine;
use crate::divert::{LOCAL_V4, LOCAL_V6};
use crate::icmp::{self, IcmpError};
use crate::{Config, DropReason, Verdict};

/// The addresses that balun answers for: VIPs, the SNAT pool, and its own connections' stand-ins.
#[derive(Debug)]
pub(super) struct OwnAddresses {
    set: HashSet<Address, FixedState>,
    v4: Option<Address>,
    v6: Option<Address>,
}

impl OwnAddresses {
    pub(super) fn new(config: &Config) -> Self {
        let listed = || {
            let vips = config.services.iter().map(|s| s.listen.address);
            vips.chain(config.snat.addresses.iter().copied())
        };
        let mut set = HashSet::with_hasher(FixedState::with_seed(config.seed));
        set.extend(listed());
        set.extend([Address::from_v4(LOCAL_V4), Address::from_v6(LOCAL_V6)]);
        Self { set, v4: listed().find(|a| a.is_v4()), v6: listed().find(|a| !a.is_v4()) }
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
                match self.leave(packet, headers, packet.leg) {
                    Verdict::Forward => Verdict::Reply,
                    other => other,
                }
            }
            Transport::Tcp { flags, .. } if flags.contains(TcpFlags::RST) => {
                Verdict::Drop(DropReason::NoFlow)
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
        if !self.errors.take(now) {
            return Verdict::Drop(DropReason::RateLimited);
        }
        icmp::reset(packet, headers);
        Verdict::Reject(reason)
    }

    /// Refuses a packet with an ICMP error, if there may be one about it and the budget allows.
    ///
    /// RFC 1812 section 4.3.2.7 and RFC 4443 section 2.4 e: never about an ICMP error, a fragment other
    /// than the first, or a packet whose source or destination is not one host. None of these comes
    /// here but errors: fragments and martians were dropped before.
    pub(super) fn reject(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        error: IcmpError,
        reason: DropReason,
    ) -> Verdict {
        if matches!(headers.transport, Transport::IcmpError | Transport::Fragment) {
            return Verdict::Drop(reason);
        }
        // A port is unreachable at the address that was asked; anything else is said by the router.
        let source = if self.own.contains(headers.dst) {
            Some(headers.dst)
        } else {
            self.own_address(headers.family)
        };
        let Some(source) = source else { return Verdict::Drop(reason) };
        if !self.errors.take(now) {
            return Verdict::Drop(DropReason::RateLimited);
        }
        let mtu = self.mtus.of(packet.leg, headers.family);
        icmp::error(packet, headers, source, error, mtu);
        Verdict::Reject(reason)
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
