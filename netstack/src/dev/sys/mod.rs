//! The calls that no safe wrapper exists for: ioctls, registering a descriptor with the reactor, and
//! taking over descriptors that another process has sent. Nothing else in the project is unsafe.
//!
//! `setns`, `unshare`, `read`, `write`, `fcntl` are called through nix, whose functions are safe. It
//! has none for these; they are declared by its macros, which fix the type of the argument.
//!
//! Each function takes a borrowed descriptor, so that it is open during the call, and checks or
//! builds every byte that the kernel reads.

#![expect(
    unsafe_code,
    reason = "ioctl is a variadic C function, and nobody can check who owns a descriptor"
)]

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Interface, Tun};

pub(super) mod packet;

/// Length of an interface name with its terminating zero.
pub(super) const NAME_SIZE: usize = libc::IFNAMSIZ;

/// Layer 3, no protocol prefix, virtio header: what balun needs of a TUN.
pub(super) const TUN_FLAGS: i32 = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
/// Several queues on one device.
pub(super) const MULTI_QUEUE: i32 = libc::IFF_MULTI_QUEUE;
/// Fail if the device exists.
pub(super) const EXCLUSIVE: i32 = libc::IFF_TUN_EXCL;

/// Bits of `TUNSETOFFLOAD`.
pub(super) mod offload {
    use nix::libc;

    pub(in crate::dev) const CSUM: u32 = libc::TUN_F_CSUM;
    pub(in crate::dev) const TSO4: u32 = libc::TUN_F_TSO4;
    pub(in crate::dev) const TSO6: u32 = libc::TUN_F_TSO6;
    pub(in crate::dev) const TSO_ECN: u32 = libc::TUN_F_TSO_ECN;
    pub(in crate::dev) const USO4: u32 = libc::TUN_F_USO4;
    pub(in crate::dev) const USO6: u32 = libc::TUN_F_USO6;
}

/// Registers a TUN with the runtime's reactor, to be told when it can be read.
///
/// # Errors
/// The reactor could not take it.
///
/// # Panics
/// Outside a tokio runtime with I/O enabled.
pub(super) fn register_readable(tun: Tun) -> io::Result<AsyncFd<Tun>> {
    // SAFETY: `register_with_interest` asks that the descriptor stays open and the same for as long
    // as the `AsyncFd` lives. `Tun` owns its descriptor, opens it once and never replaces it, and
    // closes it only when dropped, which the `AsyncFd` does after it has deregistered.
    let registered = unsafe { AsyncFd::register_with_interest(tun, Interest::READABLE) };
    registered.map_err(Into::into)
}

/// Reads from a Unix socket, with the descriptors that came along. They are closed on exec.
///
/// # Errors
/// Those of `recvmsg(2)`.
pub(super) fn receive_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut room = nix::cmsg_space!([RawFd; super::pass::MAX_PASSED]);
    let mut slices = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slices, Some(&mut room), flags)?;
    let mut descriptors = Vec::new();
    // What did not fit into `room` the kernel has closed itself.
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: `recvmsg` made each of these descriptors for this process a moment ago, so that
            // they are open, and nobody else knows them or will close them.
            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, descriptors))
}

/// [`register_readable`] of either kind of interface.
pub(super) fn register_interface(interface: Interface) -> io::Result<AsyncFd<Interface>> {
    // SAFETY: as for `register_readable`. `Interface` is a `Tun` or a `Veth` for all its life, and a
    // `Veth` too owns its descriptor, opens it once, never replaces it and closes it when dropped.
    let registered = unsafe { AsyncFd::register_with_interest(interface, Interest::READABLE) };
    registered.map_err(Into::into)
}

nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_read_bad!(tun_get_iff, libc::TUNGETIFF, libc::ifreq);
nix::ioctl_write_ptr_bad!(tun_set_vnet_hdr_sz, libc::TUNSETVNETHDRSZ, libc::c_int);
nix::ioctl_write_int_bad!(tun_set_offload, libc::TUNSETOFFLOAD);
nix::ioctl_none_bad!(ns_get_nstype, libc::NS_GET_NSTYPE);

/// Attaches the descriptor of `/dev/net/tun` to the device `name`, making it if need be.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN`, `EBUSY` if the device is taken, `EINVAL` if it is not a TUN or
/// is one of other flags.
pub(super) fn attach(fd: BorrowedFd<'_>, name: &str, flags: i32) -> io::Result<()> {
    let mut request = empty_request();
    let room = &mut request.ifr_name[..NAME_SIZE - 1];
    if name.len() > room.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in room.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // IFF_TUN_EXCL is bit 15 of a signed short: the sign is part of the pattern.
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: `fd` is open for the call and `request` is a whole, initialised `ifreq`, the argument
    // that TUNSETIFF reads and writes; its name ends in a zero, since the last byte is not written.
    unsafe { tun_set_iff(fd.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// The name and the flags of the TUN that the descriptor is attached to.
///
/// # Errors
/// `EBADFD` if it is attached to none, `ENOTTY` if it is something else.
pub(super) fn attached(fd: BorrowedFd<'_>) -> io::Result<(String, i32)> {
    let mut request = empty_request();
    // SAFETY: `fd` is open for the call and TUNGETIFF writes one `ifreq`, which `request` is.
    unsafe { tun_get_iff(fd.as_raw_fd(), &raw mut request) }?;
    // SAFETY: TUNGETIFF sets the flags of the union; `request` was zero before, and any bits make
    // a valid short.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let name = request.ifr_name.iter().take_while(|c| **c != 0).map(|c| c.to_ne_bytes()[0]);
    let name = String::from_utf8_lossy(&name.collect::<Vec<_>>()).into_owned();
    Ok((name, i32::from(flags) & 0xffff))
}

/// Sets the length of the virtio header of each packet.
///
/// # Errors
/// `EINVAL` for a length that the kernel does not take.
pub(super) fn set_vnet_header_len(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    let len = libc::c_int::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `fd` is open for the call and TUNSETVNETHDRSZ reads one int, which `len` is.
    unsafe { tun_set_vnet_hdr_sz(fd.as_raw_fd(), &raw const len) }?;
    Ok(())
}

/// Tells the kernel what it may leave undone in packets that it gives (the bits of [`offload`]).
///
/// # Errors
/// `EINVAL` for a bit that the kernel does not know.
pub(super) fn set_offload(fd: BorrowedFd<'_>, mask: u32) -> io::Result<()> {
    let mask = libc::c_int::try_from(mask).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `fd` is open for the call; TUNSETOFFLOAD takes its argument by value and reads no
    // memory of ours.
    unsafe { tun_set_offload(fd.as_raw_fd(), mask) }?;
    Ok(())
}

/// True if the descriptor is of a network namespace.
pub(super) fn is_network_namespace(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: `fd` is open for the call and NS_GET_NSTYPE takes no argument. On another kind of file
    // the number is unknown to its driver, or to the file system, which answer ENOTTY.
    let kind = unsafe { ns_get_nstype(fd.as_raw_fd()) };
    kind == Ok(libc::CLONE_NEWNET)
}

fn empty_request() -> libc::ifreq {
    // SAFETY: `ifreq` is an array of chars and a union of plain C values and pointers that nobody
    // follows here; all zeros are valid for it.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
