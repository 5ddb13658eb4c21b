//! Balancing on real TUNs: which backends get kernel clients' connections, and who may have one.
//!
//! Everything lives in private namespaces that the tests make, and on loopback. Where TUNs are not to be
//! had the tests say `SKIP`; with `BALUN_REQUIRE_TUN=1` they fail instead.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::Duration;

use balun::plan::{
    ApplicationPlan, Ask, Plan, ProbePlan, Protocol as Application, TcpPlan, Upstream,
};
use l7::health::HttpProbe;
use nat::{
    BackendConfig, BackendState, DropReason, HealthConfig, Listen, Mode as EngineMode, Nat,
    PoolConfig, PoolId, Ports, Prefix, Probe, Rate, Refuse, ServiceConfig,
};
use netstack::wire::{Family, Protocol};
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use tests::http::{self, Framing, Request};
use tests::netns::{PATIENCE, World};
use tests::pattern::Pattern;
use tests::sockets::{allow_ping, await_that, connected, ping};
use tests::topology::{
    BYTES, DATAGRAMS, ECHO, FAMILIES, Mode, WEB, backend, client, echo_vip, vip,
};
use tests::transfer::{self, Job, Order};
use tests::watchdog::Watchdog;
use tokio::io::BufReader;

/// Enough for the slowest of the tests on a slow machine.
const LIMIT: Duration = Duration::from_mins(1);
const EVERY: Duration = Duration::from_millis(150);
const FALL: u32 = 3;
/// Where nobody listens until a test does.
const LATE: u16 = 9_555;

/// Checks a pool by `probe`, from now on and not believing in it before.
fn check(pool: &mut PoolConfig, probe: Probe) {
    let health = HealthConfig::new(probe);
    pool.health = Some(HealthConfig { every: EVERY, timeout: EVERY, fall: FALL, ..health });
    pool.initial = BackendState::Starting;
}

/// Within which a backend that is lost is found to be.
fn found() -> Duration {
    // Probes come up to a tenth late, and the machine may have other things to do.
    EVERY * (FALL + 1) * 11 / 10 + EVERY
}

/// The pool of a family and port.
fn pool(plan: &mut Plan, family: Family, port: u16) -> (PoolId, &mut PoolConfig) {
    let name = format!("{family:?}-{port}");
    let at = plan.engine.pools.iter().position(|pool| pool.name == name).unwrap();
    (PoolId(at as u16), &mut plan.engine.pools[at])
}

/// Another service of the plan.
fn serve(plan: &mut Plan, listen: Listen, nat: Nat, pool: PoolId) -> &mut ServiceConfig {
    plan.engine.services.push(ServiceConfig::new(listen, EngineMode::Nat(nat), pool));
    plan.applications.push(None);
    plan.engine.services.last_mut().unwrap()
}

fn listen(protocol: Protocol, at: SocketAddr) -> Listen {
    Listen::new(protocol, at.ip().into(), at.port())
}

/// Asks the web server behind a service; says which backend answered.
fn ask(world: &World, to: SocketAddr) -> usize {
    let answer = world.as_async_client(async || {
        let mut stream = BufReader::new(tokio::net::TcpStream::connect(to).await?);
        let request = Request { upload: 0, framing: Framing::Length, download: 100, salt: 2 };
        http::ask(&mut stream, "a", request).await
    });
    answer.unwrap_or_else(|e| panic!("{to}: {e}")).backend
}

/// True if a datagram is sent back.
fn echoes(socket: &UdpSocket, datagram: &[u8]) -> std::io::Result<bool> {
    socket.send(datagram)?;
    let mut received = vec![0; datagram.len() + 1];
    let len = socket.recv(&mut received)?;
    Ok(received[..len] == *datagram)
}

/// True if there is a backend for a datagram; the errors that say otherwise are rationed.
fn has_backend(to: SocketAddr) -> bool {
    let socket = connected(to);
    socket.set_read_timeout(Some(EVERY)).unwrap();
    echoes(&socket, b"?").is_ok_and(|same| same)
}

