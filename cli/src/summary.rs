//! What a balancer says that it has done, when it is stopped.
//!
//! Lines about what never happened are left out.

use std::fmt::Write as _;
use std::io::{self, Write};

use l7::cache::{Caches, Outcome};
use nat::stats::Stats;
use nat::{BackendState, Mode, Pool, ServiceConfig};
use netstack::ethernet::{Edge, EdgeStats};

use crate::plan::{AllStats, ApplicationStats};
use crate::runtime::LegStats;

/// The counters at the end of a run.
pub(crate) struct Summary<'a> {
    /// Each leg's device and counters.
    pub legs: &'a [(&'a String, LegStats)],
    /// The engine's.
    pub stats: &'a Stats,
    /// The engine's.
    pub pools: &'a [Pool],
    /// In the order of their numbers.
    pub services: &'a [ServiceConfig],
    /// Of the services whose flows end in this process.
    pub applications: &'a AllStats,
}

impl Summary<'_> {
    /// Writes it, a line on each thing.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn write(&self, talk: &mut impl Write) -> io::Result<()> {
        writeln!(talk, "stopped")?;
        for (name, leg) in self.legs {
            let LegStats { received, sent, send_drops, .. } = leg;
            writeln!(
                talk,
                "leg      {name}  received {received}, sent {sent}, not taken {send_drops}"
            )?;
        }
        talk.write_all(engine(self.stats).as_bytes())?;
        for (reason, count) in self.stats.drops() {
            writeln!(talk, "dropped  {count}  {reason}")?;
        }
        for (at, pool) in self.pools.iter().enumerate() {
            let mut services = self.services.iter().filter(|s| usize::from(s.pool.0) == at);
            // Services whose flows end in this process count their backends themselves.
            let translated = services.any(|service| service.mode != Mode::Divert);
            talk.write_all(backends(pool, translated).as_bytes())?;
        }
        for (id, read) in self.applications {
            let Some(service) = self.services.get(usize::from(id.0)) else { continue };
            let stats = read();
            talk.write_all(application(service, self.pools, &stats).as_bytes())?;
        }
        Ok(())
    }
}

/// What the Ethernet side of a leg has seen and done.
///
/// # Errors
/// The writer's.
pub(crate) fn ethernet(talk: &mut impl Write, name: &str, edge: &Edge) -> io::Result<()> {
    let EdgeStats { asked, answered, conflicts, .. } = edge.stats();
    write!(talk, "ethernet {name}  asked for {asked}, answered {answered}")?;
    if *conflicts > 0 {
        write!(talk, ", {conflicts} claims of others to addresses of ours")?;
    }
    writeln!(talk)?;
    for address in edge.duplicates() {
        writeln!(talk, "ethernet {name}  {address} was not used: another host has it")?;
    }
    for (reason, count) in edge.stats().drops() {
        writeln!(talk, "ethernet {name}  dropped  {count}  {reason}")?;
    }
    Ok(())
}

/// What caches made of requests.
///
/// # Errors
/// The writer's.
pub(crate) fn caches(talk: &mut impl Write, caches: &Caches) -> io::Result<()> {
    for (name, cache) in caches.list() {
        let counted = Outcome::ALL.map(|outcome| (cache.stats().get(outcome), outcome.name()));
        let counted = counted.iter().filter(|(count, _)| *count > 0);
        let counted: Vec<_> = counted.map(|(count, name)| format!("{count} {name}")).collect();
        let (taken, resources) = (cache.weight() >> 10, cache.resources());
        let rest = if counted.is_empty() { "nothing asked".to_owned() } else { counted.join(", ") };
        writeln!(talk, "cache    {name}  {resources} resources, {taken} KiB: {rest}")?;
    }
    Ok(())
}

fn engine(stats: &Stats) -> String {
    let Stats { packets, forwarded, replied, diverted, .. } = stats;
    let mut out = format!(
        "packets  {packets}: {forwarded} forwarded, {replied} answered, {diverted} ended here\n"
    );
    let Stats { flows_opened, flows_expired, flows_evicted, syn_failovers, .. } = stats;
    line(
        &mut out,
        "flows",
        &[
            (*flows_opened, "opened"),
            (*flows_expired, "expired"),
            (*flows_evicted, "gave way at a limit"),
            (*syn_failovers, "moved to another backend by their SYN"),
        ],
    );
    line(
        &mut out,
        "snat",
        &[
            (stats.snat_reused_early, "ports reused before their rest was over"),
            (stats.snat_unpaired, "ports of another address than the client's"),
        ],
    );
    line(
        &mut out,
        "pieces",
        &[
            (stats.held, "fragments held"),
            (stats.released, "passed on"),
            (stats.held_dropped, "dropped"),
            (stats.datagrams_expired, "datagrams not whole in time"),
            (stats.datagrams_evicted, "datagrams gave way at a limit"),
        ],
    );
    line(
        &mut out,
        "checks",
        &[
            (stats.probes_sent, "probes"),
            (stats.probes_passed, "passed"),
            (stats.probes_failed, "failed"),
        ],
    );
    out
}

/// A line of counters; nothing if all are zero. The first is always shown.
fn line(out: &mut String, about: &str, counters: &[(u64, &str)]) {
    if counters.iter().all(|&(count, _)| count == 0) {
        return;
    }
    let shown = counters.iter().enumerate().filter(|&(at, &(count, _))| at == 0 || count > 0);
    let shown: Vec<_> = shown.map(|(_, (count, what))| format!("{count} {what}")).collect();
    let _ = writeln!(out, "{about:<8} {}", shown.join(", "));
}

