//! TUN queues: opened, configured, adopted, read and written.
//!
//! # Theory of operation
//!
//! [`Tun::open`] works in the network namespace of the calling thread, in this order: attach every
//! queue by name (layer 3, no protocol prefix, virtio header); agree on header length and offloads;
//! set IPv4 address, MTU and link state through the `tun` crate; everything that it cannot do (IPv6,
//! further addresses, routes, queue length) by rtnetlink. If a step fails the descriptors are closed,
//! and with them the kernel removes the device.
//!
//! A [`Tun`] is one queue. One packet is one `read` or one `write` of the descriptor, virtio header
//! included, from and to the packet's own buffer. Nothing is allocated, unless the kernel granted
//! less offload than a packet needs: then checksums are completed and super-packets cut here.
//!
//! The descriptor is non-blocking and can be polled (`tokio::io::unix::AsyncFd` takes a `Tun` as it
//! is); a poller that reports edges wants reading until [`Received::WouldBlock`].

use std::fs::OpenOptions;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use ::tun::AbstractDevice;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use tokio::io::unix::AsyncFd;

use super::error::{Denied, TUN_NODE, TunError};
use super::netlink::{self, Change};
use super::{Device, Namespace, Received, TransmitDrop, Transmitted, TunOffload, sys};
use crate::packet::{MAX_PACKET_LEN, Packet, VNET_HDR_LEN};
use crate::segment::segment;
use crate::wire::checksum;

/// The most queues of one device (`MAX_TAP_QUEUES` of the kernel).
pub const MAX_QUEUES: u16 = 256;

/// The smallest MTU that IPv4 allows (RFC 791 section 3.2).
pub const MIN_MTU: u16 = 68;

/// The smallest MTU that IPv6 allows (RFC 8200 section 5).
pub const MIN_MTU_V6: u16 = 1_280;

/// Packets that may wait in a queue to be read. The kernel's default of 500 overflows on a burst of
/// small packets within one turn of the event loop.
pub const TX_QUEUE_LEN: u32 = 4_096;

/// What a TUN should be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunConfig {
    /// Name of the interface: 1 to 15 bytes.
    pub name: String,
    /// The longest IP packet in bytes; at least [`MIN_MTU`], and [`MIN_MTU_V6`] with an IPv6 address.
    pub mtu: u16,
    /// Addresses of the kernel's side, with prefix lengths. The prefixes are routed to the device.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Further prefixes that the kernel should route to the device.
    pub routes: Vec<(IpAddr, u8)>,
    /// Route everything to the device, in each family of which it has an address.
    pub default_route: bool,
    /// Queues, 1 to [`MAX_QUEUES`]. With more than one the device must not exist yet.
    pub queues: u16,
}

impl TunConfig {
    /// One queue, an MTU of 1,500 bytes, no address and no route.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            mtu: 1_500,
            addresses: Vec::new(),
            routes: Vec::new(),
            default_route: false,
            queues: 1,
        }
    }

    fn check(&self) -> Result<(), TunError> {
        let bad_name = |why| TunError::BadName { name: self.name.clone(), why };
        check_name(&self.name).map_err(bad_name)?;
        let invalid =
            |what: String| Err(TunError::Invalid { what: format!("`{}` {what}", self.name) });
        let v6 = self.addresses.iter().any(|(address, _)| address.is_ipv6());
        let least = if v6 { MIN_MTU_V6 } else { MIN_MTU };
        if self.mtu < least {
            let family = if v6 { "IPv6" } else { "IPv4" };
            return invalid(format!("cannot have an MTU of {}: {family} needs {least}", self.mtu));
        }
        if !(1..=MAX_QUEUES).contains(&self.queues) {
            return invalid(format!("cannot have {} queues: 1 to {MAX_QUEUES}", self.queues));
        }
        for (address, prefix) in self.addresses.iter().chain(&self.routes) {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            if *prefix > longest {
                return invalid(format!("cannot have {address}/{prefix}: at most /{longest}"));
            }
        }
        Ok(())
    }

    /// What is left to netlink once the IPv4 address at `done` is set and the link is up.
    fn changes(&self, done: Option<(Ipv4Addr, u8)>) -> Vec<Change> {
        let done = done.map(|(address, prefix)| (IpAddr::V4(address), prefix));
        let addresses = self.addresses.iter().filter(|a| Some(**a) != done);
        let unspecified = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6([0; 16].into())];
        let defaults = unspecified.into_iter().filter(|default| {
            self.default_route
                && self.addresses.iter().any(|(a, _)| a.is_ipv4() == default.is_ipv4())
        });
        std::iter::once(Change::TxQueueLen(TX_QUEUE_LEN))
            .chain(addresses.map(|(address, prefix)| Change::Address(*address, *prefix)))
            .chain(self.routes.iter().map(|(address, prefix)| Change::Route(*address, *prefix)))
            .chain(defaults.map(|default| Change::Route(default, 0)))
            .collect()
    }
}

