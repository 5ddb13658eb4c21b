//! Four namespaces: a client, two servers and, between them, the balancer.
//!
//! ```text
//!  client 10.1.0.5/24 ─── 10.1.0.1 ┐                ┌ 10.2.1.1 ─── 10.2.1.2/24 web1
//!                                  ├──── lb ────────┤
//!  VIPs 10.99.0.1 (layer 4)        ┘                └ 10.2.2.1 ─── 10.2.2.2/24 web2
//!       10.99.0.2 (layer 7)
//! ```
//!
//! The lines are veth pairs, or TUNs that balun makes. An interface is made inside its namespace,
//! never in ours, so the machine's own network sees none of it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Failure;
use super::children::wait_until;
use super::tools::Tool;

pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
/// The servers, in the order of their namespaces.
pub(super) const WEB: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 2, 1, 2), Ipv4Addr::new(10, 2, 2, 2)];
/// The virtual address of layer 4 balancers.
pub(super) const VIP_L4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The virtual address of layer 7 balancers.
pub(super) const VIP_L7: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// The web service, on VIPs and servers.
pub(super) const WEB_PORT: u16 = 80;
/// The web service within TLS, on the VIP of layer 7.
pub(super) const SECURE_PORT: u16 = 443;
/// iperf3, on VIPs and on the first server.
pub(super) const STREAM_PORT: u16 = 5201;

const PREFIX: &str = "balun-cmp-";
const NAMESPACES: &str = "/run/netns";
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// A namespace of the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Client,
    Balancer,
    Web1,
    Web2,
}

impl Node {
    const ALL: [Self; 4] = [Self::Client, Self::Balancer, Self::Web1, Self::Web2];

    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Balancer => "lb",
            Self::Web1 => "web1",
            Self::Web2 => "web2",
        }
    }
}

/// The namespaces; they and all that runs in them end when this is dropped.
#[derive(Debug)]
pub(super) struct Topology {
    pid: u32,
}

impl Topology {
    /// Makes the namespaces, with nothing between them yet.
    pub(super) fn create() -> Result<Self, Failure> {
        // Owned before the first is made: half a topology is removed like a whole one.
        let topology = Self { pid: process::id() };
        for node in Node::ALL {
            ip(&["netns", "add", &topology.namespace(node)])?;
            topology.ip(node, &["link", "set", "lo", "up"])?;
            topology.within(node, settle)??;
        }
        Ok(topology)
    }

    /// Joins the namespaces with veth pairs, with the balancer's as their router.
    pub(super) fn join_by_veth(&self) -> Result<(), Failure> {
        self.veth(Node::Client, CLIENT, Ipv4Addr::new(10, 1, 0, 1))?;
        self.veth(Node::Web1, WEB[0], Ipv4Addr::new(10, 2, 1, 1))?;
        self.veth(Node::Web2, WEB[1], Ipv4Addr::new(10, 2, 2, 1))?;
        self.within(Node::Balancer, || set("ipv4/ip_forward", "1"))?
    }

    /// The namespace's name, as `ip netns` knows it.
    pub(super) fn namespace(&self, node: Node) -> String {
        format!("{PREFIX}{}-{}", self.pid, node.name())
    }

    /// A command that runs `program` in the namespace and dies with this process.
    pub(super) fn command(&self, node: Node, program: impl AsRef<Path>) -> Command {
        // Both wrappers exec: the process that is started is the program itself. The wish to die
        // with the parent is bound to the parent's thread, so all children are started by the main.
        let mut command = Command::new(path_of(Tool::Setpriv));
        command.args(["--pdeathsig", "KILL", "--"]);
        command.arg(path_of(Tool::Ip)).args(["netns", "exec"]).arg(self.namespace(node));
        command.arg(program.as_ref());
        command
    }

    /// A command that runs `tool` in the namespace.
    pub(super) fn tool(&self, node: Node, tool: Tool) -> Command {
        self.command(node, path_of(tool))
    }

    /// Runs `ip` for the namespace.
    pub(super) fn ip(&self, node: Node, arguments: &[&str]) -> Result<String, Failure> {
        let namespace = self.namespace(node);
        ip(&[&["-n", &namespace], arguments].concat())
    }

