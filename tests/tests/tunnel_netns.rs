//! Direct server return end to end: balun wraps, the kernel of a backend unwraps, and its answers go to
//! the client past balun.
//!
//! A kernel takes packets out of tunnels in several ways, of which a machine has some: what it lacks is
//! skipped, and said.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use balun::plan::{LegPlan, Plan};
use nat::tunnel::GUE_PORT;
use nat::{
    BackendConfig, DropReason, Encapsulation, Listen, Mode, Nat, PoolConfig, PoolId, ServiceConfig,
};
use netstack::Packet;
use netstack::dev::{Device, Interface, Namespace, Received, TunConfig};
use netstack::wire::{Family, Protocol};
use tempfile::TempDir;
use tests::netns::World;
use tests::pattern::Pattern;
use tests::topology::{FAMILIES, WEB, backend, client};
use tests::watchdog::Watchdog;

const LIMIT: Duration = Duration::from_mins(1);
const LENGTH: usize = 3_000_000;
const GUE: Encapsulation = Encapsulation::Gue { port: GUE_PORT };

/// A way in which a kernel unwraps.
struct Way {
    name: &'static str,
    encapsulation: Encapsulation,
    /// Of the service, and of the backend's own address.
    families: (Family, Family),
    /// Where the backend is sent packets, if that is no address of its leg.
    at: Option<&'static str>,
    /// What makes the kernel of the backend do it.
    commands: &'static [&'static str],
}

/// Ways of Linux. Segment routing's end points take plain IP in IPv6 too.
const WAYS: [Way; 7] = [
    Way {
        name: "IPv4 in IPv6, by seg6local",
        encapsulation: Encapsulation::Ipip,
        families: (Family::V4, Family::V6),
        at: Some("fd02:0:0:1::d4"),
        commands: &[
            "ip -6 route add fd02:0:0:1::d4 encap seg6local action End.DX4 nh4 0.0.0.0 dev web1",
        ],
    },
    Way {
        name: "IPv6 in IPv6, by seg6local",
        encapsulation: Encapsulation::Ipip,
        families: (Family::V6, Family::V6),
        at: Some("fd02:0:0:1::d6"),
        commands: &[
            "ip -6 route add fd02:0:0:1::d6 encap seg6local action End.DT6 table 255 dev web1",
        ],
    },
    Way {
        name: "IPv4 in IPv4, by ipip",
        encapsulation: Encapsulation::Ipip,
        families: (Family::V4, Family::V4),
        at: None,
        commands: &["ip link add name unwrap type ipip local 10.2.1.11", "ip link set unwrap up"],
    },
    Way {
        name: "IPv6 in IPv4, by sit",
        encapsulation: Encapsulation::Ipip,
        families: (Family::V6, Family::V4),
        at: None,
        commands: &["ip link add name unwrap type sit local 10.2.1.11", "ip link set unwrap up"],
    },
    Way {
        name: "IPv4 in IPv6, by ip6tnl",
        encapsulation: Encapsulation::Ipip,
        families: (Family::V4, Family::V6),
        at: None,
        commands: &[
            "ip link add name unwrap type ip6tnl mode ipip6 local fd02:0:0:1::11",
            "ip link set unwrap up",
        ],
    },
    Way {
        name: "IPv4 in GUE, by fou and ipip",
        encapsulation: GUE,
        families: (Family::V4, Family::V4),
        at: None,
        commands: &[
            "ip fou add port 6080 gue",
            "ip link add name unwrap type ipip local 10.2.1.11 encap gue encap-sport auto \
             encap-dport 6080",
            "ip link set unwrap up",
        ],
    },
    Way {
        name: "IPv6 in GUE, by fou and sit",
        encapsulation: GUE,
        families: (Family::V6, Family::V4),
        at: None,
        commands: &[
            "ip fou add port 6080 gue",
            "ip link add name unwrap type sit local 10.2.1.11 encap gue encap-sport auto \
             encap-dport 6080",
            "ip link set unwrap up",
        ],
    },
];

/// The service's address, which the backend has too.
fn vip(family: Family) -> IpAddr {
    let text = if family == Family::V4 { "10.99.0.77" } else { "fd99::77" };
    text.parse().unwrap()
}

const fn full_length(family: Family) -> u8 {
    if matches!(family, Family::V4) { 32 } else { 128 }
}

/// Runs a command in a namespace; what it said if it failed.
fn run(namespace: &Namespace, command: &str) -> Result<(), String> {
    let words: Vec<_> = command.split_whitespace().collect();
    let output = namespace.run(|| Command::new(words[0]).args(&words[1..]).output()).unwrap();
    let output = output.map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// Answers arrive by another interface than the one that leads back.
fn allow_other_ways(namespace: &Namespace) {
    let allow = || {
        for which in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{which}/rp_filter"), "0")?;
        }
        Ok::<_, std::io::Error>(())
    };
    namespace.run(allow).unwrap().unwrap();
}