/// What is wrong with the name of an interface, to follow "it".
fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is empty"),
        "." | ".." => Err("is a directory"),
        _ if name.len() >= sys::NAME_SIZE => Err("is longer than 15 bytes"),
        // The kernel would fill in a number for %d.
        _ if name.contains(['/', ':', '%']) => Err("has one of `/`, `:`, `%`"),
        _ if !name.bytes().all(|b| b.is_ascii_graphic()) => {
            Err("has a space, or a character outside ASCII")
        }
        _ => Ok(()),
    }
}

/// One queue of a TUN (see the module's theory of operation).
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
    name: String,
    mtu: u16,
    offload: TunOffload,
    /// Where super-packets are cut, if the kernel does not cut them.
    piece: Packet,
}

impl Tun {
    /// Opens a TUN with all its queues in the network namespace of the calling thread, making the
    /// device unless a persistent one of that name waits to be attached to.
    ///
    /// # Errors
    /// [`TunError`]; nothing is left behind.
    pub fn open(config: &TunConfig) -> Result<Vec<Self>, TunError> {
        config.check()?;
        let mut queues = Vec::with_capacity(config.queues.into());
        for index in 0..config.queues {
            let fd = open_node()?;
            attach(&fd, config, index)?;
            queues.push(Self::from_fd(fd, config.mtu)?);
        }
        if let Some(first) = queues.first() {
            configure(config, first.as_fd())?;
        }
        Ok(queues)
    }

    /// [`open`](Self::open) in another network namespace. The queues work from any thread.
    ///
    /// # Errors
    /// As [`open`](Self::open), or the namespace cannot be entered.
    pub fn open_in(namespace: &Namespace, config: &TunConfig) -> Result<Vec<Self>, TunError> {
        namespace.run(|| Self::open(config))?
    }

    /// Adopts the descriptor of a TUN that somebody else has attached, and configured. It is made
    /// non-blocking and close-on-exec; `mtu` is taken on trust, the name is asked of the kernel.
    ///
    /// # Errors
    /// [`TunError::Unsuitable`] if it is no TUN, or lacks `IFF_NO_PI` or `IFF_VNET_HDR`.
    pub fn from_fd(fd: OwnedFd, mtu: u16) -> Result<Self, TunError> {
        let (name, flags) = sys::attached(fd.as_fd())
            .map_err(|e| TunError::Unsuitable { why: format!("it is attached to none ({e})") })?;
        if let Some(why) = unsuitable(flags) {
            return Err(TunError::Unsuitable { why: format!("`{name}` {why}") });
        }
        let fail = |step: &str, e| TunError::from_step(&name, step, e);
        set_flags(&fd).map_err(|e| fail("make non-blocking", e))?;
        sys::set_vnet_header_len(fd.as_fd(), VNET_HDR_LEN)
            .map_err(|e| fail("set the virtio header length of", e))?;
        let offload =
            TunOffload::negotiate(fd.as_fd()).map_err(|e| fail("set the offloads of", e))?;
        Ok(Self { fd, name, mtu, offload, piece: Packet::with_capacity(0) })
    }

    /// What the kernel granted.
    pub const fn offload(&self) -> TunOffload {
        self.offload
    }

