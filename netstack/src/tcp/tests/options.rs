//! What is set of a single connection.

use super::pair::*;
use super::peer::*;
use super::*;

const CLIENT: &str = "10.0.0.1:0";
const SERVER: &str = "10.0.0.2:443";

fn config(seed: u64) -> EndpointConfig {
    EndpointConfig::new([seed, 1])
}

fn sender(pair: &Pair, id: ConnectionId) -> SenderInfo {
    pair.ends[0].info(id).and_then(|info| info.sender).expect("an established connection")
}

/// Goes on for a while with all of a stream that there is room for.
fn write_for(pair: &mut Pair, ids: [ConnectionId; 2], flow: &mut Flow, time: Duration) {
    let end = pair.now + time;
    while pair.now < end && !flow.finished {
        flow.write(&mut pair.ends[0], ids[0]);
        flow.read(&mut pair.ends[1], ids[1], usize::MAX);
        assert!(pair.step(), "stalled at {}", flow.read);
    }
}

#[test]
fn another_algorithm_goes_on_from_the_window_as_it_is() {
    for old in Algorithm::ALL {
        for new in Algorithm::ALL.into_iter().filter(|&new| new != old) {
            let wire = Wire { delay: ms(10), cut: Some(1500), ..Wire::default() };
            let client = EndpointConfig { congestion: old, ..config(1) };
            let mut pair = Pair::new([client, config(2)], wire, 0);
            let ids = pair.connect(CLIENT, SERVER);
            let mut flow = Flow::new(50_000_000);
            write_for(&mut pair, ids, &mut flow, ms(150));
            let before = sender(&pair, ids[0]);
            assert_eq!(before.congestion, old.name());
            assert!(before.window > 100_000, "{old}: {}", before.window);

            pair.ends[0].set_congestion(ids[0], new).unwrap();
            let after = sender(&pair, ids[0]);
            assert_eq!((after.congestion, after.window), (new.name(), before.window));
            let delivered = after.delivered;
            write_for(&mut pair, ids, &mut flow, ms(100));
            let since = sender(&pair, ids[0]).delivered - delivered;
            // Five round trips of the window that was there.
            assert!(since > 4 * before.window, "{old} to {new}: {since}, {}", before.window);
        }
    }
}

#[test]
fn an_algorithm_may_change_in_the_middle_of_a_recovery() {
    let wire = Wire {
        delay: ms(5),
        cut: Some(1500),
        loss_percent: 3,
        reorder_percent: 3,
        duplicate_percent: 1,
    };
    for seed in 0..8 {
        let mut pair = Pair::new([config(seed), config(99)], wire, seed);
        let ids = pair.connect(CLIENT, SERVER);
        let mut flow = Flow::new(1_000_000);
        let (mut turn, mut in_recovery) = (seed as usize, false);
        while !flow.finished {
            write_for(&mut pair, ids, &mut flow, ms(7));
            if let Some(info) = pair.ends[0].info(ids[0]).and_then(|info| info.sender) {
                in_recovery |= matches!(info.state, "recovery" | "loss");
                turn += 1;
                let _ = pair.ends[0].set_congestion(ids[0], Algorithm::ALL[turn % 3]);
            }
        }
        assert!(in_recovery);
    }
}

#[test]
fn what_is_set_before_the_handshake_holds_after_it() {
    let mut pair = Pair::new([config(1), config(2)], Wire { delay: ms(1), ..Wire::default() }, 0);
    let now = pair.now;
    let id = pair.ends[0].connect(now, addr("10.0.0.1:0"), addr(SERVER)).unwrap();
    pair.ends[0].set_congestion(id, Algorithm::NewReno).unwrap();
    while pair.ends[0].state(id) != State::Established {
        assert!(pair.step());
    }
    assert_eq!(sender(&pair, id).congestion, "reno");
    pair.ends[0].abort(id);
    let unknown = Err(StreamError::Unknown);
    assert_eq!(pair.ends[0].set_congestion(id, Algorithm::Bbr), unknown);
    assert_eq!(pair.ends[0].set_keepalive(id, None), unknown);
}

#[test]
fn one_connection_is_probed_and_the_other_is_not() {
    let (mut peer, id) = Peer::established(config(1));
    let idle = Duration::from_mins(1);
    let keepalive = KeepaliveConfig { idle, interval: ms(5_000), probes: 2 };
    assert_eq!(peer.pass(idle * 2), [], "off by default");
    peer.endpoint.set_keepalive(id, Some(keepalive)).unwrap();
    let start = peer.now;
    assert_eq!(peer.seen(), []);
    let probes = peer.pass(ms(69_000));
    let times: Vec<_> = probes.iter().map(|(time, _)| (*time - start).as_secs()).collect();
    assert_eq!(times, [60, 65]);
    assert!(probes.iter().all(|(_, seen)| seen.seq == peer.ack.wrapping_sub(1)));
    assert_eq!(peer.endpoint.error(id), None);

    // An answer begins the silence anew; switched off, nothing is sent any more.
    peer.send(A, b"");
    assert_eq!(peer.pass(ms(59_000)), []);
    peer.endpoint.set_keepalive(id, None).unwrap();
    assert_eq!(peer.pass(Duration::from_hours(3)), []);
    assert_eq!(peer.endpoint.state(id), State::Established);

    peer.endpoint.set_keepalive(id, Some(keepalive)).unwrap();
    peer.seen();
    peer.pass(ms(71_000));
    assert_eq!(peer.endpoint.error(id), Some(StreamError::TimedOut));
}