#[test]
fn checks_take_dead_backends_out_and_bring_them_back() {
    let _watchdog = Watchdog::new("checks", LIMIT);
    let made = World::make_with(2, None, |plan| {
        check(pool(plan, Family::V4, WEB).1, Probe::Tcp);
        check(pool(plan, Family::V6, WEB).1, Probe::External);
        check(pool(plan, Family::V4, ECHO).1, Probe::Udp(b"well?".to_vec()));
        check(pool(plan, Family::V6, ECHO).1, Probe::Icmp);
        plan.probes = vec![None; plan.engine.pools.len()];
        let ask = Ask::Http(HttpProbe { path: "/0/0/0".to_owned(), host: None });
        let id = pool(plan, Family::V6, WEB).0;
        plan.probes[usize::from(id.0)] = Some(ProbePlan { ask, upstream: Upstream::Userspace });
    });
    let Some(mut world) = made else { return };
    let web = FAMILIES.map(|family| vip(family, Mode::Full.web_port()));
    let datagrams = FAMILIES.map(|family| vip(family, DATAGRAMS));
    // Of the ICMP checks: the kernel answers for servers that are gone.
    let silence = |world: &World, silent: &str| {
        let write = || std::fs::write("/proc/sys/net/ipv6/icmp/echo_ignore_all", silent);
        world.as_backend(0, write).unwrap();
    };
    let all_by = |world: &World, backend: usize| {
        for to in web {
            assert!((0..10).all(|_| ask(world, to) == backend), "{to}");
        }
        for to in datagrams {
            // To a backend without its server it would be refused.
            let served = world.as_client(|| (0..10).all(|_| echoes(&connected(to), b"?").unwrap()));
            assert!(served, "{to}");
        }
    };
    // Before the first success everything is refused.
    let served = |to| world.as_client(|| TcpStream::connect(to).is_ok());
    await_that(|| web.into_iter().all(served), "backends are up");
    let served = |to| world.as_client(|| has_backend(to));
    await_that(|| datagrams.into_iter().all(served), "backends are up");

    world.kill(0);
    silence(&world, "1");
    sleep(found());
    all_by(&world, 1);

    world.revive(0);
    silence(&world, "0");
    for to in web {
        await_that(|| ask(&world, to) == 0, "the backend is used again");
    }
    sleep(found());
    world.kill(1);
    world.ip(1, "link set web2 down");
    sleep(found());
    all_by(&world, 0);

    let stats = world.stop();
    // The checks had told: no client's SYN went to a dead backend first.
    assert_eq!(stats.syn_failovers, 0);
    assert!(stats.probes_failed >= u64::from(2 * FALL * 4), "{stats:?}");
}

#[test]
fn nothing_is_served_before_the_first_success() {
    let _watchdog = Watchdog::new("first success", LIMIT);
    // A port of the host's loopback on which nobody listens yet, and nobody else can.
    let here = tokio::net::TcpSocket::new_v4().unwrap();
    here.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let by_kernel = vip(Family::V4, 85);
    let made = World::make_with(1, None, |plan| {
        let late = pool(plan, Family::V4, WEB).1;
        late.backends[0].address.set_port(LATE);
        check(late, Probe::Tcp);
        let backend = BackendConfig::new("here", here.local_addr().unwrap());
        let mut local = PoolConfig::new("kernel", vec![backend]);
        check(&mut local, Probe::External);
        let id = PoolId(plan.engine.pools.len() as u16);
        plan.engine.pools.push(local);
        plan.probes = vec![None; plan.engine.pools.len()];
        let upstream = Upstream::Kernel;
        plan.probes[usize::from(id.0)] = Some(ProbePlan { ask: Ask::Connect, upstream });
        serve(plan, listen(Protocol::Tcp, by_kernel), Nat::Full, id).mode = EngineMode::Divert;
        let protocol = Application::Tcp(TcpPlan::default());
        *plan.applications.last_mut().unwrap() = Some(ApplicationPlan::new(protocol, upstream));
    });
    let Some(mut world) = made else { return };
    let greeted = |world: &World, to| {
        world.as_client(|| {
            TcpStream::connect(to).is_ok_and(|mut stream| {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.read(&mut [0]).is_ok_and(|len| len == 1)
            })
        })
    };
    let full = vip(Family::V4, Mode::Full.web_port());
    let tcp = vip(Family::V4, Mode::Tcp.web_port());
    let places = [full, tcp, by_kernel];
    // Some probes have failed by now.
    sleep(Duration::from_secs(1) + EVERY);
    let refused = world.as_client(|| TcpStream::connect(full).unwrap_err().kind());
    assert_eq!(refused, ErrorKind::ConnectionRefused);
    assert_eq!(places.map(|to| greeted(&world, to)), [false; 3]);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let here = runtime.block_on(async { here.listen(16)?.into_std() }).unwrap();
    here.set_nonblocking(false).unwrap();
    let there = world.as_backend(0, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, LATE)).unwrap());
    greeting(&there, || {
        greeting(&here, || {
            let all = || places.into_iter().all(|to| greeted(&world, to));
            await_that(all, "backends have passed a check");
        });
    });
    let stats = world.stop();
    assert!(stats.dropped(DropReason::NoBackend) >= 1, "{stats:?}");
}

