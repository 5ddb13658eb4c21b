//! The kernel's own NAT, fed packet by packet: nftables in a namespace between two TUNs.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use netstack::dev::{Device, Namespace, Received, Tun, TunConfig};
use netstack::{LegId, Packet};

use crate::bed::addr;
use crate::builder::line;

/// What marks the packet that closes a step: routed without translation, so that everything that the
/// step's packet caused has come out before it.
const MARK: &str = "udp 10.1.0.77:7 > 10.2.0.77:7 len=4";
const MARK_BEHIND: &str = "udp 10.1.0.77:7 > 10.2.0.77:7 len=4 ttl=63";
/// How long the kernel may take for one packet.
const PATIENCE: Duration = Duration::from_secs(5);

/// A router with NAT by the kernel: clients behind leg 0, backends behind leg 1.
#[derive(Debug)]
pub struct KernelNat {
    legs: [Tun; 2],
    /// Held open: it ends with the last of its descriptors.
    _namespace: Namespace,
}

impl KernelNat {
    /// A router with these nftables rules and these addresses of its own.
    ///
    /// # Errors
    /// What the machine lacks, in words.
    pub fn make(rules: &str, addresses: &[&str]) -> Result<Self, String> {
        let namespace = Namespace::create().map_err(|e| e.to_string())?;
        let leg = |number: u8, addresses: &[&str]| {
            let mut config = TunConfig::new(&format!("leg{number}"));
            config.addresses = addresses
                .iter()
                .map(|text| {
                    let address = IpAddr::from(addr(text));
                    (address, if address.is_ipv4() { 24 } else { 64 })
                })
                .collect();
            let mut queues = Tun::open_in(&namespace, &config).map_err(|e| e.to_string())?;
            queues.pop().ok_or("no queue".to_owned())
        };
        let clients = leg(0, &["10.1.0.254", "fd01::fe"])?;
        let backends = leg(1, &["10.2.0.254", "fd02::fe"])?;
        // Addresses of the router itself; which device holds them does not matter.
        let own = addresses.iter().map(|address| format!("address add {address} dev leg0\n"));
        let own: String = own.collect();
        namespace
            .run(|| {
                set("net/ipv4/ip_forward", "1")?;
                set("net/ipv6/conf/all/forwarding", "1")?;
                set("net/ipv4/conf/all/rp_filter", "0")?;
                // Errors are rationed by both, by rules of their own.
                set("net/ipv4/icmp_ratelimit", "0")?;
                set("net/ipv6/icmp/ratelimit", "0")?;
                feed("ip", &["-batch", "-"], &own)?;
                feed("nft", &["-f", "-"], rules)
            })
            .map_err(|e| e.to_string())??;
        Ok(Self { legs: [clients, backends], _namespace: namespace })
    }

    /// Sends a packet into a leg; what comes out, and by which.
    ///
    /// # Panics
    /// If the kernel lets nothing through any more.
    pub fn send(&mut self, leg: u16, packet: Packet) -> Vec<Packet> {
        self.transmit(leg, packet);
        self.transmit(0, crate::builder::packet(MARK));
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.receive(1) {
                Some(packet) if line(&packet) == MARK_BEHIND => break,
                Some(packet) => seen.push(packet),
                None => {
                    assert!(Instant::now() < deadline, "the kernel is silent");
                    std::thread::yield_now();
                }
            }
        }
        while let Some(packet) = self.receive(0) {
            seen.push(packet);
        }
        // What the kernel says of its own accord: neighbour and router discovery, multicast listeners.
        seen.retain(|packet| !is_multicast(packet));
        seen
    }

    fn transmit(&mut self, leg: u16, mut packet: Packet) {
        let sent = self.legs[usize::from(leg)].transmit(&mut packet);
        assert!(sent.is_ok(), "{sent:?}");
    }

    fn receive(&mut self, leg: u16) -> Option<Packet> {
        let mut packet = Packet::max_sized();
        match self.legs[usize::from(leg)].receive(&mut packet) {
            Ok(Received::Packet) => {
                packet.leg = LegId(leg);
                Some(packet)
            }
            Ok(Received::WouldBlock) => None,
            other => panic!("{other:?}"),
        }
    }
}

fn is_multicast(packet: &Packet) -> bool {
    packet.data()[0] >> 4 == 6 && packet.data()[24] == 0xff
}

fn set(key: &str, value: &str) -> Result<(), String> {
    fs::write(format!("/proc/sys/{key}"), value).map_err(|e| format!("{key}: {e}"))
}

/// Runs a program with this input, to its end.
fn feed(program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let told = |e: std::io::Error| format!("{program}: {e}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(told)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(told)?;
    }
    let output = child.wait_with_output().map_err(told)?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {error}")) }
}
