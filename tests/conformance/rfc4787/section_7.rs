//! Application level gateways.

use nat::Verdict;
use tests::bed::{Bed, config};
use tests::payload::passes;

tests::conforms! {
    /// Application level gateways for UDP are off: there are none, and SIP that names addresses and
    /// ports passes byte for byte, both ways.
    U15 Always "RFC 4787 REQ-10"
    fn sip_passes_byte_for_byte() {
        for (client, vip, backend, snat) in [
            ("10.1.0.5", "10.99.0.1", "10.2.0.11", "10.99.0.250"),
            ("[fd01::5]", "[fd99::1]", "[fd02::11]", "[fd99::250]"),
        ] {
            let mut bed = Bed::new(config());
            let invite = format!(
                "INVITE sip:bob@{vip} SIP/2.0\r\nVia: SIP/2.0/UDP {client}:5060\r\n\
                 Contact: <sip:alice@{client}:5060>\r\n\r\nc=IN IP4 {client}\r\nm=audio 40000 RTP/AVP 0\r\n"
            );
            let to_vip = format!("udp {client}:5060 > {vip}:53");
            assert_eq!(passes(&mut bed, 0, &to_vip, invite.as_bytes()), Verdict::Forward);
            let port = bed.flow().snat.port;
            let ok = format!("SIP/2.0 200 OK\r\nContact: <sip:bob@{backend}:8080>\r\n\r\nc=IN IP4 {backend}\r\n");
            let back = format!("udp {backend}:8080 > {snat}:{port}");
            assert_eq!(passes(&mut bed, 1, &back, ok.as_bytes()), Verdict::Forward);
        }
    }

    /// Nothing in a datagram is taken for an address: not the client's own in its binary form.
    U15 Always "RFC 4787 REQ-10a"
    fn an_address_in_binary_passes_byte_for_byte() {
        let mut bed = Bed::new(config());
        let addresses = [10, 1, 0, 5, 0x9c, 0x40, 10, 99, 0, 1, 0, 53, 10, 2, 0, 11, 0x1f, 0x90];
        let to_vip = "udp 10.1.0.5:40000 > 10.99.0.1:53";
        assert_eq!(passes(&mut bed, 0, to_vip, &addresses), Verdict::Forward);
    }
}
