//! ARP for IPv4 over Ethernet (RFC 826).

use super::Mac;
use crate::wire::Address;

/// Length of a message.
pub const LEN: usize = 28;

/// Ethernet, IPv4, and the lengths of their addresses.
const FIXED: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// What a message wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// "Who has the target?"
    Request,
    /// "The sender has it."
    Reply,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Question or answer.
    pub operation: Operation,
    /// Hardware address of who speaks.
    pub sender_mac: Mac,
    /// Address of who speaks: 0.0.0.0 in a probe, which only asks whether the target is taken
    /// (RFC 5227 section 1.1).
    pub sender: Address,
    /// Of an answer, who it is for.
    pub target_mac: Mac,
    /// The address that is asked for, or of who it is for. The sender's own in an announcement.
    pub target: Address,
}

impl Arp {
    /// Reads a message. What follows it is padding.
    ///
    /// Nothing if it is cut short, of other kinds of addresses, another operation (RARP, `InARP`), or
    /// if the sender's hardware address is none that a host can have.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.first_chunk()?;
        let operation = match bytes[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let mac = |at: usize| Some(Mac(*bytes.get(at..)?.first_chunk()?));
        let ip = |at: usize| Some(Address::from_v4(*bytes.get(at..)?.first_chunk()?));
        let arp = Self {
            operation,
            sender_mac: mac(8)?,
            sender: ip(14)?,
            target_mac: mac(18)?,
            target: ip(24)?,
        };
        (bytes[..6] == FIXED && arp.sender_mac.is_host()).then_some(arp)
    }

    /// True if the sender asks for an address that it would like to have (RFC 5227 section 1.1).
    pub fn is_probe(&self) -> bool {
        self.operation == Operation::Request && self.sender == Address::from_v4([0; 4])
    }

    /// The message as it stands in a frame. Addresses that are not of IPv4 are written as 0.0.0.0.
    pub fn bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..6].copy_from_slice(&FIXED);
        bytes[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        for (at, address) in [(14, self.sender), (24, self.target)] {
            if let Some(octets) = address.octets().first_chunk::<4>().filter(|_| address.is_v4()) {
                bytes[at..at + 4].copy_from_slice(octets);
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a Linux host asks for 10.1.0.1, padded to the shortest frame.
    const QUESTION: [u8; 46] = {
        let mut bytes = [0; 46];
        let message =
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 5, 10, 1, 0, 5, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1];
        let mut i = 0;
        while i < LEN {
            bytes[i] = message[i];
            i += 1;
        }
        bytes
    };

    #[test]
    fn a_question_is_read_and_written() {
        let arp = Arp::parse(&QUESTION).unwrap();
        assert_eq!(
            arp,
            Arp {
                operation: Operation::Request,
                sender_mac: Mac([2, 0, 0, 0, 0, 5]),
                sender: Address::from_v4([10, 1, 0, 5]),
                target_mac: Mac::ZERO,
                target: Address::from_v4([10, 1, 0, 1]),
            }
        );
        assert_eq!(arp.bytes(), QUESTION[..LEN]);
        assert!(!arp.is_probe());
        assert!(Arp { sender: Address::from_v4([0; 4]), ..arp }.is_probe());
    }

    #[test]
    fn what_is_no_arp_of_ours_is_refused() {
        for len in 0..LEN {
            assert_eq!(Arp::parse(&QUESTION[..len]), None, "{len}");
        }
        // Token ring, an unknown protocol, EUI-64, another length of IP, RARP, a sender of a group,
        // no sender.
        for (at, value) in [(1, 6), (2, 9), (4, 8), (5, 16), (7, 3), (6, 1), (8, 3), (8, 0)] {
            let mut bytes = QUESTION;
            bytes[at] = value;
            bytes[13] = if value == 0 { 0 } else { bytes[13] };
            assert_eq!(Arp::parse(&bytes), None, "byte {at} is {value}");
        }
    }
}
