use std::time::Duration;
use balun::sim::{Impairment,Place};
use netstack::wire::Family;
use tests::bench::*;
use tests::topology::*;
use tests::transfer::*;
use nat::rng::mix;
#[test]
fn dbg() {
    let var = |n: &str, d: u64| std::env::var(n).ok().map_or(d, |v| v.parse().unwrap());
    let seed = var("SEED", 1);
    let only = var("JOB", 9);
    let impairment = Impairment { delay: Duration::from_micros(500), jitter: Duration::from_micros(200), mtu: 1500, loss: var("LOSS", 10000) as u32,
        duplicate: var("DUP",0) as u32, reorder: var("REORDER",0) as u32, ..Impairment::default() };
    let family = if var("V6",1)==1 {Family::V6} else {Family::V4};
    let mode = [Mode::Full, Mode::Dnat, Mode::Tcp, Mode::Http][var("MODE",0) as usize];
    let s = Scenario { impairment, ..Scenario::new(seed, family) };
    let r = sim(s, mode, seed, only);
    println!("{r:?}");
}
fn sim(s: Scenario, mode: Mode, seed: u64, only: u64) -> Vec<std::io::Result<()>> {
    simulate(s, "dbg", async |bench| {
        bench.network.observer = Some(Box::new(|now, place, p| {
            println!("{:>12} {} {} {}", now.as_micros(), p.leg.0, if place==Place::Host {"<-"} else {"->"}, tests::line(p));
        }));
        let orders=[Order::Duplex, Order::ClientFirst, Order::ServerFirst];
        let running = (0..3u64).filter(|i| only==9 || *i==only).map(|i| {
            let random = |n: u64| 100_000 + mix(seed ^ i << 8 ^ n) % 300_000;
            bench.start(mode, Job{upload: random(1), download: random(2), salt: mix(seed^i), order: orders[i as usize]})
        }).collect();
        let r = bench.finish(Duration::from_mins(9), running).await;
        println!("{:?} {:?}", bench.network.now(), bench.ledger.records()); r
    })
}