    /// Registers the TUN with the tokio runtime that this is called in, to be told when it can be read.
    ///
    /// # Errors
    /// The runtime's reactor could not take the descriptor.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn into_async(self) -> io::Result<AsyncFd<Self>> {
        sys::register_readable(self)
    }

    /// Cuts and sends what the kernel would not cut. If the first piece finds no room the whole may
    /// be offered again; later, what is left is lost as on any full link.
    fn transmit_cut(&mut self, packet: &Packet) -> io::Result<Transmitted> {
        let mut pieces = match segment(packet, MAX_PACKET_LEN) {
            Ok(pieces) => pieces,
            Err(e) => return Ok(Transmitted::Dropped(e.into())),
        };
        let mut first = true;
        while pieces.next_into(&mut self.piece) {
            match write(self.fd.as_fd(), &mut self.piece)? {
                Transmitted::Sent => first = false,
                Transmitted::WouldBlock if !first => {
                    return Ok(Transmitted::Dropped(TransmitDrop::NoBuffers));
                }
                other => return Ok(other),
            }
        }
        Ok(Transmitted::Sent)
    }
}

impl Device for Tun {
    fn receive(&mut self, packet: &mut Packet) -> io::Result<Received> {
        if packet.capacity() < MAX_PACKET_LEN {
            // A read into less would cut the packet short without a word.
            packet.set_len(MAX_PACKET_LEN);
        }
        loop {
            return match nix::unistd::read(&self.fd, packet.vnet_receive_buffer()) {
                Ok(n) => Ok(match packet.received_with_vnet(n) {
                    Ok(()) => Received::Packet,
                    Err(lie) => Received::Malformed(lie),
                }),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Ok(Received::WouldBlock),
                Err(e) => Err(e.into()),
            };
        }
    }

