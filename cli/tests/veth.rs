//! `balun run` on veth pairs: kernel clients and a kernel server, with balun's own ARP and neighbour
//! discovery between them. It is docs/veth.md, tried.
//!
//! The namespaces and the pairs are the test's own. Where they are not to be had it says `SKIP`; with
//! `BALUN_REQUIRE_TUN=1` it fails instead.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use netstack::dev::Namespace;
use nix::libc::EHOSTUNREACH;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;

const CONFIG: &str = r#"
version = 1

[[leg]]
name    = "eth1"
kind    = "veth"
address = ["10.1.0.254/24", "fd01::fe/64"]

[[leg]]
name    = "eth2"
kind    = "veth"
address = ["10.2.0.254/24", "fd02::fe/64"]
routes  = ["10.20.0.0/16"]
gateway = "10.2.0.11"

[snat]
addresses = ["10.2.0.250", "fd02::250"]

[pool.web]
backend = [{ name = "web1", address = "10.2.0.11:8080" }]

[pool.web6]
backend = [{ name = "web1", address = "[fd02::11]:8080" }]

[pool.far]
backend = [{ name = "far", address = "10.20.0.1:8080" }]

[pool.gone]
backend = [{ name = "gone", address = "10.2.0.99:53" }]

[[service]]
name   = "nat"
listen = "tcp 10.1.0.100:80"
mode   = "nat"
pool   = "web"

[[service]]
name   = "nat6"
listen = "tcp [fd01::100]:80"
mode   = "nat"
pool   = "web6"

[[service]]
name   = "http"
listen = "tcp 10.1.0.101:80"
mode   = "http"
pool   = "web"

[[service]]
name   = "http6"
listen = "tcp [fd01::101]:80"
mode   = "http"
pool   = "web6"

[[service]]
name   = "far"
listen = "tcp 10.1.0.102:80"
mode   = "nat"
pool   = "far"

[[service]]
name   = "gone"
listen = "udp 10.1.0.100:53"
mode   = "nat"
pool   = "gone"
"#;

