//! What clients see of backends that come, go and die.

use std::collections::BTreeMap;
use std::time::Duration;

use nat::flow::State;
use nat::flow::tcp::TcpState;
use nat::limits::{FAILURES_TO_EJECT, SYN_PATIENCE};
use nat::pool::Backend;
use nat::{BackendId, BackendState, Config, DropReason, PoolId, Scheduler, Verdict};
use netstack::wire::text;
use tests::bed::{Bed, Seen, config, pool};

const POOL: PoolId = PoolId(0);
const SECOND: Duration = Duration::from_secs(1);

fn four_backends() -> Config {
    let mut config = config();
    let addresses = ["10.2.0.11:8080", "10.2.0.12:8080", "10.2.0.13:8080", "10.2.0.14:8080"];
    config.pools[0] = pool("v4", &addresses);
    config
}

fn backend(bed: &Bed, id: u16) -> &Backend {
    &bed.engine.pools()[0].backends()[usize::from(id)]
}

fn set(bed: &mut Bed, id: u16, state: BackendState) {
    bed.engine.set_backend_state(bed.now, POOL, BackendId(id), state);
}

/// The ends of a packet that left for a backend: as the backend sees the client, and the backend.
fn ends(line: &str) -> (&str, &str) {
    let mut words = line.split(' ').skip(1);
    let mut next = || words.next().unwrap_or_else(|| panic!("{line}: too short"));
    let from = next();
    assert_eq!(next(), ">");
    (from, next())
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').unwrap_or_else(|| panic!("{address}: no port")).0
}

/// How a backend is dead.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    Refuses,
    Unreachable,
    Silent,
}

/// A client of number `n` connects; `dead` does not take it. Who took it, and how long that took.
fn connect(bed: &mut Bed, n: u16, port: u16, dead: &str, death: Death) -> (String, Duration) {
    let client = format!("10.1.0.{}:{}", 5 + n % 200, 10_000 + n);
    let begin = bed.now;
    let syn = format!("tcp {client} > 10.99.0.1:{port} S seq=7");
    let mut seen = bed.send(0, &syn);
    let mut patience = SECOND;
    loop {
        assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1), "client {n}: {}", seen.line);
        let (from, to) = ends(&seen.line);
        if host(to) != dead {
            let answer = format!("tcp {to} > {from} S. seq=1 ack=8");
            let to = host(to).to_owned();
            let seen = bed.send(1, &answer);
            let expected = format!("tcp 10.99.0.1:{port} > {client} S. seq=1 ack=8");
            assert!(seen.line.starts_with(&expected), "{}", seen.line);
            let ack = format!("tcp {client} > 10.99.0.1:{port} . seq=8 ack=2");
            assert_eq!(bed.send(0, &ack).verdict, Verdict::Forward);
            return (to, bed.now - begin);
        }
        seen = match death {
            Death::Refuses => bed.send(1, &format!("tcp {to} > {from} R. ack=8")),
            Death::Unreachable => {
                let about = format!("about=(tcp {from} > {to} S seq=7)");
                let back = host(from).to_owned();
                bed.send(1, &format!("icmp 10.2.0.1 > {back} unreachable code=host {about}"))
            }
            Death::Silent => {
                bed.wait(patience);
                patience *= 2;
                bed.send(0, &syn)
            }
        };
    }
}

#[test]
fn no_client_notices_a_dead_backend_and_few_meet_it() {
    for scheduler in Scheduler::ALL {
        for death in [Death::Refuses, Death::Unreachable, Death::Silent] {
            for port in [80, 81] {
                let mut config = four_backends();
                config.pools[0].scheduler = scheduler;
                let mut bed = Bed::new(config);
                let mut shares = BTreeMap::<_, u32>::new();
                let mut late = 0;
                for n in 0..200 {
                    let (to, took) = connect(&mut bed, n, port, "10.2.0.12", death);
                    assert!(took <= SECOND, "{scheduler:?}, {death:?}: {took:?}");
                    late += u32::from(took > Duration::ZERO);
                    *shares.entry(to).or_default() += 1;
                }
                let what = format!("{scheduler:?}, {death:?}, port {port}");
                assert_eq!(shares.len(), 3, "{what}: {shares:?}");
                // Ejected after three, back after five seconds for one more try: few are late.
                assert!(late <= FAILURES_TO_EJECT + 1, "{what}: {late} were late");
                let met = backend(&bed, 1).refused + backend(&bed, 1).unanswered;
                assert!(met <= u64::from(FAILURES_TO_EJECT) + 1, "{what}: {met} met it");
            }
        }
    }
}