    fn transmit(&mut self, packet: &mut Packet) -> io::Result<Transmitted> {
        if !self.offload.covers(packet.offload) {
            if packet.offload.gso.is_some() {
                return self.transmit_cut(packet);
            }
            checksum::complete(packet);
        }
        write(self.fd.as_fd(), packet)
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Tun {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn write(fd: BorrowedFd<'_>, packet: &mut Packet) -> io::Result<Transmitted> {
    let bytes = packet.vnet_transmit_bytes();
    loop {
        return match nix::unistd::write(fd, bytes) {
            Ok(_) => Ok(Transmitted::Sent),
            Err(Errno::EINTR) => continue,
            Err(e) => refused(e),
        };
    }
}

/// What a refused write means: most are about the packet or the moment, not about the device.
fn refused(errno: Errno) -> io::Result<Transmitted> {
    let drop = match errno {
        Errno::EAGAIN => return Ok(Transmitted::WouldBlock),
        Errno::EIO | Errno::ENETDOWN => TransmitDrop::LinkDown,
        Errno::ENOBUFS | Errno::ENOMEM => TransmitDrop::NoBuffers,
        Errno::EINVAL | Errno::EMSGSIZE => TransmitDrop::Refused,
        other => return Err(other.into()),
    };
    Ok(Transmitted::Dropped(drop))
}

fn open_node() -> Result<OwnedFd, TunError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        // The standard library adds O_CLOEXEC.
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(TUN_NODE)
        .map(OwnedFd::from)
        .map_err(TunError::from_node)
}

/// What is wrong with a device of these flags, to follow its name.
fn unsuitable(flags: i32) -> Option<&'static str> {
    let needed = [
        (nix::libc::IFF_TUN, "is no layer 3 device (IFF_TUN)"),
        (nix::libc::IFF_NO_PI, "has protocol prefixes (no IFF_NO_PI)"),
        (nix::libc::IFF_VNET_HDR, "has no virtio headers (no IFF_VNET_HDR)"),
    ];
    needed.iter().find(|(flag, _)| flags & flag == 0).map(|(_, why)| *why)
}

fn attach(fd: &OwnedFd, config: &TunConfig, index: u16) -> Result<(), TunError> {
    let mut flags = sys::TUN_FLAGS;
    if config.queues > 1 {
        flags |= sys::MULTI_QUEUE;
        if index == 0 {
            // Otherwise two processes would share a device, each getting some of its flows.
            flags |= sys::EXCLUSIVE;
        }
    }
    let name = config.name.as_str();
    sys::attach(fd.as_fd(), name, flags).map_err(|source| {
        match Errno::from_raw(source.raw_os_error().unwrap_or(0)) {
            Errno::EBUSY => TunError::Busy { name: name.into() },
            // So the kernel says "not a TUN", and "a TUN of other flags".
            Errno::EINVAL if netlink::link_index(name).is_ok() => {
                TunError::Busy { name: name.into() }
            }
            Errno::EPERM => {
                TunError::Denied(Denied::Capability { step: format!("make TUN `{name}`") })
            }
            _ => TunError::from_step(name, "make TUN", source),
        }
    })
}

fn set_flags(fd: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

fn configure(config: &TunConfig, fd: BorrowedFd<'_>) -> Result<(), TunError> {
    let name = config.name.as_str();
    let mut raw = ::tun::Configuration::default();
    raw.raw_fd(fd.as_raw_fd()).tun_name(name).close_fd_on_drop(false);
    let step = |step: String| move |e| TunError::from_step(name, step, into_io(e));
    let mut device = ::tun::create(&raw).map_err(step("open a control socket for".into()))?;

    let first = config.addresses.iter().find_map(|(address, prefix)| match address {
        IpAddr::V4(v4) => Some((*v4, *prefix)),
        IpAddr::V6(_) => None,
    });
    if let Some((address, prefix)) = first {
        let set = device
            .set_address(address.into())
            .and_then(|()| device.set_netmask(netlink::v4_mask(prefix).into()));
        set.map_err(step(format!("set the address {address}/{prefix} of")))?;
    }
    device.set_mtu(config.mtu).map_err(step(format!("set the MTU {} of", config.mtu)))?;
    device.enabled(true).map_err(step("set up".into()))?;
    let v6 = config.addresses.iter().filter_map(|(address, _)| match address {
        IpAddr::V6(v6) => Some(*v6),
        IpAddr::V4(_) => None,
    });
    netlink::change_link(name, &config.changes(first))
        .and_then(|()| netlink::wait_until_local(name, &v6.collect::<Vec<_>>()))
        .map_err(|e| TunError::from_netlink(name, e))
}

fn into_io(error: ::tun::Error) -> io::Error {
    match error {
        ::tun::Error::Io(e) => e,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::packet::{Checksum, Gso, GsoKind, Offload, VnetError};
    use crate::wire::{Address, Headers};

    #[test]
    fn names_that_a_kernel_would_refuse_or_change_are_refused_first() {
        for good in ["balun0", "a", "fifteen-bytes-x", "web.1_2"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "sixteen-bytes-xx", "a/b", "a:1", "tun%d", "a b", "a\n", "é"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_checked_at_the_limit() {
        let mut config = TunConfig::new("balun0");
        let ok = |config: &TunConfig| config.check().is_ok();
        config.mtu = MIN_MTU;
        assert!(ok(&config));
        config.mtu = MIN_MTU - 1;
        assert!(!ok(&config));
        config.addresses = vec![("fd00::1".parse().unwrap(), 64)];
        config.mtu = MIN_MTU_V6;
        assert!(ok(&config));
        config.mtu = MIN_MTU_V6 - 1;
        let text = config.check().unwrap_err().to_string();
        assert_eq!(text, "TUN `balun0` cannot have an MTU of 1279: IPv6 needs 1280");
        config.mtu = 1_500;
        for (queues, expected) in
            [(0, false), (1, true), (MAX_QUEUES, true), (MAX_QUEUES + 1, false)]
        {
            config.queues = queues;
            assert_eq!(ok(&config), expected, "{queues} queues");
        }
        config.queues = 1;
        for (address, prefix, expected) in
            [("10.0.0.0", 32, true), ("10.0.0.0", 33, false), ("::", 128, true), ("::", 129, false)]
        {
            config.routes = vec![(address.parse().unwrap(), prefix)];
            assert_eq!(ok(&config), expected, "{address}/{prefix}");
        }
    }

    #[test]
    fn a_default_route_is_added_for_the_families_in_use() {
        let mut config = TunConfig::new("balun0");
        let v4: (IpAddr, u8) = ("10.0.0.1".parse().unwrap(), 24);
        config.addresses = vec![v4, ("10.0.1.1".parse().unwrap(), 24)];
        config.default_route = true;
        assert_eq!(
            config.changes(Some(("10.0.0.1".parse().unwrap(), 24))),
            [
                Change::TxQueueLen(TX_QUEUE_LEN),
                Change::Address("10.0.1.1".parse().unwrap(), 24),
                Change::Route("0.0.0.0".parse().unwrap(), 0),
            ]
        );
        config.addresses = vec![("fd00::1".parse().unwrap(), 64)];
        assert_eq!(config.changes(None).last(), Some(&Change::Route("::".parse().unwrap(), 0)));
        config.default_route = false;
        assert_eq!(config.changes(None).len(), 2);
    }

    #[test]
    fn only_a_dead_device_is_an_error() {
        for (errno, drop) in [
            (Errno::EIO, TransmitDrop::LinkDown),
            (Errno::ENOBUFS, TransmitDrop::NoBuffers),
            (Errno::ENOMEM, TransmitDrop::NoBuffers),
            (Errno::EINVAL, TransmitDrop::Refused),
            (Errno::EMSGSIZE, TransmitDrop::Refused),
        ] {
            assert_eq!(refused(errno).unwrap(), Transmitted::Dropped(drop));
        }
        assert_eq!(refused(Errno::EAGAIN).unwrap(), Transmitted::WouldBlock);
        assert_eq!(refused(Errno::EBADFD).unwrap_err().raw_os_error(), Some(nix::libc::EBADFD));
    }

    /// A queue whose kernel is a datagram socket: each write is one message, as with a TUN.
    fn queue(offload: TunOffload) -> (Tun, UnixDatagram) {
        let (ours, kernel) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        kernel.set_nonblocking(true).unwrap();
        let piece = Packet::with_capacity(0);
        (Tun { fd: ours.into(), name: "balun0".into(), mtu: 1_500, offload, piece }, kernel)
    }

    /// 2,500 bytes of TCP over IPv4, to be cut at 1,000, with a partial checksum.
    fn super_packet() -> Packet {
        let mut bytes = vec![0x45, 0, 0x09, 0xec, 0, 0, 0x40, 0, 64, 6, 0, 0];
        bytes.extend([10, 1, 0, 5, 10, 99, 0, 1, 0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 7]);
        bytes.extend([0x50, 0x10, 1, 0, 0, 0, 0, 0]);
        bytes.extend((0..2_500_u16).map(|i| (i % 251) as u8));
        let sum = (!checksum::sum(&bytes[..20])).to_be_bytes();
        bytes[10..12].copy_from_slice(&sum);
        let (src, dst) = (Address::from_v4([10, 1, 0, 5]), Address::from_v4([10, 99, 0, 1]));
        let pseudo = checksum::pseudo_header(src, dst, 6, 2_520).to_be_bytes();
        bytes[36..38].copy_from_slice(&pseudo);
        let mut packet = Packet::from_ip(&bytes);
        packet.offload.checksum = Checksum::Partial { start: 20, offset: 16 };
        let gso = Gso { kind: GsoKind::TcpV4, size: 1_000, header_len: 40, ecn: false };
        packet.offload.gso = Some(gso);
        packet
    }

    fn read_all(kernel: &UnixDatagram) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            let mut packet = Packet::max_sized();
            let Ok(n) = kernel.recv(packet.vnet_receive_buffer()) else { return packets };
            packet.received_with_vnet(n).unwrap();
            packets.push(packet);
        }
    }

    const ALL: TunOffload = TunOffload { checksum: true, tso4: true, tso6: true, uso: true };

    #[test]
    fn what_is_granted_passes_untouched() {
        let (mut tun, kernel) = queue(ALL);
        let packet = super_packet();
        assert_eq!(tun.transmit(&mut packet.clone()).unwrap(), Transmitted::Sent);
        let got = read_all(&kernel);
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].data(), got[0].offload), (packet.data(), packet.offload));
    }

