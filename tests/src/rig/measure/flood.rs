//! A flood of SYNs beside a transfer.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use netstack::wire::Family;
use netstack::{Instant, Packet};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use super::super::Failure;
use super::super::end::End;
use super::super::kernel::{self, Kernel, Peers};
use super::super::pump::Pump;
use super::super::scenario::{Who, address};
use super::session::{self, PORT, RECEIVER, await_first, rates, receiver, wire};
use super::{Setting, Transfer};

/// Where the flood says that it comes from: the prefix of RFC 2544 for tests.
const SPOOFED: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 1), 15);
/// Sources, each with a port of its own.
const SOURCES: u16 = 60_000;

/// The flooding end: a kernel's, whose packets are counted.
struct Flood {
    kernel: Kernel,
    packets: Rc<Cell<u64>>,
}

impl End for Flood {
    fn receive(&mut self, now: Instant, packet: &mut Packet) -> Result<(), Failure> {
        self.kernel.receive(now, packet)
    }

    fn transmit(&mut self, now: Instant, packet: &mut Packet) -> Result<bool, Failure> {
        let sent = self.kernel.transmit(now, packet)?;
        self.packets.set(self.packets.get() + u64::from(sent));
        Ok(sent)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.fd()
    }

    fn owns(&self, address: IpAddr) -> bool {
        self.kernel.owns(address)
    }
}

/// A kernel sends to `who` over the link, first alone, then while another floods `who` with SYNs as fast
/// as it can, past the link. Percent of the goodput that is left, Mbit/s then, thousands of SYNs a second
/// that reached `who`, percent of a new client's connections that opened meanwhile, and MiB that this
/// process has grown by. For IPv4.
///
/// # Errors
/// [`Failure`]
pub fn flood(setting: &Setting, who: Who) -> Result<Vec<f64>, Failure> {
    let setting = Setting { family: Family::V4, ..*setting };
    let mut peers = Peers::default();
    let transfer = Transfer { sender: Who::Linux, receiver: who };
    let (far, counter) = receiver(&mut peers, transfer.receiver, &setting, PORT)?;
    let mut pump = Pump::new(far, wire(setting.path, setting.seed));
    pump.wired(session::sender(&mut peers, transfer.sender, &setting, 0)?);
    // All that takes time is made before anything is measured.
    let packets = Rc::new(Cell::new(0));
    let (flooding, kernel) = Kernel::make((SPOOFED.0.into(), SPOOFED.1))?;
    pump.direct(Box::new(Flood { kernel, packets: Rc::clone(&packets) }));
    let (knocking, client) = Kernel::make(address(Family::V4, RECEIVER + 2))?;
    pump.wired(Box::new(client));
    await_first(&mut pump, &counter)?;
    let [before] = rates(&mut pump, setting.time, [&counter])?;

    let memory = resident();
    packets.set(0);
    let at = SocketAddrV4::new(v4(address(Family::V4, RECEIVER).0), PORT);
    peers.start(&flooding, "flood", move |stop| spoof(at, stop))?;
    let (tried, opened) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (attempts, successes) = (Arc::clone(&tried), Arc::clone(&opened));
    peers.start(&knocking, "new client", move |stop| {
        kernel::knock(SocketAddr::V4(at), &attempts, &successes, stop);
        Ok(())
    })?;
    let [during] = rates(&mut pump, setting.time, [&counter])?;
    let opened = opened.load(Ordering::Relaxed) as f64;
    // One may be on its way.
    let tried = tried.load(Ordering::Relaxed).saturating_sub(1).max(1) as f64;
    let syns = packets.get() as f64 / setting.time.as_secs_f64() / 1e3;
    let grown = (resident() - memory) / 1024.0;
    Ok(vec![
        100.0 * during / before,
        during,
        syns,
        (100.0 * opened / tried).min(100.0),
        grown.max(0.0),
    ])
}

/// Sends SYNs as fast as the kernel takes them.
fn spoof(to: SocketAddrV4, stop: &AtomicBool) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Raw)?;
    let there = SockaddrIn::from(to);
    // The sum of the low half of the address and the port stays, and so does the checksum.
    let line = |n: u16| {
        let [.., high, low] = u32::from(n).to_be_bytes();
        let port = 65_000 - n;
        format!("tcp 198.18.{high}.{low}:{port} > {to} S seq=1 mss=1460 ws=7 sackok")
    };
    let mut packet = crate::packet(&line(2));
    let mut n = 2_u16;
    while !stop.load(Ordering::Relaxed) {
        let bytes = packet.data_mut();
        bytes[14..16].copy_from_slice(&n.to_be_bytes());
        bytes[20..22].copy_from_slice(&(65_000 - n).to_be_bytes());
        match sendto(socket.as_raw_fd(), bytes, &there, MsgFlags::empty()) {
            Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN) => {}
            // The TUN is gone, and the measurement over.
            Err(Errno::ENETUNREACH | Errno::ENETDOWN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        n = if n < SOURCES { n + 1 } else { 2 };
        if n.is_multiple_of(16) {
            // The transfer's sender may have to do with the same processor.
            std::thread::yield_now();
        }
    }
    Ok(())
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// Memory that this process holds, in KiB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use netstack::wire::{Headers, checksum};

    #[test]
    fn spoofed_sources_keep_the_checksum() {
        let mut packet = crate::packet("tcp 198.18.0.2:64998 > 10.9.1.1:5001 S seq=1 mss=1460");
        for n in [2_u16, 300, super::SOURCES] {
            packet.data_mut()[14..16].copy_from_slice(&n.to_be_bytes());
            packet.data_mut()[20..22].copy_from_slice(&(65_000 - n).to_be_bytes());
            // The kernel writes the sum of the IP header.
            packet.data_mut()[10..12].fill(0);
            let sum = !checksum::sum(&packet.data()[..20]);
            packet.data_mut()[10..12].copy_from_slice(&sum.to_be_bytes());
            let headers = Headers::parse(&packet).unwrap();
            assert!(checksum::verify_transport(&packet, &headers), "{n}");
        }
    }
}
