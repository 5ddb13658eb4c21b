//! Header edits. Every offset comes from [`Headers`], which has checked it.

use netstack::Packet;
use netstack::packet::Checksum;
use netstack::wire::checksum::Delta;
use netstack::wire::fields::{icmp_field, tcp_field, udp_field};
use netstack::wire::headers::{ICMPV4, ICMPV6, TCP, UDP, V4_CHECKSUM, V4_TTL, V6_HOP_LIMIT};
use netstack::wire::{Address, Family, Headers, Protocol, Tuple};

/// What is written over a packet's addresses and ports, and how its checksums change.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    /// The tuple after.
    pub to: Tuple,
    /// Change of the sums over the addresses.
    pub addresses: Delta,
    /// Change of the sums over the ports.
    pub ports: Delta,
    /// Takes one off TTL or hop limit, which must be above one.
    pub hop: bool,
}

/// What one less of TTL does to the sum of an IPv4 header.
const HOP: Delta = Delta::of_u16(0x0100, 0);

impl Rewrite {
    /// Rewrites a packet whose headers were parsed as `headers`.
    #[inline]
    pub fn apply(&self, packet: &mut Packet, headers: &Headers) {
        let partial = matches!(packet.offload.checksum, Checksum::Partial { .. });
        let data = packet.data_mut();
        write_addresses(data, headers.family, &self.to);
        match headers.family {
            Family::V4 if self.hop => {
                data[V4_TTL] -= 1;
                update(data, V4_CHECKSUM, |sum| self.addresses.and(HOP).apply(sum));
            }
            Family::V4 => update(data, V4_CHECKSUM, |sum| self.addresses.apply(sum)),
            Family::V6 => data[V6_HOP_LIMIT] -= u8::from(self.hop),
        }
        self.apply_transport(&mut data[headers.l4()..], headers.protocol, partial);
    }

    /// Rewrites a transport header of which only the first bytes may be there, as in an ICMP error's
    /// quote: a field that is not there is left alone.
    #[inline]
    pub fn apply_transport(&self, segment: &mut [u8], protocol: u8, partial: bool) {
        let (ports, checksum): (&[u16], usize) = match protocol {
            TCP => (&[self.to.src_port, self.to.dst_port], tcp_field::CHECKSUM.start),
            UDP => (&[self.to.src_port, self.to.dst_port], udp_field::CHECKSUM.start),
            ICMPV4 | ICMPV6 => (&[self.to.src_port], icmp_field::CHECKSUM.start),
            _ => return,
        };
        let at = if matches!(protocol, ICMPV4 | ICMPV6) { icmp_field::ID.start } else { 0 };
        for (i, port) in ports.iter().enumerate() {
            let at = at + 2 * i;
            if let Some(field) = segment.get_mut(at..at + 2) {
                field.copy_from_slice(&port.to_be_bytes());
            }
        }
        // ICMPv4 has no pseudo-header: its sum does not know the addresses.
        let whole = if protocol == ICMPV4 { self.ports } else { self.addresses.and(self.ports) };
        if segment.len() < checksum + 2 {
            return;
        }
        update(segment, checksum, |sum| match (partial, protocol, sum) {
            (true, ..) => self.addresses.apply_partial(sum),
            // No checksum over IPv4; a UDP checksum that comes out as zero is sent as all ones.
            (false, UDP, 0) => 0,
            (false, UDP, _) => match whole.apply(sum) {
                0 => 0xffff,
                sum => sum,
            },
            (false, ..) => whole.apply(sum),
        });
        if protocol == ICMPV4 {
            mend_zero(segment);
        }
    }
}

/// Makes the checksum of an `ICMPv4` message right whose every other byte is zero, as those of an echo
/// reply can be. No pseudo-header adds to its sum, which is zero then: the one case in which a checksum
/// of zero is not as good as one of all ones.
pub fn mend_zero(message: &mut [u8]) {
    if message.iter().all(|&byte| byte == 0) {
        message[icmp_field::CHECKSUM].fill(0xff);
    }
}

/// Writes the addresses of an IP header of this family.
pub fn write_addresses(data: &mut [u8], family: Family, to: &Tuple) {
    match family {
        Family::V4 => {
            data[12..16].copy_from_slice(&to.src.mapped_octets()[12..]);
            data[16..20].copy_from_slice(&to.dst.mapped_octets()[12..]);
        }
        Family::V6 => {
            data[8..24].copy_from_slice(to.src.mapped_octets());
            data[24..40].copy_from_slice(to.dst.mapped_octets());
        }
    }
}

/// [`decrement_ttl`], or nothing if this hop is hidden; false if the packet may go no further.
#[must_use]
pub fn pass_hop(packet: &mut Packet, headers: &Headers, hidden: bool) -> bool {
    if hidden { may_pass_hop(headers, hidden) } else { decrement_ttl(packet, headers) }
}

/// What [`pass_hop`] would say.
pub const fn may_pass_hop(headers: &Headers, hidden: bool) -> bool {
    headers.ttl > !hidden as u8
}

/// Gives a packet other addresses, and an IPv4 header its sum; no transport checksum is changed.
pub fn readdress(packet: &mut Packet, headers: &Headers, src: Address, dst: Address) {
    let data = packet.data_mut();
    let sum = |old: Address, new: Address| Delta::default().replace(old.octets(), new.octets());
    let delta = sum(headers.src, src).and(sum(headers.dst, dst));
    let to = Tuple { protocol: Protocol::Icmp, src, dst, src_port: 0, dst_port: 0 };
    write_addresses(data, headers.family, &to);
    if headers.family == Family::V4 {
        update(data, V4_CHECKSUM, |sum| delta.apply(sum));
    }
}

/// Sets TTL or hop limit.
pub fn set_ttl(packet: &mut Packet, headers: &Headers, ttl: u8) {
    let data = packet.data_mut();
    match headers.family {
        Family::V4 => {
            let protocol = data[V4_TTL + 1];
            let word = |ttl| u16::from_be_bytes([ttl, protocol]);
            let delta = Delta::default().replace_u16(word(data[V4_TTL]), word(ttl));
            data[V4_TTL] = ttl;
            update(data, V4_CHECKSUM, |sum| delta.apply(sum));
        }
        Family::V6 => data[V6_HOP_LIMIT] = ttl,
    }
}

/// Lowers TTL or hop limit by one; false if that leaves none (the packet is then unchanged).
#[must_use]
pub fn decrement_ttl(packet: &mut Packet, headers: &Headers) -> bool {
    if headers.ttl <= 1 {
        return false;
    }
    set_ttl(packet, headers, headers.ttl - 1);
    true
}

fn update(data: &mut [u8], at: usize, change: impl FnOnce(u16) -> u16) {
    let field = u16::from_be_bytes([data[at], data[at + 1]]);
    data[at..at + 2].copy_from_slice(&change(field).to_be_bytes());
}
