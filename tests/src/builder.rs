//! Packets from the packet line, and back.

use netstack::Packet;
use netstack::packet::LegId;
use netstack::wire::Headers;
use netstack::wire::text::{
    self, Body, ChecksumSpec, Description, Frag, IpSpec, Line, PacketSpec, Payload,
};

/// The packet of a line, on leg 0.
///
/// # Panics
/// If the line is wrong, with the wrong part underlined.
#[track_caller]
pub fn packet(line: &str) -> Packet {
    match text::packet(line) {
        Ok(packet) => packet,
        Err(error) => panic!("not a packet line\n{}", error.underline(line)),
    }
}

/// The packet of a line, on a leg.
///
/// # Panics
/// As [`packet`].
#[track_caller]
pub fn packet_on(leg: u16, line: &str) -> Packet {
    let mut packet = packet(line);
    packet.leg = LegId(leg);
    packet
}

/// The line of a packet, the payload as a length.
pub fn line(packet: &Packet) -> String {
    Line::of(packet).to_string()
}

/// The line that reads back as the same bytes.
pub fn exact(packet: &Packet) -> String {
    Line::exact(packet).to_string()
}

/// The packet of a line, cut into fragments that carry `size` bytes each, in order.
///
/// The transport header is in the first (if it fits there), with the checksum and the length of the
/// whole; the IP header of each is that of the line.
///
/// # Panics
/// If the line is wrong, malformed or already a fragment, or `size` is no multiple of 8.
#[track_caller]
pub fn fragments(line: &str, size: usize) -> Vec<Packet> {
    assert!(
        size > 0 && size.is_multiple_of(8),
        "fragments carry a multiple of 8 bytes, not {size}"
    );
    let whole = packet(line);
    let headers = Headers::parse(&whole).unwrap_or_else(|e| panic!("{line}: {}", e.name()));
    let Ok(Description::Packet(spec)) = text::parse(line) else { panic!("{line}: no IP packet") };
    assert!(spec.ip.frag.is_none(), "{line}: a fragment");
    let segment = &whole.data()[headers.l4()..headers.total_len()];
    let piece = |(index, bytes): (usize, &[u8])| {
        let offset = index * size;
        let frag = Frag { offset: offset as u16, more: offset + bytes.len() < segment.len() };
        let piece = PacketSpec {
            ip: IpSpec { frag: Some(frag), ..spec.ip.clone() },
            body: Body::Raw { protocol: headers.protocol },
            payload: Payload { bytes: bytes.to_vec(), len: bytes.len() },
            checksum: ChecksumSpec::Complete,
            sum: None,
            gso: None,
            ..*spec
        };
        piece.build().unwrap_or_else(|e| panic!("{line}: {e}"))
    };
    segment.chunks(size).enumerate().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use netstack::wire::Transport;

    #[test]
    fn a_line_is_a_packet_and_back() {
        let text = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=1000 mss=1460 ttl=64";
        assert_eq!(line(&packet(text)), text);
        assert_eq!(packet_on(3, text).leg, LegId(3));
        assert_eq!(
            exact(&packet("udp [fd99::1]:1 > [fd99::2]:2 data=\"x\"")),
            "udp [fd99::1]:1 > [fd99::2]:2 data=\"x\" ttl=64"
        );
    }

    #[test]
    #[should_panic(
        expected = "                                  ^^^ ttl is a number from 0 to 255"
    )]
    fn a_wrong_line_panics_with_the_word_underlined() {
        packet("tcp 10.0.0.1:1 > 10.0.0.2:2 S ttl=300");
    }

    #[test]
    fn fragments_hold_the_whole() {
        for (text, first) in [
            ("udp 10.1.0.5:5000 > 10.99.0.1:53 len=3000 ipid=7 df", 20),
            ("udp [fd99::1]:5000 > [fd99::2]:53 len=3000 ext=0:010400000000", 48),
        ] {
            let (whole, pieces) = (packet(text), fragments(text, 1400));
            let header = if first == 20 { 20 } else { 56 };
            let joined: Vec<u8> =
                pieces.iter().flat_map(|piece| piece.data()[header..].to_vec()).collect();
            assert_eq!(joined, whole.data()[first..]);
            assert_eq!(pieces.len(), 3);
            for piece in &pieces {
                assert_eq!(Headers::parse(piece).unwrap().transport, Transport::Fragment);
            }
        }
        let text = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=16 ipid=7";
        let lines: Vec<_> = fragments(text, 16).iter().map(line).collect();
        assert_eq!(
            lines[0],
            "udp 10.1.0.5:5000 > 10.99.0.1:53 udplen=24 len=8 ttl=64 ipid=7 frag=0+"
        );
        assert_eq!(lines[1], "udp 10.1.0.5 > 10.99.0.1 len=8 ttl=64 ipid=7 frag=16");
    }
}
