//! balun's NAT beside the kernel's: the same packets through both, the same packets out of both but for
//! the port that each chose. Where they disagree the step says why.
//!
//! Needs TUNs and `nft`; without them the test says `SKIP`, and with `BALUN_REQUIRE_TUN=1` it fails.

use nat::{Mode, Nat};
use netstack::Packet;
use tests::bed::{self, Bed};
use tests::builder::{fragments, line, packet};
use tests::kernel_nat::KernelNat;

const RULES: &str = "
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 10.99.0.1 tcp dport 80 dnat to 10.2.0.11:8080
    ip daddr 10.99.0.1 tcp dport 81 ct mark set 81 dnat to 10.2.0.11:8080
    ip daddr 10.99.0.1 udp dport 53 dnat to 10.2.0.11:8080
    ip daddr 10.99.0.4 icmp type echo-request dnat to 10.2.0.11
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ct status dnat ct mark != 81 oifname leg1 snat to 10.99.0.250
  }
}
table ip6 nat {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip6 daddr fd99::1 tcp dport 80 dnat to [fd02::11]:8080
    ip6 daddr fd99::1 tcp dport 81 ct mark set 81 dnat to [fd02::11]:8080
    ip6 daddr fd99::1 udp dport 53 dnat to [fd02::11]:8080
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    ct status dnat ct mark != 81 oifname leg1 snat to fd99::250
  }
}
";

/// The router's own addresses: as balun answers for its VIPs and its pool.
const ADDRESSES: [&str; 5] =
    ["10.99.0.1/32", "10.99.0.4/32", "10.99.0.250/32", "fd99::1/128", "fd99::250/128"];

fn config() -> nat::Config {
    let legs =
        vec![bed::leg(&["10.1.0.0/24", "fd01::/64"]), bed::leg(&["10.2.0.0/24", "fd02::/64"])];
    let pools = vec![bed::pool("v4", &["10.2.0.11:8080"]), bed::pool("v6", &["[fd02::11]:8080"])];
    let services = vec![
        bed::service("tcp 10.99.0.1:80", Mode::Nat(Nat::Full), 0),
        bed::service("tcp 10.99.0.1:81", Mode::Nat(Nat::Dnat), 0),
        bed::service("udp 10.99.0.1:53", Mode::Nat(Nat::Full), 0),
        bed::service("icmp 10.99.0.4", Mode::Nat(Nat::Full), 0),
        bed::service("tcp [fd99::1]:80", Mode::Nat(Nat::Full), 1),
        bed::service("tcp [fd99::1]:81", Mode::Nat(Nat::Dnat), 1),
        bed::service("udp [fd99::1]:53", Mode::Nat(Nat::Full), 1),
    ];
    let mut config = nat::Config::new(42, legs, pools, services);
    config.snat.addresses = vec![bed::addr("10.99.0.250"), bed::addr("fd99::250")];
    config
}

