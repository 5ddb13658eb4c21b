//! What the sender of a packet hears if no host of the link takes it.

use nat::icmp::{self, IcmpError};
use netstack::Packet;
use netstack::wire::Headers;

/// The longest error: that of IPv6 (RFC 4443 section 2.4 c), which every link carries.
const MAX_ERROR: usize = 1_280;

/// Turns a packet that could not be delivered into "host unreachable" about it; false if nobody may be
/// told (see [`icmp::may_report`]).
///
/// The error speaks in the name of the host that is missing. It is handed to the engine as if it had
/// come by the leg that the packet should have left by, and goes the way of every error about a
/// translated packet: to the client, from the address that the client knows; or it moves a SYN to
/// another backend.
pub(super) fn report(packet: &mut Packet) -> bool {
    packet.id = 0;
    match Headers::parse(packet) {
        Ok(headers) if icmp::may_report(packet, &headers) => {
            let missing = headers.dst;
            icmp::error(packet, &headers, missing, IcmpError::HostUnreachable, MAX_ERROR);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use netstack::wire::text::packet;

    #[test]
    fn the_sender_is_told_in_the_name_of_the_host_that_is_missing() {
        for (sent, code) in [
            ("tcp 10.2.0.250:1024 > 10.2.0.11:80 S", "3/1"),
            ("udp [fd02::250]:1024 > [fd02::11]:53", "1/0"),
        ] {
            let mut lost = packet(sent).unwrap();
            let (from, to) = {
                let headers = Headers::parse(&lost).unwrap();
                (headers.src, headers.dst)
            };
            assert!(report(&mut lost), "{sent}");
            let headers = Headers::parse(&lost).unwrap();
            assert_eq!((headers.src, headers.dst), (to, from));
            assert_eq!(headers.transport, netstack::wire::Transport::IcmpError);
            let [kind, of] = [0, 1].map(|i| lost.data()[headers.l4() + i]);
            assert_eq!(format!("{kind}/{of}"), code);
        }
    }

    #[test]
    fn of_an_error_nobody_is_told() {
        let mut lost = packet("udp 10.2.0.250:1024 > 10.2.0.11:53").unwrap();
        assert!(report(&mut lost));
        assert!(!report(&mut lost));
    }
}
