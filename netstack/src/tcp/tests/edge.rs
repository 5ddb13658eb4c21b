//! Sequence numbers, options, resets, SYNs out of place, limits.

use super::peer::*;
use super::*;
use crate::wire::{Protocol, TcpFlags, Tuple};

fn config() -> EndpointConfig {
    EndpointConfig::new(SEED)
}

#[test]
fn segments_for_nothing_are_reset_as_rfc_9293_says() {
    let mut peer = Peer::new(config());
    peer.ack = 4711;
    assert_eq!(peer.send_at(A, 100, b"abc"), TcpVerdict::Reset);
    let reset = peer.one();
    assert_eq!((reset.flags, reset.seq), (R, 4711));

    assert_eq!(peer.send_at(TcpFlags::FIN, 100, b"abc"), TcpVerdict::Reset);
    let reset = peer.one();
    assert_eq!((reset.flags, reset.seq, reset.ack), (R | A, 0, 104));

    for flags in [R, R | A] {
        assert_eq!(peer.send(flags, b""), TcpVerdict::Dropped(TcpDrop::ResetOfNothing));
    }
    assert_eq!(peer.seen(), []);
    assert_eq!(peer.endpoint.stats(), Stats { resets_sent: 2, ..Stats::default() });
}

#[test]
fn a_wrong_checksum_and_an_impossible_tuple_touch_nothing() {
    let mut peer = Peer::new(config());
    let mut packet = peer.packet(S, 1, b"");
    packet.data_mut()[25] ^= 1;
    assert_eq!(peer.deliver(&packet), TcpVerdict::Dropped(TcpDrop::Checksum));
    for remote in
        ["224.0.0.1:5000", "0.0.0.0:5000", "255.255.255.255:1", "10.0.0.2:0", "10.0.0.1:80"]
    {
        peer.remote = addr(remote);
        assert_eq!(peer.send(S, b""), TcpVerdict::Dropped(TcpDrop::Address), "{remote}");
    }
    assert_eq!(peer.endpoint.stats(), Stats { checksum_errors: 1, ..Stats::default() });
}

#[test]
fn emitted_sequence_numbers_are_those_of_rfc_6528() {
    let secret = isn::Secret::new(SEED);
    for millis in [0, 1, 1000, 1 << 40] {
        let mut peer = Peer::new(config());
        peer.now = at(millis);
        let (local, remote) = (peer.local, peer.remote);
        let tuple = Tuple {
            protocol: Protocol::Tcp,
            src: remote.ip().into(),
            dst: local.ip().into(),
            src_port: remote.port(),
            dst_port: local.port(),
        };
        peer.send(S, b"");
        assert_eq!(peer.one().seq, secret.isn(peer.now, &tuple), "passive");

        let mut peer = Peer::new(config());
        peer.now = at(millis);
        peer.endpoint.connect(peer.now, local, remote).unwrap();
        assert_eq!(peer.one().seq, secret.isn(peer.now, &tuple), "active");
    }
}

#[test]
fn the_mss_is_that_of_the_path_and_segments_are_no_longer_than_the_peers() {
    for (mtu, theirs, told, used) in [
        (1500, Some(1460), 1460, 1460),
        (1400, Some(1460), 1360, 1360),
        (9000, Some(1000), 8960, 1000),
        (1500, None, 1460, 536),
        (1500, Some(0), 1460, 536),
        (1500, Some(7), 1460, 48),
        (0, Some(1460), 216, 216),
    ] {
        let mut peer = Peer::new(EndpointConfig { mtu, ..config() });
        peer.mss = theirs;
        peer.send(S, b"");
        let syn_ack = peer.one();
        assert_eq!(syn_ack.mss, Some(told));
        peer.seq = peer.seq.wrapping_add(1);
        peer.ack = syn_ack.seq.wrapping_add(1);
        peer.send(A, b"");
        let id = peer.endpoint.accept().unwrap().id;
        peer.endpoint.send(id, &[9; 1900]).unwrap();
        let lens: Vec<_> = peer.seen().iter().map(|seen| seen.payload.len()).collect();
        assert_eq!(lens.iter().max(), Some(&used.min(1900)), "mtu {mtu} mss {theirs:?}");
        // No more than the initial window.
        assert_eq!(lens.iter().sum::<usize>(), 1900.min(10 * used));
    }
}