/// Whether both must do the same.
enum Expect {
    Same,
    /// They must differ, for this reason.
    Differs(&'static str),
}
use Expect::{Differs, Same};

struct Step {
    leg: u16,
    /// `{snat}` stands for the port or identifier that this side's NAT chose.
    line: &'static str,
    /// If it is sent in fragments, their order.
    order: &'static [usize],
    expect: Expect,
}

const fn same(leg: u16, line: &'static str) -> Step {
    Step { leg, line, order: &[], expect: Same }
}

const fn cut(leg: u16, line: &'static str, order: &'static [usize]) -> Step {
    Step { leg, line, order, expect: Same }
}

const fn differs(leg: u16, line: &'static str, why: &'static str) -> Step {
    Step { leg, line, order: &[], expect: Differs(why) }
}

/// Bytes in each fragment.
const PIECE: usize = 1_200;

/// Each starts from nothing and uses a client port of its own.
const SCENARIOS: &[(&str, &[Step])] = &[
    (
        "a connection under full NAT, from SYN to the last ACK",
        &[
            same(0, "tcp 10.1.0.5:4001 > 10.99.0.1:80 S seq=100 mss=1460"),
            same(1, "tcp 10.2.0.11:8080 > 10.99.0.250:{snat} S. seq=500 ack=101 mss=1460"),
            same(0, "tcp 10.1.0.5:4001 > 10.99.0.1:80 . seq=101 ack=501"),
            same(0, "tcp 10.1.0.5:4001 > 10.99.0.1:80 P. seq=101 ack=501 len=700"),
            same(1, "tcp 10.2.0.11:8080 > 10.99.0.250:{snat} P. seq=501 ack=801 len=1400"),
            same(0, "tcp 10.1.0.5:4001 > 10.99.0.1:80 F. seq=801 ack=1901"),
            same(1, "tcp 10.2.0.11:8080 > 10.99.0.250:{snat} F. seq=1901 ack=802"),
            same(0, "tcp 10.1.0.5:4001 > 10.99.0.1:80 . seq=802 ack=1902"),
        ],
    ),
    (
        "a connection under DNAT",
        &[
            same(0, "tcp 10.1.0.5:4002 > 10.99.0.1:81 S seq=100 mss=1460"),
            same(1, "tcp 10.2.0.11:8080 > 10.1.0.5:4002 S. seq=500 ack=101 mss=1460"),
            same(0, "tcp 10.1.0.5:4002 > 10.99.0.1:81 P. seq=101 ack=501 len=10 tos=0x08"),
            same(1, "tcp 10.2.0.11:8080 > 10.1.0.5:4002 R. seq=501 ack=111"),
        ],
    ),
    (
        "the same over IPv6",
        &[
            same(0, "tcp [fd01::5]:4003 > [fd99::1]:80 S seq=100 mss=1440"),
            same(1, "tcp [fd02::11]:8080 > [fd99::250]:{snat} S. seq=500 ack=101 mss=1440"),
            same(0, "tcp [fd01::5]:4003 > [fd99::1]:80 P. seq=101 ack=501 len=700"),
            same(0, "tcp [fd01::5]:4003 > [fd99::1]:81 S seq=100 mss=1440"),
            same(1, "tcp [fd02::11]:8080 > [fd01::5]:4003 S. seq=500 ack=101 mss=1440"),
        ],
    ),
    (
        "datagrams, with a checksum and without",
        &[
            same(0, "udp 10.1.0.5:4004 > 10.99.0.1:53 len=40"),
            same(1, "udp 10.2.0.11:8080 > 10.99.0.250:{snat} len=400"),
            same(0, "udp 10.1.0.5:4004 > 10.99.0.1:53 len=40 csum=none"),
            same(0, "udp [fd01::5]:4004 > [fd99::1]:53 len=40"),
        ],
    ),
    (
        "echo",
        &[
            same(0, "icmp 10.1.0.5 > 10.99.0.4 echo id=4005 seq=1 len=40"),
            same(1, "icmp 10.2.0.11 > 10.99.0.250 reply id={snat} seq=1 len=40"),
            same(0, "icmp 10.1.0.5 > 10.99.0.1 echo id=4005 seq=1 len=40"),
        ],
    ),
    (
        "what nobody listens for",
        &[
            same(0, "tcp 10.1.0.5:4006 > 10.99.0.1:99 S seq=100"),
            same(0, "udp 10.1.0.5:4006 > 10.99.0.1:99 len=20"),
            same(0, "udp 10.1.0.5:4006 > 192.0.2.1:53 len=4"),
        ],
    ),
    (
        "TTL",
        &[
            same(0, "tcp 10.1.0.5:4007 > 10.99.0.1:80 S seq=100 ttl=2"),
            differs(
                0,
                "udp 10.1.0.5:4007 > 10.2.0.11:53 len=4 ttl=1",
                "the kernel's error comes from its address on the leg; balun has none there and speaks \
                 from a VIP",
            ),
        ],
    ),
    (
        "ICMP errors",
        &[
            same(0, "udp 10.1.0.5:4008 > 10.99.0.1:53 len=40"),
            same(
                1,
                "icmp 10.2.0.11 > 10.99.0.250 unreachable code=port \
                 about=(udp 10.99.0.250:{snat} > 10.2.0.11:8080 len=40 ttl=63)",
            ),
        ],
    ),
    (
        "routed traffic that is nobody's",
        &[
            same(0, "udp 10.1.0.5:4009 > 10.2.0.12:9 len=9"),
            same(1, "tcp 10.2.0.12:9 > 10.1.0.5:4009 R seq=5"),
        ],
    ),
    (
        "fragments in order, and in none",
        &[
            cut(0, "udp 10.1.0.5:4015 > 10.99.0.1:53 len=3000 ipid=7", &[0, 1, 2]),
            cut(1, "udp 10.2.0.11:8080 > 10.99.0.250:{snat} len=3000 ipid=8", &[0, 1, 2]),
            cut(0, "udp 10.1.0.5:4015 > 10.99.0.1:53 len=3000 ipid=9", &[2, 0, 1]),
            cut(1, "udp 10.2.0.11:8080 > 10.99.0.250:{snat} len=3000 ipid=10", &[1, 2, 0]),
            cut(0, "udp [fd01::5]:4015 > [fd99::1]:53 len=3000", &[0, 1, 2]),
            cut(1, "udp [fd02::11]:8080 > [fd99::250]:{snat} len=3000", &[2, 1, 0]),
        ],
    ),
    (
        "a RST that nobody sent",
        &[
            same(0, "tcp 10.1.0.5:4011 > 10.99.0.1:80 S seq=100 mss=1460"),
            same(1, "tcp 10.2.0.11:8080 > 10.99.0.250:{snat} S. seq=500 ack=101 mss=1460"),
            same(0, "tcp 10.1.0.5:4011 > 10.99.0.1:80 . seq=101 ack=501"),
            differs(
                1,
                "tcp 10.2.0.11:8080 > 10.99.0.250:{snat} R seq=900000000",
                "the kernel drops what it takes to be outside the window; balun leaves that to the \
                 ends, which answer or ignore it (RFC 5961)",
            ),
            same(0, "tcp 10.1.0.5:4011 > 10.99.0.1:80 P. seq=101 ack=501 len=5"),
        ],
    ),
    (
        "a SYN on a live connection, and the challenge",
        &[
            same(0, "tcp 10.1.0.5:4012 > 10.99.0.1:80 S seq=100 mss=1460"),
            same(1, "tcp 10.2.0.11:8080 > 10.99.0.250:{snat} S. seq=500 ack=101 mss=1460"),
            same(0, "tcp 10.1.0.5:4012 > 10.99.0.1:80 . seq=101 ack=501"),
            same(0, "tcp 10.1.0.5:4012 > 10.99.0.1:80 S seq=7000 mss=1460"),
            same(1, "tcp 10.2.0.11:8080 > 10.99.0.250:{snat} . seq=501 ack=101"),
            same(0, "tcp 10.1.0.5:4012 > 10.99.0.1:80 R seq=101"),
        ],
    ),
    (
        "both open at once",
        &[
            same(0, "tcp 10.1.0.5:4013 > 10.99.0.1:81 S seq=100 mss=1460"),
            same(1, "tcp 10.2.0.11:8080 > 10.1.0.5:4013 S seq=500 mss=1460"),
            same(0, "tcp 10.1.0.5:4013 > 10.99.0.1:81 S. seq=100 ack=501 mss=1460"),
            same(1, "tcp 10.2.0.11:8080 > 10.1.0.5:4013 S. seq=500 ack=101 mss=1460"),
            same(0, "tcp 10.1.0.5:4013 > 10.99.0.1:81 P. seq=101 ack=501 len=3"),
        ],
    ),
    (
        "data far outside the window",
        &[
            same(0, "tcp 10.1.0.5:4014 > 10.99.0.1:80 S seq=100 mss=1460"),
            same(1, "tcp 10.2.0.11:8080 > 10.99.0.250:{snat} S. seq=500 ack=101 mss=1460"),
            same(0, "tcp 10.1.0.5:4014 > 10.99.0.1:80 . seq=101 ack=501"),
            differs(
                0,
                "tcp 10.1.0.5:4014 > 10.99.0.1:80 P. seq=500000000 ack=501 len=5",
                "the kernel does not translate a segment outside the window, so it comes to the \
                 router itself, which resets the live connection; balun lets the ends judge",
            ),
        ],
    ),
    (
        "a segment in the middle of nothing",
        &[differs(
            0,
            "tcp 10.1.0.5:4010 > 10.99.0.1:80 . seq=77 ack=88",
            "the kernel picks connections up in the middle and translates them to a new port, which no \
         backend can know; balun answers with a RST",
        )],
    ),
];

/// One of the two, and the port that it chose.
struct Side {
    name: &'static str,
    snat: String,
}

impl Side {
    const fn new(name: &'static str) -> Self {
        Self { name, snat: String::new() }
    }

