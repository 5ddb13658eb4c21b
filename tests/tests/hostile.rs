//! Packets that nobody should send: whatever comes, balun neither panics nor grows beyond its limits,
//! its tables agree, and honest connections beside get their bytes.
//!
//! Every failure prints its seed; `BALUN_SEED=n` repeats it.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::time::Duration;

use balun::sim;
use nat::rng::{Rng, mix};
use nat::{Balancer, Engine, Verdict};
use netstack::segment::segment;
use netstack::{Instant, Packet};
use tests::bench::{Scenario, seeds, simulate};
use tests::builder::packet_on;
use tests::mutate::{TOPOLOGY, answer, pause, plausible, spoil};
use tests::topology::{self, Mode};
use tests::transfer::{Job, Order};
use tests::watchdog::Watchdog;

const PACKETS: usize = 20_000;
const FLOWS: usize = 64;
const HALF_OPEN: usize = 16;
const LEGS: u64 = 3;
/// Packets that a balancer may want to send for one that came in; more would be an amplifier.
const ANSWERS: usize = 100;

fn plan(seed: u64) -> balun::plan::Plan {
    let mut plan = topology::plan(2, seed, &[], None);
    plan.engine.limits.flows = FLOWS;
    plan.engine.limits.half_open = HALF_OPEN;
    plan
}

/// A seed that is told if the test fails.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with BALUN_SEED={}", self.0);
        }
    }
}

fn next_packet(rng: &mut Rng) -> Packet {
    let mut packet = plausible(rng, TOPOLOGY, LEGS);
    if rng.below(3) > 0 {
        spoil(rng, &mut packet);
    }
    packet
}

/// What leaves must be a packet that a device can take, by a leg that there is.
fn check_departure(packet: &Packet, was_good: bool) {
    assert!(u64::from(packet.leg.0) < LEGS, "{packet:?}");
    if was_good {
        assert!(segment(packet, 65_535).is_ok(), "{packet:?} {:x?}", packet.data());
    }
}

#[test]
fn an_engine_survives_anything() {
    for seed in seeds(3) {
        let _told = Told(seed);
        let mut rng = Rng::new(mix(seed));
        let mut engine = Engine::new(plan(seed).engine).unwrap();
        let mut now = Instant::from_secs(1);
        let mut replies = Vec::new();
        for _ in 0..PACKETS {
            now += pause(&mut rng);
            // Some of what left comes back spoilt, as if from the other end: it meets flows.
            let mut packet = match replies.pop() {
                Some(packet) if rng.below(2) == 0 => packet,
                _ => next_packet(&mut rng),
            };
            let was_good = segment(&packet, 65_535).is_ok();
            let verdict = if rng.below(8) == 0 {
                engine.handle_local(now, &mut packet)
            } else {
                engine.handle_packet(now, &mut packet)
            };
            if matches!(verdict, Verdict::Forward | Verdict::Reply | Verdict::Reject(_)) {
                check_departure(&packet, was_good);
                spoil(&mut rng, &mut packet);
                replies.push(packet);
            }
            engine.handle_timeout(now);
            engine.assert_consistent();
            assert!(engine.flows().len() <= FLOWS);
        }
        let stats = engine.stats();
        assert_eq!(stats.packets, PACKETS as u64);
        assert!(stats.forwarded > 500 && stats.replied > 100 && stats.diverted > 100, "{stats:?}");
        assert!(stats.drops().count() > 15, "{stats:?}");
    }
}

#[test]
fn a_balancer_with_a_proxy_survives_anything() {
    let _watchdog = Watchdog::new("hostile packets to a balancer", Duration::from_mins(1));
    for seed in seeds(2) {
        let _told = Told(seed);
        sim::run(async { survive(seed).await }).unwrap();
    }
}

