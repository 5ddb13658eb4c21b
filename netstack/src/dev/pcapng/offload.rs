//! Offload state in a file: a comment, for a block has no other place for it.
//!
//! A super-packet is one packet longer than any MTU. Without the size of its segments a replay could
//! not tell it from a packet that is too long, so a comment says it: `offload gso=1448 ecn`.

use std::fmt::Write;

use crate::packet::{Checksum, Gso, GsoKind, Offload, Packet};
use crate::wire::Family;
use crate::wire::Headers;
use crate::wire::headers::{TCP, UDP};

const PREFIX: &str = "offload ";

/// What is to be said of a packet's offload state; nothing if there is none. `csum=partial` is about
/// the packet as it was: in the file its sum is complete, unless bytes of it are missing.
pub fn offload_comment(offload: &Offload) -> Option<String> {
    let mut words = String::new();
    // Writing to a string cannot fail.
    if let Some(gso) = offload.gso {
        let _ = write!(words, " gso={}{}", gso.size, if gso.ecn { " ecn" } else { "" });
    }
    if matches!(offload.checksum, Checksum::Partial { .. }) {
        words.push_str(" csum=partial");
    }
    (!words.is_empty()).then(|| format!("{}{words}", PREFIX.trim_end()))
}

/// Makes a packet that was read a super-packet again, if one of its comments says that it was one.
/// Its checksum stays complete.
pub fn restore_offload<'a>(packet: &mut Packet, comments: impl Iterator<Item = &'a str>) {
    let mut words = comments.filter_map(|comment| comment.strip_prefix(PREFIX));
    let Some(words) = words.next() else { return };
    let mut size = None;
    let mut ecn = false;
    for word in words.split_whitespace() {
        match word.strip_prefix("gso=") {
            Some(value) => size = value.parse().ok().filter(|size| *size > 0),
            None => ecn |= word == "ecn",
        }
    }
    // With a super-packet's lengths: what is said of it does not tell.
    let Ok(headers) = Headers::parse_bytes(packet.data(), true) else { return };
    let kind = match (headers.protocol, headers.family) {
        (TCP, Family::V4) => GsoKind::TcpV4,
        (TCP, Family::V6) => GsoKind::TcpV6,
        (UDP, _) => GsoKind::Udp,
        _ => return,
    };
    if let Some(size) = size {
        packet.offload.gso = Some(Gso { kind, size, header_len: 0, ecn });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::text;

    #[test]
    fn a_super_packet_is_one_again_after_it_was_read() {
        let line = "tcp 10.1.0.5:40000 > 10.99.0.1:80 P. len=9000 gso=1448 ecn";
        let written = text::packet(line).unwrap();
        let comment = offload_comment(&written.offload).unwrap();
        assert_eq!(comment, "offload gso=1448 ecn csum=partial");
        let mut read = Packet::from_ip(written.data());
        restore_offload(&mut read, ["flow 3", &comment].into_iter());
        let gso = read.offload.gso.unwrap();
        assert_eq!((gso.kind, gso.size, gso.ecn), (GsoKind::TcpV4, 1448, true));
    }

    #[test]
    fn nothing_is_said_of_an_ordinary_packet_and_nothing_is_believed_that_cannot_be() {
        assert_eq!(offload_comment(&Offload::default()), None);
        for comment in ["offload gso=0", "offload gso=x", "offload", "offload csum=partial"] {
            let mut packet = text::packet("udp 10.1.0.5:9 > 10.99.0.1:80 len=9").unwrap();
            restore_offload(&mut packet, [comment].into_iter());
            assert_eq!(packet.offload.gso, None, "{comment}");
        }
    }
}
