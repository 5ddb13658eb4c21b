//! Cutting an IPv6 packet of our own into fragments (RFC 8200 section 4.5).

use netstack::Packet;

const HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;
const FRAGMENT: u8 = 44;

/// Cuts a packet without extension headers, whose source we are, into packets of at most `mtu` bytes;
/// nothing if it is no such packet or the MTU leaves no room.
pub fn fragment_v6(packet: &Packet, mtu: usize, identification: u32) -> Option<Vec<Packet>> {
    let (header, payload) = packet.data().split_at_checked(HEADER)?;
    let room = mtu.checked_sub(HEADER + FRAGMENT_HEADER)? & !7;
    if room == 0 {
        return None;
    }
    let last = payload.len().div_ceil(room).checked_sub(1)?;
    let pieces = payload.chunks(room).enumerate().map(|(n, bytes)| {
        let mut piece = Packet::with_capacity(HEADER + FRAGMENT_HEADER + bytes.len());
        piece.id = packet.id;
        piece.leg = packet.leg;
        piece.set_len(HEADER + FRAGMENT_HEADER + bytes.len());
        let data = piece.data_mut();
        data[..HEADER].copy_from_slice(header);
        data[4..6].copy_from_slice(&((FRAGMENT_HEADER + bytes.len()) as u16).to_be_bytes());
        data[6] = FRAGMENT;
        // `room` is a multiple of eight, so the offset's unit of eight bytes leaves three bits for flags.
        let field = (n * room) as u16 | u16::from(n < last);
        data[HEADER..HEADER + 2].copy_from_slice(&[header[6], 0]);
        data[HEADER + 2..HEADER + 4].copy_from_slice(&field.to_be_bytes());
        data[HEADER + 4..HEADER + 8].copy_from_slice(&identification.to_be_bytes());
        data[HEADER + FRAGMENT_HEADER..].copy_from_slice(bytes);
        piece
    });
    Some(pieces.collect())
}
