//! Destinations that are not translated.

use nat::{Mode, Nat, Verdict};
use tests::bed::{Bed, canonical, config, prefix, service};

tests::conforms! {
    /// Translation can be switched off for a destination: what goes there, and what comes from there,
    /// passes as it is, even where a service listens on every address.
    C4 Always "RFC 6888 REQ-6"
    fn a_bypassed_destination_is_routed_untranslated() {
        for (client, server) in [("10.1.0.5", "10.2.0.200"), ("[fd01::5]", "[fd02::200]")] {
            let mut config = config();
            config.services = vec![
                service("any 0.0.0.0/0", Mode::Nat(Nat::Full), 0),
                service("any ::/0", Mode::Nat(Nat::Full), 1),
            ];
            let there = format!("udp {client}:5000 > {server}:53 len=4");
            let back = format!("udp {server}:53 > {client}:5000 len=4");
            let mut bed = Bed::new(config.clone());
            let _ = bed.send(0, &there);
            assert_eq!(bed.engine.flows().len(), 1, "without the rule it is translated");

            config.bypass = vec![prefix("10.2.0.128/25"), prefix("fd02::200/128")];
            let mut bed = Bed::new(config);
            for (leg, line) in [(0, there), (1, back)] {
                let seen = bed.send(leg, &line);
                assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1 - leg));
                assert_eq!(seen.line, canonical(&format!("{line} ttl=63")));
            }
            assert_eq!(bed.engine.flows().len(), 0);
        }
    }
}
