//! What a flow and a connection take at most: `limits.memory` counts on it. One test alone, for it
//! measures its process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::net::SocketAddr;

use nat::limits::FLOW_MEMORY;
use nat::{Mode, Nat};
use netstack::tcp::limits::CONNECTION_MEMORY;
use netstack::tcp::{Endpoint, EndpointConfig};
use netstack::wire::Headers;
use netstack::{Instant, LegId, Packet};
use tests::bed::{config, leg, service};
use tests::builder::packet;

const FLOWS: u64 = 150_000;
const CONNECTIONS: u64 = 2_000;

/// Bytes of memory that this process has touched; nothing if the machine does not tell.
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

/// Flows of as many clients, each with a port of the SNAT pool.
fn many_flows() -> u64 {
    let mut config = config();
    config.limits.flows = 2 * FLOWS as usize;
    config.legs[0] = leg(&["10.16.0.0/12"]);
    config.services = vec![service("udp 10.99.0.1:53", Mode::Nat(Nat::Full), 0)];
    let mut engine = nat::Engine::new(config).unwrap();
    let template = packet("udp 10.16.0.1:4000 > 10.99.0.1:53 len=10");
    let mut packet = Packet::with_capacity(0);
    let before = resident().unwrap();
    for client in 1..=FLOWS as u32 {
        packet.copy_from(&template);
        // Another source, and the checksum that goes with it: what is added to one word of the
        // pseudo-header is taken from the source port.
        let source = u32::from_be_bytes([10, 16, 0, 0]) + client;
        change_source(&mut packet, source);
        packet.leg = LegId(0);
        let _ = engine.handle_packet(Instant::from_secs(1), &mut packet);
    }
    assert_eq!(engine.flows().len() as u64, engine.stats().flows_opened);
    // A pool of one address and two backends has no more ports.
    let flows = engine.flows().len() as u64;
    assert!(flows > 100_000, "{flows}");
    (resident().unwrap() - before) / flows
}

fn change_source(packet: &mut Packet, source: u32) {
    let data = packet.data_mut();
    data[12..16].copy_from_slice(&source.to_be_bytes());
    // No UDP checksum; the header's own anew.
    data[26..28].fill(0);
    data[10..12].fill(0);
    let words = data[..20].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    data[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Established connections between two endpoints, idle.
fn many_connections() -> u64 {
    let end = |seed| Endpoint::new(EndpointConfig::new([seed, 1]));
    let (mut client, mut server) = (end(1), end(2));
    let now = Instant::from_secs(1);
    let (local, remote): (SocketAddr, SocketAddr) =
        (([10, 0, 0, 1], 0).into(), ([10, 0, 0, 2], 80).into());
    let mut packet = Packet::with_capacity(2_048);
    let before = resident().unwrap();
    for _ in 0..CONNECTIONS {
        client.connect(now, local, remote).unwrap();
        loop {
            let to = if client.poll_transmit(now, &mut packet) {
                &mut server
            } else if server.poll_transmit(now, &mut packet) {
                &mut client
            } else {
                break;
            };
            to.handle_packet(now, &packet, &Headers::parse(&packet).unwrap(), 0);
        }
        server.accept().unwrap();
    }
    assert_eq!(server.stats().accepted, CONNECTIONS);
    // Both ends of each are here.
    (resident().unwrap() - before) / (2 * CONNECTIONS)
}

#[test]
fn a_flow_and_a_connection_take_no_more_than_is_set_aside_for_them() {
    if resident().is_none() {
        eprintln!("skipped: this machine does not tell how much memory is in use");
        return;
    }
    let flow = many_flows();
    assert!((200..=FLOW_MEMORY).contains(&flow), "{flow} bytes a flow");
    let connection = many_connections();
    assert!((500..=CONNECTION_MEMORY).contains(&connection), "{connection} bytes a connection");
    println!("{flow} bytes a flow, {connection} a connection");
}
