//! End to end on real TUNs: curl and other kernel clients, kernel servers, balun between them.
//!
//! Everything lives in private namespaces that the tests make. Where TUNs are not to be had the tests
//! say `SKIP`; with `BALUN_REQUIRE_TUN=1` they fail instead.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::io::{Error, ErrorKind, IoSliceMut, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Output;
use std::time::{Duration, Instant};

use nat::DropReason;
use netstack::wire::Family;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recvmsg, setsockopt, sockopt};
use tempfile::TempDir;
use tests::netns::{PATIENCE, World};
use tests::pattern::Pattern;
use tests::sockets::{allow_ping, await_that, connected, ping};
use tests::topology::{
    BYTES, CLOSED, Certificate, DATAGRAMS, FAMILIES, Mode, TLS, WEB, backend, echo_vip, vip,
};
use tests::transfer::{self, Job, Order};
use tests::watchdog::Watchdog;

const UPLOAD: usize = 5_000_000;
const DOWNLOAD: usize = 10_000_000;
/// The MTU of the narrower leg, where there is one.
const NARROW: u16 = 1_400;
/// Enough for the slowest of the tests on a slow machine.
const LIMIT: Duration = Duration::from_mins(1);

/// What curl is to write about each answer, and how it reads.
const ABOUT: &str = "%{http_code} %header{x-matched} %header{x-backend} %{num_connects}\\n";

struct About {
    code: u16,
    matched: u64,
    backend: usize,
    connects: u32,
}

#[track_caller]
fn abouts(output: &Output) -> Vec<About> {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let about = |line: &str| {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_else(|| panic!("{line}"));
        About {
            code: next().parse().unwrap(),
            matched: next().parse().unwrap(),
            backend: next().parse().unwrap(),
            connects: next().parse().unwrap(),
        }
    };
    text.lines().map(about).collect()
}

fn url(family: Family, mode: Mode, path: &str) -> String {
    format!("http://{}{path}", vip(family, mode.web_port()))
}

fn families_and_modes() -> impl Iterator<Item = (Family, Mode)> {
    FAMILIES.into_iter().flat_map(|family| Mode::ALL.map(|mode| (family, mode)))
}