    fn packets(&self, step: &Step) -> Vec<Packet> {
        let line = step.line.replace("{snat}", &self.snat);
        if step.order.is_empty() {
            return vec![packet(&line)];
        }
        let pieces = fragments(&line, PIECE);
        assert_eq!(pieces.len(), step.order.len(), "{line}");
        step.order.iter().map(|&n| pieces[n].clone()).collect()
    }

    /// What came out, in words that do not depend on the port.
    fn canonical(&mut self, out: &[Packet]) -> Vec<String> {
        out.iter()
            .map(|packet| {
                let line = line(packet);
                self.learn(&line);
                let mut text = format!("{} {line}", packet.leg.0);
                if !self.snat.is_empty() {
                    for before in
                        ["10.99.0.250:", "[fd99::250]:", "10.99.0.250 > 10.2.0.11 echo id="]
                    {
                        let with = format!("{before}{} ", self.snat);
                        text = text.replace(&with, &format!("{before}* "));
                    }
                }
                let error = text.contains("about=");
                let counts = |word: &&str| {
                    // The identification of a whole packet is a number of the sender's choice, and what
                    // the device vouches for is not in the packet. An error of balun's is atomic (DF); the
                    // kernel's is not.
                    !(word.starts_with("ipid=")
                        || *word == "csum=verified"
                        || error && *word == "df")
                };
                text.split(' ').filter(counts).collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    fn learn(&mut self, line: &str) {
        let after = |start: &str| {
            let rest = &line[line.find(start)? + start.len()..];
            Some(rest.split(' ').next().unwrap_or_default().to_owned())
        };
        let port = after("tcp 10.99.0.250:")
            .or_else(|| after("udp 10.99.0.250:"))
            .or_else(|| after("tcp [fd99::250]:"))
            .or_else(|| after("udp [fd99::250]:"))
            .or_else(|| after("icmp 10.99.0.250 > 10.2.0.11 echo id="));
        if let Some(port) = port {
            self.snat = port;
        }
    }
}

fn balun_sends(bed: &mut Bed, leg: u16, packet: Packet) -> Vec<Packet> {
    use nat::Verdict::{Forward, Reject, Reply};
    let mut packet = packet;
    packet.leg = netstack::LegId(leg);
    let verdict = bed.engine.handle_packet(bed.now, &mut packet);
    let mut out = Vec::new();
    if matches!(verdict, Forward | Reply | Reject(_)) {
        out.push(packet);
    }
    let mut more = Packet::max_sized();
    while bed.engine.poll_transmit(&mut more) {
        out.push(more.clone());
    }
    out
}

#[test]
fn the_kernel_does_the_same() {
    let mut kernel = match KernelNat::make(RULES, &ADDRESSES) {
        Ok(kernel) => kernel,
        Err(why) => {
            let required = std::env::var_os("BALUN_REQUIRE_TUN").is_some_and(|value| value == "1");
            assert!(!required, "TUNs and nft are required: {why}");
            eprintln!("SKIP {why}");
            return;
        }
    };
    let mut wrong = Vec::new();
    for (what, steps) in SCENARIOS {
        let mut bed = Bed::new(config());
        let (mut ours, mut theirs) = (Side::new("balun"), Side::new("nftables"));
        for step in *steps {
            let out = ours.packets(step).into_iter();
            let out: Vec<_> = out.flat_map(|p| balun_sends(&mut bed, step.leg, p)).collect();
            let mut balun = ours.canonical(&out);
            let out = theirs.packets(step).into_iter();
            let out: Vec<_> = out.flat_map(|p| kernel.send(step.leg, p)).collect();
            let mut nftables = theirs.canonical(&out);
            if !step.order.is_empty() {
                // The kernel waits for all fragments, balun for the first alone.
                balun.sort();
                nftables.sort();
            }
            let agree = balun == nftables;
            let expected = match step.expect {
                Same => agree,
                Differs(_) => !agree,
            };
            if let Differs(why) = step.expect {
                println!("{what}: {}\n  differ: {why}", step.line);
            }
            if !expected {
                let (a, b) = (ours.name, theirs.name);
                wrong.push(format!(
                    "{what}: {}\n  {a}: {balun:#?}\n  {b}: {nftables:#?}",
                    step.line
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