#[test]
fn a_syn_again_opens_nothing_and_the_half_open_limit_is_exact() {
    let mut peer = Peer::new(EndpointConfig { max_half_open: 2, ..config() });
    for port in [5000, 5001] {
        peer.remote.set_port(port);
        assert_eq!(peer.send(S, b""), TcpVerdict::Opened);
        assert_eq!(peer.send(S, b""), TcpVerdict::Dropped(TcpDrop::DuplicateSyn));
        assert_eq!(peer.one().flags, SA);
    }
    // Beyond it there are cookies (`syn`), for which this peer's segments are too small.
    peer.remote.set_port(5002);
    peer.mss = Some(100);
    assert_eq!(peer.send(S, b""), TcpVerdict::Dropped(TcpDrop::HalfOpenLimit));
    let stats = peer.endpoint.stats();
    assert_eq!((stats.half_open, stats.opened, stats.syns_dropped), (2, 2, 1));

    // A reset makes room, and so does a completed handshake.
    peer.remote.set_port(5001);
    assert_eq!(peer.send_at(R, IRS.wrapping_add(1), b""), TcpVerdict::Taken);
    peer.remote.set_port(5003);
    peer.handshake();
    assert_eq!(peer.endpoint.stats().half_open, 1);
    assert_eq!(peer.endpoint.accept().unwrap().tag, 7);
}

#[test]
fn connections_are_limited_in_both_directions_and_closing_makes_room() {
    let (mut peer, id) = Peer::established(EndpointConfig { max_connections: 1, ..config() });
    let (local, remote) = (addr("10.0.0.1:0"), addr("10.0.0.9:80"));
    assert_eq!(peer.endpoint.connect(peer.now, local, remote), Err(ConnectError::ConnectionLimit));
    peer.remote.set_port(5001);
    assert_eq!(peer.send(S, b""), TcpVerdict::Dropped(TcpDrop::ConnectionLimit));
    peer.endpoint.abort(id);
    assert_eq!(peer.send(S, b""), TcpVerdict::Opened);
}

#[test]
fn who_connects_and_resets_in_a_loop_fills_nothing() {
    let mut peer = Peer::new(config());
    for _ in 0..100 {
        (peer.seq, peer.ack) = (IRS, 0);
        peer.handshake();
        assert_eq!(peer.send(R, b""), TcpVerdict::Taken);
    }
    assert!(peer.endpoint.accepted.len() <= 2);
    assert!(peer.endpoint.accept().is_none());
    assert_eq!(peer.endpoint.stats().connections, 0);
}

#[test]
fn a_reset_must_hit_the_next_sequence_number() {
    let (mut peer, id) = Peer::established(config());
    // Data that has not been acknowledged yet counts as received.
    peer.send(A, b"12345");
    peer.seq = peer.seq.wrapping_add(5);
    let (expected, ours) = (peer.seq, peer.ack);

    for off in [1, 5, 65_530] {
        assert_eq!(peer.send_at(R, expected.wrapping_add(off), b""), TcpVerdict::Acknowledged);
        let challenge = peer.one();
        assert_eq!((challenge.flags, challenge.seq, challenge.ack), (A, ours, expected));
        assert!(challenge.payload.is_empty());
    }
    // The acknowledgment offered 65,531 bytes.
    for off in [-1, -5, 65_531, 1 << 30, i32::MIN] {
        let verdict = peer.send_at(R, expected.wrapping_add_signed(off), b"");
        assert_eq!(verdict, TcpVerdict::Dropped(TcpDrop::ResetOutOfWindow), "{off}");
    }
    assert_eq!(peer.seen(), []);
    assert_eq!(peer.endpoint.state(id), State::Established);

    assert_eq!(peer.send(R, b""), TcpVerdict::Taken);
    let mut buffer = [0; 10];
    assert_eq!(peer.endpoint.recv(id, &mut buffer), Ok(5), "what came before the reset");
    assert_eq!(peer.endpoint.recv(id, &mut buffer), Err(StreamError::Reset));
    assert_eq!(peer.endpoint.send(id, b"x"), Err(StreamError::Reset));
    peer.endpoint.close(id);
    assert_eq!(peer.seen(), [], "a reset is not answered");
    let stats = peer.endpoint.stats();
    assert_eq!((stats.reset, stats.challenge_acks, stats.connections), (1, 3, 0));
}

