//! What the engine says of the packets that it was handed.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use nat::{BackendId, BackendState, PoolId, Scheduler};
use tests::bed::{Bed, Seen, config};

/// A bench that keeps accounts.
fn bed(adjust: impl FnOnce(&mut nat::Config)) -> Bed {
    let mut config = config();
    adjust(&mut config);
    let mut bed = Bed::new(config);
    bed.engine.set_accounting(true);
    bed
}

/// The account of the last packet, as people read it: a step a line.
fn steps(bed: &Bed) -> Vec<String> {
    let account = bed.engine.account().unwrap();
    let steps = account.steps(&bed.engine);
    let line = |step: &nat::account::Step| {
        let words = [step.verb, &step.object, &step.detail];
        words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
    };
    steps.iter().map(line).collect()
}

fn brief(bed: &Bed) -> String {
    bed.engine.account().unwrap().brief(&bed.engine)
}

fn syn(bed: &mut Bed) -> Seen {
    bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 S mss=1460")
}

#[test]
fn a_syn_is_followed_from_the_service_to_the_last_checksum() {
    let mut bed = bed(|config| config.pools[0].scheduler = Scheduler::Maglev);
    let port = syn(&mut bed).source_port();
    let said = steps(&bed);
    assert_eq!(said.len(), 5, "{said:#?}");
    assert_eq!(said[0], "vip tcp 10.99.0.1:80 tcp 10.99.0.1:80, nat full");
    assert_eq!(said[1], "flow new syn-sent, 1 of 1048576");
    assert!(said[2].starts_with("choose maglev place "), "{}", said[2]);
    assert!(said[2].contains(" of 65537 → v4/b"), "{}", said[2]);
    assert!(said[2].ends_with(" (ready, weight 1)"), "{}", said[2]);
    assert_eq!(said[3], format!("snat alloc 10.99.0.250:{port}"));
    assert!(said[4].starts_with("rewrite src, dst, id "), "{}", said[4]);
    assert!(said[4].ends_with("ttl 64→63"), "{}", said[4]);
}

#[test]
fn the_packets_that_follow_say_how_the_state_went_on() {
    let mut bed = bed(|_| ());
    let seen = syn(&mut bed);
    let (source, backend) = (seen.ends().0.to_owned(), seen.ends().1.to_owned());
    assert!(brief(&bed).starts_with("tcp 10.99.0.1:80 flow 1 > v4/b"), "{}", brief(&bed));
    assert!(brief(&bed).ends_with("round-robin, new, syn-sent"), "{}", brief(&bed));
    bed.send(1, &format!("tcp {backend} > {source} S. ack=1"));
    assert_eq!(steps(&bed)[0], "flow 1 to the client, syn-sent → syn-received");
    assert!(brief(&bed).ends_with(", syn-sent → syn-received"), "{}", brief(&bed));
    bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 . seq=1 ack=1");
    bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 P. seq=1 ack=1 len=10");
    let said = steps(&bed);
    assert_eq!(said[0], "flow 1 from the client, established");
    assert!(said[1].starts_with("rewrite src, dst"), "{}", said[1]);
    assert!(brief(&bed).starts_with("tcp 10.99.0.1:80 flow 1 > v4/b"), "{}", brief(&bed));
}

#[test]
fn a_drop_says_why_and_what_had_been_decided() {
    let mut bed = bed(|_| ());
    for id in [0, 1] {
        bed.engine.set_backend_state(bed.now, PoolId(0), BackendId(id), BackendState::Maint);
    }
    syn(&mut bed);
    assert_eq!(steps(&bed)[0], "vip tcp 10.99.0.1:80 tcp 10.99.0.1:80, nat full");
    assert_eq!(brief(&bed), "tcp 10.99.0.1:80, refused:no-backend");
    bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:80 P. seq=7 ack=1 len=10");
    assert_eq!(brief(&bed), "tcp 10.99.0.1:80, refused:no-flow");
    bed.send(0, "udp 10.99.0.1:5 > 10.99.0.1:53");
    assert_eq!(brief(&bed), "drop:martian");
}

#[test]
fn a_syn_that_moves_says_from_whom_to_whom() {
    let mut bed = bed(|_| ());
    let seen = syn(&mut bed);
    let (source, backend) = (seen.ends().0.to_owned(), seen.ends().1.to_owned());
    bed.send(1, &format!("tcp {backend} > {source} R. ack=1"));
    let said = steps(&bed);
    let verbs: Vec<_> = said.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(verbs[..4], ["flow", "failover", "choose", "snat"], "{said:#?}");
    let next = if backend.starts_with("10.2.0.11") { "b1" } else { "b0" };
    assert!(brief(&bed).contains(&format!("flow 1 < v4/{next}")), "{}", brief(&bed));
    assert!(brief(&bed).contains("SYN moved from v4/b"), "{}", brief(&bed));
}

#[test]
fn an_error_says_which_flow_it_is_about() {
    let mut bed = bed(|_| ());
    let seen = bed.send(0, "udp 10.1.0.5:4000 > 10.99.0.1:53 len=20");
    let (source, backend) = (seen.ends().0.to_owned(), seen.ends().1.to_owned());
    let host = backend.split(':').next().unwrap();
    bed.send(
        1,
        &format!(
            "icmp {host} > 10.99.0.250 unreachable code=port about=(udp {source} > {backend} len=20)"
        ),
    );
    assert_eq!(steps(&bed)[0], "icmp 1 an error for the client, about what it sent");
}

/// Whoever looks changes nothing: with accounts and without, the same packets come out.
#[test]
fn accounts_change_nothing() {
    let lines = [
        "tcp 10.1.0.5:40000 > 10.99.0.1:80 S mss=1460",
        "tcp 10.1.0.5:40000 > 10.99.0.1:80 S mss=1460",
        "udp 10.1.0.5:40000 > 10.99.0.1:53 len=3",
        "icmp 10.1.0.5 > 10.99.0.4 echo id=7",
        "tcp 10.1.0.5:40000 > 10.99.0.1:80 R",
        "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=9",
        "tcp 10.1.0.9:1 > 10.2.0.11:9 S",
    ];
    let mut with = bed(|_| ());
    let mut without = Bed::new(config());
    for line in lines {
        assert_eq!(with.send(0, line), without.send(0, line), "{line}");
    }
    assert_eq!(with.engine.stats(), without.engine.stats());
}
