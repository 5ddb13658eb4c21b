//! Health checks: the engine's own probes packet by packet, and whole ones on virtual time.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use nat::health::{Admin, Cause, Failure, Outcome};
use nat::limits::{CHECKED_BACKENDS, PROBE_BATCH};
use nat::verdict::DivertTo;
use nat::{
    BackendId, BackendState, Balancer, Config, ConfigError, Divert, DropReason, Engine,
    HealthConfig, PanicChange, Pool, PoolId, Probe, Verdict,
};
use netstack::wire::Headers;
use netstack::wire::text::Line;
use netstack::{Instant, Packet};
use tests::bed::{Bed, addr, canonical, config, pool};
use tests::builder::fragments;

const FIRST: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_millis(500);
const BACKENDS: [&str; 2] = ["10.2.0.11", "[fd02::11]"];
const SNATS: [&str; 2] = ["10.99.0.250", "[fd99::250]"];

/// One backend of either family, asked by `probe`, behind leg 1.
fn checked(probe: &Probe) -> Config {
    let mut config = config();
    for pool in &mut config.pools {
        pool.backends.truncate(1);
        pool.initial = BackendState::Starting;
        pool.health = Some(HealthConfig::new(probe.clone()));
    }
    config
}

/// An engine that has begun its checks: the first probes are due within [`FIRST`].
fn started(config: Config) -> Bed {
    let mut bed = Bed::new(config);
    bed.wait(Duration::ZERO);
    bed
}

/// A probe as it was sent.
#[derive(Debug)]
struct Sent {
    packet: Packet,
    line: String,
    /// Port or identifier.
    port: u16,
    /// The pool, which is the family.
    pool: usize,
}

impl Sent {
    /// The number behind `key=` in its line.
    fn number(&self, key: &str) -> u32 {
        let word = self.line.split(' ').find_map(|word| word.strip_prefix(key));
        word.and_then(|word| word.strip_prefix('=')).map_or(0, |number| number.parse().unwrap())
    }
}

/// The probes that wait to be sent; the first of each family must be among them.
fn sent(bed: &mut Bed) -> [Sent; 2] {
    let mut all = Vec::new();
    let mut packet = Packet::max_sized();
    while bed.engine.poll_transmit(&mut packet) {
        assert_eq!(packet.leg.0, 1);
        let headers = Headers::parse(&packet).unwrap();
        assert_eq!(headers.ttl, 64);
        let (port, pool) = (headers.tuple().unwrap().src_port, usize::from(!headers.src.is_v4()));
        let line = Line::of(&packet).to_string();
        all.push(Sent { packet: packet.clone(), line, port, pool });
    }
    all.sort_by_key(|sent| sent.pool);
    <[Sent; 2]>::try_from(all).expect("one probe of each family")
}

/// Lets time pass in small steps until both backends are asked again.
fn next_probes(bed: &mut Bed) -> [Sent; 2] {
    let asked = bed.engine.stats().probes_sent;
    while bed.engine.stats().probes_sent < asked + 2 {
        bed.wait(Duration::from_millis(10));
    }
    sent(bed)
}

fn state(bed: &Bed, pool: usize) -> BackendState {
    bed.engine.pools()[pool].backends()[0].state
}

fn counts(bed: &Bed) -> (u64, u64, u64) {
    let stats = bed.engine.stats();
    (stats.probes_sent, stats.probes_passed, stats.probes_failed)
}