/// The link between backend and client that balun does not see.
struct Direct {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Direct {
    fn start(mut from: Interface, mut to: Interface) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut packet, mut passed) = (Packet::max_sized(), 0);
            while !flag.load(Ordering::Relaxed) {
                match from.receive(&mut packet).unwrap() {
                    // What finds no room is lost, as on any link.
                    Received::Packet => passed += u64::from(to.transmit(&mut packet).is_ok()),
                    Received::WouldBlock => wait_for(&from),
                    Received::Malformed(_) | Received::Consumed | Received::End => {}
                }
            }
            passed
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it; how many packets it has passed on.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// Until there may be a packet, for 50 ms at most.
fn wait_for(tun: &Interface) {
    use nix::poll::{PollFd, PollFlags, poll};
    use std::os::fd::AsFd;
    let _ = poll(&mut [PollFd::new(tun.as_fd(), PollFlags::POLLIN)], 50_u16);
}

/// The ends of that link: in the backend's namespace with the way to clients, and in the client's.
fn direct_link(plan: &Plan) -> (Interface, Interface) {
    let open = |leg: usize, routes| {
        let mut tun = TunConfig::new("direct");
        tun.routes = routes;
        LegPlan::new(plan.legs[leg].netns.clone(), tun).open().unwrap()
    };
    let routes = FAMILIES.map(|family| (client(family), full_length(family))).to_vec();
    (open(1, routes), open(0, Vec::new()))
}

fn add_service(plan: &mut Plan, way: &Way) {
    let (service, outer) = way.families;
    let at = way.at.map_or_else(|| backend(outer, 0), |text| text.parse().unwrap());
    let pool =
        PoolConfig::new("direct", vec![BackendConfig::new("web1", SocketAddr::new(at, WEB))]);
    plan.engine.pools.push(pool);
    let listen = Listen::new(Protocol::Tcp, vip(service).into(), WEB);
    let pool = PoolId(plan.engine.pools.len() as u16 - 1);
    let mode = Mode::Nat(Nat::Tunnel(way.encapsulation));
    plan.engine.services.push(ServiceConfig::new(listen, mode, pool));
    plan.applications.push(None);
}

/// Downloads and uploads by one way of unwrapping; false if the kernel lacks it.
fn transfers(way: &Way) -> bool {
    let mut link = None;
    let mut lacks = None;
    let world = World::make_with(1, None, |plan| {
        let namespaces = [0, 1]
            .map(|leg: usize| Namespace::open(plan.legs[leg].netns.as_ref().unwrap()).unwrap());
        namespaces.iter().for_each(allow_other_ways);
        let service = way.families.0;
        let length = full_length(service);
        run(&namespaces[1], &format!("ip addr add {}/{length} dev lo", vip(service))).unwrap();
        link = Some((direct_link(plan), namespaces));
        add_service(plan, way);
    });
    let Some(mut world) = world else { return true };
    let ((from, to), namespaces) = link.unwrap();
    for command in way.commands {
        if let Err(said) = run(&namespaces[1], command) {
            lacks = Some(said);
            break;
        }
    }
    if let Some(said) = lacks {
        eprintln!("SKIP {}: the kernel says: {said}", way.name);
        return false;
    }
    let direct = Direct::start(from, to);
    let folder = TempDir::new().unwrap();
    let (sent, got) = (folder.path().join("sent"), folder.path().join("got"));
    std::fs::write(&sent, Pattern::bytes(9, LENGTH)).unwrap();
    let at = SocketAddr::new(vip(way.families.0), WEB);
    let mut data = String::from("@");
    write!(data, "{}", sent.display()).unwrap();
    let url = format!("http://{at}/9/6/{LENGTH}");
    let about = "%{http_code} %header{x-matched}";
    let output =
        world.curl(&["--data-binary", &data, "-o", got.to_str().unwrap(), "-w", about, &url]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let stats = world.stop();
    let passed = direct.stop();
    assert_eq!(said, format!("200 {LENGTH}"), "{}: {errors} {stats:?}", way.name);
    Pattern::new(6).check(&std::fs::read(&got).unwrap()).unwrap();
    assert_eq!(stats.flows_opened, 1, "{}", way.name);
    assert!(passed > 50, "{}: answers went another way", way.name);
    // The client's first long segments are as long as its own link takes.
    let refused = stats.drops().find(|(reason, _)| *reason == DropReason::PacketTooBig);
    assert!(refused.is_some_and(|(_, n)| n > 0), "{}: {stats:?}", way.name);
    true
}

#[test]
fn kernels_unwrap_and_answer_past_us() {
    let _watchdog = Watchdog::new("tunnels", LIMIT);
    let done = WAYS.iter().filter(|way| transfers(way)).count();
    eprintln!("{done} of {} ways", WAYS.len());
}
