//! What an edge does, as conversations on its link.
//!
//! We are 10.1.0.1/24 and `fd01::1/64` at `US`, answer for 10.99.0.1 and `fd99::1`, and have the gateways
//! 10.1.0.254 and `fd01::fe`. `PEER` is 10.1.0.5 and `fd01::5`.

use std::time::Duration;

use super::arp::{Arp, Operation};
use super::ndp::{self, Ndp, Parsed};
use super::neighbors::{MAX_ASKS, NEGATIVE, REACHABLE, RETRANSMIT};
use super::own::{ANNOUNCE_INTERVAL, DEFEND_INTERVAL, PROBE_TIME};
use super::*;
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::Address;

const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 5]);
const THIEF: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

/// An edge and its clock.
struct Link {
    edge: Edge,
    now: Instant,
}

impl Link {
    /// Just started: nothing was said yet.
    fn new() -> Self {
        let config = EdgeConfig {
            mac: US,
            addresses: vec![(ip("10.1.0.1"), 24), (ip("fd01::1"), 64)],
            answers: vec![ip("10.99.0.1"), ip("fd99::1")],
            gateways: vec![ip("10.1.0.254"), ip("fd01::fe")],
        };
        Self { edge: Edge::new(&config, Instant::ZERO), now: Instant::ZERO }
    }

    /// All announcements are over.
    fn settled() -> Self {
        let mut link = Self::new();
        for _ in 0..4 {
            link.wait(ANNOUNCE_INTERVAL);
        }
        link
    }

    /// Lets time pass; what is said meanwhile.
    fn wait(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.edge.handle_timeout(self.now);
        self.said()
    }

    fn said(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(frame) = self.edge.poll_transmit() {
            assert_eq!(source(&frame.header), US);
            lines.push(line(&frame));
        }
        lines
    }

    fn hear(&mut self, header: Header, mut body: Packet) -> (Ingress, Vec<String>) {
        let ingress = self.edge.receive(self.now, &header, false, &mut body);
        (ingress, self.said())
    }

    /// An ARP message of `mac` in a frame to `to`.
    fn arp(&mut self, to: Mac, what: &str, mac: Mac, sender: &str, target: &str) -> Vec<String> {
        let operation = if what == "who-has" { Operation::Request } else { Operation::Reply };
        let (sender, target) = (ip(sender), ip(target));
        let arp = Arp { operation, sender_mac: mac, sender, target_mac: Mac::ZERO, target };
        let (ingress, said) = self.hear(arp_header(to, mac), Packet::from_ip(&arp.bytes()));
        assert_eq!(ingress, Ingress::Consumed);
        said
    }

    fn ndp(&mut self, mac: Mac, body: Packet) -> Vec<String> {
        let to = body.data()[24..40].try_into().map(Address::from_v6).unwrap();
        let to = if to.is_unicast() { US } else { ndp::group_mac(to) };
        let (ingress, said) = self.hear(ip_header(to, mac, Family::V6), body);
        assert_eq!(ingress, Ingress::Consumed);
        said
    }

    fn send(&mut self, to: &str) -> (Egress, Vec<String>) {
        let egress = self.edge.route(self.now, &packet(to));
        (egress, self.said())
    }
}

/// A packet of the SNAT address to this one.
fn packet(to: &str) -> Packet {
    let to = ip(to);
    let mut bytes = vec![0; if to.is_v4() { 28 } else { 48 }];
    if to.is_v4() {
        bytes[0] = 0x45;
        bytes[3] = 28;
        bytes[12..16].copy_from_slice(ip("10.99.0.1").octets());
        bytes[16..20].copy_from_slice(to.octets());
    } else {
        bytes[0] = 0x60;
        bytes[5] = 8;
        bytes[6] = 17;
        bytes[8..24].copy_from_slice(ip("fd99::1").octets());
        bytes[24..40].copy_from_slice(to.octets());
    }
    Packet::from_ip(&bytes)
}

