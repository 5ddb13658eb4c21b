//! Errors of routers on the path.

use super::peer::*;
use super::*;
use crate::wire::text;

impl Peer {
    /// Delivers an error from a router: `what`, about the segment of ours with sequence number `seq`.
    fn complain(&mut self, what: &str, seq: u32) -> TcpVerdict {
        let line = format!(
            "icmp 10.9.9.9 > {} {what} about=(tcp {} > {} . seq={seq} len=1400) cut=28",
            self.local.ip(),
            self.local,
            self.remote
        );
        self.deliver(&text::packet(&line).unwrap())
    }
}

/// A connection with 4,000 bytes on their way, and their first sequence number.
fn in_flight() -> (Peer, u32) {
    let (mut peer, id) = Peer::established(EndpointConfig::new(SEED));
    assert_eq!(peer.endpoint.send(id, &[7; 4_000]), Ok(4_000));
    let seen = peer.seen();
    assert_eq!(seen[0].payload.len(), 1_460);
    (peer, seen[0].seq)
}

#[test]
fn too_big_has_what_is_in_flight_sent_again_in_smaller_pieces() {
    for (mtu, mss) in [(1_000, 960), (0, 536), (68, 216)] {
        let (mut peer, first) = in_flight();
        assert_eq!(peer.complain(&format!("too-big mtu={mtu}"), first), TcpVerdict::Taken);
        let again = peer.seen();
        assert_eq!(again[0].seq, first);
        assert!(again.iter().all(|segment| segment.payload.len() <= mss), "{mtu}");
        assert_eq!(again[0].payload.len(), mss);
    }
}

#[test]
fn an_error_about_no_segment_in_flight_changes_nothing() {
    let (mut peer, first) = in_flight();
    let nothing = TcpVerdict::Dropped(TcpDrop::Error);
    for seq in [first.wrapping_sub(1), first.wrapping_add(4_000), first ^ 1 << 31] {
        assert_eq!(peer.complain("too-big mtu=1000", seq), nothing);
    }
    for what in ["too-big mtu=1500", "too-big mtu=65535", "unreachable code=host", "ttl-exceeded"] {
        assert_eq!(peer.complain(what, first), nothing, "{what}");
    }
    assert_eq!(
        peer.complain("too-big mtu=1000 csum=bad", first),
        TcpVerdict::Dropped(TcpDrop::Checksum)
    );
    peer.remote = addr("10.0.0.2:5001");
    assert_eq!(peer.complain("too-big mtu=1000", first), nothing);
    assert_eq!(peer.seen_by_port(), []);
}

#[test]
fn a_connection_to_who_is_out_of_reach_is_refused_at_once() {
    let connecting = || {
        let mut peer = Peer::new(EndpointConfig::new(SEED));
        let (local, remote) = (peer.local, peer.remote);
        let id = peer.endpoint.connect(peer.now, local, remote).unwrap();
        let seq = peer.one().seq;
        (peer, id, seq)
    };
    let (mut peer, id, seq) = connecting();
    assert_eq!(peer.complain("unreachable code=host", seq), TcpVerdict::Taken);
    assert_eq!(peer.endpoint.error(id), Some(StreamError::Refused));
    let (mut peer, id, seq) = connecting();
    peer.complain("unreachable code=host", seq.wrapping_add(1));
    peer.complain("ttl-exceeded", seq);
    assert_eq!(peer.endpoint.error(id), None);
}
