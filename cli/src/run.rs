//! `balun run`: a plan, running until it is told to stop.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use nat::{Encapsulation, Mode, Nat};
use netstack::dev::pcapng::Run;
use tokio::signal::unix::{SignalKind, signal};

use crate::access_log::AccessLogs;
use crate::capture::Tapped as _;
use crate::control::{Instance, Server};
use crate::plan::{OpenError, Plan, Protocol};
use crate::reload;
use crate::runtime::{Clock, Runtime};
use crate::summary::{self, Summary};

/// Why it did not start, or did not go on.
#[derive(Debug)]
pub enum RunError {
    /// A leg could not be opened.
    Open {
        /// Its device.
        leg: String,
        /// What could not be done.
        source: OpenError,
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
    /// The plan contradicts itself.
    Config(nat::ConfigError),
    /// The control socket.
    Control {
        /// Where it should be.
        path: PathBuf,
        /// Why it is not.
        source: io::Error,
    },
    /// A device is gone, or the runtime could not be made.
    Io(io::Error),
}

impl RunError {
    /// True if the machine does not allow it, whatever the configuration says.
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.is_environment())
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { leg, source } => write!(f, "leg `{leg}` cannot be opened: {source}"),
            Self::Capture { path, source } => write!(
                f,
                "the capture `{}` cannot be written: {source}\n\
                 fix: make its folder, or change `path` or `folder` in [capture]",
                path.display()
            ),
            Self::AccessLog { path, source } => write!(
                f,
                "the access log `{}` cannot be written: {source}\n\
                 fix: make its folder, or change `path` in `access-log`",
                path.display()
            ),
            Self::Config(error) => error.fmt(f),
            Self::Control { path, source } => {
                write!(f, "cannot take commands at `{}`: {source}", path.display())
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs `plan` until SIGINT, SIGTERM or a command at the socket `control`; says on `talk` what it does.
///
/// # Errors
/// [`RunError`]; nothing is left behind.
pub fn run(mut plan: Plan, control: Option<&Path>, talk: &mut impl Write) -> Result<(), RunError> {
    let tuns = plan
        .legs
        .iter()
        .map(|leg| {
            let open = leg.open();
            open.map_err(|source| RunError::Open { leg: leg.tun.name.clone(), source })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Io)?;
    runtime.block_on(async {
        // Before the first word is said, so that a signal sent at it is not lost.
        let stop = stop_signal().map_err(RunError::Io)?;
        let server = control.map(|path| {
            let bound = Server::bind(path);
            bound.map_err(|source| RunError::Control { path: path.into(), source })
        });
        let server = server.transpose()?;
        // Nobody listening is no reason to stop.
        let _ = announce(talk, &plan);
        if let Some(path) = control {
            let _ = writeln!(talk, "control  {}", path.display());
        }
        let _ = writeln!(talk, "running; Ctrl-C stops it");
        let names: Vec<_> = plan.legs.iter().map(|leg| leg.tun.name.clone()).collect();
        let services = plan.engine.services.clone();
        let legs = plan.open_legs(tuns).map_err(RunError::Io)?;
        let (capture, seed) = (plan.capture.take(), plan.engine.seed);
        let written = plan.written.take();
        let logs = AccessLogs::open(&mut plan);
        let logs = logs.map_err(|(path, source)| RunError::AccessLog { path, source })?;
        let config = capture.as_ref().map(|capture| capture.config.clone()).unwrap_or_default();
        let origin = Run { seed, config };
        reload::start(&plan).map_err(RunError::Io)?;
        let (balancer, stats) = plan.assemble().map_err(RunError::Config)?;
        let caches = balancer.divert.caches().map(Rc::clone);
        if let Some(caches) = &caches {
            caches.set_wall(wall_clock());
        }
        let mut runtime = Runtime::new(balancer, legs, Clock::start());
        if let Some(capture) = capture {
            let begun = capture.begin(names.clone(), seed, wall_clock(), &mut runtime);
            begun.map_err(|(path, source)| RunError::Capture { path, source })?;
        }
        let stop = logs.until(stop).map_err(RunError::Io)?;
        let mut instance = Instance::new(server, names).with_run(origin).with_written(written);
        let result = runtime.run_attended(stop, &mut instance).await;
        let captured = runtime.end_taps();
        let legs: Vec<_> = instance.legs().iter().zip(runtime.leg_stats().copied()).collect();
        let engine = &runtime.balancer_mut().engine;
        let summary = Summary {
            legs: &legs,
            stats: engine.stats(),
            pools: engine.pools(),
            services: &services,
            applications: &stats,
        };
        let _ = summary.write(talk);
        let _ = caches.map_or(Ok(()), |caches| summary::caches(talk, &caches));
        for (name, leg) in instance.legs().iter().zip(runtime.legs()) {
            let _ = leg.edge().map_or(Ok(()), |edge| summary::ethernet(talk, name, edge));
        }
        for report in captured {
            let _ = writeln!(talk, "capture  {report}");
        }
        logs.finish_after((runtime, stats), talk);
        result.map_err(RunError::Io)
    })
}

/// The time now, from the Unix epoch.
pub(crate) fn wall_clock() -> Duration {
    // A clock before 1970 is wrong anyway.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Says what a plan would run.
///
/// # Errors
/// The writer's.
pub fn announce(talk: &mut impl Write, plan: &Plan) -> io::Result<()> {
    for leg in &plan.legs {
        let place = leg.netns.as_ref().map_or(String::new(), |name| format!(" in {name}"));
        let kind = if leg.ethernet.is_some() { ", by Ethernet" } else { "" };
        writeln!(talk, "leg      {}{place}{kind}, mtu {}", leg.tun.name, leg.tun.mtu)?;
    }
    if let Some(capture) = &plan.capture {
        if let Some(path) = &capture.path {
            let kind = if capture.options.ring.is_some() { "ring " } else { "" };
            writeln!(talk, "capture  {kind}{}", path.display())?;
        }
        if let Some(requests) = &capture.requests {
            let keys = if requests.keys { ", with the secrets of their TLS" } else { "" };
            writeln!(talk, "capture  requests in {}{keys}", requests.folder.display())?;
        }
    }
    for (service, application) in plan.engine.services.iter().zip(&plan.applications) {
        let mode = match (service.mode, application.as_ref().map(|a| &a.protocol)) {
            (Mode::Nat(Nat::Full), _) => "nat, full",
            (Mode::Nat(Nat::Dnat), _) => "nat, dnat",
            (Mode::Nat(Nat::Tunnel(Encapsulation::Ipip)), _) => "nat, tunnel by IP in IP",
            (Mode::Nat(Nat::Tunnel(Encapsulation::Gue { .. })), _) => "nat, tunnel by GUE",
            (Mode::Divert, Some(Protocol::Http(_, Some(_)))) => "http, with TLS",
            (Mode::Divert, Some(Protocol::Http(_, None))) => "http",
            (Mode::Divert, Some(Protocol::Tcp(tcp))) if !tcp.sni.is_empty() => {
                "tcp, by server name"
            }
            (Mode::Divert, _) => "tcp",
        };
        let pool = plan.engine.pools.get(usize::from(service.pool.0));
        let (pool, backends) = pool.map_or(("", 0), |p| (&p.name, p.backends.len()));
        let name = &service.name;
        let listens: Vec<_> = service.listens.iter().map(ToString::to_string).collect();
        let listens = listens.join(", ");
        writeln!(talk, "service  {name}  {listens}  {mode}, pool {pool} of {backends}")?;
        if let Some(Protocol::Http(_, Some(tls))) = application.as_ref().map(|a| &a.protocol)
            && let Some(key_log) = &tls.key_log
        {
            tracing::warn!(
                "whoever reads the key log can read what clients of `{name}` send and get"
            );
            writeln!(talk, "keys     {name}  written to {key_log}")?;
        }
    }
    talk.flush()
}
