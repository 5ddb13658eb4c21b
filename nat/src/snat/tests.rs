use super::*;
use std::collections::HashSet;

fn v4(last: u8) -> Address {
    Address::from_v4([10, 0, 0, last])
}

fn config(addresses: &[u8], ports: (u16, u16)) -> SnatConfig {
    let addresses = addresses.iter().map(|&a| v4(a)).collect();
    SnatConfig { addresses, ports, ..SnatConfig::default() }
}

fn request(protocol: Protocol, client: (Address, u16), backend: (Address, u16)) -> Request {
    Request { protocol, client, backend, fallback: v4(0), paired: None, may_take: true }
}

/// What client `10.0.0.1:port` gets toward `10.0.0.9:80`.
fn take(pool: &mut SnatPool, protocol: Protocol, port: u16) -> Option<(Address, u16)> {
    let request = request(protocol, (v4(1), port), (v4(9), 80));
    pool.allocate(Instant::ZERO, &request).ok().map(|grant| (grant.address, grant.port))
}

#[test]
fn every_port_is_given_once_and_the_range_is_kept() {
    let mut pool = SnatPool::new(&config(&[250], (1000, 1020)), 1);
    let low: HashSet<_> = (0..21).filter_map(|_| take(&mut pool, Protocol::Udp, 500)).collect();
    assert!(low.iter().all(|(a, p)| *a == v4(250) && (1000..=1020).contains(p)));
    assert_eq!(low.len(), 21, "a range below 1024 serves every client port");
    assert_eq!(take(&mut pool, Protocol::Udp, 5000), None);
    assert_eq!(take(&mut pool, Protocol::Udp, 500), None);
}

#[test]
fn another_backend_has_the_range_to_itself() {
    let mut pool = SnatPool::new(&config(&[250], (5000, 5000)), 1);
    for backend in [(v4(9), 80), (v4(9), 81), (v4(8), 80)] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let grant = pool.allocate(Instant::ZERO, &request(protocol, (v4(1), 7), backend));
            assert_eq!(grant.map(|g| (g.address, g.port)), Ok((v4(250), 5000)), "{backend:?}");
        }
    }
}

#[test]
fn a_full_address_gives_way_to_the_next_and_says_so() {
    let mut pool = SnatPool::new(&config(&[250, 251, 252], (5000, 5001)), 1);
    let request = request(Protocol::Udp, (v4(1), 7), (v4(9), 53));
    let mut got = Vec::new();
    while let Ok(grant) = pool.allocate(Instant::ZERO, &request) {
        got.push((grant.address, grant.is_paired));
    }
    assert_eq!(got.len(), 6);
    assert_eq!(got.iter().filter(|(_, paired)| *paired).count(), 2);
    assert!(got[..2].iter().all(|(address, paired)| *paired && *address == got[0].0));
}

#[test]
fn without_an_address_of_the_family_the_fallback_serves() {
    let mut pool = SnatPool::new(&config(&[], (1024, 65_535)), 1);
    assert_eq!(take(&mut pool, Protocol::Tcp, 7).map(|(a, _)| a), Some(v4(0)));
}

#[test]
fn one_more_address_moves_one_client_in_so_many() {
    let all: Vec<u8> = (200..210).collect();
    let chosen = |addresses: &[u8], client: u16| {
        let pool = SnatPool::new(&config(addresses, (1024, 65_535)), 1);
        let [high, low] = client.to_be_bytes();
        let client = (Address::from_v4([10, 1, high, low]), 7);
        pool.sources(&request(Protocol::Tcp, client, (v4(9), 80)))
            [pool.paired(&request(Protocol::Tcp, client, (v4(9), 80)))]
        .address
    };
    let mut moved = 0;
    let mut shares = [0; 10];
    for client in 0..2_000 {
        let (before, after) = (chosen(&all[..9], client), chosen(&all, client));
        shares[usize::from(after.octets()[3] - 200)] += 1;
        if before != after {
            assert_eq!(after, v4(209), "none moves but to the new one");
            moved += 1;
        }
    }
    assert!((120..=280).contains(&moved), "{moved} of 2000");
    assert!(shares.iter().all(|n| (120..=280).contains(n)), "{shares:?}");
}

#[test]
fn ports_are_even_over_the_range_and_tell_nothing_of_the_next() {
    let mut pool = SnatPool::new(&config(&[250], (1024, 65_535)), 7);
    let drawn: Vec<u16> = (0..20_000)
        .filter_map(|_| take(&mut pool, Protocol::Tcp, 9))
        .map(|(_, port)| port)
        .collect();
    assert_eq!(drawn.len(), 20_000);
    // 64 parts of equal size: chi-square with 63 degrees of freedom is below 103 in 99.9 of 100 cases.
    let chi_square = |values: &mut dyn Iterator<Item = u16>| {
        let mut parts = [0_f64; 64];
        let mut n = 0.0;
        for value in values {
            parts[usize::from(value) * 64 / 64_512] += 1.0;
            n += 1.0;
        }
        let expected = n / 64.0;
        parts.iter().map(|seen| (seen - expected).powi(2) / expected).sum::<f64>()
    };
    let even = chi_square(&mut drawn.iter().map(|port| port - 1024));
    assert!(even < 103.0, "{even}");
    let steps = drawn.windows(2).map(|pair| {
        let step = u32::from(pair[1]) + 64_512 - u32::from(pair[0]);
        (step % 64_512) as u16
    });
    let steps = chi_square(&mut steps.into_iter());
    assert!(steps < 103.0, "{steps}");
}