fn line(frame: &Outgoing) -> String {
    let to = match destination(&frame.header) {
        Mac::BROADCAST => "all".to_owned(),
        PEER => "peer".to_owned(),
        THIEF => "thief".to_owned(),
        mac => mac.to_string(),
    };
    let what = match ether_type(&frame.header) {
        EtherType::Arp => {
            let arp = Arp::parse(frame.body.data()).unwrap();
            assert_eq!(arp.sender_mac, US);
            match arp.operation {
                Operation::Request => format!("who-has {} tell {}", arp.target, arp.sender),
                Operation::Reply => format!("{} is-at us", arp.sender),
            }
        }
        _ => match ndp::parse(&frame.body) {
            Parsed::Message(Ndp::Solicitation { source, target, .. }) => {
                format!("who-has {target} tell {source}")
            }
            Parsed::Message(Ndp::Advertisement { target, mac, solicited, .. }) => {
                assert_eq!(mac, Some(US));
                format!("{target} is-at us{}", if solicited { "" } else { " (unasked)" })
            }
            _ => "packet".to_owned(),
        },
    };
    format!("{to}: {what}")
}

fn waits(said: &str) -> (Egress, Vec<String>) {
    (Egress::Waits, vec![said.to_owned()])
}

fn sent(to: Mac) -> (Egress, Vec<String>) {
    (Egress::Send(ip_header(to, US, Family::V4)), vec![])
}

#[test]
fn at_the_start_addresses_are_probed_and_announced() {
    let mut link = Link::new();
    let (start, second) = (link.wait(Duration::ZERO), link.wait(PROBE_TIME));
    assert_eq!(
        start,
        [
            "33:33:ff:00:00:01: who-has fd01::1 tell ::",
            "33:33:ff:00:00:01: who-has fd99::1 tell ::",
            "all: who-has 10.1.0.1 tell 10.1.0.1",
            "all: who-has 10.99.0.1 tell 10.99.0.1",
        ]
    );
    let v6 = [
        "33:33:00:00:00:01: fd01::1 is-at us (unasked)",
        "33:33:00:00:00:01: fd99::1 is-at us (unasked)",
    ];
    assert_eq!(second, v6);
    assert_eq!(link.wait(Duration::from_secs(1)), start[2..]);
    assert_eq!(link.wait(Duration::from_secs(1)), v6);
    assert_eq!(link.edge.poll_timeout(), None, "and then there is silence");
}

#[test]
fn who_asks_for_an_address_of_ours_is_answered() {
    let mut link = Link::settled();
    for target in ["10.1.0.1", "10.99.0.1"] {
        let said = link.arp(Mac::BROADCAST, "who-has", PEER, "10.1.0.5", target);
        assert_eq!(said, [format!("peer: {target} is-at us")]);
    }
    assert!(link.arp(Mac::BROADCAST, "who-has", PEER, "10.1.0.5", "10.1.0.7").is_empty());
    for target in ["fd01::1", "fd99::1"] {
        let group = ndp::solicited_node(ip(target));
        let said = link.ndp(PEER, ndp::solicitation(ip("fd01::5"), PEER, group, ip(target)));
        assert_eq!(said, [format!("peer: {target} is-at us")]);
    }
    assert_eq!(link.edge.stats().answered, 4);
    // And the asker is known from its question.
    assert_eq!(link.send("10.1.0.5").0, sent(PEER).0);
}

#[test]
fn who_probes_an_address_that_is_ours_hears_that_it_is_taken() {
    let mut link = Link::settled();
    let said = link.arp(Mac::BROADCAST, "who-has", THIEF, "0.0.0.0", "10.99.0.1");
    assert_eq!(said, ["thief: 10.99.0.1 is-at us"]);
    let probe = |target| {
        ndp::solicitation(Address::UNSPECIFIED, THIEF, ndp::solicited_node(target), target)
    };
    let said = link.ndp(THIEF, probe(ip("fd99::1")));
    assert_eq!(said, ["33:33:00:00:00:01: fd99::1 is-at us (unasked)"]);
}

