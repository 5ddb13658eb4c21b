//! A flood of SYNs: cookies beyond the limit of half-open connections.

use super::*;
use crate::packet::Packet;
use crate::wire::text::{self, Line};
use crate::wire::{Headers, Tcp, checksum};

/// An endpoint that remembers no half-open connection: every SYN is beyond the limit.
fn flooded() -> Bench {
    Bench::new(EndpointConfig { max_half_open: 0, ..EndpointConfig::new(SEED) })
}

/// An endpoint to which packets are written as lines.
struct Bench {
    endpoint: Endpoint,
    now: Instant,
}

/// What was sent: the line without its sequence number, and that.
type Sent = (String, u32);

impl Bench {
    fn new(config: EndpointConfig) -> Self {
        Self { endpoint: Endpoint::new(config), now: at(1_000) }
    }

    fn put(&mut self, line: &str) -> TcpVerdict {
        let packet = text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)));
        let headers = Headers::parse(&packet).unwrap();
        self.endpoint.handle_packet(self.now, &packet, &headers, 9)
    }

    fn sent(&mut self) -> Vec<Sent> {
        let (mut packet, mut sent) = (Packet::with_capacity(0), Vec::new());
        while self.endpoint.poll_transmit(self.now, &mut packet) {
            checksum::complete(&mut packet);
            let headers = Headers::parse(&packet).unwrap();
            assert!(checksum::verify_transport(&packet, &headers));
            let seq = Tcp::new_checked(&packet.data()[headers.l4()..]).unwrap().seq();
            let line = Line::of(&packet).to_string();
            sent.push((line.replace(&format!(" seq={seq}"), ""), seq));
        }
        sent
    }

    fn one(&mut self) -> Sent {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Puts a SYN with these options; gives the cookie.
    fn cookie(&mut self, client: &str, options: &str) -> u32 {
        assert_eq!(
            self.put(&format!("tcp {client} > {SERVER} S seq=99 {options}")),
            TcpVerdict::Cookie
        );
        self.one().1
    }

    /// Puts the acknowledgment of a cookie.
    fn acknowledge(&mut self, client: &str, cookie: u32, more: &str) -> TcpVerdict {
        let ack = cookie.wrapping_add(1);
        self.put(&format!("tcp {client} > {SERVER} . seq=100 ack={ack} {more}"))
    }
}

const SERVER: &str = "10.0.0.1:80";
const CLIENT: &str = "10.0.0.2:5000";
const USUAL: &str = "mss=1460 sackok nop ws=7";

#[test]
fn a_syn_beyond_the_limit_is_answered_as_any_other_and_forgotten() {
    let mut plain = Bench::new(EndpointConfig::new(SEED));
    let mut flooded = flooded();
    for options in ["", "mss=1460", "mss=1460 sackok", "mss=1400 ws=7", USUAL, "mss=1460 ts=7/0"] {
        let syn = format!("tcp {CLIENT} > {SERVER} S seq=99 {options}");
        assert_eq!(plain.put(&syn), TcpVerdict::Opened);
        assert_eq!(plain.put("tcp 10.0.0.2:5000 > 10.0.0.1:80 R seq=100"), TcpVerdict::Taken);
        assert_eq!(flooded.put(&syn), TcpVerdict::Cookie);
        let (line, _) = flooded.one();
        assert!(line.starts_with("tcp 10.0.0.1:80 > 10.0.0.2:5000 S. ack=100 "), "{line}");
        for word in ["sackok", "ws=", "ts="] {
            assert_eq!(line.contains(word), options.contains(word), "{options}: {line}");
        }
        assert!(line.contains("mss=1460"), "{line}");
    }
    let stats = flooded.endpoint.stats();
    assert_eq!(
        (stats.cookies_sent, stats.connections, stats.half_open, stats.opened),
        (6, 0, 0, 0)
    );
}

/// What the socket believes that it said in its SYN-ACK is what the cookie's SYN-ACK did say.
#[test]
fn the_window_and_its_scale_are_those_of_the_socket() {
    for receive_buffer in [2_048, 65_535, 65_536, 1_000_000, 1 << 22] {
        let config = EndpointConfig { receive_buffer, ..EndpointConfig::new(SEED) };
        let syn = format!("tcp {CLIENT} > {SERVER} S seq=99 {USUAL}");
        let mut plain = Bench::new(config.clone());
        plain.put(&syn);
        let mut flooded = Bench::new(EndpointConfig { max_half_open: 0, ..config });
        flooded.put(&syn);
        let words = |line: String| {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            words.retain(|word| word != "nop" && !word.starts_with("opt"));
            words.sort();
            words
        };
        assert_eq!(words(flooded.one().0), words(plain.one().0), "{receive_buffer}");
    }
}

