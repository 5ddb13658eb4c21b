//! IP identification.

use std::collections::HashSet;

use nat::Verdict;
use tests::bed::{Bed, config};

tests::conforms! {
    /// Packets that may be fragmented get identifications of which no two are alike toward one host,
    /// however many clients share the source.
    V14 Always "RFC 7857 section 10, RFC 6864 section 5.3.1"
    fn clients_that_share_a_source_do_not_share_identifications() {
        let mut config = config();
        config.pools[0].backends.truncate(1);
        let mut bed = Bed::new(config);
        let mut seen = HashSet::new();
        for n in 0..2_000 {
            let client = 5 + n % 200;
            let query = format!("udp 10.1.0.{client}:5000 > 10.99.0.1:53 len=4 ipid=7");
            let (verdict, packet) = bed.pass(0, tests::packet(&query));
            assert_eq!(verdict, Verdict::Forward);
            assert!(seen.insert([packet.data()[4], packet.data()[5]]), "{n}");
        }
    }
}