#[test]
fn an_address_that_is_not_ours_yet_is_not_answered_for() {
    let mut link = Link::new();
    let (mine, vip) = (ip("fd01::1"), ip("fd99::1"));
    link.said();
    let question = ndp::solicitation(ip("fd01::5"), PEER, ndp::solicited_node(mine), mine);
    assert!(link.ndp(PEER, question).is_empty());
    // Another host probes one of them in the same second, and another still says it has the other.
    let probe = ndp::solicitation(Address::UNSPECIFIED, THIEF, ndp::solicited_node(mine), mine);
    assert!(link.ndp(THIEF, probe).is_empty());
    assert!(link.ndp(THIEF, ndp::advertisement(vip, THIEF, ndp::ALL_NODES, false)).is_empty());
    assert_eq!(link.edge.duplicates().collect::<Vec<_>>(), [mine, vip]);
    let said: Vec<_> = (0..4).flat_map(|_| link.wait(ANNOUNCE_INTERVAL)).collect();
    assert!(said.iter().all(|line| !line.contains("fd")), "{said:?}");
    let question = ndp::solicitation(ip("fd01::5"), PEER, ndp::solicited_node(vip), vip);
    assert!(link.ndp(PEER, question).is_empty());
    assert_eq!(link.edge.stats().conflicts, 2);
}

#[test]
fn an_address_of_ours_is_defended_but_not_fought_for() {
    let mut link = Link::settled();
    let claim =
        |link: &mut Link| link.arp(Mac::BROADCAST, "who-has", THIEF, "10.99.0.1", "10.99.0.1");
    assert_eq!(claim(&mut link), ["all: who-has 10.99.0.1 tell 10.99.0.1"]);
    assert!(claim(&mut link).is_empty());
    link.wait(DEFEND_INTERVAL);
    assert_eq!(claim(&mut link).len(), 1);
    assert_eq!(link.edge.stats().conflicts, 3);
}

#[test]
fn a_packet_waits_until_its_neighbour_answers() {
    let mut link = Link::settled();
    assert_eq!(link.send("10.1.0.5"), waits("all: who-has 10.1.0.5 tell 10.1.0.1"));
    assert_eq!(link.send("10.1.0.5"), (Egress::Waits, vec![]), "it is asked once");
    let said = link.arp(US, "is-at", PEER, "10.1.0.5", "10.1.0.1");
    assert_eq!(said, ["peer: packet", "peer: packet"]);
    assert_eq!(link.send("10.1.0.5"), sent(PEER));

    let (v6, said) = link.send("fd01::5");
    assert_eq!((v6, said), waits("33:33:ff:00:00:05: who-has fd01::5 tell fd01::1"));
    let answer = ndp::advertisement(ip("fd01::5"), PEER, ip("fd01::1"), true);
    assert_eq!(link.ndp(PEER, answer), ["peer: packet"]);
    let there = Egress::Send(ip_header(PEER, US, Family::V6));
    assert_eq!(link.send("fd01::5"), (there, vec![]));
}

#[test]
fn what_is_not_on_the_link_goes_to_the_gateway() {
    let mut link = Link::settled();
    assert_eq!(link.send("192.0.2.9"), waits("all: who-has 10.1.0.254 tell 10.1.0.1"));
    let v6 = waits("33:33:ff:00:00:fe: who-has fd01::fe tell fd01::1");
    assert_eq!(link.send("2001:db8::9"), v6);
    let mut alone = Link::settled();
    let config = EdgeConfig {
        mac: US,
        addresses: vec![(ip("10.1.0.1"), 24)],
        answers: vec![],
        gateways: vec![],
    };
    alone.edge = Edge::new(&config, Instant::ZERO);
    assert_eq!(alone.send("192.0.2.9").0, Egress::Dropped(EdgeDrop::NoGateway));
    for nobody in ["10.1.0.255", "10.1.0.0", "224.0.0.1", "ff02::1"] {
        assert_eq!(alone.send(nobody).0, Egress::Dropped(EdgeDrop::NotUnicast), "{nobody}");
    }
}

