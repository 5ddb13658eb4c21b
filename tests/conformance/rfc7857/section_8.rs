//! Port parity and randomisation (sections 8 and 9).

use std::collections::HashSet;

use nat::Config;
use tests::bed::{Bed, config, pool};

fn ports(config: Config, count: u16) -> Vec<u16> {
    let mut bed = Bed::new(config);
    let mut mapped = |n| {
        let seen = bed.send(0, &format!("udp 10.1.0.5:{n} > 10.99.0.1:53 len=4"));
        seen.source_port()
    };
    (2..).step_by(2).take(count.into()).map(|n: u16| mapped(n)).collect()
}

/// A single backend, and this seed.
fn seeded(seed: u64) -> Config {
    let mut config = config();
    config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
    config.seed = seed;
    config
}

tests::conforms! {
    /// Parity is not kept by default, can be asked for, and neighbouring ports are not mapped to
    /// neighbours.
    V12 Optional "RFC 7857 section 8"
    fn parity_is_a_choice() {
        assert!(ports(seeded(1), 50).iter().any(|port| port % 2 == 1));
        let mut config = seeded(1);
        config.snat.parity = true;
        let even = ports(config, 50);
        assert!(even.iter().all(|port| port % 2 == 0));
        assert!(even.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > 2));
    }

    /// Pool ports are drawn at random; the seed alone repeats them.
    V13 FullNat "RFC 7857 section 9"
    fn ports_are_random_and_a_seed_repeats_them() {
        let one = ports(seeded(1), 200);
        assert_eq!(one, ports(seeded(1), 200));
        let other: HashSet<_> = ports(seeded(2), 200).into_iter().collect();
        assert!(one.iter().filter(|port| other.contains(port)).count() < 10);
        // A quarter of the draws for each quarter of the range, give or take.
        let mut quarters = [0; 4];
        for port in &one {
            quarters[usize::from(port - 1024) * 4 / 64_512] += 1;
        }
        assert!(quarters.iter().all(|n| (30..=70).contains(n)), "{quarters:?}");
    }
}