#[test]
fn a_syn_that_is_accepted_passes_and_is_reset_before_the_application_hears_of_it() {
    let mut bed = started(checked(&Probe::Tcp));
    let refused = bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:80 S").verdict;
    assert_eq!(refused, Verdict::Reject(DropReason::NoBackend), "none before the first success");
    bed.wait(FIRST);
    for probe in sent(&mut bed) {
        let (us, backend) = (SNATS[probe.pool], BACKENDS[probe.pool]);
        let (port, seq) = (probe.port, probe.number("seq"));
        let df = if probe.pool == 0 { " df" } else { "" };
        let syn = format!("tcp {us}:{port} > {backend}:8080 S seq={seq}{df}");
        assert_eq!(probe.line, canonical(&syn));
        let (next, theirs) = (seq.wrapping_add(1), 77);
        let accepted = format!("tcp {backend}:8080 > {us}:{port} S. seq={theirs} ack={next}");
        let seen = bed.send(1, &accepted);
        assert_eq!((seen.verdict, seen.leg), (Verdict::Reply, 1));
        let reset = format!("tcp {us}:{port} > {backend}:8080 R seq={next} win=0{df}");
        assert_eq!(seen.line, canonical(&reset));
        assert_eq!(state(&bed, probe.pool), BackendState::Ready);
        // The second copy finds nobody, and is told so.
        let again = bed.send(1, &accepted);
        assert_eq!(again.verdict, Verdict::Reject(DropReason::NoFlow));
    }
    assert_eq!(counts(&bed), (2, 2, 0));
    assert_eq!(bed.send(0, "tcp 10.1.0.5:2 > 10.99.0.1:80 S").verdict, Verdict::Forward);
}

#[test]
fn only_who_has_seen_the_syn_can_answer_it() {
    let mut bed = started(checked(&Probe::Tcp));
    bed.wait(FIRST);
    for probe in sent(&mut bed) {
        let (us, backend) = (SNATS[probe.pool], BACKENDS[probe.pool]);
        let (port, next) = (probe.port, probe.number("seq").wrapping_add(1));
        let wrong = next.wrapping_add(1);
        for forged in [
            format!("S. seq=1 ack={wrong}"),
            format!("R. ack={wrong}"),
            "R seq=0".to_owned(),
            "S seq=9".to_owned(),
            format!(". seq=1 ack={next}"),
            format!("P. seq=1 ack={next} len=5"),
            format!("S. seq=1 ack={next} csum=bad"),
        ] {
            let line = format!("tcp {backend}:8080 > {us}:{port} {forged}");
            let verdict = bed.send(1, &line).verdict;
            assert_eq!(verdict, Verdict::Drop(DropReason::ProbeMismatch), "{line}");
        }
        for elsewhere in [
            format!("tcp {backend}:8081 > {us}:{port} S. seq=1 ack={next}"),
            format!("tcp {backend}:8080 > {us}:{} S. seq=1 ack={next}", port ^ 1),
        ] {
            let verdict = bed.send(1, &elsewhere).verdict;
            assert_eq!(verdict, Verdict::Reject(DropReason::NoFlow), "{elsewhere}");
        }
        assert_eq!(state(&bed, probe.pool), BackendState::Starting);
        let line = format!("tcp {backend}:8080 > {us}:{port} S. seq=1 ack={next}");
        assert_eq!(bed.send(1, &line).verdict, Verdict::Reply);
        assert_eq!(state(&bed, probe.pool), BackendState::Ready);
    }
    assert_eq!(counts(&bed), (2, 2, 0));
}

#[test]
fn a_closed_port_fails_at_once_and_an_answer_out_of_time_does_not_count() {
    let mut bed = started(checked(&Probe::Tcp));
    bed.wait(FIRST);
    let mut probes = sent(&mut bed);
    for failures in 1..=3 {
        let [v4, v6] = &probes;
        let next = v4.number("seq").wrapping_add(1);
        let line = format!("tcp 10.2.0.11:8080 > 10.99.0.250:{} R. ack={next}", v4.port);
        assert_eq!(bed.send(1, &line).verdict, Verdict::Consumed);
        let expected = if failures < 3 { BackendState::Starting } else { BackendState::Down };
        assert_eq!(state(&bed, 0), expected, "{failures} failures");

        bed.wait(TIMEOUT);
        let next = v6.number("seq").wrapping_add(1);
        let late = format!("tcp [fd02::11]:8080 > [fd99::250]:{} S. ack={next}", v6.port);
        assert_eq!(bed.send(1, &late).verdict, Verdict::Reject(DropReason::NoFlow));
        assert_eq!(state(&bed, 1), expected, "{failures} failures");
        assert_eq!(counts(&bed), (failures * 2, 0, failures * 2));
        probes = next_probes(&mut bed);
    }
    for (pool, why) in [(0, Failure::Refused), (1, Failure::TimedOut)] {
        let change = bed.engine.poll_change().unwrap();
        assert_eq!((change.pool, change.to), (PoolId(pool), BackendState::Down));
        assert_eq!(change.cause, Cause::Failed(3, why));
    }
    assert_eq!(bed.engine.poll_change(), None);
}

