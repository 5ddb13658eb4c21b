//! What a TUN may leave undone in a packet.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use super::sys::{self, offload as bit};
use crate::packet::{Checksum, GsoKind, Offload};

/// What the kernel granted of `TUNSETOFFLOAD`.
///
/// The mask belongs to the device, not to the queue, and outlives a process on a persistent device:
/// it is always set anew, to nothing if nothing is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunOffload {
    /// Checksums may be [`Checksum::Partial`].
    pub checksum: bool,
    /// TCP super-packets over IPv4.
    pub tso4: bool,
    /// TCP super-packets over IPv6.
    pub tso6: bool,
    /// UDP super-packets of either family (Linux 6.2).
    pub uso: bool,
}

/// From the most to the least; the first that the kernel takes is used. Linux before 6.2 has no USO,
/// and WSL2 has been seen to refuse them all.
const LADDER: [u32; 5] = [
    bit::CSUM | bit::TSO4 | bit::TSO6 | bit::TSO_ECN | bit::USO4 | bit::USO6,
    bit::CSUM | bit::TSO4 | bit::TSO6 | bit::TSO_ECN,
    bit::CSUM | bit::TSO4 | bit::TSO6,
    bit::CSUM,
    0,
];

impl TunOffload {
    /// Asks the kernel for as much as it grants.
    ///
    /// # Errors
    /// What the kernel said to the last request, if it refused even to switch offloads off.
    pub(super) fn negotiate(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::descend(|mask| sys::set_offload(fd, mask))
    }

    /// Tries each rung of the ladder; a kernel that does not know the call at all has nothing on.
    fn descend(mut set: impl FnMut(u32) -> io::Result<()>) -> io::Result<Self> {
        let mut last = Ok(());
        for mask in LADDER {
            last = set(mask);
            if last.is_ok() {
                return Ok(Self::from_mask(mask));
            }
        }
        match last {
            Err(e) if e.kind() != io::ErrorKind::InvalidInput => Err(e),
            _ => Ok(Self::default()),
        }
    }

    const fn from_mask(mask: u32) -> Self {
        Self {
            checksum: mask & bit::CSUM != 0,
            tso4: mask & bit::TSO4 != 0,
            tso6: mask & bit::TSO6 != 0,
            uso: mask & bit::USO4 != 0 && mask & bit::USO6 != 0,
        }
    }

    /// True if a packet of this state can be handed over as it is.
    pub fn covers(self, packet: Offload) -> bool {
        let partial = matches!(packet.checksum, Checksum::Partial { .. });
        (self.checksum || !partial) && packet.gso.is_none_or(|gso| self.segments(gso.kind))
    }

    /// True if the kernel cuts super-packets of this kind.
    pub const fn segments(self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::TcpV4 => self.tso4,
            GsoKind::TcpV6 => self.tso6,
            GsoKind::Udp => self.uso,
        }
    }
}

impl fmt::Display for TunOffload {
    /// The granted ones by the names of ethtool's world: `csum tso4 tso6 uso`, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all =
            [(self.checksum, "csum"), (self.tso4, "tso4"), (self.tso6, "tso6"), (self.uso, "uso")];
        let granted: Vec<_> = all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        if granted.is_empty() { f.write_str("none") } else { f.write_str(&granted.join(" ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Gso;

    fn refuse() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(nix::libc::EINVAL))
    }

    #[test]
    fn an_old_kernel_gets_the_smaller_mask() {
        let granted = TunOffload::descend(|mask| match mask & bit::USO4 {
            0 => Ok(()),
            _ => refuse(),
        });
        assert_eq!(granted.unwrap().to_string(), "csum tso4 tso6");
    }

    #[test]
    fn a_kernel_that_refuses_all_leaves_none() {
        let mut asked = Vec::new();
        let granted = TunOffload::descend(|mask| {
            asked.push(mask);
            if mask == 0 { Ok(()) } else { refuse() }
        });
        assert_eq!(granted.unwrap(), TunOffload::default());
        assert_eq!(asked, LADDER);
        assert_eq!(TunOffload::descend(|_| refuse()).unwrap().to_string(), "none");
        assert!(TunOffload::descend(|_| Err(io::ErrorKind::BrokenPipe.into())).is_err());
    }

    #[test]
    fn a_packet_is_covered_only_if_all_that_it_needs_is() {
        let gso = |kind| Some(Gso { kind, size: 1_000, header_len: 0, ecn: false });
        let partial = Checksum::Partial { start: 20, offset: 16 };
        let tso4 = Offload { checksum: partial, gso: gso(GsoKind::TcpV4) };
        let uso = Offload { checksum: partial, gso: gso(GsoKind::Udp) };
        let granted = TunOffload { checksum: true, tso4: true, tso6: true, uso: false };
        assert!(granted.covers(tso4) && !granted.covers(uso));
        assert!(!TunOffload { checksum: false, ..granted }.covers(tso4));
        assert!(TunOffload::default().covers(Offload::default()));
        assert!(!TunOffload::default().covers(Offload { checksum: partial, gso: None }));
    }
}