/// Runs `work` while whoever connects to `listener` gets one byte and then the end.
fn greeting<T>(listener: &TcpListener, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok((mut stream, _)) = listener.accept() {
                // A probe is gone by now.
                let _ = stream.write_all(b"!");
            }
        });
        // Also if `work` panics: the scope waits for the thread.
        let _end = EndOf(listener);
        work()
    })
}

/// Ends the thread that accepts from this.
struct EndOf<'a>(&'a TcpListener);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }
}

#[test]
fn lost_backends_are_not_noticed_by_new_clients() {
    let _watchdog = Watchdog::new("lost backends", LIMIT);
    let Some(mut world) = World::make(3, None) else { return };
    // A proxy keeps connections to backends, and waits long for answers on those.
    let places = FAMILIES.into_iter().flat_map(|f| Mode::OPAQUE.map(|m| vip(f, m.web_port())));
    let asked = |world: &World, rounds: u32| {
        std::thread::scope(|scope| {
            let ask = |to| move || (0..rounds).map(|_| ask(world, to)).collect::<Vec<_>>();
            let clients = places.clone().flat_map(|to| [to; 3]);
            let clients: Vec<_> = clients.map(|to| scope.spawn(ask(to))).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let who = asked(&world, 2);
    assert!((0..3).all(|backend| who.contains(&backend)), "{who:?}");
    // One refuses, one says nothing.
    world.kill(0);
    world.ip(1, "link set web2 down");
    let who = asked(&world, 1);
    assert!(who.iter().all(|&backend| backend == 2), "{who:?}");
    assert!(world.stop().syn_failovers > 0);
}

#[test]
fn large_datagrams_pass_in_fragments() {
    let _watchdog = Watchdog::new("large datagrams", LIMIT);
    let Some(mut world) = World::make(2, None) else { return };
    for family in FAMILIES {
        for port in [DATAGRAMS, DATAGRAMS + 1] {
            let echoed = world.as_client(|| {
                let socket = connected(vip(family, port));
                [8_000, 60_000, 10].map(|len| echoes(&socket, &Pattern::bytes(7, len)).unwrap())
            });
            assert_eq!(echoed, [true; 3], "{family:?} port {port}");
        }
        let places = [vip(family, 0).ip(), echo_vip(family)];
        let answered = world.as_client(|| {
            allow_ping();
            [20_000, 60_000].map(|len| places.map(|address| ping(address, len)))
        });
        assert_eq!(answered, [[true; 2]; 2], "{family:?}");
    }
    let stats = world.stop();
    assert!(stats.drops().all(|(reason, _)| reason == DropReason::Multicast), "{stats:?}");
}

#[test]
fn datagrams_find_another_backend_when_theirs_goes_down() {
    let _watchdog = Watchdog::new("datagrams of a dead backend", LIMIT);
    let made = World::make_with(2, None, |plan| {
        for family in FAMILIES {
            check(pool(plan, family, ECHO).1, Probe::Udp(b"well?".to_vec()));
        }
    });
    let Some(mut world) = made else { return };
    let places = FAMILIES.into_iter().flat_map(|f| [vip(f, DATAGRAMS), vip(f, DATAGRAMS + 1)]);
    // Two of each, so that each backend has one of them.
    let sockets: Vec<_> = world.as_client(|| {
        await_that(|| places.clone().all(has_backend), "backends are up");
        sleep(found());
        places.clone().flat_map(|to| [connected(to), connected(to)]).collect()
    });
    assert!(sockets.iter().all(|socket| echoes(socket, b"first").unwrap()));
    world.kill(0);
    sleep(found());
    for socket in &sockets {
        assert!((0..3).all(|_| echoes(socket, b"again").unwrap()), "{socket:?}");
    }
}

#[test]
fn a_backend_may_be_a_client_of_its_own_service() {
    let _watchdog = Watchdog::new("hairpin", LIMIT);
    let Some(world) = World::make(2, None) else { return };
    for (family, mode) in FAMILIES.into_iter().flat_map(|f| Mode::OPAQUE.map(|m| (f, m))) {
        let job = Job { upload: 100_000, download: 100_000, salt: 3, order: Order::Duplex };
        for _ in 0..4 {
            world.as_backend(0, || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let work = async {
                    let to = vip(family, mode.bytes_port());
                    transfer::run(tokio::net::TcpStream::connect(to).await?, job).await
                };
                let work = async { tokio::time::timeout(PATIENCE, work).await };
                let result = runtime.unwrap().block_on(work).unwrap();
                result.unwrap_or_else(|e| panic!("{family:?} {mode:?}: {e}"));
            });
        }
    }
    let in_turn = || [0, 1].map(|backend| world.ledger.served_by(backend)) == [12, 12];
    await_that(in_turn, "itself and the other have served in turn");
    for (family, port) in FAMILIES.into_iter().flat_map(|f| [(f, DATAGRAMS), (f, DATAGRAMS + 1)]) {
        for len in [100, 8_000] {
            let datagram = Pattern::bytes(1, len);
            let echo = || echoes(&connected(vip(family, port)), &datagram).unwrap();
            let echoed = world.as_backend(0, || [echo(), echo()]);
            assert_eq!(echoed, [true; 2], "{family:?} port {port} length {len}");
        }
    }
}

#[test]
fn services_on_ranges_and_on_everything() {
    let _watchdog = Watchdog::new("ranges", LIMIT);
    let all = |family: Family| -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, 99, 0, 7).into(),
            Family::V6 => Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 7).into(),
        }
    };
    let made = World::make_with(2, None, |plan| {
        for family in FAMILIES {
            let mut wide = pool(plan, family, ECHO).1.clone();
            wide.name = format!("{family:?}-wide");
            wide.backends.iter_mut().for_each(|backend| backend.address.set_port(0));
            let id = PoolId(plan.engine.pools.len() as u16);
            plan.engine.pools.push(wide);
            let ports = Ports { first: WEB - 10, last: WEB + 10 };
            let prefix = Prefix::host(vip(family, 0).ip().into());
            let range = Listen { protocol: Some(Protocol::Tcp), prefix, ports };
            serve(plan, range, Nat::Full, id);
            let prefix = Prefix::host(all(family).into());
            serve(plan, Listen { protocol: None, prefix, ports: Ports::ALL }, Nat::Dnat, id);
        }
    });
    let Some(world) = made else { return };
    for family in FAMILIES {
        for to in [vip(family, WEB), SocketAddr::new(all(family), WEB)] {
            assert_eq!([ask(&world, to), ask(&world, to)], [0, 1], "{to}");
        }
        let job = Job { upload: 100_000, download: 100_000, salt: 3, order: Order::Duplex };
        let transferred = world.as_async_client(async || {
            let to = SocketAddr::new(all(family), BYTES);
            transfer::run(tokio::net::TcpStream::connect(to).await?, job).await
        });
        transferred.unwrap();
        world.as_client(|| {
            allow_ping();
            assert!(echoes(&connected(SocketAddr::new(all(family), ECHO)), b"wide").unwrap());
            assert!(ping(all(family), 3_000));
            // Where no server listens, where none may, and beyond the range.
            for to in [vip(family, WEB + 1), SocketAddr::new(all(family), 1), vip(family, WEB + 11)]
            {
                let error = TcpStream::connect(to).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{to}");
            }
        });
    }
}