#[test]
fn an_echo_reply_passes_with_the_token_alone() {
    let mut bed = started(checked(&Probe::Icmp));
    bed.wait(FIRST);
    for probe in sent(&mut bed) {
        let (us, backend) =
            ([SNATS[0], "fd99::250"][probe.pool], ["10.2.0.11", "fd02::11"][probe.pool]);
        let (id, seq) = (probe.port, probe.number("seq"));
        let df = if probe.pool == 0 { " df" } else { "" };
        let request = format!("icmp {us} > {backend} echo id={id} seq={seq} len=16{df}");
        assert_eq!(probe.line, canonical(&request));

        let mut reply = probe.packet.clone();
        let headers = Headers::parse(&reply).unwrap();
        nat::icmp::echo_reply(&mut reply, &headers);
        let guessed = format!("icmp {backend} > {us} reply id={id} seq={seq} len=16");
        assert_eq!(bed.send(1, &guessed).verdict, Verdict::Drop(DropReason::ProbeMismatch));
        let mut older = reply.clone();
        // Another sequence number, made up for in the code, so that the sum is right.
        let at = headers.l4();
        older.data_mut()[at + 7] = older.data()[at + 7].wrapping_add(1);
        older.data_mut()[at + 3] = older.data()[at + 3].wrapping_sub(1);
        assert_eq!(
            bed.send_packet(1, older).verdict,
            Verdict::Drop(DropReason::ProbeMismatch),
            "an older probe's"
        );
        let elsewhere = format!(
            "icmp {} > {us} reply id={id} seq={seq} len=16",
            ["10.2.0.12", "fd02::12"][probe.pool]
        );
        assert_eq!(bed.send(1, &elsewhere).verdict, Verdict::Drop(DropReason::NoFlow));
        // It may ask us, even with our identifier.
        let ask = format!("icmp {backend} > {us} echo id={id} seq={seq} len=16");
        assert_eq!(bed.send(1, &ask).verdict, Verdict::Reply);
        assert_eq!(state(&bed, probe.pool), BackendState::Starting);

        assert_eq!(bed.send_packet(1, reply.clone()).verdict, Verdict::Consumed);
        assert_eq!(state(&bed, probe.pool), BackendState::Ready);
        assert_eq!(bed.send_packet(1, reply).verdict, Verdict::Drop(DropReason::NoFlow));
    }
}