#[test]
fn the_cookie_that_comes_back_makes_the_connection() {
    let mut bench = flooded();
    let cookie = bench.cookie(CLIENT, USUAL);
    assert_eq!(bench.acknowledge(CLIENT, cookie, "win=2 data=\"GET\""), TcpVerdict::Taken);
    let accepted = bench.endpoint.accept().expect("established");
    assert_eq!((accepted.remote, accepted.tag), (addr(CLIENT), 9));
    let mut buffer = [0; 9];
    assert_eq!(bench.endpoint.recv(accepted.id, &mut buffer), Ok(3), "its data counts");

    // The cookie has kept the window scale: two units are 256 bytes.
    bench.endpoint.send(accepted.id, &[7; 1_000]).unwrap();
    let (line, seq) = bench.one();
    assert!(line.contains("ack=103") && line.contains("len=256"), "{line}");
    assert_eq!(seq, cookie.wrapping_add(1));
    let stats = bench.endpoint.stats();
    assert_eq!((stats.opened, stats.accepted, stats.cookies_accepted), (1, 1, 1));
    assert_eq!((stats.half_open, stats.connections, stats.resets_sent), (0, 1, 0));
}

#[test]
fn the_cookie_has_kept_the_mss() {
    for (options, len) in [("mss=1400 ws=7", 1_400), ("mss=600", 536), ("", 536)] {
        let mut bench = flooded();
        let cookie = bench.cookie(CLIENT, options);
        bench.acknowledge(CLIENT, cookie, "win=60000");
        let id = bench.endpoint.accept().unwrap().id;
        bench.endpoint.send(id, &[7; 2_000]).unwrap();
        let (line, _) = bench.sent().remove(0);
        assert!(line.contains(&format!("gso={len}")), "{options}: {line}");
    }
}

#[test]
fn a_fin_may_come_with_the_cookie() {
    let mut bench = flooded();
    let ack = bench.cookie(CLIENT, USUAL).wrapping_add(1);
    let fin = format!("tcp {CLIENT} > {SERVER} F. seq=100 ack={ack} data=\"bye\"");
    assert_eq!(bench.put(&fin), TcpVerdict::Taken);
    let id = bench.endpoint.accept().unwrap().id;
    assert_eq!(bench.endpoint.state(id), State::CloseWait);
    assert!(bench.one().0.contains(". ack=104"));
    assert_eq!(bench.endpoint.recv(id, &mut [0; 9]), Ok(3));
    assert_eq!(bench.endpoint.recv(id, &mut [0; 9]), Ok(0));
}

#[test]
fn ipv6_has_cookies_too() {
    let mut bench = flooded();
    let (client, server) = ("[fd00::2]:5000", "[fd00::1]:80");
    let syn = format!("tcp {client} > {server} S seq=99 mss=1440 sackok");
    assert_eq!(bench.put(&syn), TcpVerdict::Cookie);
    let (line, cookie) = bench.one();
    assert!(line.contains("mss=1440"), "{line}");
    let ack = cookie.wrapping_add(1);
    let first = format!("tcp {client} > {server} . seq=100 ack={ack} data=\"hi\"");
    assert_eq!(bench.put(&first), TcpVerdict::Taken);
    assert_eq!(bench.endpoint.accept().unwrap().remote, addr(client));
}

#[test]
fn what_is_no_cookie_is_reset_and_in_peace_not_even_looked_at() {
    let mut bench = flooded();
    assert_eq!(bench.acknowledge(CLIENT, 12_345, ""), TcpVerdict::Reset);
    assert_eq!(bench.endpoint.stats().cookies_refused, 0, "none has been made");
    bench.sent();

    let cookie = bench.cookie(CLIENT, USUAL);
    for wrong in [cookie ^ 1, cookie.wrapping_add(1), cookie.wrapping_sub(1), cookie ^ 1 << 31] {
        assert_eq!(bench.acknowledge(CLIENT, wrong, ""), TcpVerdict::Reset);
    }
    assert_eq!(bench.acknowledge("10.0.0.2:5001", cookie, ""), TcpVerdict::Reset, "another's");
    assert_eq!(bench.endpoint.stats().cookies_refused, 5);
    assert_eq!(bench.endpoint.stats().connections, 0);
    assert!(bench.sent().iter().all(|(line, _)| line.contains(" R")));
    assert_eq!(bench.acknowledge(CLIENT, cookie, ""), TcpVerdict::Taken);
}

#[test]
fn a_cookie_is_good_for_a_minute_and_not_for_three() {
    let mut bench = flooded();
    let cookie = bench.cookie(CLIENT, USUAL);
    bench.now += Duration::from_mins(3);
    bench.cookie("10.0.0.3:5000", USUAL);
    assert_eq!(bench.acknowledge(CLIENT, cookie, ""), TcpVerdict::Reset);
    bench.sent();
    let cookie = bench.cookie(CLIENT, USUAL);
    bench.now += Duration::from_mins(1);
    assert_eq!(bench.acknowledge(CLIENT, cookie, ""), TcpVerdict::Taken);
}

