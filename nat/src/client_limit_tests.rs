use netstack::wire::Protocol;

use super::*;
use crate::{Listen, Mode, PoolId};

const ID: ServiceId = ServiceId(0);

fn limiter(change: impl FnOnce(&mut ServiceConfig)) -> Limiter {
    let listen = Listen::new(Protocol::Tcp, Address::from_v4([10, 99, 0, 1]), 80);
    let mut service = ServiceConfig::new(listen, Mode::Divert, PoolId(0));
    change(&mut service);
    Limiter::new(&[service], 42)
}

fn by_client(count: u32, burst: u32) -> Limiter {
    limiter(|s| s.client_limits.rate = Some(Rate { count, per: Duration::from_secs(1), burst }))
}

fn v4(n: u32) -> Address {
    Address::from_v4(n.to_be_bytes())
}

/// How many of `n` flows of `client` are taken at once.
fn taken(limiter: &mut Limiter, now: Instant, client: Address, n: usize) -> usize {
    (0..n).filter(|_| limiter.admit(now, ID, client).is_ok()).count()
}

#[test]
fn a_client_gets_the_burst_then_the_rate_to_the_microsecond() {
    let mut limiter = by_client(100, 20);
    let client = v4(1);
    let mut now = Instant::from_secs(5);
    assert_eq!(taken(&mut limiter, now, client, 100), 20);
    assert_eq!(limiter.admit(now, ID, client), Err(DropReason::ClientRate));
    assert_eq!(taken(&mut limiter, now + Duration::from_micros(9_999), client, 9), 0);
    assert_eq!(taken(&mut limiter, now + Duration::from_millis(10), client, 9), 1);
    now += Duration::from_millis(60);
    assert_eq!(taken(&mut limiter, now, client, 9), 5);
    now += Duration::from_hours(1);
    assert_eq!(taken(&mut limiter, now, client, 100), 20, "never more than the burst");
    assert_eq!(taken(&mut limiter, now, v4(2), 100), 20, "another client");
}

#[test]
fn a_rate_that_does_not_divide_a_second_is_never_exceeded() {
    let mut limiter = by_client(3, 1);
    let start = Instant::from_secs(1);
    let micros = (0..9_000_000).step_by(100);
    let n = micros.filter(|&t| limiter.admit(start + Duration::from_micros(t), ID, v4(1)).is_ok());
    assert_eq!(n.count(), 27);
}

#[test]
fn addresses_of_one_prefix_are_one_client() {
    let mut limiter = by_client(1, 3);
    let now = Instant::from_secs(1);
    let v6 = |last: u8, net: u8| {
        let mut octets = [0xfd; 16];
        (octets[7], octets[15]) = (net, last);
        Address::from_v6(octets)
    };
    assert_eq!((0..9).filter(|&n| limiter.admit(now, ID, v6(n, 1)).is_ok()).count(), 3);
    assert_eq!(limiter.admit(now, ID, v6(0, 2)), Ok(()));
    let mut limiter = limiter_of_slash_24();
    assert_eq!((0..9).filter(|&n| limiter.admit(now, ID, v4(n)).is_ok()).count(), 3);
    assert_eq!(limiter.admit(now, ID, v4(256)), Ok(()));
}

fn limiter_of_slash_24() -> Limiter {
    limiter(|s| {
        s.client_limits.rate = Some(Rate { count: 1, per: Duration::from_secs(1), burst: 3 });
        s.client_limits.prefix_v4 = 24;
    })
}

/// The documented error: a thousand clients that use up their buckets refuse 1 in 5,700 others.
#[test]
fn busy_clients_seldom_refuse_others() {
    let mut limiter = by_client(1, 1);
    let now = Instant::from_secs(1);
    assert!((0..1_000).filter(|&n| limiter.admit(now, ID, v4(n)).is_err()).count() <= 2);
    // Idle clients only ask; what one of them takes must not add up.
    let Some(ServiceState { sketch: Some(sketch), .. }) = &limiter.services[0] else {
        panic!("the rate is limited")
    };
    let nanos = now.as_micros() * 1_000;
    let ask = |n: &u32| sketch.next(nanos, Prefix::host(v4(*n))).is_none();
    let refused = (1 << 20..(1 << 20) + 100_000).filter(ask).count();
    assert!((5..=50).contains(&refused), "{refused} of 100,000, 17 expected");
}

/// A flood of invented clients neither grows memory nor takes the buckets of others, which refill
/// faster than it comes.
#[test]
fn a_flood_of_invented_clients_leaves_the_others_their_rate() {
    let mut limiter = by_client(100, 200);
    let honest = v4(0xc000_0201);
    let mut now = Instant::from_secs(1);
    let mut served = 0;
    for n in 0..1_000_000 {
        // A million in a second.
        now += Duration::from_micros(1);
        let _ = limiter.admit(now, ID, v4(0x0a00_0000 + n));
        if n % 20_000 == 0 {
            served += taken(&mut limiter, now, honest, 1);
        }
    }
    assert_eq!(served, 50, "half of its rate");
    assert!(limiter.flows.is_empty());
}

#[test]
fn a_client_over_its_rate_stays_over_it_in_a_flood() {
    let mut limiter = by_client(10, 10);
    let mut now = Instant::from_secs(1);
    let mut served = 0;
    for n in 0..200_000 {
        now += Duration::from_micros(10);
        let _ = limiter.admit(now, ID, v4(0x0a00_0000 + n));
        served += taken(&mut limiter, now, v4(7), 1);
    }
    assert!(served <= 10 + 20, "the burst and two seconds: {served}");
}

#[test]
fn flows_at_once_are_counted_exactly() {
    let mut limiter = limiter(|s| {
        s.client_limits.flows = Some(2);
        s.max_flows = Some(3);
    });
    let (a, b) = (v4(1), v4(2));
    let now = Instant::from_secs(1);
    for _ in 0..2 {
        assert_eq!(limiter.admit(now, ID, a), Ok(()));
        limiter.flow_opened(Some(ID), a);
    }
    assert_eq!(limiter.admit(now, ID, a), Err(DropReason::ClientFlows));
    limiter.flow_opened(Some(ID), b);
    assert_eq!(limiter.admit(now, ID, b), Err(DropReason::ServiceFlows));
    limiter.flow_closed(Some(ID), a);
    assert_eq!((limiter.admit(now, ID, a), limiter.flows_of(ID)), (Ok(()), Some(2)));
    limiter.flow_closed(Some(ID), a);
    limiter.flow_closed(Some(ID), b);
    assert!(limiter.flows.is_empty(), "no count is kept of who has no flow");
}

#[test]
fn a_service_has_a_rate_of_its_own_and_a_refusal_takes_no_token() {
    let rate = |count, burst| Some(Rate { count, per: Duration::from_secs(1), burst });
    let mut limiter = limiter(|s| {
        s.rate = rate(1, 3);
        s.client_limits.rate = rate(1, 2);
    });
    let now = Instant::from_secs(1);
    assert_eq!(taken(&mut limiter, now, v4(1), 9), 2);
    assert_eq!(limiter.admit(now, ID, v4(2)), Ok(()), "the third");
    assert_eq!(limiter.admit(now, ID, v4(2)), Err(DropReason::ServiceRate));
    // The client's second token is still there when the service has one again.
    assert_eq!(limiter.admit(now + Duration::from_secs(1), ID, v4(2)), Ok(()));
}