#[test]
fn any_datagram_from_the_backend_answers_one() {
    let mut bed = started(checked(&Probe::Udp(b"ping\n".to_vec())));
    bed.wait(FIRST);
    for probe in sent(&mut bed) {
        let (us, backend, port) = (SNATS[probe.pool], BACKENDS[probe.pool], probe.port);
        let df = if probe.pool == 0 { " df" } else { "" };
        let exact = Line::exact(&probe.packet).to_string();
        assert!(exact.contains("data=\"ping\\n\""), "{exact}");
        let asked = format!("udp {us}:{port} > {backend}:8080 len=5{df}");
        assert_eq!(probe.line, canonical(&asked));
        let other = format!("udp {backend}:8081 > {us}:{port} len=1");
        assert_eq!(bed.send(1, &other).verdict, Verdict::Reject(DropReason::NoService));
        let bad = format!("udp {backend}:8080 > {us}:{port} len=1 csum=bad");
        assert_eq!(bed.send(1, &bad).verdict, Verdict::Drop(DropReason::ProbeMismatch));
        if probe.pool == 0 {
            // One in fragments is an answer once it is whole.
            let long = format!("udp {backend}:8080 > {us}:{port} len=2000 ipid=7");
            let [first, last] = <[Packet; 2]>::try_from(fragments(&long, 1400)).unwrap();
            assert_eq!(bed.send_packet(1, first).verdict, Verdict::Hold);
            assert_eq!(bed.send_packet(1, last).verdict, Verdict::Consumed);
        } else {
            let good = format!("udp {backend}:8080 > {us}:{port} len=0");
            assert_eq!(bed.send(1, &good).verdict, Verdict::Consumed);
        }
        assert_eq!(state(&bed, probe.pool), BackendState::Ready);
    }
    assert_eq!(counts(&bed), (2, 2, 0));
}

#[test]
fn an_icmp_error_about_a_probe_fails_it_if_it_quotes_it() {
    for probe in [Probe::Tcp, Probe::Icmp, Probe::Udp(vec![0; 4])] {
        let mut config = checked(&probe);
        config.pools[0].health.as_mut().unwrap().fall = 1;
        config.pools[1].health.as_mut().unwrap().fall = 1;
        let mut bed = started(config);
        bed.wait(FIRST);
        for sent in sent(&mut bed) {
            let (router, us) = [("10.2.0.1", "10.99.0.250"), ("fd02::1", "fd99::250")][sent.pool];
            let error =
                |kind: &str, about: &str| format!("icmp {router} > {us} {kind} about=({about})");
            let line = Line::exact(&sent.packet).to_string();
            let about = |bed: &mut Bed, kind, about: &str| bed.send(1, &error(kind, about)).verdict;
            let big = about(&mut bed, "too-big mtu=1300", &line);
            assert_eq!(big, Verdict::Drop(DropReason::IcmpUnused), "no word against the backend");
            let spoilt = error("unreachable code=port", &line) + " csum=bad";
            assert_eq!(bed.send(1, &spoilt).verdict, Verdict::Drop(DropReason::IcmpChecksum));
            if probe != Probe::Udp(vec![0; 4]) {
                let seq = sent.number("seq");
                let forged = line.replace(&format!("seq={seq}"), &format!("seq={}", seq ^ 1));
                let verdict = about(&mut bed, "unreachable code=0", &forged);
                assert_eq!(verdict, Verdict::Drop(DropReason::ProbeMismatch), "{forged}");
            }
            let other = line.replace(&sent.port.to_string(), &(sent.port ^ 1).to_string());
            let verdict = about(&mut bed, "unreachable code=port", &other);
            assert_eq!(verdict, Verdict::Drop(DropReason::IcmpNoFlow), "{other}");
            assert_eq!(state(&bed, sent.pool), BackendState::Starting);
            let verdict = about(&mut bed, "unreachable code=port", &line);
            assert_eq!(verdict, Verdict::Consumed, "{line}");
            assert_eq!(state(&bed, sent.pool), BackendState::Down);
            assert_eq!(
                bed.engine.poll_change().unwrap().cause,
                Cause::Failed(1, Failure::Unreachable)
            );
        }
    }
}