#[test]
fn a_syn_on_an_open_connection_is_challenged_and_a_rebooted_client_gets_through() {
    let (mut peer, id) = Peer::established(config());
    let (expected, ours) = (peer.seq, peer.ack);
    for seq in [expected, expected.wrapping_sub(1), 12_345] {
        for flags in [S, SA] {
            assert_eq!(peer.send_at(flags, seq, b""), TcpVerdict::Acknowledged);
            let challenge = peer.one();
            assert_eq!((challenge.flags, challenge.seq, challenge.ack), (A, ours, expected));
        }
    }
    // The client that really has lost the connection answers as RFC 9293 section 3.10.7.3 says.
    assert_eq!(peer.send_at(R, expected, b""), TcpVerdict::Taken);
    assert_eq!(peer.endpoint.state(id), State::Closed);
    assert_eq!(peer.send_at(S, 12_345, b""), TcpVerdict::Opened);
    let syn_ack = peer.one();
    assert_eq!((syn_ack.flags, syn_ack.ack), (SA, 12_346));
    // The old connection's owner still sees its end.
    assert_eq!(peer.endpoint.recv(id, &mut [0; 4]), Err(StreamError::Reset));
}

#[test]
fn blind_data_needs_an_acknowledgment_that_the_peer_can_have_sent() {
    let (mut peer, id) = Peer::established(config());
    let (seq, ack) = (peer.seq, peer.ack);
    peer.endpoint.send(id, &[1; 100]).unwrap();
    peer.one();
    // 100 bytes are in flight, and only our SYN has been acknowledged.
    for off in [101, 65_536, 1 << 30, i32::MIN, -2, -65_536, -(1 << 30)] {
        peer.ack = ack.wrapping_add_signed(off);
        for flags in [A, F] {
            assert_eq!(peer.send_at(flags, seq, b"evil"), TcpVerdict::Acknowledged, "{off}");
            let challenge = peer.one();
            assert_eq!((challenge.seq, challenge.ack), (ack.wrapping_add(100), seq), "{off}");
        }
    }
    assert_eq!(peer.endpoint.recv_queue(id), 0);
    assert_eq!(peer.endpoint.state(id), State::Established);
    for (off, sent) in [(0, b"a"), (50, b"b"), (100, b"c")] {
        peer.ack = ack.wrapping_add_signed(off);
        assert_eq!(peer.send(A, sent), TcpVerdict::Taken);
        peer.seq = peer.seq.wrapping_add(1);
    }
    assert_eq!(peer.endpoint.recv(id, &mut [0; 9]), Ok(3));
    // What was in flight a moment ago may have been acknowledged by a segment that comes late.
    peer.ack = ack.wrapping_add(20);
    assert_eq!(peer.send(A, b"d"), TcpVerdict::Taken);
    assert_eq!(peer.endpoint.recv(id, &mut [0; 9]), Ok(1));
}

#[test]
fn challenges_run_out_and_come_back() {
    let (mut peer, _) = Peer::established(config());
    let answered = |peer: &mut Peer| {
        let mut syn = || (peer.send_at(S, 1, b""), peer.seen().len());
        (0..3000).filter(|_| syn() == (TcpVerdict::Acknowledged, 1)).count()
    };
    let first = answered(&mut peer);
    assert!((500..1500).contains(&first), "{first}");
    assert_eq!(peer.send_at(S, 1, b""), TcpVerdict::Dropped(TcpDrop::ChallengeLimit));
    assert_eq!(peer.seen(), []);
    peer.now += ms(1000);
    assert!(answered(&mut peer) >= 500);
}

