//! Answers, made from the packet that is answered.

use std::fmt::Write as _;

use netstack::Packet;
use netstack::wire::text::{self, Body, Description, IcmpSpec, Line, PacketSpec, Payload};
use netstack::wire::{Address, TcpFlags};

/// Kinds of ICMP errors, by which a packet of any protocol may be answered.
const ERRORS: [&str; 6] =
    ["unreachable", "too-big", "ttl-exceeded", "parameter-problem", "source-quench", "redirect"];

/// The answer to `packet` whose words behind the two ends are `words`: from its destination to its
/// source.
///
/// - TCP: `S. win=1000`. Unless they are written, `seq` goes on where the packet's `ack` is, and `ack`
///   where its segment ends.
/// - UDP: `len=20`, or nothing.
/// - An echo request: a `reply` of the same `id`, `seq` and payload.
/// - An ICMP error about the packet: `unreachable code=port`, from its destination.
///
/// # Errors
/// What is wrong with the words, or why the packet cannot be answered so.
pub fn reply(packet: &Packet, words: &str) -> Result<Packet, String> {
    let Description::Packet(spec) = Line::exact(packet).describe() else {
        return Err(format!("a malformed packet has no answer: {}", Line::of(packet)));
    };
    let line = line(&spec, words.trim(), packet)?;
    text::packet(&line).map_err(|e| e.underline(&line))
}

fn line(spec: &PacketSpec, words: &str, packet: &Packet) -> Result<String, String> {
    let first = words.split_whitespace().next().unwrap_or_default();
    let (src, dst) = (spec.src, spec.dst);
    if ERRORS.contains(&first) {
        let about = Line::exact(packet);
        return Ok(format!("icmp {dst} > {src} {words} about=({about})"));
    }
    match &spec.body {
        Body::Tcp(tcp) => {
            let mut line =
                format!("tcp {} > {} {words}", end(dst, tcp.dst_port), end(src, tcp.src_port));
            let length = spec.payload.len as u32
                + u32::from(tcp.flags.contains(TcpFlags::SYN))
                + u32::from(tcp.flags.contains(TcpFlags::FIN));
            if !has(words, "seq") && tcp.flags.contains(TcpFlags::ACK) {
                let _ = write!(line, " seq={}", tcp.ack);
            }
            if !has(words, "ack") && first.contains('.') {
                let _ = write!(line, " ack={}", tcp.seq.wrapping_add(length));
            }
            Ok(line)
        }
        Body::Udp { src_port, dst_port, .. } => {
            Ok(format!("udp {} > {} {words}", end(dst, *dst_port), end(src, *src_port)))
        }
        Body::Icmp(IcmpSpec { kind: 8 | 128, rest, .. }) => {
            let words = if words.is_empty() { "reply" } else { words };
            let mut line = format!("icmp {dst} > {src} {words}");
            for (name, value) in [("id", rest >> 16), ("seq", rest & 0xffff)] {
                if !has(words, name) {
                    let _ = write!(line, " {name}={value}");
                }
            }
            if !has(words, "data") && !has(words, "len") && spec.payload.len > 0 {
                let hex = |byte| format!("{byte:02x}");
                line.push_str(" data=");
                line.extend(payload(&spec.payload).into_iter().map(hex));
            }
            Ok(line)
        }
        Body::Icmp(_) | Body::Raw { .. } => {
            Err("only TCP, UDP and echo requests have answers; use send".to_owned())
        }
    }
}

/// All bytes of a payload.
pub(super) fn payload(payload: &Payload) -> Vec<u8> {
    let mut bytes = payload.bytes.clone();
    let rest = payload.len.saturating_sub(bytes.len());
    bytes.extend(Payload::pattern_bytes(bytes.len()).take(rest));
    bytes
}

fn end(address: Address, port: u16) -> std::net::SocketAddr {
    std::net::SocketAddr::new(address.into(), port)
}

fn has(words: &str, name: &str) -> bool {
    words.split_whitespace().any(|word| word.split_once('=').is_some_and(|(n, _)| n == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str, words: &str) -> String {
        let packet = text::packet(line).unwrap_or_else(|e| panic!("{e}"));
        reply(&packet, words).map_or_else(|e| e, |packet| Line::of(&packet).to_string())
    }

    #[test]
    fn numbers_of_tcp_go_on() {
        let syn = "tcp 10.1.0.5:4000 > 10.99.0.1:80 S seq=100";
        let line = "tcp 10.99.0.1:80 > 10.1.0.5:4000 S. seq=7 ack=101 ttl=64";
        assert_eq!(answer(syn, "S. seq=7"), line);
        let data = "tcp 10.1.0.5:4000 > 10.99.0.1:80 P. seq=101 ack=8 len=20";
        let line = "tcp 10.99.0.1:80 > 10.1.0.5:4000 . seq=8 ack=121 ttl=64";
        assert_eq!(answer(data, "."), line);
        let end = "tcp [fd01::5]:4 > [fd99::1]:80 F. seq=4294967295 ack=8";
        let line = "tcp [fd99::1]:80 > [fd01::5]:4 R. seq=1 ack=0 ttl=3";
        assert_eq!(answer(end, "R. seq=1 ttl=3"), line);
    }

    #[test]
    fn datagrams_echoes_and_errors() {
        let udp = "udp 10.1.0.5:4000 > 10.99.0.1:53 len=8";
        assert_eq!(answer(udp, "len=3"), "udp 10.99.0.1:53 > 10.1.0.5:4000 len=3 ttl=64");
        assert_eq!(
            answer(udp, "unreachable code=port"),
            "icmp 10.99.0.1 > 10.1.0.5 unreachable code=port \
             about=(udp 10.1.0.5:4000 > 10.99.0.1:53 len=8 ttl=64) ttl=64"
        );
        let echo = "icmp fd01::5 > fd99::4 echo id=7 seq=2 len=3";
        assert_eq!(answer(echo, ""), "icmp fd99::4 > fd01::5 reply id=7 seq=2 len=3 ttl=64");
    }

    #[test]
    fn what_has_no_answer_is_refused() {
        assert!(answer("ip 10.1.0.5 > 10.99.0.1 proto=47", "").contains("only TCP"));
        assert!(answer("udp 10.1.0.5:1 > 10.99.0.1:2", "S").contains("does not know S"));
    }
}
