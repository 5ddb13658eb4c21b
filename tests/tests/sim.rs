//! Whole connections through balun over bad links, on virtual time.
//!
//! Every failure prints its scenario; `BALUN_SEED=n` repeats one seed.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use balun::lab::client::Dial;
use balun::sim::Impairment;
use nat::rng::{mix, stable_hash};
use netstack::wire::Family;
use tests::bench::{Bench, Scenario, seeds, simulate};
use tests::http;
use tests::topology::{FAMILIES, Mode, elsewhere, vip};
use tests::transfer::{self, Job, Order};
use tokio::io::BufReader;

const PERCENT: u32 = 10_000;
/// Virtual time in which everything below has to be done, however bad the links.
const LIMIT: Duration = Duration::from_mins(4);
/// Until a backend has seen what a client has sent.
const SETTLE: Duration = Duration::from_millis(100);
const ORDERS: [Order; 3] = [Order::Duplex, Order::ClientFirst, Order::ServerFirst];

fn impairments() -> [(&'static str, Impairment); 7] {
    let none = Impairment {
        delay: Duration::from_micros(500),
        jitter: Duration::from_micros(200),
        mtu: 1500,
        ..Impairment::default()
    };
    let (loss, reorder, duplicate) = (PERCENT, 5 * PERCENT, 5 * PERCENT);
    [
        ("none", none),
        ("super-packets", Impairment { mtu: 0, ..none }),
        ("loss 1 %", Impairment { loss, ..none }),
        ("loss 5 %", Impairment { loss: 5 * PERCENT, ..none }),
        ("reorder 5 %", Impairment { reorder, ..none }),
        ("duplicate 5 %", Impairment { duplicate, ..none }),
        ("all", Impairment { loss, reorder, duplicate, ..none }),
    ]
}

fn jobs(seed: u64, sizes: std::ops::Range<u64>) -> impl Iterator<Item = Job> {
    ORDERS.into_iter().cycle().enumerate().map(move |(i, order)| {
        let random =
            |n: u64| sizes.start + mix(seed ^ (i as u64) << 8 ^ n) % (sizes.end - sizes.start);
        Job { upload: random(1), download: random(2), salt: mix(seed ^ i as u64), order }
    })
}

/// Three clients at once, each with 100 KB to 1 MB each way.
fn transfers_survive(mode: Mode, family: Family) {
    for (name, impairment) in impairments() {
        for seed in seeds(4) {
            survive(mode, name, Scenario { impairment, ..Scenario::new(seed, family) });
        }
    }
}

fn survive(mode: Mode, name: &str, scenario: Scenario) {
    simulate(scenario, &format!("{mode:?} over {name}"), async |bench| {
        let running = jobs(scenario.seed, 100_000..1_000_000)
            .take(3)
            .map(|job| bench.start(mode, job))
            .collect();
        for result in bench.finish(LIMIT, running).await {
            result.unwrap();
        }
    });
}

/// Runs that once stalled for ever or ended early, each for a reason of its own (see
/// `netstack::tcp`, the modules `ingress`, `connection` and `rescue`).
#[test]
fn what_once_stalled_goes_through() {
    for (mode, family, over, seed) in [
        // Both sides acknowledged from a sequence number that a timeout had rewound.
        (Mode::Full, Family::V6, "loss 5 %", 13),
        // The window shrank under the sender; its reopening went unheard in LAST-ACK.
        (Mode::Tcp, Family::V4, "super-packets", 43),
        (Mode::Tcp, Family::V6, "super-packets", 43),
        // Duplicates with different windows let a lost FIN be forgotten.
        (Mode::Full, Family::V4, "all", 50),
        (Mode::Dnat, Family::V4, "all", 50),
        // Segments beyond a window of zero took their acknowledgments with them.
        (Mode::Tcp, Family::V4, "loss 5 %", 30),
        (Mode::Tcp, Family::V6, "loss 5 %", 53),
        (Mode::Http, Family::V6, "loss 5 %", 3),
        (Mode::Http, Family::V4, "loss 5 %", 33),
        (Mode::Http, Family::V6, "loss 1 %", 35),
        // The timer of data in flight was lost.
        (Mode::Tcp, Family::V6, "loss 5 %", 6),
    ] {
        let (name, impairment) = impairments().into_iter().find(|(n, _)| *n == over).unwrap();
        survive(mode, name, Scenario { impairment, ..Scenario::new(seed, family) });
    }
}

#[test]
fn full_nat_v4_transfers_survive_bad_links() {
    transfers_survive(Mode::Full, Family::V4);
}

#[test]
fn full_nat_v6_transfers_survive_bad_links() {
    transfers_survive(Mode::Full, Family::V6);
}

#[test]
fn dnat_v4_transfers_survive_bad_links() {
    transfers_survive(Mode::Dnat, Family::V4);
}

#[test]
fn dnat_v6_transfers_survive_bad_links() {
    transfers_survive(Mode::Dnat, Family::V6);
}

#[test]
fn spliced_v4_transfers_survive_bad_links() {
    transfers_survive(Mode::Tcp, Family::V4);
}

#[test]
fn spliced_v6_transfers_survive_bad_links() {
    transfers_survive(Mode::Tcp, Family::V6);
}

#[test]
fn http_v4_transfers_survive_bad_links() {
    transfers_survive(Mode::Http, Family::V4);
}

#[test]
fn http_v6_transfers_survive_bad_links() {
    transfers_survive(Mode::Http, Family::V6);
}

/// Connections that end here may be to any address and port: the endpoint has no list of them.
#[test]
fn a_spliced_service_may_listen_on_a_network_and_a_range() {
    for family in FAMILIES {
        simulate(Scenario::new(1, family), "a service on a network", async |bench| {
            let job = jobs(1, 10_000..20_000).next().unwrap();
            let dial = bench.dial();
            let running = bench.spawn(async move {
                let stream = dial.dial(elsewhere(family)).await?;
                transfer::run(stream, job).await
            });
            bench.finish(LIMIT, vec![running]).await.remove(0).unwrap();
        });
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (_, impairment) = impairments()[6];
    let run = |seed, mode| {
        let scenario = Scenario { impairment, ..Scenario::new(seed, Family::V4) };
        simulate(scenario, &format!("{mode:?} twice"), async |bench| {
            let digest = watch(bench);
            let running = jobs(seed, 30_000..60_000).take(4).map(|job| bench.start(mode, job));
            let running = running.collect();
            bench.finish(LIMIT, running).await.into_iter().for_each(|result| result.unwrap());
            digest.take()
        })
    };
    for mode in Mode::ALL {
        let (first, second, other) = (run(7, mode), run(7, mode), run(8, mode));
        assert_eq!(first, second, "{mode:?}");
        assert_ne!(first, other, "{mode:?}");
    }
}

/// A hash of all packets from now on, with when and where they arrived.
fn watch(bench: &mut Bench) -> Rc<RefCell<u64>> {
    let digest = Rc::new(RefCell::new(0));
    let sum = Rc::clone(&digest);
    bench.network.observer = Some(Box::new(move |now, place, packet| {
        let about = format!("{now:?} {place:?} {:?} {:?}", packet.leg, packet.offload);
        let hash = stable_hash(*sum.borrow(), about.as_bytes());
        *sum.borrow_mut() = stable_hash(hash, packet.data());
    }));
    digest
}

#[test]
fn a_killed_backend_costs_its_own_connections_only() {
    for (family, mode) in FAMILIES.into_iter().flat_map(|f| Mode::ALL.map(|m| (f, m))) {
        for seed in seeds(2) {
            let what = format!("{mode:?}, a backend is killed");
            simulate(Scenario::new(seed, family), &what, async |bench| {
                kill_one(bench, mode, seed).await;
            });
        }
    }
}

async fn kill_one(bench: &mut Bench, mode: Mode, seed: u64) {
    let long: Vec<_> =
        jobs(seed, 2_000_000..2_100_000).take(6).map(|job| bench.start(mode, job)).collect();
    bench.pass(Duration::from_millis(20)).await;
    bench.network.host_mut(1).unwrap().kill();
    let new: Vec<_> =
        jobs(seed ^ 0x63, 1_000..2_000).take(20).map(|job| bench.start(mode, job)).collect();
    for result in bench.finish(Duration::from_secs(20), new).await {
        result.unwrap();
    }
    assert_eq!(bench.ledger.served_by(0), 0);
    let ended = bench.finish(LIMIT, long).await;
    let failed = ended.iter().filter_map(|result| result.as_ref().err());
    let kinds: Vec<_> = failed.map(std::io::Error::kind).collect();
    if mode == Mode::Http {
        // An error answer if none had begun, else a reset; a second request may find the other one.
        assert!((1..=3).contains(&kinds.len()), "{kinds:?}");
    } else {
        assert_eq!(kinds, [ErrorKind::ConnectionReset; 3]);
    }

    bench.network.host_mut(1).unwrap().revive();
    bench.pass(Duration::from_mins(2)).await;
    let again: Vec<_> =
        jobs(seed ^ 0x4d, 1_000..2_000).take(8).map(|job| bench.start(mode, job)).collect();
    for result in bench.finish(Duration::from_secs(20), again).await {
        result.unwrap();
    }
    bench.pass(SETTLE).await;
    assert!(bench.ledger.served_by(0) >= 4, "{:?}", bench.ledger.records());
}

#[test]
fn without_a_backend_clients_hear_so_at_once() {
    for (family, mode) in FAMILIES.into_iter().flat_map(|f| Mode::ALL.map(|m| (f, m))) {
        simulate(Scenario::new(1, family), &format!("{mode:?}, all dead"), async |bench| {
            bench.network.host_mut(1).unwrap().kill();
            bench.network.host_mut(2).unwrap().kill();
            let running = jobs(1, 1_000..2_000).take(5).map(|job| bench.start(mode, job)).collect();
            for result in bench.finish(Duration::from_secs(2), running).await {
                let error = result.unwrap_err();
                let expected = match mode {
                    Mode::Full | Mode::Dnat => ErrorKind::ConnectionRefused,
                    Mode::Tcp => ErrorKind::ConnectionReset,
                    Mode::Http => ErrorKind::InvalidData,
                };
                assert_eq!(error.kind(), expected, "{error}");
                assert!(mode != Mode::Http || error.to_string().contains(" 502 "), "{error}");
            }
        });
    }
}

#[test]
fn a_client_that_aborts_is_aborted_at_the_backend() {
    for (family, mode) in FAMILIES.into_iter().flat_map(|f| Mode::ALL.map(|m| (f, m))) {
        simulate(Scenario::new(1, family), &format!("{mode:?}, abort"), async |bench| {
            let dial = bench.dial();
            let begun = bench.spawn(async move {
                let job =
                    Job { upload: 1_000_000, download: 10, salt: 5, order: Order::ClientFirst };
                let stream = if mode == Mode::Http {
                    let mut stream = dial.dial(vip(family, mode.web_port())).await.unwrap();
                    let head =
                        "POST /5/6/10 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
                    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
                        .await
                        .unwrap();
                    stream
                } else {
                    let mut stream = dial.dial(vip(family, mode.bytes_port())).await.unwrap();
                    transfer::begin(&mut stream, job, 30_000).await.unwrap();
                    stream
                };
                tokio::time::sleep(Duration::from_secs(1)).await;
                stream.abort();
            });
            bench.finish(LIMIT, vec![begun]).await;
            bench.pass(SETTLE).await;
            let results: Vec<_> = bench.ledger.records().into_iter().map(|r| r.result).collect();
            assert_eq!(results, [Err(ErrorKind::ConnectionReset)]);
        });
    }
}

#[test]
fn an_idle_connection_is_kept() {
    for (family, mode) in FAMILIES.into_iter().flat_map(|f| Mode::OPAQUE.map(|m| (f, m))) {
        simulate(Scenario::new(1, family), &format!("{mode:?}, idle"), async |bench| {
            let dial = bench.dial();
            let done = bench.spawn(async move {
                let stream = dial.dial(vip(family, mode.bytes_port())).await?;
                tokio::time::sleep(Duration::from_mins(50)).await;
                let job = Job { upload: 9_000, download: 9_000, salt: 1, order: Order::Duplex };
                transfer::run(stream, job).await
            });
            bench.finish(Duration::from_mins(51), vec![done]).await.remove(0).unwrap();
        });
    }
}

#[test]
fn ten_megabytes_come_down_in_mode_http() {
    for family in FAMILIES {
        for mtu in [0, 1500] {
            let mut scenario = Scenario::new(1, family);
            scenario.impairment.mtu = mtu;
            simulate(scenario, "10 MB by http", async |bench| {
                let dial = bench.dial();
                let done = bench.spawn(async move {
                    let to = vip(family, Mode::Http.web_port());
                    let mut stream = BufReader::new(dial.dial(to).await?);
                    for salt in [2, 3] {
                        let request = http::Request {
                            upload: 0,
                            framing: http::Framing::Length,
                            download: 5_000_000,
                            salt,
                        };
                        http::ask(&mut stream, "a", request).await?;
                    }
                    Ok::<_, std::io::Error>(())
                });
                bench.finish(Duration::from_secs(10), vec![done]).await.remove(0).unwrap();
            });
        }
    }
}

#[test]
fn two_hundred_clients_at_once() {
    for mode in Mode::ALL {
        for (seed, family) in (1..).zip(FAMILIES) {
            simulate(Scenario::new(seed, family), &format!("{mode:?}, 200"), async |bench| {
                let running = jobs(seed, 5_000..20_000).take(200);
                let running = running.map(|job| bench.start(mode, job)).collect();
                for result in bench.finish(Duration::from_secs(10), running).await {
                    result.unwrap();
                }
                bench.pass(SETTLE).await;
                let shares = [0, 1].map(|backend| bench.ledger.served_by(backend));
                let each = if mode == Mode::Http { 200 } else { 100 };
                assert_eq!(shares, [each; 2]);
            });
        }
    }
}

#[test]
fn nothing_is_left_behind() {
    for mode in Mode::ALL {
        simulate(Scenario::new(1, Family::V4), &format!("{mode:?}, remains"), async |bench| {
            let running =
                jobs(1, 1_000..9_000).take(30).map(|job| bench.start(mode, job)).collect();
            bench.finish(LIMIT, running).await.into_iter().for_each(|result| result.unwrap());
            // Closing flows, TIME-WAIT and idle connections to backends all have their time.
            bench.pass(Duration::from_mins(30)).await;
            assert_eq!(bench.network.balancer.engine.flows().len(), 0);
            let stats = bench.network.balancer.divert.stack().with(|endpoint| endpoint.stats());
            assert_eq!((stats.connections, stats.time_wait, stats.half_open), (0, 0, 0));
        });
    }
}
