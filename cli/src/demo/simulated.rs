//! The demo in memory: no rights needed, a virtual clock, the same outcome for the same seed.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nat::rng::derive;

use super::options::Options;
use super::report::{Outcome, Report};
use super::topology::{self, CLIENT, VIP_L4, VIP_L7, backend_address, backend_name};
use super::{DemoError, real, record};
use crate::capture::Tapped as _;
use crate::lab::client::{Plan, Reuse, run as run_client};
use crate::sim::{self, Host, Impairment, Link, Network};

/// Shows the demo on simulated hosts, and writes every packet to the capture `record`, if there is one.
///
/// # Errors
/// [`DemoError::Failed`] if the output is closed or the plan unsound.
pub fn run(
    options: Options,
    record: Option<&Path>,
    out: &mut impl Write,
) -> Result<Outcome, DemoError> {
    sim::run(show(options, record, out))
        .map_err(|e| DemoError::Failed(format!("no runtime: {e}")))?
}

async fn show(
    options: Options,
    record: Option<&Path>,
    out: &mut impl Write,
) -> Result<Outcome, DemoError> {
    let Options { backends, seed, .. } = options;
    let plan = topology::plan(backends, seed, &[]);
    // The first second of a simulation is the first of 1970: the same seed makes the same file.
    let tap = record::start(&plan, record, Duration::ZERO)?;
    let (balancer, _) = plan.assemble().map_err(|e| DemoError::Failed(e.to_string()))?;

    let mut hosts = vec![Host::client(CLIENT.into(), derive(seed, 20))];
    for i in 0..backends {
        let seed = derive(seed, 30 + u64::from(i));
        hosts.push(Host::web(backend_address(i).into(), &backend_name(i), seed));
    }
    let wire = Impairment { delay: Duration::from_micros(100), ..Impairment::default() };
    let links = (0..=u64::from(backends)).map(|i| Link::new(wire, derive(seed, 60 + i))).collect();

    let mut report = Report::start(options);
    for (client, tally) in clients().into_iter().zip(&report.tallies) {
        for _ in 0..real::CLIENTS_PER_SERVICE {
            hosts[0].spawn(run_client(hosts[0].dial(), client.clone(), Arc::clone(tally)));
        }
    }
    let mut network = Network::new(balancer, hosts, links);
    // It is the only one.
    let _ = tap.map(|tap| network.add_tap(tap));
    live(&mut network, &mut report, options, out).await.map_err(|e| DemoError::writing(&e))?;
    record::end(network.end_taps(), out)?;
    report.summary(out, network.balancer.engine.stats()).map_err(|e| DemoError::writing(&e))
}

async fn live(
    network: &mut Network<l7::divert::Proxy>,
    report: &mut Report,
    options: Options,
    out: &mut impl Write,
) -> io::Result<()> {
    report.heading(out)?;
    let mut kill_at = options.kill_at();
    while report.elapsed() < options.length {
        let second = Duration::from_secs(report.elapsed().as_secs() + 1).min(options.length);
        let next = kill_at.map_or(second, |kill| kill.min(second));
        let pause = next.saturating_sub(report.elapsed());
        network.run_until(tokio::time::sleep(pause)).await;
        if kill_at.is_some_and(|kill| kill <= report.elapsed()) {
            kill_at = None;
            writeln!(out, "       web1 is killed")?;
            if let Some(host) = network.host_mut(1) {
                host.kill();
            }
        }
        if report.elapsed() >= second {
            report.tick(out)?;
        }
    }
    Ok(())
}

/// The two clients' plans: L4, L7.
pub(super) fn clients() -> [Plan; 2] {
    let pace = Duration::from_millis(5);
    [
        Plan { to: VIP_L4, reuse: Reuse::Never, pace },
        Plan { to: VIP_L7, reuse: Reuse::Always, pace },
    ]
}
