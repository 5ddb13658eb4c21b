//! Identifications of IPv4 packets.

use nat::Verdict;
use netstack::Packet;
use tests::bed::{Bed, config};
use tests::{fragments, packet};

fn identification(packet: &Packet) -> u16 {
    u16::from_be_bytes([packet.data()[4], packet.data()[5]])
}

tests::conforms! {
    /// A packet that is whole and never to be fragmented keeps its identification, which means nothing;
    /// all others get one that is unique.
    L12 Always "RFC 6864 section 4"
    fn only_what_is_not_atomic_gets_a_new_identification() {
        let mut bed = Bed::new(config());
        let atomic = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S ipid=7 df";
        let (verdict, out) = bed.pass(0, packet(atomic));
        assert_eq!((verdict, identification(&out)), (Verdict::Forward, 7));

        let clients = [5, 6];
        let queries = clients.map(|n| format!("udp 10.1.0.{n}:5000 > 10.99.0.4:53 len=40 ipid=7"));
        let pings = clients.map(|n| format!("icmp 10.1.0.{n} > 10.99.0.4 echo id=1 len=40 ipid=7"));
        let mut config = config();
        config.pools[0].backends.truncate(1);
        config.services[4].listens[0] = tests::bed::listen("udp 10.99.0.4:53");
        let mut bed = Bed::new(config);
        for both in [queries, pings] {
            let whole = both.clone().map(|query| identification(&bed.pass(0, packet(&query)).1));
            assert_ne!(whole[0], whole[1]);
            let cut = both.map(|query| {
                let out = fragments(&query, 16).into_iter().map(|piece| bed.pass(0, piece).1);
                let all: Vec<_> = out.map(|piece| identification(&piece)).collect();
                assert!(all.len() == 3 && all.iter().all(|one| *one == all[0]), "{all:?}");
                all[0]
            });
            assert_ne!(cut[0], cut[1]);
        }
    }
}