#[test]
fn an_operator_takes_a_backend_out_and_its_probe_with_it() {
    let mut bed = started(checked(&Probe::Tcp));
    bed.wait(FIRST);
    let [v4, _] = sent(&mut bed);
    let (pool, backend) = (PoolId(0), BackendId(0));
    bed.engine.set_admin(bed.now, pool, backend, Admin::Maint);
    bed.engine.assert_consistent();
    assert_eq!(state(&bed, 0), BackendState::Maint);
    let next = v4.number("seq").wrapping_add(1);
    let line = format!("tcp 10.2.0.11:8080 > 10.99.0.250:{} S. ack={next}", v4.port);
    assert_eq!(bed.send(1, &line).verdict, Verdict::Reject(DropReason::NoFlow));
    assert_eq!(state(&bed, 0), BackendState::Maint);
    bed.engine.set_admin(bed.now, pool, backend, Admin::Ready);
    assert_eq!(state(&bed, 0), BackendState::Starting);
    bed.engine.assert_consistent();
}

#[test]
fn other_probes_are_ordered_and_their_outcome_counts_once() {
    let mut config = checked(&Probe::External);
    config.pools[0].initial = BackendState::Ready;
    let mut bed = started(config);
    bed.wait(FIRST);
    assert_eq!(bed.transmit(), None, "no packet of ours");
    let orders = [bed.engine.poll_probe().unwrap(), bed.engine.poll_probe().unwrap()];
    assert_eq!(bed.engine.poll_probe(), None);
    let first = orders.iter().find(|order| order.ticket.pool == PoolId(0)).unwrap();
    assert_eq!(first.address, "10.2.0.11:8080".parse().unwrap());
    assert_eq!(first.timeout, TIMEOUT);
    let bad = Outcome::Failed(Failure::Answer("HTTP status 503".into()));
    for outcome in [&bad, &Outcome::Passed] {
        bed.engine.finish_probe(bed.now, first.ticket, outcome);
    }
    assert_eq!(counts(&bed), (2, 0, 1));
    for _ in 0..100 {
        bed.wait(Duration::from_millis(100));
    }
    assert_eq!(state(&bed, 0), BackendState::Down, "nobody fetches the orders, and they time out");
    bed.wait(EVERY);
    bed.wait(TIMEOUT);
    assert!(counts(&bed).0 > 8, "{:?}", counts(&bed));
    assert_eq!(bed.engine.poll_probe(), None, "none is to be made that nobody waits for");
}

#[test]
fn a_backend_behind_no_leg_fails_and_a_lack_of_ports_is_not_its_fault() {
    let mut config = checked(&Probe::Tcp);
    config.pools[0].backends[0].address = "192.0.2.1:8080".parse().unwrap();
    config.snat.ports = (5000, 5000);
    config.pools[1].initial = BackendState::Ready;
    let mut bed = started(config);
    assert_eq!(bed.send(0, "tcp [fd01::5]:1 > [fd99::1]:80 S").verdict, Verdict::Forward);
    for _ in 0..10 {
        bed.wait(EVERY);
    }
    assert_eq!(state(&bed, 0), BackendState::Down);
    assert_eq!(bed.engine.poll_change().unwrap().cause, Cause::Failed(3, Failure::NoRoute));
    assert_eq!(state(&bed, 1), BackendState::Ready, "the only port is the client's");
    let (asked, passed, failed) = counts(&bed);
    assert_eq!((asked, passed), (failed, 0));
}

#[test]
fn a_call_makes_a_bounded_number_of_probes() {
    let mut config = config();
    let addresses: Vec<_> = (0..200).map(|i| format!("10.2.0.{i}:80")).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    config.pools[0] = pool("many", &addresses);
    config.pools[0].health = Some(HealthConfig::new(Probe::Tcp));
    let mut engine = Engine::new(config).unwrap();
    let start = Instant::from_secs(1);
    engine.handle_timeout(start);
    let later = start + FIRST;
    let before = engine.stats().probes_sent;
    engine.handle_timeout(later);
    assert_eq!(engine.stats().probes_sent - before, PROBE_BATCH as u64);
    assert!(engine.poll_timeout().unwrap() <= later, "it wants to be called again");
    while engine.poll_timeout().is_some_and(|due| due <= later) {
        engine.handle_timeout(later);
    }
    assert_eq!(engine.stats().probes_sent, 200);
    engine.assert_consistent();
}

