//! The other end of a tunnel: takes out what balun put in, by offsets of its own.

use netstack::Packet;
use netstack::wire::text;

/// An outer packet, taken apart.
#[derive(Clone, Debug)]
pub struct Unwrapped {
    /// The outer headers.
    pub outer: Vec<u8>,
    /// What was carried.
    pub inner: Packet,
}

impl Unwrapped {
    /// Takes a whole packet apart: IP in IP, or GUE if it is UDP.
    ///
    /// # Panics
    /// If it is neither.
    pub fn of(packet: &Packet) -> Self {
        let data = packet.data();
        let (protocol, ip) = match data[0] {
            0x45 => (data[9], 20),
            first if first >> 4 == 6 => (data[6], 40),
            first => panic!("an outer packet that begins with {first:#x}"),
        };
        let (carried, len) = match protocol {
            4 | 41 => (protocol, ip),
            17 => {
                assert_eq!([data[ip + 8], data[ip + 10], data[ip + 11]], [0; 3], "a GUE header");
                (data[ip + 9], ip + 12)
            }
            other => panic!("protocol {other}"),
        };
        let (outer, inner) = data.split_at(len);
        assert_eq!(carried, if inner[0] >> 4 == 4 { 4 } else { 41 }, "says what is carried");
        Self { outer: outer.to_vec(), inner: Packet::from_ip(inner) }
    }

    /// The line of what was carried.
    pub fn line(&self) -> String {
        text::Line::of(&self.inner).to_string()
    }

    /// The outer destination's last byte: which of several backends it is.
    pub fn backend(&self) -> u8 {
        if self.outer[0] >> 4 == 4 { self.outer[19] } else { self.outer[39] }
    }
}
