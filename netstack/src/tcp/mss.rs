//! The maximum segment size, of paths and of connections.

use super::limits::MIN_PEER_MSS;
use crate::wire::Family;

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

/// The MSS to send with: the least of what the peer takes and what the path carries.
pub(super) fn effective(peer: Option<u16>, mtu: u16, family: Family) -> u16 {
    // RFC 9293 section 3.7.1: what to assume of a peer that does not say.
    let assumed = match family {
        Family::V4 => 536,
        Family::V6 => 1_220,
    };
    peer.unwrap_or(assumed).min(of_mtu(mtu, family)).max(MIN_PEER_MSS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_path_and_peer_but_never_absurd() {
        assert_eq!(effective(Some(1460), 1500, Family::V4), 1460);
        assert_eq!(effective(Some(9000), 1500, Family::V6), 1440);
        assert_eq!(effective(None, 1500, Family::V4), 536);
        assert_eq!(effective(None, 1500, Family::V6), 1220);
        assert_eq!(effective(Some(1), 1500, Family::V4), MIN_PEER_MSS);
    }
}