/// What a client hears when it connects.
fn connect(to: SocketAddr) -> Result<(), Option<i32>> {
    TcpStream::connect_timeout(&to, PATIENCE).map(drop).map_err(|error| error.raw_os_error())
}

#[test]
fn clients_hear_that_they_may_not() {
    let _watchdog = Watchdog::new("refusals", LIMIT);
    let [denied, closed, silent, limited, datagrams] = [200, 201, 202, 203, 204];
    let made = World::make_with(1, None, |plan| {
        for family in FAMILIES {
            let me = Prefix::host(client(family).into());
            let other = Prefix::host(backend(family, 0).into());
            let (web, echo) = (pool(plan, family, WEB).0, pool(plan, family, ECHO).0);
            let at = |port| listen(Protocol::Tcp, vip(family, port));
            serve(plan, at(denied), Nat::Full, web).deny = vec![me];
            serve(plan, at(closed), Nat::Dnat, web).allow = vec![other];
            let service = serve(plan, at(silent), Nat::Full, web);
            service.deny = vec![me];
            service.refuse = Refuse::Drop;
            let rate = Rate { count: 1, per: Duration::from_hours(1), burst: 3 };
            serve(plan, at(limited), Nat::Full, web).client_limits.rate = Some(rate);
            let at = listen(Protocol::Udp, vip(family, datagrams));
            serve(plan, at, Nat::Full, echo).client_limits.flows = Some(1);
        }
    });
    let Some(mut world) = made else { return };
    for family in FAMILIES {
        // What the kernel makes of "administratively prohibited".
        let prohibited = match family {
            Family::V4 => Errno::EHOSTUNREACH,
            Family::V6 => Errno::EACCES,
        };
        let refused = Err(Some(prohibited as i32));
        world.as_client(|| {
            assert_eq!(connect(vip(family, denied)), refused, "{family:?}");
            assert_eq!(connect(vip(family, closed)), refused, "{family:?}");
            let waited = TcpStream::connect_timeout(&vip(family, silent), EVERY).unwrap_err();
            assert_eq!(waited.kind(), ErrorKind::TimedOut, "{family:?}");
            let heard = [(); 4].map(|()| connect(vip(family, limited)));
            assert_eq!(heard, [Ok(()), Ok(()), Ok(()), refused], "{family:?}");
            let [one, two] = [(); 2].map(|()| connected(vip(family, datagrams)));
            assert!(echoes(&one, b"1").unwrap());
            let error = echoes(&two, b"2").unwrap_err().raw_os_error();
            assert_eq!(error, Some(prohibited as i32), "{family:?}");
            assert!(echoes(&one, b"3").unwrap());
        });
        let open = world.as_backend(0, || connect(vip(family, closed)));
        assert_eq!(open, Ok(()), "{family:?}");
    }
    let stats = world.stop();
    let refused = [DropReason::Denied, DropReason::ClientRate, DropReason::ClientFlows];
    assert_eq!(refused.map(|reason| stats.dropped(reason)), [6, 2, 2]);
}

