//! How much of what a sender puts on a link it has sent before.

use netstack::Packet;
use netstack::wire::{Headers, Tcp, Tuple};

/// Flows that are told apart; packets of further ones are not counted.
const MAX_FLOWS: usize = 16;

/// Counts payload where it enters the link, before anything is lost or reordered there. A sender emits
/// new bytes in order, so bytes below the highest that it has sent are repeated, whoever it is.
#[derive(Debug, Default)]
pub struct Tally {
    flows: Vec<(Tuple, Flow)>,
}

/// What one sender of a connection has put on the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes of payload.
    pub bytes: u64,
    /// Of these, sent before.
    pub repeated: u64,
    /// One beyond the highest sequence number so far.
    top: Option<u32>,
}

impl Tally {
    /// Takes note of a packet, which may be a super-packet.
    pub fn note(&mut self, packet: &Packet) {
        let Ok(headers) = Headers::parse(packet) else { return };
        let Some(tuple) = headers.tuple() else { return };
        let segment = packet.data().get(headers.l4()..headers.total_len());
        let Some(tcp) = segment.and_then(Tcp::new_checked) else { return };
        let at = self.flows.iter().position(|(known, _)| *known == tuple);
        let at = match at {
            Some(at) => at,
            None if self.flows.len() < MAX_FLOWS => {
                self.flows.push((tuple, Flow::default()));
                self.flows.len() - 1
            }
            None => return,
        };
        self.flows[at].1.note(&tcp);
    }

    /// The flow that sent the most.
    pub fn busiest(&self) -> Flow {
        self.flows.iter().map(|(_, flow)| *flow).max_by_key(|flow| flow.bytes).unwrap_or_default()
    }
}

impl Flow {
    fn note(&mut self, tcp: &Tcp<&[u8]>) {
        let len = tcp.payload().len() as u32;
        if len == 0 {
            return;
        }
        let end = tcp.seq().wrapping_add(len);
        let top = *self.top.get_or_insert(end.wrapping_sub(len));
        // How far this segment reaches beyond all before it.
        let fresh = end.wrapping_sub(top).cast_signed().max(0).cast_unsigned();
        self.bytes += u64::from(len);
        self.repeated += u64::from(len - fresh.min(len));
        self.top = Some(top.wrapping_add(fresh));
    }

    /// Repeated bytes in percent of all.
    pub fn repeated_percent(&self) -> f64 {
        100.0 * self.repeated as f64 / self.bytes.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet;

    fn flow(segments: &[(u32, u32)]) -> (u64, u64) {
        let mut tally = Tally::default();
        for (seq, len) in segments {
            let line = format!("tcp 10.0.0.1:1000 > 10.0.0.2:80 . seq={seq} ack=1 len={len}");
            tally.note(&packet(&line));
        }
        let flow = tally.busiest();
        (flow.bytes, flow.repeated)
    }

    #[test]
    fn bytes_below_the_highest_are_repeated() {
        assert_eq!(flow(&[(100, 50), (150, 50)]), (100, 0));
        assert_eq!(flow(&[(100, 50), (150, 50), (100, 50)]), (150, 50));
        assert_eq!(flow(&[(100, 50), (120, 50)]), (100, 30), "half of it is new");
        assert_eq!(
            flow(&[(100, 50), (300, 0), (150, 50)]),
            (100, 0),
            "a bare ACK counts for nothing"
        );
    }

    #[test]
    fn sequence_numbers_wrap() {
        let near = u32::MAX - 9;
        assert_eq!(flow(&[(near, 20), (10, 20), (near, 20)]), (60, 20));
    }
}
