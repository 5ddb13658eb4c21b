//! The demo on real TUNs in private namespaces.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use netstack::LegId;
use netstack::dev::netns::NamespaceError;
use netstack::dev::{Interface, Namespace};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::options::Options;
use super::report::{Outcome, Report, SharedTally};
use super::simulated::clients;
use super::topology::{self, BACKEND_PORT, VIP_L4, VIP_L7, backend_address, backend_name};
use super::{DemoError, record};
use crate::capture::Tapped as _;
use crate::lab::client::{Kernel, run as run_client};
use crate::lab::farm::{Farm, Site};
use crate::plan::Plan;
use crate::run::wall_clock;
use crate::runtime::{Clock, Leg, Runtime};

/// Clients of each service that run side by side.
pub(super) const CLIENTS_PER_SERVICE: usize = 4;

/// Shows the demo on kernel sockets in private namespaces. The process must be allowed to make them:
/// as root, or in a user namespace of its own. Every packet is written to the capture `record`, if there
/// is one.
///
/// # Errors
/// [`DemoError::Environment`] if the machine forbids it.
pub fn run(
    options: Options,
    record: Option<&Path>,
    out: &mut impl Write,
) -> Result<Outcome, DemoError> {
    let world = World::make(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| DemoError::Failed(format!("no runtime: {e}")))?;
    runtime.block_on(show(world, options, record, out))
}

/// Namespaces, devices and servers.
struct World {
    client: Namespace,
    farm: Farm,
    plan: Plan,
    tuns: Vec<Interface>,
}

impl World {
    fn make(options: Options) -> Result<Self, DemoError> {
        let client = Namespace::create().map_err(|e| namespace(&e))?;
        let backends = (0..options.backends)
            .map(|_| Namespace::create().map_err(|e| namespace(&e)))
            .collect::<Result<Vec<_>, _>>()?;
        let netns: Vec<_> = std::iter::once(&client)
            .chain(&backends)
            .map(|namespace| Some(path_text(&namespace.path())))
            .collect();
        let plan = topology::plan(options.backends, options.seed, &netns);
        let tuns = plan
            .legs
            .iter()
            .map(|leg| leg.open().map_err(|e| DemoError::new(e.is_environment(), &e)))
            .collect::<Result<Vec<_>, _>>()?;
        let sites = (0..)
            .zip(backends)
            .map(|(i, namespace)| Site {
                name: backend_name(i),
                namespace,
                address: (backend_address(i), BACKEND_PORT).into(),
            })
            .collect();
        let farm = Farm::start(sites)
            .map_err(|e| DemoError::Failed(format!("cannot start the web servers: {e}")))?;
        Ok(Self { client, farm, plan, tuns })
    }
}

async fn show(
    world: World,
    options: Options,
    record: Option<&Path>,
    out: &mut impl Write,
) -> Result<Outcome, DemoError> {
    let failed = |e: io::Error| DemoError::Failed(e.to_string());
    let World { client, farm, plan, tuns } = world;
    let legs = (0..)
        .zip(tuns)
        .map(|(id, tun)| Leg::new(LegId(id), tun))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    let tap = record::start(&plan, record, wall_clock())?;
    let (balancer, _) = plan.assemble().map_err(|e| DemoError::Failed(e.to_string()))?;
    let mut runtime = Runtime::new(balancer, legs, Clock::start());
    // It is the only one.
    let _ = tap.map(|tap| runtime.add_tap(tap));

    let mut report = Report::start(options);
    let crowd = if options.hold {
        hold_text(out, &client).map_err(|e| DemoError::writing(&e))?;
        None
    } else {
        report.heading(out).map_err(|e| DemoError::writing(&e))?;
        Some(Crowd::start(&client, &report.tallies).map_err(failed)?)
    };
    // The writer's error ends the demo: nobody is reading any more.
    let mut watched = Ok(Watched::ToTheEnd);
    let watching = async { watched = watch(&mut report, &farm, options, out).await };
    runtime.run(watching).await.map_err(failed)?;
    drop(crowd);
    record::end(runtime.end_taps(), out)?;
    match watched.map_err(|e| DemoError::writing(&e))? {
        Watched::ToTheEnd => report
            .summary(out, runtime.balancer_mut().engine.stats())
            .map_err(|e| DemoError::writing(&e)),
        Watched::Interrupted if options.hold => Ok(Outcome::Good),
        Watched::Interrupted => Ok(Outcome::Interrupted),
    }
}

/// Writes a line a second and kills a backend in time, until the time is up.
async fn watch(
    report: &mut Report,
    farm: &Farm,
    options: Options,
    out: &mut impl Write,
) -> io::Result<Watched> {
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    if options.hold {
        return interrupted.await.map(|()| Watched::Interrupted);
    }
    let mut kill_at = options.kill_at();
    while report.elapsed() < options.length {
        let second = Duration::from_secs(report.elapsed().as_secs() + 1).min(options.length);
        let next = kill_at.map_or(second, |kill| kill.min(second));
        let pause = tokio::time::sleep(next.saturating_sub(report.elapsed()));
        tokio::select! {
            biased;
            result = &mut interrupted => return result.map(|()| Watched::Interrupted),
            () = pause => {}
        }
        if kill_at.is_some_and(|kill| kill <= report.elapsed()) {
            kill_at = None;
            writeln!(out, "       web1 is killed")?;
            farm.kill(0);
        }
        if report.elapsed() >= second {
            report.tick(out)?;
        }
    }
    Ok(Watched::ToTheEnd)
}

/// How the watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    ToTheEnd,
    Interrupted,
}

/// The thread that the clients run on, in their namespace. Dropping it ends them.
struct Crowd {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), NamespaceError>>>,
}

impl Crowd {
    fn start(client: &Namespace, tallies: &[SharedTally; 2]) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let tallies = tallies.clone();
        let thread = client.spawn_thread("clients", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            let tasks = LocalSet::new();
            for (plan, tally) in clients().into_iter().zip(&tallies) {
                for _ in 0..CLIENTS_PER_SERVICE {
                    tasks.spawn_local(run_client(Kernel, plan.clone(), Arc::clone(tally)));
                }
            }
            tasks.block_on(&runtime, async {
                // An error means that the sender is gone, which is the end too.
                let _ = stopped.await;
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hold_text(out: &mut impl Write, client: &Namespace) -> io::Result<()> {
    let enter = format!("nsenter --net={}", client.path().display());
    writeln!(out, "\nbalun is up. In another terminal, in the client's namespace:\n")?;
    writeln!(out, "  {enter} curl -s http://{}/     # L4: a backend a connection", VIP_L4.ip())?;
    writeln!(out, "  {enter} curl -s http://{}/     # L7: a backend a request", VIP_L7.ip())?;
    writeln!(out, "  {enter} curl -s http://{}/bytes/1000000 | wc -c", VIP_L7.ip())?;
    writeln!(out, "  {enter} ping -c 3 {}", VIP_L4.ip())?;
    writeln!(out, "\nCtrl-C ends it and leaves nothing behind.")?;
    out.flush()
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn namespace(error: &NamespaceError) -> DemoError {
    DemoError::new(error.is_environment(), error)
}