#[test]
fn curl_downloads_through_every_mode() {
    let _watchdog = Watchdog::new("downloads", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body");
    for (family, mode) in families_and_modes() {
        // An even salt comes with its length, an odd one in chunks.
        for salt in [6, 7] {
            let url = url(family, mode, &format!("/0/{salt}/{DOWNLOAD}"));
            let output = world.curl(&["-o", file.to_str().unwrap(), "-w", ABOUT, &url]);
            assert_eq!(abouts(&output)[0].code, 200, "{family:?} {mode:?}");
            let body = std::fs::read(&file).unwrap();
            assert_eq!(body.len(), DOWNLOAD, "{family:?} {mode:?}");
            Pattern::new(salt).check(&body).unwrap();
        }
    }
}

#[test]
fn curl_uploads_through_every_mode() {
    let _watchdog = Watchdog::new("uploads", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, Pattern::bytes(9, UPLOAD)).unwrap();
    let file = file.to_str().unwrap();
    let data = format!("@{file}");
    let length = ["--data-binary", &data];
    let chunked = ["-X", "POST", "-H", "Transfer-Encoding: chunked", "-T", file];
    for (family, mode) in families_and_modes() {
        let url = url(family, mode, "/9/8/100");
        for how in [&length[..], &chunked] {
            let output = world.curl(&[how, &["-o", "/dev/null", "-w", ABOUT, &url]].concat());
            let about = &abouts(&output)[0];
            assert_eq!((about.code, about.matched), (200, UPLOAD as u64), "{family:?} {mode:?}");
        }
    }
}

#[test]
fn one_connection_is_one_backend_unless_requests_are_balanced() {
    let _watchdog = Watchdog::new("keep-alive", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    for (family, mode) in families_and_modes() {
        let url = url(family, mode, "/0/8/10");
        let null = "/dev/null";
        let output = world.curl(&["-w", ABOUT, "-o", null, "-o", null, &url, &url]);
        let [first, second] = &abouts(&output)[..] else { panic!("two answers") };
        assert_eq!((first.connects, second.connects), (1, 0), "{family:?} {mode:?}");
        let same = first.backend == second.backend;
        assert_eq!(same, mode != Mode::Http, "{family:?} {mode:?}");
    }
}

#[test]
fn tls_is_ended_for_curl() {
    let _watchdog = Watchdog::new("TLS", LIMIT);
    let made = rcgen::generate_simple_self_signed(["web.test".to_owned()]).unwrap();
    let certificate = Certificate { chain: made.cert.pem(), key: made.signing_key.serialize_pem() };
    let Some(world) = World::make(2, Some(&certificate)) else { return };
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &certificate.chain).unwrap();
    let ca = ca.to_str().unwrap();
    for family in FAMILIES {
        let curl = |name: &str| {
            let at = format!("{name}:{TLS}:{}", vip(family, TLS).ip());
            let url = format!("https://{name}/0/8/100000");
            let to = ["--resolve", &at, "-o", "/dev/null", "-w", ABOUT, &url];
            world.curl(&[&["--cacert", ca][..], &to].concat())
        };
        assert_eq!(abouts(&curl("web.test"))[0].code, 200, "{family:?}");
        // No certificate for that name, and curl gets none that it would take.
        assert!(!curl("other.test").status.success(), "{family:?}");
    }
}

#[test]
fn curl_speaks_http_2_in_clear_text_and_within_tls() {
    let _watchdog = Watchdog::new("HTTP/2", LIMIT);
    let made = rcgen::generate_simple_self_signed(["web.test".to_owned()]).unwrap();
    let certificate = Certificate { chain: made.cert.pem(), key: made.signing_key.serialize_pem() };
    let Some(world) = World::make(2, Some(&certificate)) else { return };
    let folder = TempDir::new().unwrap();
    let (ca, got) = (folder.path().join("ca.pem"), folder.path().join("got"));
    std::fs::write(&ca, &certificate.chain).unwrap();
    let (ca, got_path) = (ca.to_str().unwrap(), got.to_str().unwrap());
    for family in FAMILIES {
        let at = format!("web.test:{TLS}:{}", vip(family, TLS).ip());
        let plain = url(family, Mode::Http, "/0/8/1000000");
        let secure = "https://web.test/0/8/1000000".to_owned();
        for (how, url, version) in [
            ("--http2-prior-knowledge", &plain, "2"),
            ("--http1.1", &plain, "1.1"),
            ("--http2", &secure, "2"),
            ("--http1.1", &secure, "1.1"),
        ] {
            let about = "%{http_version} %{http_code} %{size_download}";
            let arguments =
                [how, "--cacert", ca, "--resolve", &at, "-o", got_path, "-w", about, url];
            let output = world.curl(&arguments);
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said, format!("{version} 200 1000000"), "{family:?} {how} {url}");
            Pattern::new(8).check(&std::fs::read(&got).unwrap()).unwrap();
        }
        let data = folder.path().join("body");
        std::fs::write(&data, Pattern::bytes(9, UPLOAD)).unwrap();
        let data = format!("@{}", data.to_str().unwrap());
        let how = ["--http2-prior-knowledge", "--data-binary", &data];
        let url = url(family, Mode::Http, "/9/8/100");
        let output = world.curl(&[&how, &["-o", "/dev/null", "-w", ABOUT, &url][..]].concat());
        let about = &abouts(&output)[0];
        assert_eq!((about.code, about.matched), (200, UPLOAD as u64), "{family:?}");
    }
}