#[test]
fn a_repeated_syn_gets_a_cookie_again_and_any_of_them_is_good() {
    let mut bench = flooded();
    let first = bench.cookie(CLIENT, USUAL);
    assert_eq!(bench.cookie(CLIENT, USUAL), first, "in the same period the same");
    bench.now += Duration::from_secs(64);
    assert_ne!(bench.cookie(CLIENT, USUAL), first);
    assert_eq!(bench.acknowledge(CLIENT, first, ""), TcpVerdict::Taken);
}

#[test]
fn where_a_cookie_will_not_do_the_syn_is_dropped() {
    let limit = TcpVerdict::Dropped(TcpDrop::HalfOpenLimit);
    let mut bench = flooded();
    assert_eq!(bench.put(&format!("tcp {CLIENT} > {SERVER} S seq=99 mss=215")), limit);

    // A tuple in TIME-WAIT, whose next number must be above those of the last connection.
    let cookie = bench.cookie(CLIENT, USUAL);
    bench.acknowledge(CLIENT, cookie, "");
    let id = bench.endpoint.accept().unwrap().id;
    bench.endpoint.close(id);
    bench.sent();
    let ack = cookie.wrapping_add(2);
    bench.put(&format!("tcp {CLIENT} > {SERVER} F. seq=100 ack={ack}"));
    assert_eq!(bench.endpoint.stats().time_wait, 1);
    assert_eq!(bench.put(&format!("tcp {CLIENT} > {SERVER} S seq=9999 mss=1460")), limit);
    assert_eq!(bench.endpoint.stats().syns_dropped, 2);
}

#[test]
fn a_cookie_does_not_lift_the_limit_of_connections() {
    let config =
        EndpointConfig { max_half_open: 0, max_connections: 1, ..EndpointConfig::new(SEED) };
    let mut bench = Bench::new(config);
    let others = "10.0.0.3:5000";
    let (one, two) = (bench.cookie(CLIENT, USUAL), bench.cookie(others, USUAL));
    assert_eq!(bench.acknowledge(CLIENT, one, ""), TcpVerdict::Taken);
    let full = TcpVerdict::Dropped(TcpDrop::ConnectionLimit);
    assert_eq!(bench.acknowledge(others, two, ""), full);
    assert_eq!(bench.put(&format!("tcp {others} > {SERVER} S seq=99")), full);
    assert_eq!(bench.sent(), [], "no reset: its next segment may find room");
    let id = bench.endpoint.accept().unwrap().id;
    bench.endpoint.abort(id);
    assert_eq!(bench.acknowledge(others, two, "data=\"again\""), TcpVerdict::Taken);
}

#[test]
fn in_a_flood_memory_stays_flows_go_on_and_a_new_client_gets_in() {
    let mut bench = Bench::new(EndpointConfig { max_half_open: 16, ..EndpointConfig::new(SEED) });
    let open = |bench: &mut Bench, client: &str| {
        assert_eq!(
            bench.put(&format!("tcp {client} > {SERVER} S seq=99 {USUAL}")),
            TcpVerdict::Opened
        );
        let seq = bench.one().1;
        bench.acknowledge(client, seq, "");
        (bench.endpoint.accept().unwrap().id, seq)
    };
    let (old, seq) = open(&mut bench, CLIENT);
    for spoofed in 0..20_000 {
        let source = format!("10.{}.{}.7:{}", 1 + spoofed / 250, spoofed % 250, 1_024 + spoofed);
        let verdict = bench.put(&format!("tcp {source} > {SERVER} S seq={spoofed} mss=1460"));
        let expected = if spoofed < 16 { TcpVerdict::Opened } else { TcpVerdict::Cookie };
        assert_eq!(verdict, expected);
        if spoofed % 1_000 == 0 {
            assert!(bench.sent().len() <= 1_016);
        }
    }
    bench.sent();
    let stats = bench.endpoint.stats();
    assert_eq!((stats.connections, stats.half_open, stats.replies_dropped), (17, 16, 0));

    assert_eq!(bench.acknowledge(CLIENT, seq, "data=\"still here\""), TcpVerdict::Taken);
    assert_eq!(bench.endpoint.recv(old, &mut [0; 99]), Ok(10));
    assert!(bench.one().0.contains("ack=110"));
    let client = "10.0.0.4:5000";
    let cookie = bench.cookie(client, USUAL);
    bench.acknowledge(client, cookie, "data=\"new\"");
    assert_eq!(bench.endpoint.accept().unwrap().remote, addr(client));
}

#[test]
fn a_segment_with_syn_or_rst_is_no_cookies_acknowledgment() {
    let mut bench = flooded();
    let ack = bench.cookie(CLIENT, USUAL).wrapping_add(1);
    for (flags, verdict) in [
        ("S.", TcpVerdict::Reset),
        ("R.", TcpVerdict::Dropped(TcpDrop::ResetOfNothing)),
        ("R", TcpVerdict::Dropped(TcpDrop::ResetOfNothing)),
    ] {
        let line = format!("tcp {CLIENT} > {SERVER} {flags} seq=100 ack={ack}");
        assert_eq!(bench.put(&line), verdict, "{flags}");
    }
    assert_eq!(bench.endpoint.stats().connections, 0);
}