/// A flow whose SYN went to `b0` without an answer, and its port there.
fn unanswered(config: Config, port: u16) -> (Bed, String, String) {
    let mut bed = Bed::new(config);
    let syn = format!("tcp 10.1.0.5:40000 > 10.99.0.1:{port} S seq=7");
    let seen = bed.send(0, &syn);
    let (from, to) = ends(&seen.line);
    assert_eq!(to, "10.2.0.11:8080");
    let from = from.to_owned();
    (bed, syn, from)
}

#[test]
fn a_syn_repeated_too_soon_goes_to_the_same_backend() {
    let (mut bed, syn, from) = unanswered(four_backends(), 80);
    bed.wait(SYN_PATIENCE.saturating_sub(Duration::from_millis(1)));
    assert_eq!(ends(&bed.send(0, &syn).line), (from.as_str(), "10.2.0.11:8080"));
    bed.wait(Duration::from_millis(1));
    let seen = bed.send(0, &syn);
    assert_eq!(ends(&seen.line).1, "10.2.0.12:8080", "counted from the first");
    assert_eq!(backend(&bed, 0).unanswered, 1);
    assert_eq!(bed.engine.stats().syn_failovers, 1);
    assert_eq!((backend(&bed, 0).active, backend(&bed, 1).active), (0, 1));
}

#[test]
fn the_client_tries_them_all_and_then_stays_with_the_last() {
    let (mut bed, syn, _) = unanswered(config(), 80);
    let mut met = Vec::new();
    for wait in [1, 2, 4, 8] {
        bed.wait(SECOND * wait);
        let seen = bed.send(0, &syn);
        assert_eq!(seen.verdict, Verdict::Forward);
        met.push(ends(&seen.line).1.to_owned());
    }
    assert_eq!(met, ["10.2.0.12:8080"; 4]);
    let (from, to) = {
        let flow = bed.flow();
        (flow.snat.port, flow.backend.port)
    };
    let seen = bed.send(1, &format!("tcp 10.2.0.12:{to} > 10.99.0.250:{from} S. ack=8"));
    assert_eq!(seen.verdict, Verdict::Forward, "the last one may still answer");
}

#[test]
fn another_connection_on_the_tuple_is_what_a_failover_offers() {
    let (mut bed, _, _) = unanswered(config(), 80);
    bed.wait(SECOND * 2);
    let seen = bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=99");
    let (from, to) = ends(&seen.line);
    assert_eq!(to, "10.2.0.11:8080", "its first SYN is not a repetition");
    let seen = bed.send(1, &format!("tcp {to} > {from} R. ack=100"));
    assert!(seen.line.contains("> 10.2.0.12:8080 S seq=99 "), "{}", seen.line);
}

#[test]
fn what_the_left_backend_says_late_is_not_the_services_answer() {
    for port in [80, 81] {
        let (mut bed, syn, from) = unanswered(config(), port);
        bed.wait(SECOND);
        let seen = bed.send(0, &syn);
        let (next, _) = ends(&seen.line);
        let next = next.to_owned();
        let late = bed.send(1, &format!("tcp 10.2.0.11:8080 > {from} S. seq=5 ack=8"));
        if port == 80 {
            assert_eq!(late.verdict, Verdict::Reject(DropReason::NoFlow));
            assert!(late.line.starts_with(&format!("tcp {from} > 10.2.0.11:8080 R seq=8")));
        } else {
            // It is to the client itself, which knows nothing of it and will say so.
            assert!(late.line.starts_with("tcp 10.2.0.11:8080 > 10.1.0.5:40000 S. "));
        }
        assert_eq!(bed.flow().state, State::Tcp(TcpState::SynSent));
        let seen = bed.send(1, &format!("tcp 10.2.0.12:8080 > {next} S. seq=1 ack=8"));
        let answer = format!("tcp 10.99.0.1:{port} > 10.1.0.5:40000 S. seq=1 ack=8");
        assert!(seen.line.starts_with(&answer), "{}", seen.line);
    }
}

