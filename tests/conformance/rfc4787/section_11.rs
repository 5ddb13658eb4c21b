//! Receiving fragmented packets.

use nat::Verdict;
use netstack::Packet;
use tests::bed::{Bed, canonical, config};
use tests::fragments;
use tests::reassembly::reassemble;

const QUERY: &str = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=4";

tests::conforms! {
    /// Fragments are translated in whatever order they come.
    U22 Always "RFC 4787 REQ-14"
    fn three_fragments_in_any_order_are_one_datagram_behind_the_nat() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            for (vip, client) in [("10.99.0.1:53", "10.1.0.5:5000"), ("[fd99::1]:53", "[fd01::5]:5000")] {
                let mut bed = Bed::new(config());
                let pieces = fragments(&format!("udp {client} > {vip} len=3000"), 1400);
                let out: Vec<Packet> =
                    order.iter().flat_map(|&i| bed.send_for_all(0, pieces[i].clone())).collect();
                let mut whole = reassemble(&out).unwrap_or_else(|e| panic!("{e}"));
                let flow = bed.flow();
                let (snat, backend) = (flow.snat, flow.backend);
                if snat.address.is_v4() {
                    netstack::wire::fragment::set_identification_v4(whole.data_mut(), 0);
                }
                let [snat, backend] = [snat, backend].map(|end| {
                    std::net::SocketAddr::new(end.address.into(), end.port).to_string()
                });
                let expected = canonical(&format!("udp {snat} > {backend} len=3000 ttl=63"));
                assert_eq!(tests::line(&whole), expected, "{order:?}");
            }
        }
    }

    /// Incomplete datagrams take a bounded place, and a flood of them stops no packet that is whole.
    U23 Always "RFC 4787 REQ-14a"
    fn a_flood_of_fragments_leaves_whole_packets_alone() {
        let mut config = config();
        config.limits.fragments = 100;
        let mut bed = Bed::new(config);
        for n in 0..2_000 {
            let (client, id) = (6 + n % 200, n / 200);
            let fragment = format!("udp 10.1.0.{client} > 10.99.0.1 frag=1480+ ipid={id} len=1480");
            assert_eq!(bed.send(0, &fragment).verdict, Verdict::Hold);
            assert_eq!(bed.send(0, QUERY).verdict, Verdict::Forward);
            assert!(bed.engine.fragments().len() <= 100);
            assert!(bed.engine.fragments().held().bytes <= 100 * 1_500);
        }
    }
}