/// Enough for super-packets, and for many turns of the receive buffer.
const BODY: usize = 20_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `ip` with these words.
fn ip(namespace: &Namespace, words: &str) -> Result<String, String> {
    let run = || Command::new("ip").args(words.split(' ')).env_clear().output();
    let output = namespace.run(run).map_err(|e| e.to_string())?.map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

struct Network {
    client: Namespace,
    balancer: Namespace,
    server: Namespace,
}

/// The three namespaces and two pairs, or why they are not to be had.
fn network() -> Result<Network, String> {
    let make = || Namespace::create().map_err(|e| e.to_string());
    let network = Network { client: make()?, balancer: make()?, server: make()? };
    let Network { client, balancer, server } = &network;
    for (name, end, number) in [("eth1", client, 1), ("eth2", server, 2)] {
        let peer = end.path();
        let pair = format!("link add {name} type veth peer name eth0 netns {}", peer.display());
        ip(balancer, &pair)?;
        let host = if number == 1 { "5" } else { "11" };
        ip(end, &format!("address add 10.{number}.0.{host}/24 dev eth0"))?;
        ip(end, &format!("address add fd0{number}::{host}/64 dev eth0 nodad"))?;
        ip(end, "link set eth0 up")?;
    }
    ip(server, "address add 10.20.0.1/32 dev lo")?;
    Ok(network)
}

fn body() -> impl Iterator<Item = u8> {
    (0..BODY).map(|i| (i % 251) as u8)
}

/// Answers each connection's first request with the body, until the process ends.
fn serve(listener: &TcpListener) {
    let body: Vec<_> = body().collect();
    for stream in listener.incoming() {
        let mut stream = BufReader::new(stream.unwrap());
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
            line.clear();
        }
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\nConnection: close\r\n\r\n");
        let mut stream = stream.into_inner();
        // A client that has gone says so itself.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    }
}

/// Asks for the body, and compares every byte of it.
fn get(to: &str) {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream =
        TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|e| panic!("{to}: {e}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap_or_else(|e| panic!("{to}: {e}"));
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{to}");
    assert_eq!(answer.len() - head, BODY, "{to}");
    assert!(answer[head..].iter().copied().eq(body()), "{to}: another body");
}

/// Sends a datagram that nobody answers; the error that comes back.
fn ask_in_vain(to: &str) -> std::io::Error {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    setsockopt(&socket, sockopt::Ipv4RecvErr, &true).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"?").unwrap();
    socket.recv(&mut [0; 9]).unwrap_err()
}

/// Starts balun in its namespace, and waits until it runs.
fn start(namespace: &Namespace, folder: &std::path::Path) -> Child {
    std::fs::write(folder.join("balun.toml"), CONFIG).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_balun"));
    command.current_dir(folder).args(["run", "--config", "balun.toml"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    namespace.run(|| command.spawn()).unwrap().unwrap()
}

#[test]
fn veth_pairs_carry_a_balancer_that_the_kernel_knows_nothing_of() {
    let Network { client, balancer, server } = match network() {
        Ok(network) => network,
        Err(why) => {
            let required = std::env::var_os("BALUN_REQUIRE_TUN").is_some_and(|value| value == "1");
            assert!(!required, "namespaces and veth pairs are required: {why}");
            eprintln!("SKIP {why}");
            return;
        }
    };
    let listener = server.run(|| TcpListener::bind("[::]:8080").unwrap()).unwrap();
    // Ends with the process.
    std::thread::spawn(move || serve(&listener));
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(&balancer, folder.path());
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("running;") {
        assert!(said.read_line(&mut text).unwrap() > 0, "it ended: {text}");
    }

    client
        .run(|| {
            for to in ["10.1.0.100:80", "[fd01::100]:80", "10.1.0.101:80", "[fd01::101]:80"] {
                get(to);
            }
            // Beyond the link, by the gateway.
            get("10.1.0.102:80");
            assert_eq!(ask_in_vain("10.1.0.100:53").raw_os_error(), Some(EHOSTUNREACH));
        })
        .unwrap();
    // All addresses of balun's are at the one interface, that of the leg itself among them.
    let link = ip(&balancer, "-br link show eth1").unwrap();
    let mac = link.split_whitespace().nth(2).unwrap();
    for address in ["10.1.0.100", "10.1.0.101", "fd01::100"] {
        let known = ip(&client, &format!("neigh show {address}")).unwrap();
        assert!(known.contains(mac), "{address} is not at {mac}: {known}");
    }
    let ping = |to: &str| {
        let ping = || Command::new("ping").args(["-c", "1", "-W", "5", to]).output();
        // Not every machine has it.
        client.run(ping).unwrap().map_or(true, |output| output.status.success())
    };
    assert!(ping("10.1.0.254") && ping("fd01::fe"), "the leg itself does not answer");
    // A frame with a tag is for nobody here.
    let tagged = ip(&client, "link add link eth0 name eth0.5 type vlan id 5")
        .and_then(|_| ip(&client, "address add 10.5.0.5/24 dev eth0.5"))
        .and_then(|_| ip(&client, "link set eth0.5 up"))
        .inspect_err(|why| eprintln!("SKIP tagged frames: {why}"));
    if tagged.is_ok() {
        let send = || UdpSocket::bind("10.5.0.5:0").unwrap().send_to(b"?", "10.5.0.6:9").unwrap();
        client.run(send).unwrap();
        // A whole conversation later it has surely come.
        client.run(|| get("10.1.0.100:80")).unwrap();
    }

    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    said.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(text.contains("leg      eth1, by Ethernet, mtu 1500"), "{text}");
    assert!(text.contains("ethernet eth1  asked for"), "{text}");
    assert!(text.contains("no-neighbor"), "{text}");
    assert_eq!(text.contains("vlan-tag"), tagged.is_ok(), "{text}");
}