#[test]
fn a_configuration_with_too_much_to_check_is_refused() {
    let mut config = config();
    let many = |n: usize| vec![config.pools[0].backends[0].clone(); n];
    let (fits, too_many) = (many(CHECKED_BACKENDS - 2), many(CHECKED_BACKENDS - 1));
    config.pools[1].health = Some(HealthConfig::new(Probe::Tcp));
    config.pools[0].health = Some(HealthConfig::new(Probe::Tcp));
    config.pools[0].backends = fits;
    assert_eq!(config.validate(), Ok(()));
    config.pools[0].backends = too_many;
    assert_eq!(config.validate(), Err(ConfigError::TooMany("checked backends")));
    config.pools[0].health = Some(HealthConfig::new(Probe::Udp(vec![0; 513])));
    config.pools[0].backends.truncate(1);
    assert_eq!(config.validate(), Err(ConfigError::TooMany("bytes in a probe")));
}

#[test]
fn probes_leave_from_the_vip_if_there_is_no_snat_pool() {
    let mut config = checked(&Probe::Icmp);
    config.snat.addresses.clear();
    let mut bed = started(config);
    bed.wait(FIRST);
    for sent in sent(&mut bed) {
        let headers = Headers::parse(&sent.packet).unwrap();
        assert_eq!(headers.src, addr(["10.99.0.1", "fd99::1"][sent.pool]));
    }
}

/// A divert that keeps what it is told.
#[derive(Debug, Default)]
struct Told(Vec<(String, PanicChange)>);

impl Divert for Told {
    fn handle_packet(&mut self, _: Instant, _: DivertTo, _: &Packet, _: &Headers) {}

    fn poll(&mut self, _: Instant) {}

    fn poll_transmit(&mut self, _: Instant, _: &mut Packet) -> bool {
        false
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn pool_panics(&mut self, change: &PanicChange, pool: &Pool) {
        self.0.push((pool.name().to_owned(), *change));
    }
}

#[test]
fn a_pool_says_when_it_believes_in_health_no_more() {
    let mut config = config();
    config.pools[0].panic_threshold = 60;
    let mut balancer = Balancer::new(Engine::new(config).unwrap(), Told::default());
    let at = Instant::from_secs;
    let set = |balancer: &mut Balancer<Told>, secs, states: &[(u16, BackendState)]| {
        for &(n, state) in states {
            balancer.engine.set_backend_state(at(secs), PoolId(0), BackendId(n), state);
            balancer.engine.set_backend_state(at(secs), PoolId(1), BackendId(n), state);
        }
        balancer.poll(at(secs));
        std::mem::take(&mut balancer.divert.0)
    };
    let told = |secs, panics, healthy| {
        vec![("v4".to_owned(), PanicChange { at: at(secs), panics, healthy })]
    };
    let (down, ready) = (BackendState::Down, BackendState::Ready);
    assert_eq!(set(&mut balancer, 1, &[(0, down)]), told(1, true, 50));
    assert_eq!(set(&mut balancer, 2, &[(1, down)]), [], "once");
    assert_eq!(set(&mut balancer, 3, &[(0, ready), (1, ready)]), told(3, false, 100));
    assert_eq!(set(&mut balancer, 4, &[(0, down), (0, ready)]), [], "it was over before the poll");
}

#[test]
fn checks_without_end_or_threshold_are_refused() {
    for what in ["every", "timeout", "fall", "rise"] {
        let mut config = config();
        let mut health = HealthConfig::new(Probe::Tcp);
        match what {
            "every" => health.every = Duration::ZERO,
            "timeout" => health.timeout = Duration::ZERO,
            "fall" => health.fall = 0,
            _ => health.rise = 0,
        }
        config.pools[0].health = Some(health);
        let name = config.pools[0].name.clone();
        let refused = Engine::new(config).err();
        assert_eq!(refused, Some(ConfigError::HealthZero(name, what)));
    }
}
