use super::*;

const CONFIG: &str = r#"
    version = 1
    [[leg]]
    name = "client"
    address = ["10.1.0.254/24"]
    [[leg]]
    name = "backend"
    address = ["10.2.0.254/24"]
    [snat]
    addresses = ["10.99.0.250"]
    [pool.web]
    scheduler = "round-robin"
    health = { icmp = true, every = "2s", timeout = "500ms", fall = 1, rise = 1, initial = "down" }
    backend = [{ name = "web1", address = "10.2.0.11:8080" }]
    [[service]]
    name = "l4"
    listen = "tcp 10.99.0.1:80"
    mode = "nat"
    pool = "web"
    [[service]]
    name = "l7"
    listen = "tcp 10.99.0.2:80"
    mode = "http"
    pool = "web"
    upstream = "kernel"
"#;
const SYN: &str = "tcp 10.1.0.5:4000 > 10.99.0.1:80 S seq=1";

fn bench(health: bool) -> Bench {
    Bench::from_text(CONFIG, Setup { seed: Some(1), health }).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn packets_of_the_last_act_alone_are_expected() {
    let mut bench = bench(false);
    assert_eq!(bench.send(None, SYN), Ok(Verdict::Forward));
    assert_eq!(bench.send(None, SYN), Ok(Verdict::Forward));
    assert!(bench.expect("backend", "S").is_ok());
    assert_eq!(bench.expect_nothing(), Ok(()), "the first copy is forgotten");
    let nothing = BenchError::Nothing { expected: "S".to_owned() };
    assert_eq!(bench.expect("backend", "S").err(), Some(nothing));
}

#[test]
fn a_packet_on_another_leg_is_named() {
    let mut bench = bench(false);
    let _ = bench.send("client", SYN);
    let Some(BenchError::Differs { leg, difference, .. }) = bench.expect("client", "S").err()
    else {
        panic!("it left by the backend's leg")
    };
    assert_eq!((leg.as_str(), difference.as_str()), ("backend", "another leg"));
}

#[test]
fn mistakes_are_errors() {
    let mut bench = bench(false);
    assert!(matches!(bench.send("nowhere", SYN), Err(BenchError::NoLeg(_))));
    assert!(matches!(
        bench.send(None, "tcp 9.9.9.9:1 > 10.99.0.1:80 S"),
        Err(BenchError::NoLeg(_))
    ));
    assert!(matches!(bench.send(None, "tcp"), Err(BenchError::Line(_))));
    assert!(matches!(bench.send(None, "tcp $x > 10.99.0.1:80 S"), Err(BenchError::Unbound(_))));
    assert_eq!(bench.reply("S."), Err(BenchError::NothingToAnswer));
    let unknown = bench.set_backend("web/web9", BackendState::Down);
    assert_eq!(unknown, Err(BenchError::NoBackend("web/web9".to_owned())));
    assert!(matches!(
        Bench::from_text("version = 2", Setup::default()),
        Err(BenchError::Config(_))
    ));
}

#[test]
fn probes_are_packets_if_they_are_asked_for() {
    let mut bench = bench(true);
    let state = |bench: &Bench| bench.backend("web/web1").map(|b| b.state);
    assert_eq!(state(&bench), Some(BackendState::Starting));
    assert!(bench.wait_for_packet(Duration::from_secs(5)).is_ok());
    assert!(bench.expect("backend", "icmp > 10.2.0.11 echo").is_ok());
    assert_eq!(bench.reply(""), Ok(Verdict::Consumed));
    assert_eq!(state(&bench), Some(BackendState::Ready));
    assert!(bench.advance(Duration::from_secs(5)).is_ok());
    assert_eq!(state(&bench), Some(BackendState::Down), "nobody answered the next");
    let now = bench.now();
    assert!(bench.advance(Duration::from_micros(1_500)).is_ok());
    assert_eq!(bench.now(), now + Duration::from_micros(1_500), "the clock is exact");
}

/// The proxy takes the connection, and its own goes out through a leg, never by a socket.
#[test]
fn diverted_services_run_for_real() {
    let mut bench = bench(false);
    let vip = "10.1.0.5:4000 > 10.99.0.2:80";
    assert!(matches!(
        bench.send(None, &format!("tcp {vip} S seq=1 mss=1460")),
        Ok(Verdict::Divert(_))
    ));
    assert!(bench.expect("client", "tcp 10.99.0.2:80 > 10.1.0.5:4000 S. seq=$isn ack=2").is_ok());
    assert!(bench.reply(".").is_ok());
    let request = "data=\"GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n\"";
    let isn: u32 = bench.variables().get("isn").and_then(|n| n.parse().ok()).unwrap_or_default();
    let ack = isn.wrapping_add(1);
    assert!(bench.send(None, &format!("tcp {vip} P. seq=2 ack={ack} {request}")).is_ok());
    assert!(bench.wait_for_packet(Duration::from_secs(1)).is_ok());
    assert!(bench.queue.iter().any(|sent| sent.line().contains("> 10.2.0.11:8080 S ")));
}