#[test]
fn a_neighbour_that_does_not_answer_is_given_up_and_its_senders_told() {
    let mut link = Link::settled();
    let question = "all: who-has 10.1.0.6 tell 10.1.0.1";
    assert_eq!(link.send("10.1.0.6"), waits(question));
    for _ in 1..MAX_ASKS {
        assert_eq!(link.wait(RETRANSMIT), [question]);
    }
    assert!(link.edge.poll_lost().is_none());
    assert!(link.wait(RETRANSMIT).is_empty());
    let lost = link.edge.poll_lost().unwrap();
    assert_eq!(lost.data(), packet("10.1.0.6").data());
    // For a while nobody is asked.
    assert_eq!(link.send("10.1.0.6"), (Egress::Dropped(EdgeDrop::NoNeighbor), vec![]));
    assert!(link.edge.poll_lost().is_some() && link.edge.poll_lost().is_none());
    assert_eq!(link.edge.stats().dropped(EdgeDrop::NoNeighbor), 2);
    link.wait(NEGATIVE);
    assert_eq!(link.send("10.1.0.6"), waits(question));
}

#[test]
fn what_is_known_is_verified_when_it_is_old_and_found_anew_when_it_moved() {
    let mut link = Link::settled();
    let _ = link.send("10.1.0.5");
    link.arp(US, "is-at", PEER, "10.1.0.5", "10.1.0.1");
    link.wait(REACHABLE);
    // The host itself is asked, and packets go on.
    let probe = (sent(PEER).0, vec!["peer: who-has 10.1.0.5 tell 10.1.0.1".to_owned()]);
    assert_eq!(link.send("10.1.0.5"), probe);
    link.arp(US, "is-at", PEER, "10.1.0.5", "10.1.0.1");
    assert_eq!(link.send("10.1.0.5"), sent(PEER));
    // It does not answer any more: everybody is asked, and another has it.
    link.wait(REACHABLE);
    let _ = link.send("10.1.0.5");
    link.wait(RETRANSMIT);
    assert_eq!(link.wait(RETRANSMIT), ["all: who-has 10.1.0.5 tell 10.1.0.1"]);
    link.arp(US, "is-at", THIEF, "10.1.0.5", "10.1.0.1");
    assert_eq!(link.send("10.1.0.5"), sent(THIEF));
}

#[test]
fn nothing_that_nobody_asked_for_changes_what_is_fresh() {
    for (what, to, target) in [
        ("an announcement", Mac::BROADCAST, "10.1.0.5"),
        ("an answer to all", Mac::BROADCAST, "10.1.0.1"),
        ("an answer to no question", US, "10.1.0.1"),
        ("a question", US, "10.1.0.1"),
    ] {
        let mut link = Link::settled();
        let _ = link.send("10.1.0.5");
        link.arp(US, "is-at", PEER, "10.1.0.5", "10.1.0.1");
        let operation =
            if what == "a question" || target == "10.1.0.5" { "who-has" } else { "is-at" };
        link.arp(to, operation, THIEF, "10.1.0.5", target);
        let (egress, asked) = link.send("10.1.0.5");
        assert_eq!(egress, sent(PEER).0, "{what}");
        assert_eq!(asked, ["peer: who-has 10.1.0.5 tell 10.1.0.1"], "but it is asked: {what}");
        link.arp(US, "is-at", PEER, "10.1.0.5", "10.1.0.1");
        assert_eq!(link.send("10.1.0.5"), sent(PEER), "{what}");
    }
    // Of a host that is not known nothing is learnt either.
    let mut link = Link::settled();
    link.arp(Mac::BROADCAST, "who-has", THIEF, "10.1.0.7", "10.1.0.7");
    link.ndp(THIEF, ndp::advertisement(ip("fd01::7"), THIEF, ndp::ALL_NODES, false));
    assert_eq!(link.send("10.1.0.7").0, Egress::Waits);
    assert_eq!(link.send("fd01::7").0, Egress::Waits);
}

