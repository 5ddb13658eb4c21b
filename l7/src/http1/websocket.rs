//! The opening handshake of RFC 6455 section 4, as far as a proxy must see it (R11).

use aws_lc_rs::digest;

/// The `Sec-WebSocket-Accept` value that answers a `Sec-WebSocket-Key`.
pub type Accept = [u8; 28];

/// A key is 16 bytes in base64.
const KEY_LEN: usize = 24;

/// A `Sec-WebSocket-Key` of ours.
pub type Key = [u8; KEY_LEN];

/// A key for a handshake on behalf of a client that needs none itself (RFC 8441).
///
/// # Errors
/// When the system gives no random bytes.
pub fn new_key() -> Result<Key, aws_lc_rs::error::Unspecified> {
    let mut nonce = [0; 16];
    aws_lc_rs::rand::fill(&mut nonce)?;
    Ok(base64(&nonce))
}
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a server must answer to `key`, or nothing if `key` is no key.
pub fn accept_for(key: &[u8]) -> Option<Accept> {
    let formed = key.len() == KEY_LEN && key.ends_with(b"==");
    if !formed || !key.iter().take(KEY_LEN - 2).all(|byte| ALPHABET.contains(byte)) {
        return None;
    }
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    Some(base64(context.finish().as_ref()))
}

fn base64<const LEN: usize>(hash: &[u8]) -> [u8; LEN] {
    let mut text = [b'='; LEN];
    for (group, out) in hash.chunks(3).zip(text.chunks_mut(4)) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        for (index, symbol) in out.iter_mut().take(group.len() + 1).enumerate() {
            *symbol = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_the_accept_of_rfc_6455_section_1_3() {
        let accept = accept_for(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn r11_a_key_of_ours_is_one() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        assert!(accept_for(&one).is_some() && accept_for(&other).is_some());
        assert_ne!(one, other);
    }

    #[test]
    fn r11_other_text_is_no_key() {
        for key in
            ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZ!==", "dGhlIHNhbXBsZSBub25jZQ==="]
        {
            assert_eq!(accept_for(key.as_bytes()), None, "{key}");
        }
    }
}
