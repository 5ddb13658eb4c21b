//! Random segments, near to valid ones, in random order with what an application does.

use proptest::prelude::*;

use super::peer::*;
use super::*;
use crate::wire::TcpFlags;

#[derive(Clone, Debug)]
enum Event {
    Segment { flags: u8, seq_off: i32, ack_off: i32, len: usize, port: u16 },
    Send(usize),
    Recv(usize),
    Shutdown,
    Close,
    Connect,
    Accept,
    Pass(u64),
}

fn near() -> impl Strategy<Value = i32> {
    prop_oneof![4 => Just(0), 2 => -3..4, 1 => -70_000..70_000, 1 => any::<i32>()]
}

fn event() -> impl Strategy<Value = Event> {
    let flags = prop_oneof![
        3 => Just(A.0), 2 => Just(S.0), 1 => Just(F.0), 1 => Just(R.0), 1 => Just(SA.0), 1 => any::<u8>()
    ];
    let len = prop_oneof![2 => Just(0), 2 => 1..2000_usize, 1 => 0..60_000_usize];
    prop_oneof![
        8 => (flags, near(), near(), len, 5000..5002_u16).prop_map(
            |(flags, seq_off, ack_off, len, port)| Event::Segment { flags, seq_off, ack_off, len, port }
        ),
        1 => (1..70_000_usize).prop_map(Event::Send),
        1 => (1..70_000_usize).prop_map(Event::Recv),
        1 => Just(Event::Shutdown),
        1 => Just(Event::Close),
        1 => Just(Event::Connect),
        2 => Just(Event::Accept),
        2 => prop_oneof![0..300_u64, 0..100_000_u64].prop_map(Event::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Nothing panics, every segment sent is well formed (`Peer::seen` checks), gauges agree with
    /// the tables, and everything ends once time has passed.
    #[test]
    fn random_segments_do_no_harm(events in proptest::collection::vec(event(), 1..120)) {
        let config = EndpointConfig {
            receive_buffer: 16_384, max_connections: 3, max_half_open: 2, max_time_wait: 1,
            ..EndpointConfig::new(SEED)
        };
        let mut peer = Peer::new(config);
        let mut ids = Vec::new();
        // What a peer that follows would send next, by port.
        let mut next = [(IRS, 0_u32); 2];
        for event in events {
            match event {
                Event::Segment { flags, seq_off, ack_off, len, port } => {
                    peer.remote.set_port(port);
                    let (seq, ack) = next[usize::from(port - 5000)];
                    peer.ack = ack.wrapping_add_signed(ack_off);
                    let payload = vec![1; len];
                    let flags = TcpFlags(flags);
                    peer.send_at(flags, seq.wrapping_add_signed(seq_off), &payload);
                }
                Event::Send(len) => for &id in &ids { let _ = peer.endpoint.send(id, &vec![2; len]); },
                Event::Recv(len) => for &id in &ids { let _ = peer.endpoint.recv(id, &mut vec![0; len]); },
                Event::Shutdown => for &id in &ids { let _ = peer.endpoint.shutdown(id); },
                Event::Close => if let Some(id) = ids.pop() { peer.endpoint.close(id) },
                Event::Connect => ids.extend(peer.endpoint.connect(peer.now, peer.local, peer.remote)),
                Event::Accept => ids.extend(peer.endpoint.accept().map(|accepted| accepted.id)),
                Event::Pass(millis) => { follow(&mut peer, &mut next, ms(millis)); }
            }
            follow(&mut peer, &mut next, ms(0));
            let stats = peer.endpoint.stats();
            let half_open = peer.endpoint.connections.iter().filter(|(_, c)| c.half_open).count();
            prop_assert_eq!(stats.half_open, half_open);
            let live = peer.endpoint.connections.iter().filter(|(_, c)| c.outcome.is_none()).count();
            prop_assert_eq!(peer.endpoint.table.len(), live + stats.time_wait);
            prop_assert!(stats.connections <= 3 && half_open <= 2 && stats.time_wait <= 1);
        }
        ids.extend(std::iter::from_fn(|| peer.endpoint.accept()).map(|accepted| accepted.id));
        for id in ids {
            peer.endpoint.close(id);
        }
        follow(&mut peer, &mut next, Duration::from_mins(10));
        let stats = peer.endpoint.stats();
        prop_assert_eq!((stats.connections, stats.time_wait, stats.half_open), (0, 0, 0));
        prop_assert_eq!(stats.buffer_memory, 0);
    }
}

/// Lets time pass and learns from what the endpoint sends where its windows are.
fn follow(peer: &mut Peer, next: &mut [(u32, u32); 2], time: Duration) {
    let end = peer.now + time;
    loop {
        for (port, seen) in peer.seen_by_port() {
            let Some(next) = next.get_mut(usize::from(port.wrapping_sub(5000))) else { continue };
            if seen.flags.contains(A) {
                next.0 = seen.ack;
            }
            let fin_or_syn = u32::from(seen.flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0) != 0);
            next.1 = seen.seq.wrapping_add(seen.payload.len() as u32 + fin_or_syn);
        }
        let timeout = peer.endpoint.poll_timeout();
        assert!(
            timeout.is_none_or(|at| at > peer.endpoint.now()),
            "after timers and egress nothing is due"
        );
        match timeout {
            Some(at) if at <= end => {
                peer.now = peer.now.max(at);
                peer.endpoint.handle_timeout(peer.now);
            }
            _ => break,
        }
    }
    peer.now = end;
}