#[test]
fn packets_come_out_of_their_frames_without_padding() {
    let mut link = Link::settled();
    for (to, family) in [("10.99.0.1", Family::V4), ("fd99::1", Family::V6)] {
        let wanted = packet(to);
        let mut padded = Packet::from_ip(&[wanted.data(), &[0; 18]].concat());
        let header = ip_header(US, PEER, family);
        let ingress = link.edge.receive(link.now, &header, false, &mut padded);
        assert_eq!((ingress, padded.data()), (Ingress::Packet, wanted.data()));
    }
}

#[test]
fn each_frame_that_is_not_taken_is_counted_under_its_reason() {
    let header = |to, from, kind: [u8; 2]| {
        let mut header = ip_header(to, from, Family::V4);
        header[12..].copy_from_slice(&kind);
        header
    };
    let broken = {
        let mut body = ndp::advertisement(ip("fd01::5"), PEER, ip("fd01::1"), true);
        body.data_mut()[7] = 64;
        body
    };
    let (v4, v6) = ([8, 0], [0x86, 0xdd]);
    for (reason, header, tagged, mut body) in [
        (EdgeDrop::OtherHost, header(THIEF, PEER, v4), false, packet("10.99.0.1")),
        (EdgeDrop::OwnFrame, header(US, US, v4), false, packet("10.99.0.1")),
        (EdgeDrop::VlanTag, header(US, PEER, v4), true, packet("10.99.0.1")),
        (EdgeDrop::VlanTag, header(US, PEER, [0x81, 0]), false, packet("10.99.0.1")),
        (EdgeDrop::EtherType, header(US, PEER, [0x88, 0xcc]), false, packet("10.99.0.1")),
        (EdgeDrop::Group, header(Mac::BROADCAST, PEER, v4), false, packet("10.99.0.1")),
        (EdgeDrop::IpVersion, header(US, PEER, v6), false, packet("10.99.0.1")),
        (EdgeDrop::IpVersion, header(US, PEER, v4), false, Packet::from_ip(&[])),
        (EdgeDrop::Arp, header(US, PEER, [8, 6]), false, Packet::from_ip(&[0, 1])),
        (EdgeDrop::Ndp, header(US, PEER, v6), false, broken),
    ] {
        let mut link = Link::settled();
        let ingress = link.edge.receive(link.now, &header, tagged, &mut body);
        assert_eq!(ingress, Ingress::Dropped(reason));
        assert_eq!(link.edge.stats().drops().collect::<Vec<_>>(), [(reason, 1)]);
        assert!(link.said().is_empty());
    }
}

#[test]
fn no_frame_makes_an_edge_panic() {
    let mut link = Link::settled();
    let whole = ndp::solicitation(ip("fd01::5"), PEER, ip("fd99::1"), ip("fd99::1"));
    let mut seed = 1_u32;
    for round in 0..20_000_usize {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut bytes = if round % 2 == 0 {
            whole.data().to_vec()
        } else {
            let (sender, target) = (ip("10.1.0.5"), ip("10.99.0.1"));
            let operation = Operation::Request;
            Arp { operation, sender_mac: PEER, sender, target_mac: US, target }.bytes().to_vec()
        };
        let at = (seed >> 8) as usize % bytes.len();
        bytes[at] = (seed >> 24) as u8;
        bytes.truncate((seed >> 3) as usize % (bytes.len() + 1));
        let family = Family::V6;
        let header =
            if round % 2 == 0 { ip_header(US, PEER, family) } else { arp_header(US, PEER) };
        let _ = link.edge.receive(link.now, &header, false, &mut Packet::from_ip(&bytes));
        let _ = link.edge.route(link.now, &Packet::from_ip(&bytes));
        link.wait(Duration::from_millis(1));
    }
}
