//! A user namespace is enough to make TUNs.
//!
//! Only a process with one thread may enter one, so this is a program of its own, without the test
//! harness. It starts itself twice: as whoever runs it and, if that is root, as nobody. Where user
//! namespaces or TUNs are forbidden it says `SKIP`, unless `BALUN_REQUIRE_TUN=1` and the user is the
//! one who runs it.

#![expect(clippy::disallowed_methods, reason = "this test is about sockets and the system")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail as it does")]

use std::fmt::Display;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use netstack::dev::probe::{self, State};
use netstack::dev::{Device, Namespace, Received, Tun, TunConfig, enter_user_namespace};
use netstack::packet::Packet;
use netstack::wire::{Headers, Transport};
use nix::poll::{PollFd, PollFlags, poll};

/// Set in the environment of the children: which test.
const CHILD: &str = "BALUN_TEST_CHILD";
const NOBODY: u32 = 65_534;
/// Milliseconds that the kernel may take.
const PATIENCE: u16 = 5_000;

fn main() {
    match std::env::var(CHILD).as_deref() {
        Ok("enter") => enter(),
        Ok("probe") => try_probe(),
        Ok(other) => panic!("no test is called {other}"),
        Err(_) => parent(),
    }
}

fn parent() {
    let root = nix::unistd::geteuid().is_root();
    let users = if root { vec![None, Some(NOBODY)] } else { vec![None] };
    for uid in users {
        for test in ["enter", "probe"] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env(CHILD, test).current_dir("/");
            if let Some(uid) = uid {
                command.uid(uid).gid(uid).env_remove("BALUN_REQUIRE_TUN");
            }
            let status = command.status().unwrap();
            assert!(status.success(), "{test} as {uid:?}: {status}");
            eprintln!("test {test}, user {} ... ok", uid.map_or("own".into(), |u| u.to_string()));
        }
    }
}

fn skip(why: &dyn Display) {
    assert!(std::env::var_os("BALUN_REQUIRE_TUN").is_none_or(|v| v != "1"), "TUN required: {why}");
    eprintln!("SKIP {why}");
}

/// Enters a user namespace and uses a TUN there, and one in a further network namespace.
fn enter() {
    // Threads that have ended must not stand in the way.
    drop(Namespace::create());
    match enter_user_namespace() {
        Ok(()) => {}
        Err(error) if error.is_environment() => return skip(&error),
        Err(error) => panic!("{error}"),
    }
    assert!(nix::unistd::geteuid().is_root() && nix::unistd::getegid().as_raw() == 0);
    let config = TunConfig {
        addresses: vec!["10.77.0.1", "fd77::1"].into_iter().map(|a| (ip(a), 24)).collect(),
        ..TunConfig::new("balun0")
    };
    let further = Namespace::create().expect("all capabilities are there");
    for namespace in [Namespace::current().unwrap(), further] {
        let mut queues = match Tun::open_in(&namespace, &config) {
            Ok(queues) => queues,
            Err(error) if error.is_environment() => return skip(&error),
            Err(error) => panic!("{error}"),
        };
        for (local, behind) in [("10.77.0.1", "10.77.0.2"), ("fd77::1", "fd77::2")] {
            let send = || UdpSocket::bind((ip(local), 0))?.send_to(b"hello", (ip(behind), 9));
            assert_eq!(namespace.run(send).unwrap().unwrap(), 5);
            expect_datagram(&mut queues[0], ip(behind));
        }
    }
}

fn expect_datagram(tun: &mut Tun, dst: IpAddr) {
    let mut packet = Packet::max_sized();
    loop {
        match tun.receive(&mut packet).unwrap() {
            Received::Packet => {
                let headers = Headers::parse(&packet).unwrap();
                let datagram = matches!(headers.transport, Transport::Udp { dst_port: 9, .. });
                if datagram && headers.dst == dst.into() {
                    return assert!(packet.data().ends_with(b"hello"));
                }
            }
            Received::WouldBlock => {
                let mut fds = [PollFd::new(tun.as_fd(), PollFlags::POLLIN)];
                assert_ne!(poll(&mut fds, PATIENCE).unwrap(), 0, "the kernel sends nothing");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn try_probe() {
    let probe = probe::try_user_namespace().expect("there is one thread");
    eprintln!("{probe:?}");
    if probe.state == State::Ok {
        assert!(probe.cause.is_none());
    } else {
        skip(&probe.detail);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