async fn survive(seed: u64) {
    let mut rng = Rng::new(mix(seed));
    let (mut balancer, _) = plan(seed).assemble().unwrap();
    let mut now = Instant::from_secs(1);
    let mut departed = Vec::new();
    for _ in 0..PACKETS {
        let pause = pause(&mut rng);
        now += pause;
        tokio::time::advance(pause).await;
        let mut packet = match departed.pop() {
            Some(packet) if rng.below(2) == 0 => packet,
            _ => next_packet(&mut rng),
        };
        // The engine's own answers are checked above.
        let _ = balancer.handle_packet(now, &mut packet);
        balancer.poll(now);
        let mut answers = 0;
        while balancer.poll_transmit(now, &mut packet) {
            check_departure(&packet, true);
            let mut copy = packet.clone();
            answer(&mut copy);
            if rng.below(4) == 0 {
                spoil(&mut rng, &mut copy);
            }
            departed.push(copy);
            answers += 1;
            assert!(answers < ANSWERS);
        }
        departed.truncate(100);
        balancer.engine.assert_consistent();
        assert!(balancer.engine.flows().len() <= FLOWS);
        assert!(balancer.divert.stack().with(|endpoint| endpoint.stats()).half_open <= HALF_OPEN);
    }
    let stats = balancer.divert.stack().with(|endpoint| endpoint.stats());
    assert!(stats.opened > 100 && stats.accepted > 0, "{stats:?}");
    forget_everything(&mut balancer, now).await;
}

/// When nothing comes any more, everything is given back.
async fn forget_everything(balancer: &mut Balancer<l7::divert::Proxy>, mut now: Instant) {
    let mut packet = Packet::max_sized();
    let end = now + Duration::from_hours(3);
    while now < end {
        let step = Duration::from_secs(10);
        now += step;
        tokio::time::advance(step).await;
        balancer.poll(now);
        while balancer.poll_transmit(now, &mut packet) {}
    }
    let stats = balancer.divert.stack().with(|endpoint| endpoint.stats());
    assert_eq!((stats.connections, stats.half_open, stats.time_wait), (0, 0, 0));
    assert_eq!(balancer.engine.flows().len(), 0);
    balancer.engine.assert_consistent();
}

#[test]
fn a_flood_of_syns_stays_within_the_limits() {
    for (mode, port) in [(Mode::Full, 90), (Mode::Tcp, 92), (Mode::Http, 83)] {
        sim::run(async {
            let (mut balancer, _) = plan(1).assemble().unwrap();
            let mut packet = Packet::max_sized();
            for n in 0..PACKETS as u32 {
                let now = Instant::from_secs(1) + Duration::from_micros(u64::from(n) * 10);
                let (ip, from) = (n / 5_000, 1_024 + n % 5_000);
                let line = format!("tcp 10.1.0.{}:{from} > 10.99.0.1:{port} S mss=1460", 10 + ip);
                let mut syn = packet_on(0, &line);
                let _ = balancer.handle_packet(now, &mut syn);
                balancer.poll(now);
                while balancer.poll_transmit(now, &mut packet) {}
                assert!(balancer.engine.flows().len() <= FLOWS, "{mode:?}");
                let endpoint = balancer.divert.stack().with(|endpoint| endpoint.stats());
                assert!(endpoint.half_open <= HALF_OPEN, "{mode:?}");
            }
            balancer.engine.assert_consistent();
            assert!(balancer.engine.stats().flows_evicted > 0, "{mode:?}");
        })
        .unwrap();
    }
}

#[test]
fn spoilt_packets_do_not_reach_streams() {
    for family in topology::FAMILIES {
        for mode in Mode::ALL {
            for seed in seeds(3) {
                let mut scenario = Scenario::new(seed, family);
                scenario.corrupt = 50_000;
                scenario.impairment.duplicate = 50_000;
                scenario.impairment.mtu = 1500;
                simulate(scenario, &format!("{mode:?}, spoilt"), async |bench| {
                    let running = (0..6).map(|i| {
                        let order = [Order::Duplex, Order::ClientFirst, Order::ServerFirst];
                        let (salt, order) = (mix(seed ^ i), order[i as usize % 3]);
                        bench.start(mode, Job { upload: 150_000, download: 150_000, salt, order })
                    });
                    let running = running.collect();
                    for result in bench.finish(Duration::from_mins(4), running).await {
                        result.unwrap();
                    }
                });
            }
        }
    }
}