#[test]
fn a_backend_that_was_taken_out_loses_its_unanswered_syns_at_once() {
    for state in [BackendState::Down, BackendState::Maint] {
        let (mut bed, syn, _) = unanswered(config(), 80);
        set(&mut bed, 0, state);
        bed.wait(SECOND / 10);
        assert_eq!(ends(&bed.send(0, &syn).line).1, "10.2.0.12:8080");
        assert_eq!(backend(&bed, 0).unanswered, 0, "that says nothing of it");
    }
}

#[test]
fn an_established_connection_outlives_its_backends_state() {
    for state in [BackendState::Drain, BackendState::Maint, BackendState::Down] {
        let mut bed = Bed::new(config());
        let (to, _) = connect(&mut bed, 0, 80, "nobody", Death::Silent);
        set(&mut bed, 0, state);
        let seen = bed.send(0, "tcp 10.1.0.5:10000 > 10.99.0.1:80 P. seq=8 ack=2 len=5");
        assert_eq!(host(ends(&seen.line).1), to);
    }
}

const QUERIES: [&str; 2] =
    ["udp 10.1.0.5:5000 > 10.99.0.1:53 len=4", "icmp 10.1.0.5 > 10.99.0.4 echo id=7 seq=1 len=8"];

/// The backend that a query is sent to.
fn ask(bed: &mut Bed, query: &str) -> Result<String, Seen> {
    let seen = bed.send(0, query);
    if seen.verdict != Verdict::Forward {
        return Err(seen);
    }
    let to = ends(&seen.line).1;
    Ok(to.rsplit_once(':').map_or(to, |(host, _)| host).to_owned())
}

#[test]
fn datagrams_leave_a_backend_that_is_out_with_the_next_one() {
    for query in QUERIES {
        for state in [BackendState::Down, BackendState::Maint] {
            let mut bed = Bed::new(config());
            assert_eq!(ask(&mut bed, query), Ok("10.2.0.11".to_owned()));
            set(&mut bed, 0, state);
            for _ in 0..3 {
                assert_eq!(ask(&mut bed, query), Ok("10.2.0.12".to_owned()));
            }
            assert_eq!(bed.engine.flows().len(), 1);
            set(&mut bed, 1, state);
            let refused = ask(&mut bed, query).unwrap_err();
            assert_eq!(refused.verdict, Verdict::Reject(DropReason::NoBackend));
        }
        let mut bed = Bed::new(config());
        assert_eq!(ask(&mut bed, query), Ok("10.2.0.11".to_owned()));
        set(&mut bed, 0, BackendState::Drain);
        set(&mut bed, 1, BackendState::Down);
        assert_eq!(ask(&mut bed, query), Ok("10.2.0.11".to_owned()), "drain keeps its flows");
    }
}

#[test]
fn a_late_answer_of_a_backend_that_is_out_still_arrives() {
    let mut bed = Bed::new(config());
    assert_eq!(ask(&mut bed, QUERIES[0]), Ok("10.2.0.11".to_owned()));
    let port = bed.flow().snat.port;
    set(&mut bed, 0, BackendState::Down);
    let seen = bed.send(1, &format!("udp 10.2.0.11:8080 > 10.99.0.250:{port} len=4"));
    assert_eq!(seen.verdict, Verdict::Forward);
}

