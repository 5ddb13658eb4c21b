//! Ephemeral ports (RFC 6056, algorithm 3).

use super::isn::Secret;
use crate::wire::Tuple;

/// The first port that is given out: Linux's, so that firewalls made for it fit.
const FIRST: u16 = 32_768;
const COUNT: u32 = 65_536 - FIRST as u32;

/// Hands out ports: for one destination in an order that starts where only the secret tells, and
/// each again only after all others.
#[derive(Debug)]
pub(super) struct Ports {
    secret: Secret,
    next: u32,
}

impl Ports {
    pub(super) const fn new(secret: Secret) -> Self {
        Self { secret, next: 0 }
    }

    /// A port for a connection from `tuple.dst` to `tuple.src`, or nothing if `taken` says so of
    /// every port.
    pub(super) fn choose(&mut self, tuple: &Tuple, taken: impl Fn(u16) -> bool) -> Option<u16> {
        let offset = self.secret.port_offset(tuple);
        for _ in 0..COUNT {
            let port = FIRST + (offset.wrapping_add(self.next) % COUNT) as u16;
            self.next = self.next.wrapping_add(1);
            if !taken(port) {
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Address, Protocol};

    #[test]
    fn all_ports_come_before_any_comes_again() {
        let (src, dst) = (Address::from_v4([10, 0, 0, 1]), Address::from_v4([10, 0, 0, 2]));
        let tuple = Tuple { protocol: Protocol::Tcp, src, dst, src_port: 80, dst_port: 0 };
        let mut ports = Ports::new(Secret::new([3, 4]));
        let mut seen = vec![false; 65_536];
        for _ in 0..COUNT {
            let port = ports.choose(&tuple, |_| false).unwrap();
            assert!(port >= FIRST && !std::mem::replace(&mut seen[usize::from(port)], true));
        }
        assert_eq!(ports.choose(&tuple, |port| port != 40_000), Some(40_000));
        assert_eq!(ports.choose(&tuple, |_| true), None);
    }
}
