//! A lab that runs: packets, commands, expectations.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netstack::dev::Interface;
use netstack::dev::pcapng::Run;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::expect;
use super::node::Node;
use super::world::{World, failure};
use crate::access_log::AccessLogs;
use crate::capture::Tapped as _;
use crate::config::model::{self, Config};
use crate::control::{Instance, Server};
use crate::demo::climb;
use crate::plan::{OpenError, Plan};
use crate::reload;
use crate::run::{stop_signal, wall_clock};
use crate::runtime::{Clock, Leg, Runtime};

/// Why a lab did not come up, or did not stay up.
#[derive(Debug)]
pub enum LabError {
    /// The machine allows no namespaces or devices.
    Environment(String),
    /// Another lab of this name runs, or the socket cannot be made.
    Control {
        /// Where it should be.
        path: PathBuf,
        /// Why it is not.
        source: io::Error,
    },
    /// The device of a node, or of a leg.
    Open {
        /// Whose.
        node: String,
        /// What could not be done.
        source: OpenError,
    },
    /// The processes of a node.
    Process {
        /// Which.
        node: String,
        /// What could not be done.
        source: io::Error,
    },
    /// The capture could not be begun.
    Capture {
        /// Its file.
        path: PathBuf,
        /// What could not be done.
        source: io::Error,
    },
    /// An access log cannot be opened.
    AccessLog {
        /// Its file.
        path: PathBuf,
        /// What could not be done.
        source: io::Error,
    },
    /// What a node runs has failed.
    Node(String),
    /// The configuration contradicts itself.
    Config(nat::ConfigError),
    /// A device is gone, or the runtime could not be made.
    Io(io::Error),
}

impl LabError {
    fn access_log((path, source): (PathBuf, io::Error)) -> Self {
        Self::AccessLog { path, source }
    }