    #[test]
    fn what_is_not_granted_is_done_here() {
        for offload in [TunOffload::default(), TunOffload { checksum: true, ..Default::default() }]
        {
            let (mut tun, kernel) = queue(offload);
            assert_eq!(tun.transmit(&mut super_packet()).unwrap(), Transmitted::Sent);
            let got = read_all(&kernel);
            assert_eq!(got.iter().map(Packet::len).collect::<Vec<_>>(), [1_040, 1_040, 540]);
            for packet in &got {
                assert_eq!(packet.offload, Offload::default());
                let headers = Headers::parse(packet).unwrap();
                assert!(checksum::verify_transport(packet, &headers));
            }
        }
        let (mut tun, kernel) = queue(TunOffload::default());
        let mut packet = super_packet();
        packet.offload.gso = None;
        assert_eq!(tun.transmit(&mut packet).unwrap(), Transmitted::Sent);
        let got = read_all(&kernel);
        assert_eq!(got[0].offload, Offload::default());
        assert!(checksum::verify_transport(&got[0], &Headers::parse(&got[0]).unwrap()));
    }

    #[test]
    fn a_full_queue_may_be_tried_again_unless_half_a_packet_went() {
        let (mut tun, kernel) = queue(TunOffload::default());
        let mut outcome = Transmitted::Sent;
        let mut sent = 0;
        while outcome == Transmitted::Sent {
            outcome = tun.transmit(&mut super_packet()).unwrap();
            sent += usize::from(outcome == Transmitted::Sent) * 3;
        }
        let waiting = read_all(&kernel).len();
        let expected = match waiting - sent {
            0 => Transmitted::WouldBlock,
            1 | 2 => Transmitted::Dropped(TransmitDrop::NoBuffers),
            more => panic!("{more} pieces of one packet"),
        };
        assert_eq!(outcome, expected);
        let (mut tun, _kernel) = queue(ALL);
        while tun.transmit(&mut super_packet()).unwrap() == Transmitted::Sent {}
        assert_eq!(tun.transmit(&mut super_packet()).unwrap(), Transmitted::WouldBlock);
    }

