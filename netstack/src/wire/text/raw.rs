//! Lines of packets that are given by their bytes.

use super::lex::Word;
use super::print::gso_name;
use super::{ParseError, RawPacket};
use crate::packet::{Checksum, Gso, GsoKind, MAX_PACKET_LEN, Packet};
use crate::wire::Malformed;

/// The longest IPv6 packet: its length field leaves its own header out.
const MAX_LEN: usize = MAX_PACKET_LEN + 40;

/// Reads the words behind `raw` or `malformed`.
pub(super) fn parse(proto: Word<'_>, words: &[Word<'_>]) -> Result<RawPacket, ParseError> {
    let (reason, words) = match (proto.text, words.split_first()) {
        ("raw", _) => (None, words),
        (_, Some((word, rest))) => {
            let reason = Malformed::ALL.into_iter().find(|reason| reason.name() == word.text);
            (Some(reason.ok_or_else(|| word.error("this is no reason: try raw"))?), rest)
        }
        (_, None) => return Err(proto.error("malformed needs a reason")),
    };
    let mut fields = Fields::default();
    for word in words {
        fields.read(*word)?;
    }
    fields.packet(proto).map(|packet| RawPacket { reason, packet })
}

#[derive(Default)]
struct Fields {
    data: Vec<u8>,
    len: Option<u32>,
    state: Option<Checksum>,
    start: u16,
    offset: u16,
    size: u16,
    kind: Option<GsoKind>,
    ecn: bool,
}

impl Fields {
    fn read(&mut self, word: Word<'_>) -> Result<(), ParseError> {
        match word.split() {
            ("data", Some(value)) => self.data = value.bytes("data")?,
            ("len", Some(value)) => self.len = Some(value.u32("len")?),
            ("start", Some(value)) => self.start = value.u16("start")?,
            ("offset", Some(value)) => self.offset = value.u16("offset")?,
            ("gso", Some(value)) => self.size = value.u16("gso")?,
            ("csum", Some(value)) => {
                self.state = Some(match value.text {
                    "complete" => Checksum::Complete,
                    "verified" => Checksum::Verified,
                    "partial" => Checksum::Partial { start: 0, offset: 0 },
                    _ => return Err(value.error("csum is complete, partial or verified")),
                });
            }
            ("kind", Some(value)) => {
                let kinds = [GsoKind::TcpV4, GsoKind::TcpV6, GsoKind::Udp];
                let kind = kinds.into_iter().find(|kind| gso_name(*kind) == value.text);
                self.kind = Some(kind.ok_or_else(|| value.error("kind is tcp4, tcp6 or udp"))?);
            }
            ("ecn", None) => self.ecn = true,
            _ => {
                return Err(word.error(
                    "a packet in bytes takes data, len, csum, start, offset, gso, kind and ecn",
                ));
            }
        }
        Ok(())
    }

    fn packet(self, proto: Word<'_>) -> Result<Packet, ParseError> {
        if self.data.len() > MAX_LEN || self.len.is_some_and(|len| self.data.len() != len as usize)
        {
            return Err(proto.error("the data are not as long as len says"));
        }
        let mut packet = Packet::from_ip(&self.data);
        packet.offload.checksum = match self.state {
            Some(Checksum::Partial { .. }) => {
                Checksum::Partial { start: self.start, offset: self.offset }
            }
            state => state.unwrap_or_default(),
        };
        packet.offload.gso = self.kind.map(|kind| {
            let header_len = 0;
            Gso { kind, size: self.size, header_len, ecn: self.ecn }
        });
        Ok(packet)
    }
}
