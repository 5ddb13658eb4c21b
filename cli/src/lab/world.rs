//! All nodes of a lab, brought up.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netstack::dev::{Interface, Namespace, Tun};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::message::How;
use super::node::{Node, State};
use super::up::LabError;
use crate::config::model::{self, Config, Run};
use crate::plan::{OpenError, Plan};

/// The device of every node, in its own namespace.
pub(super) const DEVICE: &str = "eth0";
/// How long nodes may take until they run.
const PATIENCE: Duration = Duration::from_secs(10);
/// A command that fails is mostly wrong, and fails at once.
const FIRST_STEPS: Duration = Duration::from_millis(200);
/// Lines that are repeated of what a failed command printed.
const LAST_LINES: usize = 10;

/// Nodes with their devices. Dropping it ends them all.
#[derive(Debug)]
pub struct World {
    /// What the lab is made of.
    pub(super) lab: model::Lab,
    pub(super) nodes: Vec<Arc<Node>>,
    /// The leg of the first node; the others follow.
    pub(super) first_leg: usize,
    /// The user namespace that all of it belongs to is one of our own.
    pub(super) rootless: bool,
    /// Fixes the chances of links that become impaired later.
    pub(super) seed: u64,
    /// Nodes whose state has changed.
    pub(super) changes: Option<UnboundedReceiver<usize>>,
}

impl World {
    /// Makes namespaces, devices and processes, and waits until all nodes run.
    pub(super) fn make(
        config: &Config,
        lab: &model::Lab,
        plan: &mut Plan,
        (folder, rootless): (&Path, bool),
    ) -> Result<(Self, Vec<Interface>), LabError> {
        let mut tuns = Vec::new();
        let mut nodes = Vec::new();
        let first_leg = config.legs.len() - lab.nodes.len();
        let (changed, changes) = unbounded_channel();
        for (leg, device) in config.legs.iter().zip(&mut plan.legs) {
            let open = |source| LabError::Open { node: leg.name.value.clone(), source };
            let Some((index, node)) = leg.node.and_then(|i| Some((i, lab.nodes.get(i)?))) else {
                tuns.push(device.open().map_err(open)?);
                continue;
            };
            let namespace = Namespace::create().map_err(|e| open(OpenError::Namespace(e)))?;
            DEVICE.clone_into(&mut device.tun.name);
            device.tun.addresses = node.addresses.iter().map(|a| (a.address, a.length)).collect();
            let queues = Tun::open_in(&namespace, &device.tun);
            tuns.push(queues.map_err(|e| open(OpenError::Tun(e)))?.remove(0).into());
            let name = node.name.value.as_str();
            let changed = (index, changed.clone());
            let node = Node::start(name, namespace, folder, changed)
                .map_err(|source| LabError::Process { node: name.into(), source })?;
            nodes.push(Arc::new(node));
        }
        let mut world = Self {
            lab: lab.clone(),
            nodes,
            first_leg,
            rootless,
            seed: plan.engine.seed,
            changes: Some(changes),
        };
        world.start()?;
        Ok((world, tuns))
    }

    fn start(&mut self) -> Result<(), LabError> {
        for (node, config) in self.nodes.iter().zip(&self.lab.nodes) {
            node.run_own(config)
                .map_err(|source| LabError::Process { node: node.name.clone(), source })?;
        }
        let is_command = |node: &model::Node| matches!(node.run, Some(Run::Command(_)));
        let commands = self.lab.nodes.iter().any(is_command);
        let mut deadline = Instant::now() + PATIENCE;
        let mut settled = false;
        while Instant::now() < deadline {
            if let Some(why) = self.failure() {
                return Err(LabError::Node(why));
            }
            let starting = self.nodes.iter().any(|node| matches!(node.state(), State::Starting));
            if !starting && !settled {
                settled = true;
                deadline = Instant::now() + if commands { FIRST_STEPS } else { Duration::ZERO };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        match self.nodes.iter().find(|node| matches!(node.state(), State::Starting)) {
            Some(node) => Err(LabError::Node(format!("node `{}` does not start", node.name))),
            None => Ok(()),
        }
    }

    /// The first node whose own command or server has failed: which, how, and its last words.
    pub(super) fn failure(&self) -> Option<String> {
        self.nodes.iter().zip(&self.lab.nodes).find_map(|(node, config)| failure(node, config))
    }

    /// The node of that name.
    pub(super) fn node(&self, name: &str) -> Option<(usize, &Arc<Node>)> {
        self.nodes.iter().enumerate().find(|(_, node)| node.name == name)
    }
}

/// How a node's own command or server has failed, with its last words.
pub(super) fn failure(node: &Node, config: &model::Node) -> Option<String> {
    match node.state() {
        State::Failed(why) => Some(format!("node `{}`: {why}", node.name)),
        State::Ended(ended) if ended.how != How::Exit(0) => {
            let mut text = format!("node `{}`: `{}` {}", node.name, command(config), ended.how);
            for line in ended.last_lines(LAST_LINES) {
                text.push_str("\n  | ");
                text.push_str(line);
            }
            Some(text)
        }
        _ => None,
    }
}

/// What a node runs, as it was written.
pub(super) fn command(node: &model::Node) -> String {
    use model::{Builtin, Site};
    match &node.run {
        None => String::new(),
        Some(Run::Command(argv)) => match &argv[..] {
            [shell, flag, script] if shell == "/bin/sh" && flag == "-c" => script.clone(),
            words => words.join(" "),
        },
        Some(Run::Builtin(Builtin::Http(Site { port, tls: None }))) => format!("http:{port}"),
        Some(Run::Builtin(Builtin::Http(Site { port, .. }))) => format!("https:{port}"),
        Some(Run::Builtin(Builtin::Echo(port))) => format!("echo:{port}"),
        Some(Run::Builtin(Builtin::Dns(port))) => format!("dns:{port}"),
    }
}

impl From<io::Error> for LabError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