/// The backends of a pool: their states if they may change, the flows that they had if it serves some.
fn backends(pool: &Pool, translated: bool) -> String {
    let mut out = String::new();
    for backend in pool.backends() {
        let mut words = vec![state(backend.state).to_owned()];
        if translated {
            words.push(format!("{} flows", backend.flows));
        }
        for (count, what) in [(backend.refused, "refused"), (backend.unanswered, "unanswered")] {
            if count > 0 {
                words.push(format!("{count} {what}"));
            }
        }
        if translated || backend.state != BackendState::Ready {
            let name = &backend.config.name;
            let _ = writeln!(out, "backend  {}/{name}  {}", pool.name(), words.join(", "));
        }
    }
    out
}

const fn state(state: BackendState) -> &'static str {
    match state {
        BackendState::Ready => "ready",
        BackendState::Drain => "drains",
        BackendState::Maint => "in maintenance",
        BackendState::Down => "down",
        BackendState::Starting => "not checked yet",
    }
}

/// What a service whose flows end here has done, and why it has closed connections.
fn application(service: &ServiceConfig, pools: &[Pool], stats: &ApplicationStats) -> String {
    let ApplicationStats { by_backend, upstream_connects, rejected, unserved, ends } = stats;
    let name = &service.name;
    let served = by_backend.iter().map(|(id, counts)| {
        let pool = pools.get(usize::from(id.0));
        let backends = pool.map_or(&[][..], Pool::backends);
        let counts = counts.iter().copied().chain(std::iter::repeat(0));
        let served = backends.iter().zip(counts).map(|(b, n)| format!("{} {n}", b.config.name));
        served.collect::<Vec<_>>().join(", ")
    });
    let mut out = format!(
        "service  {name}  {} served ({}), {upstream_connects} upstream connections, {rejected} \
         refused\n",
        stats.served(),
        served.collect::<Vec<_>>().join("; ")
    );
    for (reason, count) in unserved {
        let _ = writeln!(out, "service  {name}  closed {count}  {}: {reason}", reason.name());
    }
    let ends: Vec<_> = ends.iter().filter(|(_, count)| *count > 0).collect();
    if !ends.is_empty() {
        let ends: Vec<_> = ends.iter().map(|(end, count)| format!("{end} {count}")).collect();
        let _ = writeln!(out, "ended    {name}  {}", ends.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::rc::Rc;

    use nat::{BackendConfig, BackendId, Listen, Nat, PoolConfig, PoolId, ServiceId};
    use netstack::Instant;
    use netstack::wire::Protocol;

    use super::*;

    fn summary(stats: &Stats) -> String {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 80);
        let backends = ["a", "b"].map(|name| BackendConfig::new(name, address)).to_vec();
        let mut pools = ["web", "site"]
            .map(|name| Pool::new(PoolConfig { name: name.to_owned(), ..config(&backends) }, 1));
        pools[0].set_state(Instant::from_secs(1), BackendId(1), BackendState::Down);
        let listen = Listen::new(Protocol::Tcp, address.ip().into(), 80);
        let services = [(0, Mode::Nat(Nat::Full)), (1, Mode::Divert)].map(|(pool, mode)| {
            let service = ServiceConfig::new(listen, mode, PoolId(pool));
            ServiceConfig { name: format!("s{pool}"), ..service }
        });
        let read = || ApplicationStats {
            by_backend: vec![(PoolId(1), vec![3])],
            ends: vec![("ok", 2), ("tunnel", 0), ("client-gone", 1)],
            ..ApplicationStats::default()
        };
        let leg = "balun0".to_owned();
        let summary = Summary {
            legs: &[(&leg, LegStats::default())],
            stats,
            pools: &pools,
            services: &services,
            applications: &vec![(ServiceId(1), Rc::new(read))],
        };
        let mut out = Vec::new();
        summary.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn config(backends: &[BackendConfig]) -> PoolConfig {
        PoolConfig::new("", backends.to_vec())
    }

    #[test]
    fn what_never_happened_is_left_out() {
        let expected = "\
stopped
leg      balun0  received 0, sent 0, not taken 0
packets  0: 0 forwarded, 0 answered, 0 ended here
backend  web/a  ready, 0 flows
backend  web/b  down, 0 flows
service  s1  3 served (a 3, b 0), 0 upstream connections, 0 refused
ended    s1  ok 2, client-gone 1
";
        assert_eq!(summary(&Stats::default()), expected);
    }

    #[test]
    fn what_happened_is_said() {
        let mut stats = Stats::default();
        (stats.flows_opened, stats.flows_evicted, stats.syn_failovers) = (9, 2, 1);
        stats.snat_unpaired = 4;
        (stats.held, stats.released, stats.datagrams_expired) = (5, 3, 1);
        stats.drop_held(nat::DropReason::FragmentTimeout, 2);
        (stats.probes_sent, stats.probes_failed) = (6, 6);
        let expected = "\
flows    9 opened, 2 gave way at a limit, 1 moved to another backend by their SYN
snat     0 ports reused before their rest was over, 4 ports of another address than the client's
pieces   5 fragments held, 3 passed on, 2 dropped, 1 datagrams not whole in time
checks   6 probes, 6 failed
dropped  2  fragment-timeout
";
        assert!(summary(&stats).contains(expected), "{}", summary(&stats));
    }
}