#[test]
fn kernel_clients_transfer_both_ways() {
    let _watchdog = Watchdog::new("transfers", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    for (family, mode) in FAMILIES.into_iter().flat_map(|f| Mode::OPAQUE.map(|m| (f, m))) {
        for order in [Order::Duplex, Order::ClientFirst, Order::ServerFirst] {
            let job = Job { upload: 3_000_000, download: 4_000_000, salt: 3, order };
            let result = world.as_async_client(async || {
                let to = vip(family, mode.bytes_port());
                transfer::run(tokio::net::TcpStream::connect(to).await?, job).await
            });
            result.unwrap_or_else(|e| panic!("{family:?} {mode:?} {order:?}: {e}"));
        }
    }
    await_that(|| world.ledger.records().len() == 18, "every server has seen the end");
    assert!(world.ledger.records().iter().all(|record| record.result == Ok(3_000_000)));
}

#[test]
fn datagrams_are_echoed() {
    let _watchdog = Watchdog::new("datagrams", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    for family in FAMILIES {
        let headers = if family == Family::V4 { 28 } else { 48 };
        for port in [DATAGRAMS, DATAGRAMS + 1] {
            let echoed = world.as_client(|| {
                let socket = connected(vip(family, port));
                [0, 1, 100, 1_500 - headers].map(|len| {
                    let sent = Pattern::bytes(len as u64, len);
                    socket.send(&sent).unwrap();
                    let mut received = vec![0; 2_000];
                    let len = socket.recv(&mut received).unwrap();
                    received[..len] == sent
                })
            });
            assert_eq!(echoed, [true; 4], "{family:?} port {port}");
        }
    }
}

#[test]
fn many_datagrams_keep_their_flow() {
    let _watchdog = Watchdog::new("many datagrams", LIMIT);
    let Some(mut world) = World::make(2, None) else { return };
    world.as_client(|| {
        let sockets: Vec<_> = (0..20).map(|_| connected(vip(Family::V4, DATAGRAMS))).collect();
        for round in 0..50_u64 {
            for (i, socket) in (0..).zip(&sockets) {
                socket.send(&[round.to_be_bytes(), u64::to_be_bytes(i)].concat()).unwrap();
            }
            for (i, socket) in (0..).zip(&sockets) {
                let mut received = [0; 100];
                assert_eq!(socket.recv(&mut received).unwrap(), 16);
                assert_eq!(received[..8], round.to_be_bytes());
                assert_eq!(received[8..16], u64::to_be_bytes(i));
            }
        }
    });
    let stats = world.stop();
    assert_eq!(stats.flows_opened, 20);
}

#[test]
fn echo_requests_are_answered() {
    let _watchdog = Watchdog::new("echo requests", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    for family in FAMILIES {
        let services = [vip(family, 0).ip(), echo_vip(family), backend(family, 0)];
        let answered = world.as_client(|| {
            allow_ping();
            services.map(|address| ping(address, 1_000))
        });
        assert_eq!(answered, [true; 3], "{family:?}");
    }
}

/// A world in which the leg of this number carries packets of 1,400 bytes and the others of 1,500.
fn narrow(leg: usize) -> Option<World> {
    World::make_with(1, None, |plan| {
        plan.legs[leg].tun.mtu = NARROW;
        plan.engine.legs[leg].mtu = NARROW;
    })
}

#[test]
fn connections_between_legs_of_two_mtus_lose_nothing() {
    let _watchdog = Watchdog::new("two MTUs", LIMIT);
    for leg in [0, 1] {
        let Some(mut world) = narrow(leg) else { return };
        for (family, mode) in families_and_modes() {
            let url = url(family, mode, &format!("/0/6/{DOWNLOAD}"));
            let output = world.curl(&["-o", "/dev/null", "-w", ABOUT, &url]);
            assert_eq!(abouts(&output)[0].code, 200, "{family:?} {mode:?}");
        }
        for (family, mode) in FAMILIES.into_iter().flat_map(|f| Mode::OPAQUE.map(|m| (f, m))) {
            let job = Job { upload: 3_000_000, download: 10, salt: 3, order: Order::ClientFirst };
            let result = world.as_async_client(async || {
                let to = vip(family, mode.bytes_port());
                transfer::run(tokio::net::TcpStream::connect(to).await?, job).await
            });
            result.unwrap_or_else(|e| panic!("{family:?} {mode:?}: {e}"));
        }
        // The SYNs had said it: no segment was too long.
        assert_eq!(world.stop().dropped(DropReason::PacketTooBig), 0, "leg {leg}");
    }
}

#[test]
fn the_kernel_learns_the_mtu_behind_the_balancer() {
    let _watchdog = Watchdog::new("path MTU", LIMIT);
    let too_long = |error: &Error| error.raw_os_error() == Some(Errno::EMSGSIZE as i32);
    for port in [DATAGRAMS, DATAGRAMS + 1] {
        let Some(mut world) = narrow(1) else { return };
        world.as_client(|| {
            for family in FAMILIES {
                let headers = if family == Family::V4 { 28 } else { 48 };
                let socket = connected(vip(family, port));
                if family == Family::V6 {
                    setsockopt(&socket, sockopt::Ipv6DontFrag, &true).unwrap();
                }
                // It fits the client's own leg; of IPv4 the kernel forbids fragments by itself.
                socket.send(&[7; 1_450]).unwrap();
                let told = || socket.take_error().unwrap().is_some_and(|error| too_long(&error));
                await_that(told, "the socket hears of it");
                match family {
                    Family::V4 => {
                        assert_eq!(getsockopt(&socket, sockopt::IpMtu).unwrap(), i32::from(NARROW));
                    }
                    Family::V6 => assert!(too_long(&socket.send(&[7; 1_450]).unwrap_err())),
                }
                let fits = vec![8; usize::from(NARROW) - headers];
                socket.send(&fits).unwrap();
                let mut received = [0; 2_000];
                let len = socket.recv(&mut received).unwrap();
                assert_eq!(received[..len], fits, "{family:?} port {port}");
            }
        });
        assert_eq!(world.stop().dropped(DropReason::PacketTooBig), 2, "port {port}");
    }
}

#[test]
fn a_closed_port_is_refused_at_once() {
    let _watchdog = Watchdog::new("closed port", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    for family in FAMILIES {
        let start = Instant::now();
        let output = world.curl(&[&format!("http://{}/", vip(family, CLOSED))]);
        // curl's "failed to connect to host".
        assert_eq!(output.status.code(), Some(7), "{family:?} {output:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{family:?}");
        let closed = world.as_client(|| {
            let socket = connected(vip(family, CLOSED));
            socket.send(b"anyone?").unwrap();
            socket.recv(&mut [0; 10]).unwrap_err().kind()
        });
        assert_eq!(closed, ErrorKind::ConnectionRefused, "{family:?}");
    }
}

#[test]
fn a_killed_backend_is_not_noticed_by_new_clients() {
    let _watchdog = Watchdog::new("killed backend", LIMIT);
    let Some(mut world) = World::make(2, None) else { return };
    for (family, mode) in families_and_modes() {
        let url = url(family, mode, "/0/8/1000");
        assert_eq!(abouts(&world.curl(&["-o", "/dev/null", "-w", ABOUT, &url])).len(), 1);
    }
    world.kill(0);
    for (family, mode) in families_and_modes() {
        let url = url(family, mode, "/0/8/1000");
        // One connection after the other, each new.
        let one = ["-H", "Connection: close", "-o", "/dev/null", "-w", ABOUT, &url, "--next"];
        let mut arguments = [one; 12].concat();
        arguments.pop();
        let answers = abouts(&world.curl(&arguments));
        assert_eq!(answers.len(), 12, "{family:?} {mode:?}");
        assert!(answers.iter().all(|a| (a.code, a.backend) == (200, 1)), "{family:?} {mode:?}");
    }
    world.kill(1);
    for (family, mode) in families_and_modes() {
        let start = Instant::now();
        let url = url(family, mode, "/0/8/1000");
        let output = world.curl(&["-w", "%{http_code}", &url]);
        match mode {
            Mode::Full | Mode::Dnat => assert_eq!(output.status.code(), Some(7), "{output:?}"),
            // Accepted, then reset: maybe before curl has looked.
            Mode::Tcp => assert!(matches!(output.status.code(), Some(7 | 52 | 56)), "{output:?}"),
            Mode::Http => assert!(output.stdout.ends_with(b"502"), "{output:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{family:?} {mode:?}");
    }
}

#[test]
fn established_connections_of_a_killed_backend_end() {
    let _watchdog = Watchdog::new("established and killed", LIMIT);
    let Some(mut world) = World::make(1, None) else { return };
    let places: Vec<_> =
        FAMILIES.into_iter().flat_map(|f| Mode::OPAQUE.map(|m| vip(f, m.bytes_port()))).collect();
    let mut streams: Vec<_> = world.as_client(|| places.iter().map(|at| begun(*at)).collect());
    await_that(|| streams.iter_mut().all(has_bytes), "all are being served");
    world.kill(0);
    for (stream, place) in streams.iter_mut().zip(&places) {
        // What the kernel had sent, and then the reset: not a clean end, not silence.
        let result = stream.read_to_end(&mut Vec::new());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset, "{place}");
    }
}

/// A connection on which the server is sending more than fits into all buffers and leaves unread what
/// it was sent, so that its end is a reset.
fn begun(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let job = Job { upload: 1 << 30, download: 1 << 30, salt: 1, order: Order::ServerFirst };
    stream.write_all(&[&job.header()[..], &Pattern::bytes(1, 10_000)].concat()).unwrap();
    stream
}

fn has_bytes(stream: &mut TcpStream) -> bool {
    stream.peek(&mut [0; 1]).unwrap() == 1
}

#[test]
fn an_idle_connection_is_kept() {
    let _watchdog = Watchdog::new("idle", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    let result = world.as_async_client(async || {
        let mut streams = Vec::new();
        for (family, mode) in FAMILIES.into_iter().flat_map(|f| Mode::OPAQUE.map(|m| (f, m))) {
            let stream = tokio::net::TcpStream::connect(vip(family, mode.bytes_port())).await?;
            streams.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        for stream in streams {
            let job = Job { upload: 9_000, download: 9_000, salt: 1, order: Order::Duplex };
            transfer::run(stream, job).await?;
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn what_is_nobodys_service_is_routed() {
    let _watchdog = Watchdog::new("routed", LIMIT);
    let Some(mut world) = World::make(2, None) else { return };
    for family in FAMILIES {
        let job = Job { upload: 1_000_000, download: 1_000_000, salt: 3, order: Order::Duplex };
        let result = world.as_async_client(async || {
            let to = SocketAddr::new(backend(family, 1), BYTES);
            transfer::run(tokio::net::TcpStream::connect(to).await?, job).await
        });
        result.unwrap();
        let url = format!("http://{}/0/8/1000", SocketAddr::new(backend(family, 1), WEB));
        let output = world.curl(&["-o", "/dev/null", "-w", ABOUT, &url]);
        assert_eq!(abouts(&output)[0].backend, 1);
    }
    let stats = world.stop();
    assert_eq!((stats.flows_opened, stats.dropped(DropReason::NoRoute)), (0, 0));
}

#[test]
fn a_traceroute_shows_balun_as_one_hop() {
    let _watchdog = Watchdog::new("traceroute", LIMIT);
    let Some(world) = World::make(1, None) else { return };
    for (family, port) in FAMILIES.into_iter().flat_map(|f| [(f, DATAGRAMS), (f, DATAGRAMS + 1)]) {
        let service = vip(family, port);
        let exceeded = if family == Family::V4 { (11, 0) } else { (3, 0) };
        let heard = Answer::Error { said: exceeded, by: Some(service.ip()) };
        assert_eq!(world.as_client(|| probe(service, 1)), heard, "{service}");
        assert_eq!(world.as_client(|| probe(service, 2)), Answer::Echo, "{service}");
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The datagram came back.
    Echo,
    /// Type and code of an ICMP error, and who says it.
    Error { said: (u8, u8), by: Option<IpAddr> },
}

/// What becomes of a datagram that may go `ttl` hops.
fn probe(to: SocketAddr, ttl: u32) -> Answer {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    if to.is_ipv4() {
        socket.set_ttl(ttl).unwrap();
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true).unwrap();
    } else {
        setsockopt(&socket, sockopt::Ipv6Ttl, &ttl.cast_signed()).unwrap();
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true).unwrap();
    }
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket.send(b"probe").unwrap();
    let mut buffer = [0; 64];
    match socket.recv(&mut buffer) {
        Ok(_) => Answer::Echo,
        Err(error) if error.kind() == ErrorKind::HostUnreachable => queued_error(&socket),
        Err(error) => panic!("{to}: {error}"),
    }
}

/// The error that the kernel keeps for a socket, in full.
fn queued_error(socket: &UdpSocket) -> Answer {
    let (mut data, mut control) = ([0; 64], [0; 256]);
    let mut parts = [IoSliceMut::new(&mut data)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_ERRQUEUE);
    for control in message.unwrap().cmsgs().unwrap() {
        let (error, by) = match control {
            ControlMessageOwned::Ipv4RecvErr(error, by) => {
                (error, by.map(|by| IpAddr::from(by.sin_addr.s_addr.to_ne_bytes())))
            }
            ControlMessageOwned::Ipv6RecvErr(error, by) => {
                (error, by.map(|by| IpAddr::from(by.sin6_addr.s6_addr)))
            }
            _ => continue,
        };
        return Answer::Error { said: (error.ee_type, error.ee_code), by };
    }
    panic!("an error without a reason");
}
