//! TUNs against the real kernel, each in a network namespace of its own.
//!
//! Where TUNs cannot be made the tests say `SKIP` and pass, unless `BALUN_REQUIRE_TUN=1`.

#![cfg(feature = "dev")]
#![expect(clippy::disallowed_methods, reason = "these tests are about sockets and the system")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail as it does")]

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::JoinHandle;

use netstack::dev::netlink::{Change, change_link};
use netstack::dev::probe::{Probe, State};
use netstack::dev::{
    Device, Namespace, NamespaceError, Received, TransmitDrop, Transmitted, Tun, TunConfig,
    TunError, probe,
};
use netstack::packet::{Checksum, GsoKind, Packet};
use netstack::wire::fields::{icmp_field, tcp_field};
use netstack::wire::headers::{ICMPV4, ICMPV6};
use netstack::wire::{Address, Headers, Tcp, TcpFlags, Transport, checksum};
use nix::poll::{PollFd, PollFlags, poll};

/// How long the kernel may take to answer before a test fails, in milliseconds.
const PATIENCE: u16 = 5_000;

/// The TUN's own addresses, one that is behind it, in each family.
const KERNEL: [&str; 2] = ["10.77.0.1", "fd77::1"];
const BEHIND: [&str; 2] = ["10.77.0.2", "fd77::2"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn config(name: &str) -> TunConfig {
    TunConfig {
        addresses: vec![(ip(KERNEL[0]), 24), (ip(KERNEL[1]), 64)],
        routes: vec![(ip("192.0.2.9"), 24)],
        ..TunConfig::new(name)
    }
}

/// Skips loudly, or fails where a skip is not allowed.
fn skip(why: &dyn std::fmt::Display) {
    assert!(std::env::var_os("BALUN_REQUIRE_TUN").is_none_or(|v| v != "1"), "TUN required: {why}");
    eprintln!("SKIP {why}");
}

/// A namespace with one TUN in it, or nothing where that is forbidden.
fn tun() -> Option<(Namespace, Tun)> {
    let namespace = namespace()?;
    match Tun::open_in(&namespace, &config("balun0")) {
        Ok(mut queues) => Some((namespace, queues.remove(0))),
        Err(error) if error.is_environment() => {
            skip(&error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn namespace() -> Option<Namespace> {
    match Namespace::create() {
        Ok(namespace) => Some(namespace),
        Err(error) if error.is_environment() => {
            skip(&error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Reads until `wanted` recognises a packet; the kernel sends others (neighbours, multicast).
fn receive_until<T>(tun: &mut Tun, mut wanted: impl FnMut(&Packet, &Headers) -> Option<T>) -> T {
    let mut packet = Packet::max_sized();
    loop {
        match tun.receive(&mut packet).unwrap() {
            Received::Packet => {
                let headers =
                    Headers::parse(&packet).expect("the kernel sends well-formed packets");
                if let Some(found) = wanted(&packet, &headers) {
                    return found;
                }
            }
            Received::WouldBlock => {
                let mut fds = [PollFd::new(tun.as_fd(), PollFlags::POLLIN)];
                assert_ne!(poll(&mut fds, PATIENCE).unwrap(), 0, "the kernel does not answer");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// An IP packet around `l4`, whose checksum at `field` is filled in.
fn packet(src: &str, dst: &str, protocol: u8, field: usize, l4: &[u8]) -> Packet {
    let (src, dst) = (Address::from(ip(src)), Address::from(ip(dst)));
    let mut l4 = l4.to_vec();
    let pseudo = match protocol {
        ICMPV4 => 0,
        _ => checksum::pseudo_header(src, dst, protocol, l4.len()),
    };
    let sum = !checksum::add(pseudo, checksum::sum(&l4));
    l4[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = if src.is_v4() {
        let length = (20 + l4.len() as u16).to_be_bytes();
        let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
        header.extend([src.octets(), dst.octets()].concat());
        let sum = (!checksum::sum(&header)).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        header
    } else {
        let length = (l4.len() as u16).to_be_bytes();
        let mut header = vec![0x60, 0, 0, 0, length[0], length[1], protocol, 64];
        header.extend([src.octets(), dst.octets()].concat());
        header
    };
    bytes.extend(l4);
    Packet::from_ip(&bytes)
}

fn echo(family: usize, payload: usize) -> Packet {
    let (protocol, kind) = [(ICMPV4, 8), (ICMPV6, 128)][family];
    let mut message = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 1];
    message.extend((0..payload).map(|i| i as u8));
    packet(BEHIND[family], KERNEL[family], protocol, icmp_field::CHECKSUM.start, &message)
}

fn expect_echo_reply(tun: &mut Tun, family: usize, payload: usize) {
    receive_until(tun, |packet, headers| {
        let reply = headers.transport == Transport::Echo { id: 0x1234, request: false };
        let addressed = headers.src == ip(KERNEL[family]).into();
        (reply && addressed).then(|| {
            let message = &packet.data()[headers.l4()..];
            assert!(checksum::verify_transport(packet, headers));
            assert_eq!(message[icmp_field::SEQ], [0, 1]);
            assert_eq!(message.len(), icmp_field::LEN + payload);
        })
    });
}

#[test]
fn the_kernel_answers_echo_requests_of_both_families() {
    let Some((_namespace, mut tun)) = tun() else { return };
    assert_eq!((tun.name(), tun.mtu()), ("balun0", 1_500));
    for family in [0, 1] {
        let mut request = echo(family, 56);
        assert_eq!(tun.transmit(&mut request).unwrap(), Transmitted::Sent);
        expect_echo_reply(&mut tun, family, 56);
    }
}

/// Connects from inside to `behind`; the result comes when the TUN's side has answered.
fn connect(namespace: &Namespace, behind: &'static str) -> JoinHandle<std::io::Result<TcpStream>> {
    let connect = move || TcpStream::connect((ip(behind), 80));
    let thread = namespace.spawn_thread("client", connect).unwrap();
    std::thread::spawn(move || thread.join().unwrap().unwrap())
}

struct Syn {
    port: u16,
    seq: u32,
    checksum: Checksum,
    l4: usize,
}

fn expect_syn(tun: &mut Tun, behind: &str) -> Syn {
    receive_until(tun, |packet, headers| match headers.transport {
        Transport::Tcp { src_port: port, dst_port: 80, flags } if flags.is_initial_syn() => {
            assert_eq!(headers.dst, ip(behind).into());
            let tcp = Tcp::new_checked(&packet.data()[headers.l4()..]).unwrap();
            let checksum = packet.offload.checksum;
            Some(Syn { port, seq: tcp.seq(), checksum, l4: headers.l4() })
        }
        _ => None,
    })
}

fn tcp_reply(family: usize, syn: &Syn, seq: u32, ack: u32, flags: TcpFlags) -> Packet {
    let mut segment = [80_u16.to_be_bytes(), syn.port.to_be_bytes()].concat();
    segment.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    segment.extend([0x50, flags.0, 0xff, 0xff, 0, 0, 0, 0]);
    packet(BEHIND[family], KERNEL[family], 6, tcp_field::CHECKSUM.start, &segment)
}

#[test]
fn a_connect_gives_a_syn_with_a_partial_checksum() {
    let Some((namespace, mut tun)) = tun() else { return };
    if !tun.offload().checksum {
        return skip(&"the kernel grants no checksum offload");
    }
    for (family, behind) in BEHIND.into_iter().enumerate() {
        let client = connect(&namespace, behind);
        let syn = expect_syn(&mut tun, behind);
        assert_eq!(syn.l4, [20, 40][family]);
        assert_eq!(syn.checksum, Checksum::Partial { start: syn.l4 as u16, offset: 16 });
        let flags = TcpFlags::RST | TcpFlags::ACK;
        let mut reset = tcp_reply(family, &syn, 0, syn.seq.wrapping_add(1), flags);
        assert_eq!(tun.transmit(&mut reset).unwrap(), Transmitted::Sent);
        let refused = client.join().unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_big_send_comes_as_super_packets() {
    const SENT: usize = 60_000;
    let Some((namespace, mut tun)) = tun() else { return };
    if !(tun.offload().tso4 && tun.offload().tso6) {
        return skip(&"the kernel grants no TSO");
    }
    for (family, behind) in BEHIND.into_iter().enumerate() {
        let client = connect(&namespace, behind);
        let syn = expect_syn(&mut tun, behind);
        let first = syn.seq.wrapping_add(1);
        let flags = TcpFlags::SYN | TcpFlags::ACK;
        let mut synack = tcp_reply(family, &syn, 1_000, first, flags);
        assert_eq!(tun.transmit(&mut synack).unwrap(), Transmitted::Sent);
        let mut stream = client.join().unwrap().expect("the handshake is complete");
        let writer = std::thread::spawn(move || stream.write_all(&vec![7; SENT]).map(|()| stream));
        let (mut received, mut largest, mut acks) = (0, 0, Vec::new());
        while received < SENT {
            receive_until(&mut tun, |packet, headers| {
                let tcp = Tcp::new_checked(&packet.data()[headers.l4()..headers.total_len()])?;
                let payload = tcp.payload().len();
                let in_order = tcp.seq() == first.wrapping_add(received as u32);
                (headers.protocol == 6 && payload > 0 && in_order).then(|| {
                    if let Some(gso) = packet.offload.gso {
                        assert_eq!(gso.kind, [GsoKind::TcpV4, GsoKind::TcpV6][family]);
                        largest = largest.max(payload);
                        // What this kernel gives, our own cutting takes.
                        let pieces = netstack::segment::segment(packet, 65_535).unwrap();
                        let total: usize =
                            pieces.map(|p| p.len() - headers.l4() - tcp.header_len()).sum();
                        assert_eq!(total, payload);
                    }
                    received += payload;
                    acks.push(first.wrapping_add(received as u32));
                });
                Some(())
            });
            for ack in acks.drain(..) {
                let mut packet = tcp_reply(family, &syn, 1_001, ack, TcpFlags::ACK);
                assert_eq!(tun.transmit(&mut packet).unwrap(), Transmitted::Sent);
            }
        }
        assert!(largest > 1_460, "no super-packet came");
        drop(writer.join().unwrap().unwrap());
    }
}

/// A super-packet written to the TUN arrives as the bytes that it holds, and so does one that was
/// cut by us.
#[test]
fn super_packets_of_datagrams_are_delivered_at_their_boundaries() {
    let Some((namespace, mut tun)) = tun() else { return };
    let socket = namespace.run(|| UdpSocket::bind((ip(KERNEL[0]), 5_300))).unwrap().unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(PATIENCE.into()))).unwrap();
    let mut datagram =
        [[0x30, 0x39], 5_300_u16.to_be_bytes(), 2_508_u16.to_be_bytes(), [0, 0]].concat();
    datagram.extend((0..2_500_u16).map(|i| (i % 251) as u8));
    let mut whole = packet(BEHIND[0], KERNEL[0], 17, 6, &datagram);
    let pseudo = checksum::pseudo_header(ip(BEHIND[0]).into(), ip(KERNEL[0]).into(), 17, 2_508);
    whole.data_mut()[26..28].copy_from_slice(&pseudo.to_be_bytes());
    whole.offload.checksum = Checksum::Partial { start: 20, offset: 6 };
    let gso = netstack::packet::Gso { kind: GsoKind::Udp, size: 1_000, header_len: 28, ecn: false };
    whole.offload.gso = Some(gso);
    let by_kernel = usize::from(tun.offload().uso);
    for _ in 0..=by_kernel {
        assert_eq!(tun.transmit(&mut whole.clone()).unwrap(), Transmitted::Sent);
    }
    for mut piece in netstack::segment::segment(&whole, 65_535).unwrap() {
        assert_eq!(tun.transmit(&mut piece).unwrap(), Transmitted::Sent);
    }
    let mut buf = [0; 4_000];
    for _ in 0..by_kernel + 2 {
        let mut joined: Vec<u8> = Vec::new();
        for expected in [1_000, 1_000, 500] {
            let n = socket.recv(&mut buf).expect("each datagram arrives, its checksum right");
            assert_eq!(n, expected);
            joined.extend(&buf[..n]);
        }
        assert_eq!(joined, datagram[8..]);
    }
}

#[test]
fn a_taken_name_is_busy() {
    let Some((namespace, tun)) = tun() else { return };
    for name in ["balun0", "lo"] {
        let error = Tun::open_in(&namespace, &TunConfig::new(name)).unwrap_err();
        assert!(matches!(&error, TunError::Busy { name: busy } if busy == name), "{error}");
        assert!(error.is_environment());
    }
    let several = TunConfig { queues: 2, ..TunConfig::new("balun0") };
    assert!(matches!(Tun::open_in(&namespace, &several), Err(TunError::Busy { .. })));
    // The device goes with its descriptor, and the name is free again.
    drop(tun);
    assert!(Tun::open_in(&namespace, &TunConfig::new("balun0")).is_ok());
}

#[test]
fn a_bad_name_is_refused_before_the_kernel_is_asked() {
    for name in ["", "a/b", "tun%d", "sixteen-bytes-xx"] {
        let error = Tun::open(&TunConfig::new(name)).unwrap_err();
        assert!(matches!(error, TunError::BadName { .. }), "{error}");
    }
}

#[test]
fn queues_share_one_device_and_nobody_else_joins_it() {
    let Some(namespace) = namespace() else { return };
    let several = TunConfig { queues: 3, ..config("balun0") };
    let mut queues = match Tun::open_in(&namespace, &several) {
        Ok(queues) => queues,
        Err(error) => return skip(&error),
    };
    assert_eq!(queues.len(), 3);
    assert!(queues.iter().all(|queue| queue.offload() == queues[0].offload()));
    // The reply comes back by the queue that the request went in by.
    assert_eq!(queues[2].transmit(&mut echo(0, 8)).unwrap(), Transmitted::Sent);
    let mut fds: Vec<_> =
        queues.iter().map(|q| PollFd::new(q.as_fd(), PollFlags::POLLIN)).collect();
    assert_ne!(poll(&mut fds, PATIENCE).unwrap(), 0);
    assert!(matches!(Tun::open_in(&namespace, &several), Err(TunError::Busy { .. })));
}

#[test]
fn addresses_and_routes_are_set() {
    let Some((namespace, _tun)) = tun() else { return };
    let read =
        |path: &'static str| namespace.run(move || std::fs::read_to_string(path).unwrap()).unwrap();
    // Columns: interface, destination, gateway, … in hexadecimal of the host's byte order.
    let routes = read("/proc/thread-self/net/route");
    let has = |net: [u8; 4]| {
        let hex = format!("{:08X}", u32::from_ne_bytes(net));
        routes.lines().any(|line| {
            let mut columns = line.split_whitespace();
            columns.next() == Some("balun0") && columns.next() == Some(hex.as_str())
        })
    };
    assert!(has([10, 77, 0, 0]), "{routes}");
    assert!(has([192, 0, 2, 0]), "{routes}");
    let v6 = read("/proc/thread-self/net/if_inet6");
    let line = v6.lines().find(|l| l.starts_with("fd770000")).expect("the IPv6 address is there");
    let flags = u8::from_str_radix(line.split_whitespace().nth(4).unwrap(), 16).unwrap();
    assert_eq!(flags & 0x40, 0, "tentative: {line}");
}

/// The kernel's default queue of 500 packets would lose most of these.
#[test]
fn a_burst_waits_in_the_queue() {
    const BURST: usize = 4_000;
    let Some((namespace, mut tun)) = tun() else { return };
    let send = || {
        let socket = UdpSocket::bind((ip(KERNEL[0]), 0)).unwrap();
        (0..BURST).all(|_| socket.send_to(b"burst", (ip(BEHIND[0]), 9)).is_ok())
    };
    assert!(namespace.run(send).unwrap());
    let mut packet = Packet::max_sized();
    let mut waiting = 0;
    while tun.receive(&mut packet).unwrap() == Received::Packet {
        waiting += usize::from(packet.data().ends_with(b"burst"));
    }
    assert_eq!(waiting, BURST);
}

#[test]
fn a_default_route_leads_anywhere_and_without_one_nowhere() {
    let Some(namespace) = namespace() else { return };
    let connect = || UdpSocket::bind("0.0.0.0:0").unwrap().connect(("198.51.100.1", 9));
    let unreachable = namespace.run(connect).unwrap().unwrap_err();
    assert_eq!(unreachable.kind(), ErrorKind::NetworkUnreachable);
    let everything = TunConfig { default_route: true, ..config("balun0") };
    let _tun = match Tun::open_in(&namespace, &everything) {
        Ok(queues) => queues,
        Err(error) => return skip(&error),
    };
    assert!(namespace.run(connect).unwrap().is_ok());
    let v6 = || UdpSocket::bind("[::]:0").unwrap().connect(("2001:db8::1", 9));
    assert!(namespace.run(v6).unwrap().is_ok());
}

#[test]
fn a_link_that_is_down_drops_and_one_that_is_gone_fails() {
    let Some((namespace, mut tun)) = tun() else { return };
    namespace.run(|| change_link("balun0", &[Change::Down])).unwrap().unwrap();
    let down = Transmitted::Dropped(TransmitDrop::LinkDown);
    assert_eq!(tun.transmit(&mut echo(0, 8)).unwrap(), down);
    namespace.run(|| change_link("balun0", &[Change::Up])).unwrap().unwrap();
    assert_eq!(tun.transmit(&mut echo(0, 8)).unwrap(), Transmitted::Sent);
    expect_echo_reply(&mut tun, 0, 8);
    // Not IP at all: the kernel finds it malformed, and the device lives on.
    let refused = Transmitted::Dropped(TransmitDrop::Refused);
    assert_eq!(tun.transmit(&mut Packet::from_ip(&[0xff; 40])).unwrap(), refused);
    namespace.run(|| change_link("balun0", &[Change::Delete])).unwrap().unwrap();
    assert!(tun.transmit(&mut echo(0, 8)).is_err());
    let mut packet = Packet::max_sized();
    while tun.receive(&mut packet).is_ok_and(|r| r == Received::Packet) {}
    assert!(tun.receive(&mut packet).is_err());
}

#[test]
fn a_ready_descriptor_is_adopted_and_an_unfit_one_is_not() {
    let Some((_namespace, tun)) = tun() else { return };
    let duplicate: OwnedFd = tun.as_fd().try_clone_to_owned().unwrap();
    let mut adopted = Tun::from_fd(duplicate, 1_400).unwrap();
    assert_eq!((adopted.name(), adopted.mtu()), ("balun0", 1_400));
    assert_eq!(adopted.offload(), tun.offload());
    assert_eq!(adopted.transmit(&mut echo(1, 8)).unwrap(), Transmitted::Sent);
    expect_echo_reply(&mut adopted, 1, 8);
    let unattached = std::fs::File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    let error = Tun::from_fd(unattached.into(), 1_400).unwrap_err();
    assert!(matches!(error, TunError::Unsuitable { .. }), "{error}");
}

#[test]
fn the_machine_is_probed_without_a_trace() {
    let found = probe::all();
    for probe in &found {
        let Probe { name, state, detail, cause, fix } = probe;
        eprintln!("{state:?} {name}: {detail} {cause:?} {fix:?}");
        assert_eq!(*state == State::Ok, cause.is_none() && fix.is_none());
    }
    if let Some((_, tun)) = tun() {
        let offloads = found.iter().find(|probe| probe.name == "offloads").unwrap();
        assert_eq!(offloads.detail, tun.offload().to_string());
        assert!(found.iter().any(|probe| probe.name == "multi-queue"));
    }
}

/// Set in the environment of a child that runs the test below.
const CHILD: &str = "BALUN_TEST_CHILD";

/// Runs an ignored test of this file in a process of its own.
fn child(test: &str, uid: Option<u32>) -> std::process::Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(CHILD, "1").current_dir("/");
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    command.output().unwrap()
}

fn expect_success(output: &std::process::Output) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    for line in text.lines().filter(|line| line.starts_with("SKIP")) {
        skip(&line);
    }
}

#[test]
fn an_unprivileged_user_is_told_which_right_is_missing() {
    const NOBODY: u32 = 65_534;
    if !nix::unistd::geteuid().is_root() {
        return skip(&"only root can become somebody else");
    }
    expect_success(&child("child_without_rights", Some(NOBODY)));
}

#[test]
#[ignore = "run by an_unprivileged_user_is_told_which_right_is_missing"]
fn child_without_rights() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let error = Tun::open(&config("balun0")).unwrap_err();
    assert!(matches!(error, TunError::Denied(_) | TunError::Missing) && error.is_environment());
    assert!(error.to_string().contains("fix: "), "{error}");
    let error = Namespace::create().unwrap_err();
    assert!(matches!(error, NamespaceError::Denied { .. }) && error.is_environment(), "{error}");
    assert_eq!(probe::capabilities().state, State::Warn);
}
