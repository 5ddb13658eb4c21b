//! The maximum segment size: what peers say, what smoltcp is told, what peers are told.
//!
//! smoltcp sends no segment longer than the MSS that it read from the peer's SYN, nor than its own MTU
//! allows. To get segments of 64 KiB from it, the option of the peer's SYN is raised to [`of_socket`]
//! on the way in and the option of our SYN lowered to [`of_mtu`] on the way out. The value that the
//! peer really sent is kept and becomes the size that super-packets are cut into.

use super::limits::MIN_PEER_MSS;
use crate::wire::{Family, Tcp, TcpFlags};

/// The MTU that smoltcp is told.
pub(super) const SOCKET_MTU: u16 = u16::MAX;

const KIND_MSS: u8 = 2;
const KIND_WINDOW_SCALE: u8 = 3;

/// What of a SYN's options matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SynOptions {
    /// MSS; zero counts as absent, as Linux has it.
    pub(super) mss: Option<u16>,
    /// Shift of the sender's windows.
    pub(super) window_scale: Option<u8>,
}

/// Length of an IP header without options and a TCP header without options.
const fn headers_len(family: Family) -> u16 {
    match family {
        Family::V4 => 40,
        Family::V6 => 60,
    }
}

/// The MSS for a path (RFC 6691: options do not count).
pub(super) const fn of_mtu(mtu: u16, family: Family) -> u16 {
    mtu.saturating_sub(headers_len(family))
}

/// The MSS that smoltcp believes in.
pub(super) const fn of_socket(family: Family) -> u16 {
    of_mtu(SOCKET_MTU, family)
}

/// The MSS to send with: the least of what the peer takes and what the path carries.
pub(super) fn effective(peer: Option<u16>, mtu: u16, family: Family) -> u16 {
    // RFC 9293 section 3.7.1: what to assume of a peer that does not say.
    let assumed = match family {
        Family::V4 => 536,
        Family::V6 => 1_220,
    };
    peer.unwrap_or(assumed).min(of_mtu(mtu, family)).max(MIN_PEER_MSS)
}

/// Reads the options of a SYN. Of an option that comes twice the last counts, as in smoltcp.
pub(super) fn read(syn: &Tcp<&[u8]>) -> SynOptions {
    let mut found = SynOptions::default();
    for option in syn.options() {
        match (option.kind, option.data) {
            (KIND_MSS, &[high, low]) => {
                found.mss = Some(u16::from_be_bytes([high, low])).filter(|&mss| mss != 0);
            }
            (KIND_WINDOW_SCALE, &[shift]) => found.window_scale = Some(shift),
            _ => {}
        }
    }
    found
}

/// Replaces the MSS in a SYN, wherever the option occurs. The checksum is left as it was.
pub(super) fn rewrite(segment: &mut [u8], mss: u16) {
    let mut done = 0;
    while let Some(at) = next_option(segment, done) {
        segment[at..at + 2].copy_from_slice(&mss.to_be_bytes());
        done = at;
    }
}

/// Offset of the value of the first MSS option beyond `done`.
fn next_option(segment: &[u8], done: usize) -> Option<usize> {
    let syn = Tcp::new_checked(segment).filter(|tcp| tcp.flags().contains(TcpFlags::SYN))?;
    let options = syn.options().filter(|o| o.kind == KIND_MSS && o.data.len() == 2);
    options.map(|option| option.data_offset).find(|&at| at > done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        bytes.extend(options);
        bytes[12] = ((bytes.len() / 4) << 4) as u8;
        bytes[13] = TcpFlags::SYN.0;
        bytes
    }

    #[test]
    fn every_occurrence_is_rewritten_and_nothing_else() {
        let mut bytes = syn(&[1, 2, 4, 5, 180, 1, 1, 1, 2, 4, 2, 24, 3, 3, 7, 0]);
        rewrite(&mut bytes, 0xffd7);
        assert_eq!(bytes[20..], [1, 2, 4, 0xff, 0xd7, 1, 1, 1, 2, 4, 0xff, 0xd7, 3, 3, 7, 0]);
        let found = read(&Tcp::new_checked(&bytes[..]).unwrap());
        assert_eq!(found, SynOptions { mss: Some(65_495), window_scale: Some(7) });
    }

    #[test]
    fn options_that_lie_are_left_alone() {
        for options in [[2, 3, 5, 0], [2, 0, 5, 180], [2, 5, 5, 180]] {
            let mut bytes = syn(&options);
            rewrite(&mut bytes, 1);
            assert_eq!(bytes[20..], options);
            assert_eq!(read(&Tcp::new_checked(&bytes[..]).unwrap()), SynOptions::default());
        }
    }

    #[test]
    fn the_least_of_path_and_peer_but_never_absurd() {
        assert_eq!(effective(Some(1460), 1500, Family::V4), 1460);
        assert_eq!(effective(Some(9000), 1500, Family::V6), 1440);
        assert_eq!(effective(None, 1500, Family::V4), 536);
        assert_eq!(effective(None, 1500, Family::V6), 1220);
        assert_eq!(effective(Some(1), 1500, Family::V4), MIN_PEER_MSS);
        assert_eq!((of_socket(Family::V4), of_socket(Family::V6)), (65_495, 65_475));
    }
}