    /// True if the machine does not allow it, whatever the lab is.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Environment(_) => true,
            Self::Open { source, .. } => source.is_environment(),
            Self::Process { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(text) | Self::Node(text) => f.write_str(text),
            Self::Control { path, source } => {
                write!(f, "cannot take commands at `{}`: {source}", path.display())
            }
            Self::Open { node, source } => write!(f, "node `{node}` cannot be made: {source}"),
            Self::Process { node, source } => {
                write!(f, "node `{node}` cannot be given a PID namespace and its init: {source}")
            }
            Self::Capture { path, source } => {
                write!(f, "cannot capture to `{}`: {source}", path.display())
            }
            Self::AccessLog { path, source } => {
                write!(f, "cannot write the access log `{}`: {source}", path.display())
            }
            Self::Config(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LabError {}

/// How a lab is run.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The folder of the configuration file: where its commands run.
    pub folder: &'a Path,
    /// Where commands are taken, if they are.
    pub socket: Option<&'a Path>,
    /// Runs the lab's own expectations, then ends.
    pub check: bool,
}

/// How a lab ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was told to.
    Stopped,
    /// Its expectations were tried.
    Checked {
        /// Those that do not hold.
        failed: usize,
    },
    /// A signal came before all expectations were tried.
    Interrupted,
}

/// Has certificates watched from now on; legs over the nodes' devices.
fn begin(plan: &Plan, devices: Vec<Interface>) -> io::Result<Vec<Leg>> {
    reload::start(plan)?;
    plan.open_legs(devices)
}

/// Says on `talk` which nodes failed, as they do, and never ends.
async fn mourn(
    changes: Option<UnboundedReceiver<usize>>,
    nodes: &[Arc<Node>],
    lab: &model::Lab,
    talk: &mut impl Write,
) {
    let Some(mut changes) = changes else { return std::future::pending().await };
    while let Some(index) = changes.recv().await {
        let node = nodes.get(index).zip(lab.nodes.get(index));
        if let Some(text) = node.and_then(|(node, config)| failure(node, config)) {
            let _ = writeln!(talk, "{text}");
        }
    }
    std::future::pending::<()>().await;
}

/// Runs a lab. `ready` is called when all of it is up; data goes to `out`, talk to `talk`. Must be called
/// before the process starts a thread.
///
/// # Errors
/// [`LabError`]; nothing is left behind.
pub fn up(
    config: &Config,
    lab: &model::Lab,
    mut plan: Plan,
    options: Options<'_>,
    (mut out, talk): (impl Write + Send + 'static, &mut impl Write),
    ready: impl FnOnce(),
) -> Result<Outcome, LabError> {
    let how = climb().map_err(LabError::Environment)?;
    let rootless = how.starts_with("rootless");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = stop_signal()?;
        let server = options.socket.map(|path| {
            Server::bind(path).map_err(|source| LabError::Control { path: path.into(), source })
        });
        let server = server.transpose()?;
        let (mut world, tuns) = World::make(config, lab, &mut plan, (options.folder, rootless))?;
        let legs = begin(&plan, tuns)?;
        // Nobody listening is no reason to stop.
        let _ = announce(talk, config, lab, how);
        let (changes, nodes) = (world.changes.take(), world.nodes.clone());
        let names: Vec<_> = config.legs.iter().map(|leg| leg.name.value.clone()).collect();
        let run = Run { seed: plan.engine.seed, config: String::new() };
        let (capture, written) = (plan.capture.take(), plan.written.take());
        let logs = AccessLogs::open(&mut plan).map_err(LabError::access_log)?;
        let (balancer, _) = plan.assemble().map_err(LabError::Config)?;
        if let Some(caches) = balancer.divert.caches() {
            caches.set_wall(wall_clock());
        }
        let mut runtime = Runtime::new(balancer, legs, Clock::start());
        if let Some(capture) = capture {
            let begun = capture.begin(names.clone(), run.seed, wall_clock(), &mut runtime);
            begun.map_err(|(path, source)| LabError::Capture { path, source })?;
        }
        let mut instance = Instance::new(server, names).with_lab(world).with_run(run);
        instance = instance.with_written(written);
        ready();

        let (checked, mut check) = oneshot::channel();
        if options.check {
            let (lab, nodes) = (lab.clone(), nodes.clone());
            // Whoever asked may have been interrupted.
            let check = move || drop(checked.send(expect::try_all(&lab, &nodes, &mut out)));
            std::thread::Builder::new().name("expect".into()).spawn(check)?;
        }
        let mut outcome = Outcome::Stopped;
        let mut written = Ok(());
        let end = async {
            tokio::select! {
                biased;
                () = stop => {
                    if options.check {
                        outcome = Outcome::Interrupted;
                    }
                }
                Ok(result) = &mut check => match result {
                    Ok(failed) => outcome = Outcome::Checked { failed },
                    Err(error) => written = Err(error),
                },
                () = mourn(changes, &nodes, lab, talk) => {}
            }
        };
        let ran = runtime.run_attended(logs.until(end)?, &mut instance).await;
        for report in runtime.end_taps() {
            let _ = writeln!(talk, "capture  {report}");
        }
        logs.finish_after(runtime, talk);
        // The last of them, so that the lab is down when its socket is gone.
        drop(nodes);
        drop(instance);
        ran?;
        written?;
        Ok(outcome)
    })
}

/// Says what is up.
fn announce(talk: &mut impl Write, config: &Config, lab: &model::Lab, how: &str) -> io::Result<()> {
    let nodes = lab.nodes.len();
    writeln!(talk, "lab {}   {nodes} nodes, {how}", *lab.name)?;
    for node in &lab.nodes {
        let addresses: Vec<_> = node.ips().map(|ip| ip.to_string()).collect();
        let link = lab.link_to(node).map_or_else(String::new, super::graph::link_text);
        writeln!(
            talk,
            "  {:<12} {:<24} {:<14} {link}",
            *node.name,
            addresses.join(" "),
            super::world::command(node)
        )?;
    }
    for service in &config.services {
        let listens: Vec<_> = service.listens.iter().map(|listen| listen.to_string()).collect();
        writeln!(
            talk,
            "  vip {:<8} {}  {}",
            *service.name,
            listens.join(", "),
            service.mode.name()
        )?;
    }
    talk.flush()
}