#[test]
fn replies_that_nobody_collects_are_limited() {
    let mut peer = Peer::new(config());
    for _ in 0..limits::MAX_REPLIES + 5 {
        peer.send(A, b"");
    }
    assert_eq!(peer.endpoint.stats().replies_dropped, 5);
    assert_eq!(peer.seen().len(), limits::MAX_REPLIES);
}

#[test]
fn a_refused_connect_is_refused_only_by_the_right_acknowledgment() {
    let mut peer = Peer::new(config());
    let id = peer.endpoint.connect(peer.now, peer.local, peer.remote).unwrap();
    assert_eq!(peer.endpoint.send(id, b"x"), Err(StreamError::WouldBlock));
    let syn = peer.one();
    assert_eq!((syn.flags, syn.mss), (S, Some(1460)));
    peer.ack = syn.seq;
    peer.send(R | A, b"");
    peer.send(R, b"");
    assert_eq!(peer.endpoint.state(id), State::SynSent);
    peer.ack = syn.seq.wrapping_add(1);
    peer.send(R | A, b"");
    assert_eq!(peer.endpoint.error(id), Some(StreamError::Refused));
    assert_eq!(peer.endpoint.send(id, b"x"), Err(StreamError::Refused));
    assert_eq!(peer.endpoint.stats().refused, 1);
}

#[test]
fn a_connect_answered_with_the_wrong_number_resets_the_stranger_and_goes_on() {
    let mut peer = Peer::new(config());
    let id = peer.endpoint.connect(peer.now, peer.local, peer.remote).unwrap();
    let syn = peer.one();
    peer.ack = syn.seq.wrapping_add(5);
    peer.send_at(SA, 99, b"");
    let reset = peer.one();
    assert_eq!((reset.flags, reset.seq), (R, peer.ack));
    peer.ack = syn.seq.wrapping_add(1);
    peer.send(SA, b"");
    assert_eq!(peer.endpoint.state(id), State::Established);
    let ack = peer.one();
    assert_eq!((ack.flags, ack.ack), (A, IRS.wrapping_add(1)));
    // A repeated SYN-ACK, whose acknowledgment was lost, is acknowledged again.
    assert_eq!(peer.send(SA, b""), TcpVerdict::Acknowledged);
    assert_eq!(peer.one(), ack);
}

#[test]
fn a_simultaneous_open_opens() {
    let mut peer = Peer::new(config());
    let id = peer.endpoint.connect(peer.now, peer.local, peer.remote).unwrap();
    let syn = peer.one();
    peer.send(S, b"");
    let syn_ack = peer.one();
    assert_eq!((syn_ack.flags, syn_ack.seq, syn_ack.ack), (SA, syn.seq, IRS.wrapping_add(1)));
    peer.ack = syn.seq.wrapping_add(1);
    peer.seq = peer.seq.wrapping_add(1);
    peer.send(A, b"hello");
    assert_eq!(peer.endpoint.state(id), State::Established);
    assert_eq!(peer.endpoint.recv(id, &mut [0; 9]), Ok(5));
    assert_eq!(peer.endpoint.stats().connected, 1);
    assert!(peer.endpoint.accept().is_none());
}

#[test]
fn chosen_ports_do_not_repeat_and_used_ones_are_refused() {
    let mut endpoint = Endpoint::new(config());
    let (local, remote) = (addr("10.0.0.1:0"), addr("10.0.0.2:80"));
    let mut ports = Vec::new();
    for _ in 0..1000 {
        let id = endpoint.connect(at(0), local, remote).unwrap();
        ports.push(endpoint.addresses(id).unwrap().0);
        endpoint.close(id);
    }
    let last = ports[999];
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 1000);

    endpoint.connect(at(0), last, remote).unwrap();
    assert_eq!(endpoint.connect(at(0), last, remote), Err(ConnectError::InUse));
    assert_eq!(endpoint.connect(at(0), local, addr("[fd00::1]:80")), Err(ConnectError::Address));
    assert_eq!(endpoint.connect(at(0), local, addr("10.0.0.2:0")), Err(ConnectError::Address));
}