#[test]
fn what_bypasses_is_not_translated() {
    let _watchdog = Watchdog::new("bypass", LIMIT);
    let made = World::make_with(2, None, |plan| {
        for family in FAMILIES {
            // Everything beyond the client goes to the first backend, but for what is the second's.
            let (id, pool) = pool(plan, family, WEB);
            pool.backends.truncate(1);
            let any = match family {
                Family::V4 => Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0),
                Family::V6 => Prefix::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            };
            let (protocol, ports) = (Some(Protocol::Tcp), Ports::one(WEB));
            let listen = Listen { protocol, prefix: any.unwrap(), ports };
            serve(plan, listen, Nat::Dnat, id);
            plan.engine.bypass.push(Prefix::host(backend(family, 1).into()));
        }
    });
    let Some(world) = made else { return };
    for family in FAMILIES {
        let elsewhere: IpAddr = match family {
            Family::V4 => Ipv4Addr::new(198, 51, 100, 7).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into(),
        };
        let places = [backend(family, 0), backend(family, 1), elsewhere];
        let who = places.map(|ip| ask(&world, SocketAddr::new(ip, WEB)));
        assert_eq!(who, [0, 1, 0], "{family:?}");
    }
}

#[test]
fn short_connections_from_one_client_to_one_backend_all_succeed() {
    const CONNECTIONS: u64 = 20_000;
    let _watchdog = Watchdog::new("short connections", LIMIT);
    let made = World::make_with(1, None, |plan| {
        // The last connections get ports that the backend still remembers (TIME-WAIT). It may refuse
        // such a SYN at first, by an ACK that makes the client reset and ask again.
        plan.engine.snat.ports = (10_000, 29_799);
        pool(plan, Family::V4, WEB).1.backends[0].address.set_port(LATE);
    });
    let Some(mut world) = made else { return };
    let listener =
        world.as_backend(0, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, LATE)).unwrap());
    let to = vip(Family::V4, Mode::Full.web_port());
    greeting(&listener, || {
        world.as_client(|| {
            for n in 0..CONNECTIONS {
                let mut stream = TcpStream::connect_timeout(&to, PATIENCE)
                    .unwrap_or_else(|e| panic!("connection {n}: {e}"));
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut heard = Vec::new();
                // The server closes first.
                stream.read_to_end(&mut heard).unwrap();
                assert_eq!(heard, b"!", "connection {n}");
            }
        });
    });
    let stats = world.stop();
    assert!(stats.snat_reused_early > 0, "{stats:?}");
}