    /// Runs `work` on a thread inside the namespace.
    ///
    /// `work` must not start processes: they would die with that thread.
    pub(super) fn within<T: Send>(
        &self,
        node: Node,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, Failure> {
        let path = Path::new(NAMESPACES).join(self.namespace(node));
        let failed = |error: &dyn std::fmt::Display| {
            Failure::because(format!("{}: {error}", path.display()))
        };
        let namespace = File::open(&path).map_err(|error| failed(&error))?;
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|error| failed(&error))?;
                Ok(work())
            });
            thread.join().unwrap_or_else(|_| Err(failed(&"a thread in it panicked")))
        })
    }

    /// Waits until something listens on `port` in the namespace, without touching it.
    pub(super) fn wait_for_listener(
        &self,
        node: Node,
        port: u16,
        mut alive: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let what = format!("nothing listens on port {port}");
        wait_until(&what, COMMAND_LIMIT, || {
            alive()?;
            self.within(node, || {
                // The thread's own: `/proc/net` is the view of the process's main thread.
                ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"].iter().any(|table| {
                    fs::read_to_string(table).is_ok_and(|text| has_listener(&text, port))
                })
            })
        })
    }

    fn veth(&self, node: Node, inner: Ipv4Addr, router: Ipv4Addr) -> Result<(), Failure> {
        let balancer = self.namespace(Node::Balancer);
        let (inner, outer) = (format!("{inner}/24"), format!("{router}/24"));
        let name = node.name();
        self.ip(
            node,
            &["link", "add", "up0", "type", "veth", "peer", "name", name, "netns", &balancer],
        )?;
        self.ip(Node::Balancer, &["address", "add", &outer, "dev", name])?;
        self.ip(Node::Balancer, &["link", "set", name, "up"])?;
        self.ip(node, &["address", "add", &inner, "dev", "up0"])?;
        self.ip(node, &["link", "set", "up0", "up"])?;
        self.ip(node, &["route", "add", "default", "via", &router.to_string()])?;
        Ok(())
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        for node in Node::ALL {
            remove(&self.namespace(node));
        }
    }
}

/// Removes what a run left that was killed: namespaces and directories named by a process that is
/// no more.
pub(super) fn sweep() {
    let left = |folder: &Path| -> Vec<String> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| owner(name).is_some_and(|pid| !is_running(pid))).collect()
    };
    for namespace in left(Path::new(NAMESPACES)) {
        remove(&namespace);
    }
    let temporary = std::env::temp_dir();
    for name in left(&temporary) {
        let _ = fs::remove_dir_all(temporary.join(name));
    }
}

/// The process that a namespace or directory of ours is named by.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    let (pid, _) = rest.split_once('-').unwrap_or((rest, ""));
    pid.parse().ok()
}

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Kills what runs in a namespace and removes it; silent about one that is not there.
fn remove(namespace: &str) {
    if !Path::new(NAMESPACES).join(namespace).exists() {
        return;
    }
    let inside = ip(&["netns", "pids", namespace]).unwrap_or_default();
    for pid in inside.lines().filter_map(|line| line.trim().parse().ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    if let Err(Failure::Because(reason)) = ip(&["netns", "delete", namespace]) {
        eprintln!("warning: namespace {namespace} stays behind: {reason}");
    }
}

/// Settings that keep the client and the servers from being what is measured: enough ports for tens
/// of thousands of connections a second, and their reuse.
fn settle() -> Result<(), Failure> {
    set("ipv4/ip_local_port_range", "1024 65535")?;
    set("ipv4/tcp_tw_reuse", "1")?;
    set("core/somaxconn", "4096")
}

/// Writes a setting of the thread's namespace.
fn set(name: &str, value: &str) -> Result<(), Failure> {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).map_err(|error| Failure::because(format!("{path}: {error}")))
}

/// Runs `ip`. It takes milliseconds and is needed to clean up, so no interruption ends it.
fn ip(arguments: &[&str]) -> Result<String, Failure> {
    let shown = || format!("ip {}", arguments.join(" "));
    let output = Command::new(path_of(Tool::Ip))
        .args(arguments)
        .output()
        .map_err(|error| Failure::because(format!("{}: {error}", shown())))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Failure::because(format!("{}: {}", shown(), errors.trim().replace('\n', "; "))))
}

fn path_of(tool: Tool) -> std::path::PathBuf {
    tool.find().unwrap_or_else(|| tool.program().into())
}

/// True if `table`, in the format of `/proc/net/tcp`, has a socket in LISTEN on `port`.
fn has_listener(table: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        let local_port = local.and_then(|local| local.rsplit_once(':')).map(|(_, port)| port);
        state == Some(LISTEN)
            && local_port.and_then(|hex| u16::from_str_radix(hex, 16).ok()) == Some(port)
    })
}

/// Where a client finds a balancer's services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: Ipv4Addr,
}

impl Target {
    pub(super) const fn web(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, WEB_PORT)
    }

    /// The same within TLS.
    pub(super) const fn secure_web(self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, SECURE_PORT)
    }

    /// Where `path` is in clear text.
    pub(super) fn url(self, path: &str) -> String {
        format!("http://{}{path}", self.web())
    }

    /// Where it is within TLS.
    pub(super) fn secure_url(self, path: &str) -> String {
        format!("https://{}{path}", self.secure_web())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner("balun-cmp-4711-client"), Some(4711));
        assert_eq!(owner("balun-cmp-4711"), Some(4711));
        assert_eq!(owner("balun-cmp-client"), None);
        assert_eq!(owner("balun-4711-client"), None);
        assert!(is_running(process::id()));
    }

    #[test]
    fn listeners_are_found_in_the_kernel_table() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:1451 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 00000000000000000000000000000000:1452 00000000000000000000000000000000:0000 0A 0:0 0:0 0
";
        assert!(has_listener(table, 80));
        assert!(has_listener(table, 5202));
        assert!(!has_listener(table, 5201), "established is not listening");
        assert!(!has_listener("", 80));
    }
}
