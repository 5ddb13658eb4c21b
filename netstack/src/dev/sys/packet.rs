//! Packet sockets (packet(7)): what nix has no safe wrapper for.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::from_mut;

use nix::errno::Errno;
use nix::libc;

use super::{NAME_SIZE, empty_request};

/// What came with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dev) struct Frame {
    /// Bytes read, virtio header included.
    pub(in crate::dev) len: usize,
    /// The frame was longer than the buffer.
    pub(in crate::dev) cut: bool,
    /// It had a VLAN tag, which the kernel has taken off.
    pub(in crate::dev) tagged: bool,
    /// It left by the interface instead of coming in.
    pub(in crate::dev) outgoing: bool,
}

/// Each frame is preceded by a virtio header, both ways.
pub(in crate::dev) const VNET_HDR: libc::c_int = libc::PACKET_VNET_HDR;
/// What leaves by the interface is not shown.
pub(in crate::dev) const IGNORE_OUTGOING: libc::c_int = libc::PACKET_IGNORE_OUTGOING;
/// Each frame comes with what the kernel knows of it.
pub(in crate::dev) const AUXDATA: libc::c_int = libc::PACKET_AUXDATA;

nix::ioctl_read_bad!(get_mtu, libc::SIOCGIFMTU, libc::ifreq);

/// Switches on an option of a packet socket.
///
/// # Errors
/// `ENOPROTOOPT` if the kernel does not know it.
pub(in crate::dev) fn enable(fd: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
    set(fd, option, &1 as &libc::c_int)
}

/// Lets the interface of this index take the frames of every multicast group.
///
/// # Errors
/// `ENODEV` if there is none.
pub(in crate::dev) fn join_all_groups(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: index.cast_signed(),
        mr_type: libc::PACKET_MR_ALLMULTI as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(fd, libc::PACKET_ADD_MEMBERSHIP, &request)
}

fn set<T: Copy>(fd: BorrowedFd<'_>, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `fd` is open for the call; the kernel reads `size_of::<T>()` bytes at `value`, which is
    // a whole, initialised plain C value.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}

/// From now on the socket has the frames of the interface of this index, and no others.
///
/// # Errors
/// `ENODEV` if there is none.
pub(in crate::dev) fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let mut address = empty_address();
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: `fd` is open for the call; the kernel reads one `sockaddr_ll`, which `address` is.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    Ok(Errno::result(result).map(drop)?)
}

/// The MTU of the interface of that name, in the namespace of the socket.
///
/// # Errors
/// `ENODEV` if there is none.
pub(in crate::dev) fn mtu(fd: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    let mut request = empty_request();
    let room = &mut request.ifr_name[..NAME_SIZE - 1];
    if name.len() > room.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in room.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // SAFETY: `fd` is open for the call and SIOCGIFMTU reads and writes one `ifreq`, which `request`
    // is; its name ends in a zero, since the last byte is not written.
    unsafe { get_mtu(fd.as_raw_fd(), &raw mut request) }?;
    // SAFETY: SIOCGIFMTU sets this field of the union, and any bits make a valid int.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Room for one control message with a `tpacket_auxdata`, aligned as its header wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Reads one frame.
///
/// # Errors
/// `EAGAIN` if there is none, `EINVAL` if its segmentation cannot be told in a virtio header, `ENETDOWN`
/// once when the interface has gone down, `ENODEV` if it is gone for good.
pub(in crate::dev) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Frame> {
    let mut address = empty_address();
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeros are valid for `msghdr`: null pointers with lengths of zero.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = from_mut(&mut address).cast();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: `fd` is open for the call; each pointer of `message` is to memory of the length that
    // stands beside it, borrowed mutably by this function alone.
    let read = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0) };
    let len = Errno::result(read)?.unsigned_abs();
    Ok(Frame {
        len: len.min(buffer.len()),
        cut: message.msg_flags & libc::MSG_TRUNC != 0,
        tagged: auxiliary(&message)
            .is_some_and(|aux| aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0),
        outgoing: address.sll_family == libc::AF_PACKET as libc::c_ushort
            && address.sll_pkttype == libc::PACKET_OUTGOING as libc::c_uchar,
    })
}

/// What the kernel knows of a frame, if it says so.
fn auxiliary(message: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: `message` was filled by recvmsg, and its control buffer, which the caller holds, is
    // aligned for `cmsghdr`; CMSG_FIRSTHDR gives null or a header that lies within it.
    let header = unsafe { libc::CMSG_FIRSTHDR(std::ptr::from_ref(message)).as_ref() }?;
    // SAFETY: pure arithmetic on a constant.
    let needed = unsafe { libc::CMSG_LEN(size_of::<libc::tpacket_auxdata>() as libc::c_uint) };
    let fits = header.cmsg_level == libc::SOL_PACKET
        && header.cmsg_type == libc::PACKET_AUXDATA
        && header.cmsg_len as usize >= needed as usize;
    // SAFETY: the message is of the type whose data is a `tpacket_auxdata`, and as long as one; it may
    // lie unaligned, and any bits make a valid one.
    fits.then(|| unsafe {
        libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned()
    })
}

fn empty_address() -> libc::sockaddr_ll {
    // SAFETY: `sockaddr_ll` is made of integers; all zeros are valid for it.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