    #[test]
    fn what_cannot_be_cut_is_dropped() {
        let (mut tun, kernel) = queue(TunOffload::default());
        let mut packet = super_packet();
        packet.data_mut()[33] = 0x02;
        let unsegmentable = Transmitted::Dropped(TransmitDrop::Unsegmentable);
        assert_eq!(tun.transmit(&mut packet).unwrap(), unsegmentable);
        assert!(read_all(&kernel).is_empty());
    }

    #[test]
    fn a_read_grows_a_small_buffer_and_reports_lies() {
        let (mut tun, kernel) = queue(ALL);
        let mut packet = Packet::with_capacity(0);
        assert_eq!(tun.receive(&mut packet).unwrap(), Received::WouldBlock);
        let mut sent = super_packet();
        kernel.send(sent.vnet_transmit_bytes()).unwrap();
        kernel.send(&[1, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0x45]).unwrap();
        kernel.send(&[0; 9]).unwrap();
        assert_eq!(tun.receive(&mut packet).unwrap(), Received::Packet);
        assert_eq!((packet.data(), packet.offload), (sent.data(), sent.offload));
        let lie = Received::Malformed(VnetError::ChecksumBeyondEnd);
        assert_eq!(tun.receive(&mut packet).unwrap(), lie);
        assert_eq!(tun.receive(&mut packet).unwrap(), Received::Malformed(VnetError::Truncated));
        assert_eq!(tun.receive(&mut packet).unwrap(), Received::WouldBlock);
    }

    #[test]
    fn each_flag_that_is_needed_is_asked_for() {
        assert_eq!(unsuitable(sys::TUN_FLAGS | sys::MULTI_QUEUE), None);
        for flag in [nix::libc::IFF_TUN, nix::libc::IFF_NO_PI, nix::libc::IFF_VNET_HDR] {
            assert!(unsuitable(sys::TUN_FLAGS & !flag).is_some());
        }
    }

    #[test]
    fn what_is_no_tun_is_not_adopted() {
        let null = OpenOptions::new().read(true).open("/dev/null").unwrap();
        let error = Tun::from_fd(null.into(), 1_500).unwrap_err();
        assert!(matches!(error, TunError::Unsuitable { .. }), "{error}");
    }
}