#[test]
fn closed_connections_do_not_count_against_a_limit() {
    let mut config = config();
    config.pools[0].backends.iter_mut().for_each(|b| b.max_connections = Some(1));
    let mut bed = Bed::new(config);
    for n in 0..2 {
        connect(&mut bed, n, 81, "nobody", Death::Silent);
    }
    let refused = bed.send(0, "tcp 10.1.0.9:1 > 10.99.0.1:81 S seq=7");
    assert_eq!(refused.verdict, Verdict::Reject(DropReason::BackendsFull));
    assert_eq!(
        refused.line,
        tests::bed::canonical("tcp 10.99.0.1:81 > 10.1.0.9:1 R. ack=8 win=0 df")
    );
    let refused = bed.send(0, "udp 10.1.0.9:1 > 10.99.0.1:53 len=4");
    assert_eq!(refused.verdict, Verdict::Reject(DropReason::BackendsFull));
    assert!(refused.line.starts_with("icmp 10.99.0.1 > 10.1.0.9 unreachable code=prohibited"));

    bed.send(1, "tcp 10.2.0.11:8080 > 10.1.0.5:10000 R seq=2");
    assert_eq!(backend(&bed, 0).active, 0);
    let seen = bed.send(0, "tcp 10.1.0.9:1 > 10.99.0.1:81 S seq=7");
    assert_eq!(ends(&seen.line).1, "10.2.0.11:8080");
    // The reset was forged: the connection goes on, and counts again.
    bed.send(0, "tcp 10.1.0.5:10000 > 10.99.0.1:81 . seq=8 ack=2");
    assert_eq!(backend(&bed, 0).active, 2);
}

#[test]
fn a_handshake_and_a_first_answer_are_what_latency_is_measured_by() {
    // The first backend answers slowly: of the connections that last no time it gets none any more.
    let mut config = config();
    config.pools[0].scheduler = Scheduler::Ewma;
    for line in ["tcp 10.1.0.5:{n} > 10.99.0.1:80 S seq=7", "udp 10.1.0.5:{n} > 10.99.0.1:53 len=4"]
    {
        let mut bed = Bed::new(config.clone());
        let mut counts = BTreeMap::<_, u32>::new();
        for n in 1000..1100 {
            let seen = bed.send(0, &line.replace("{n}", &n.to_string()));
            let (from, to) = ends(&seen.line);
            let slow = host(to) == "10.2.0.11";
            bed.wait(Duration::from_millis(if slow { 500 } else { 1 }));
            let answer = if line.starts_with("tcp") {
                format!("tcp {to} > {from} S. ack=8")
            } else {
                format!("udp {to} > {from} len=4")
            };
            assert_eq!(bed.send(1, &answer).verdict, Verdict::Forward);
            *counts.entry(host(to).to_owned()).or_default() += 1;
        }
        let of_slow = counts.get("10.2.0.11").copied().unwrap_or_default();
        assert!((1..=3).contains(&of_slow), "{line}: {counts:?}");
    }
}

#[test]
fn an_affinity_client_stays_through_services_and_flows() {
    let mut config = four_backends();
    config.pools[0].affinity = Some(nat::AffinityConfig::new(SECOND * 60));
    let mut bed = Bed::new(config);
    let mut homes = BTreeMap::new();
    for n in 0..400_u16 {
        let client = 5 + n % 8;
        let line = match n % 3 {
            0 => format!("tcp 10.1.0.{client}:{} > 10.99.0.1:80 S", 1_000 + n),
            1 => format!("tcp 10.1.0.{client}:{} > 10.99.0.1:81 S", 1_000 + n),
            _ => format!("udp 10.1.0.{client}:{} > 10.99.0.1:53", 1_000 + n),
        };
        let seen = bed.send(0, &line);
        let to = ends(&seen.line).1.to_owned();
        assert_eq!(homes.entry(client).or_insert_with(|| to.clone()), &to);
        bed.wait(SECOND);
    }
    let all: std::collections::BTreeSet<_> = homes.values().collect();
    assert_eq!(all.len(), 4);
}

#[test]
fn a_pool_in_which_nobody_was_checked_yet_refuses_aloud() {
    let mut config = config();
    config.pools[0].initial = BackendState::Starting;
    let mut bed = Bed::new(config);
    let seen = bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:80 S seq=7");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoBackend));
    assert!(text::packet(&seen.line).is_ok());
    set(&mut bed, 1, BackendState::Ready);
    let seen = bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:80 S seq=7");
    assert_eq!(ends(&seen.line).1, "10.2.0.12:8080");
}
