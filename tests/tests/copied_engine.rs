//! A copy of an engine that is asked in its stead.

use std::time::Duration;

use nat::rng::Rng;
use nat::{BackendId, BackendState, Engine, MAX_COPIED_FLOWS, PoolId, TooManyFlows, Verdict};
use netstack::wire::text;
use netstack::{Instant, Packet};
use tests::bed::config;
use tests::medley::{engine, packet};

const SYN: &str = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S";

/// What comes of a packet: the verdict, and all that leaves.
fn handle(engine: &mut Engine, now: Instant, mut packet: Packet) -> (Verdict, Vec<Packet>) {
    let verdict = engine.handle_packet(now, &mut packet);
    let mut sent = vec![packet];
    let mut next = Packet::max_sized();
    while engine.poll_transmit(&mut next) {
        sent.push(next.clone());
    }
    (verdict, sent)
}

fn bytes(sent: &[Packet]) -> Vec<(u16, &[u8])> {
    sent.iter().map(|packet| (packet.leg.0, packet.data())).collect()
}

#[test]
fn a_copy_says_what_the_engine_does_next() {
    for seed in 0..20 {
        let mut engine = engine();
        let mut rng = Rng::new(seed);
        let mut now = Instant::from_secs(1);
        let mut sent: Vec<Packet> = Vec::new();
        for step in 0..600 {
            let packet = packet(&mut rng, &sent);
            let mut copy = engine.copy_to_ask().unwrap();
            let told = handle(&mut copy, now, packet.clone());
            let done = handle(&mut engine, now, packet);
            assert_eq!(told.0, done.0, "seed {seed}, step {step}");
            assert_eq!(bytes(&told.1), bytes(&done.1), "seed {seed}, step {step}");
            assert_eq!(copy.account().unwrap().verdict, Some(told.0));
            copy.assert_consistent();
            sent = done.1;
            now += Duration::from_millis(rng.below(1_000));
            engine.handle_timeout(now);
        }
        assert!(engine.stats().flows_evicted > 0 && engine.stats().forwarded > 50, "seed {seed}");
    }
}

#[test]
fn who_asks_a_copy_changes_nothing() {
    let (mut asked, mut other) = (engine(), engine());
    let mut rng = Rng::new(5);
    let now = Instant::from_secs(1);
    for _ in 0..300 {
        let next = packet(&mut rng, &[]);
        let mut copy = asked.copy_to_ask().unwrap();
        for _ in 0..3 {
            let _ = handle(&mut copy, now, packet(&mut rng, &[]));
        }
        copy.set_backend_state(now, PoolId(0), BackendId(0), BackendState::Down);
        let (one, two) = (handle(&mut asked, now, next.clone()), handle(&mut other, now, next));
        assert_eq!((one.0, bytes(&one.1)), (two.0, bytes(&two.1)));
    }
    assert_eq!(asked.stats(), other.stats());
    assert!(asked.account().is_none(), "it keeps no accounts because a copy does");
}

#[test]
fn an_engine_with_more_flows_than_are_copied_at_once_is_not_copied() {
    let mut config = config();
    config.limits.flows = 2 * MAX_COPIED_FLOWS;
    config.limits.half_open = 2 * MAX_COPIED_FLOWS;
    config.limits.flows_per_client = u32::MAX;
    let mut engine = Engine::new(config).unwrap();
    let now = Instant::from_secs(1);
    for flow in 0..=MAX_COPIED_FLOWS {
        if flow == MAX_COPIED_FLOWS {
            assert!(engine.copy_to_ask().is_ok(), "{} flows", engine.flows().len());
        }
        let (host, port) = (flow / 50_000 + 5, flow % 50_000 + 1024);
        let line = SYN.replace(".5:40000", &format!(".{host}:{port}"));
        let mut packet = text::packet(&line).unwrap();
        assert_eq!(engine.handle_packet(now, &mut packet), Verdict::Forward, "{line}");
    }
    let flows = MAX_COPIED_FLOWS + 1;
    assert_eq!(engine.copy_to_ask().unwrap_err(), TooManyFlows { flows });
}
