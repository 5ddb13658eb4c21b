//! Kernel sockets that do not wait for ever. They panic where a test would.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Instant;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::netns::PATIENCE;
use crate::pattern::Pattern;

/// A socket that talks to `to` alone, and not for ever.
///
/// # Panics
/// If the kernel refuses.
pub fn connected(to: SocketAddr) -> UdpSocket {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Lets everybody in the namespace of this thread make the sockets of [`ping`].
///
/// # Panics
/// If the kernel refuses.
pub fn allow_ping() {
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647").unwrap();
}

/// Sends an echo request with `len` bytes; true if the answer has them.
///
/// # Panics
/// If there is no answer in time.
pub fn ping(address: IpAddr, len: usize) -> bool {
    let (family, protocol, kind) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128),
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = UdpSocket::from(socket(family, SockType::Datagram, flags, protocol).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((address, 0)).unwrap();
    // The kernel writes checksum and identifier.
    let mut request = vec![kind, 0, 0, 0, 0, 0, 0, 1];
    request.extend(Pattern::bytes(3, len));
    socket.send(&request).unwrap();
    let mut answer = vec![0; 2 * len + 100];
    let got = socket.recv(&mut answer).unwrap();
    answer[..got].ends_with(&request[8..])
}

/// Looks again and again until it is so.
///
/// # Panics
/// If it is not in time.
#[track_caller]
pub fn await_that(mut so: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}
