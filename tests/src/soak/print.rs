//! A plan in words.

use std::fmt;
use std::time::Duration;

use balun::sim::{Impairment, Place};

use super::plan::{Event, Fault, Plan, Settings, Task, Wire, Work};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} clients, {} backends, {:?}",
            self.seed, self.clients, self.backends, self.families
        )?;
        write!(f, "{}", self.settings)?;
        for (leg, wire) in self.links.iter().enumerate() {
            writeln!(f, "link {leg:<2} {wire}")?;
        }
        for work in &self.work {
            writeln!(f, "{work}")?;
        }
        for event in &self.faults {
            writeln!(f, "{event}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pools   {}", self.scheduler.name())?;
        if self.affinity.is_some() {
            write!(f, ", affinity")?;
        }
        if !self.slow_start.is_zero() {
            write!(f, ", slow start {:?}", self.slow_start)?;
        }
        if self.panic_threshold > 0 {
            write!(f, ", panic below {} %", self.panic_threshold)?;
        }
        if let Some(most) = self.max_connections {
            write!(f, ", {most} connections a backend")?;
        }
        if let Some((check, every, up)) = self.check {
            let start = if up { "up" } else { "down" };
            write!(f, ", {check:?} checks every {every:?} from {start}")?;
        }
        writeln!(f)?;
        let limits = self.limits;
        writeln!(
            f,
            "limits  {} flows, {} half-open, {} a client; ports {}-{}, {} a client, {:?}{}",
            limits.flows,
            limits.half_open,
            limits.flows_per_client,
            self.ports.0,
            self.ports.1,
            self.ports_per_client,
            self.mapping,
            if self.hide_hop { "; hop hidden" } else { "" },
        )
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Impairment { delay, jitter, mtu, .. } = self.impairment;
        let cut = if mtu == 0 { "super-packets" } else { "packets" };
        write!(f, "mtu {}, {cut}, {delay:?} + {jitter:?}", self.mtu)?;
        let Impairment { loss, duplicate, reorder, corrupt, .. } = self.impairment;
        for (name, chance) in
            [("loss", loss), ("duplicate", duplicate), ("reorder", reorder), ("corrupt", corrupt)]
        {
            if chance > 0 {
                write!(f, ", {name} {:.2} %", f64::from(chance) / 10_000.0)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, client, family, task } = self;
        write!(f, "{} client {client} {family:?}: ", Seconds(*at))?;
        match task {
            Task::Transfer(mode, job) => {
                let (up, down) = (job.upload, job.download);
                write!(f, "transfer by {mode:?}, {up} up, {down} down, {:?}", job.order)
            }
            Task::Ask { mode, count, request, pause } => {
                let (up, down) = (request.upload, request.download);
                write!(f, "{count} requests by {mode:?}, {up} up, {down} down, every {pause:?}")
            }
            Task::Echo { dnat, count, len, pause } => {
                let mode = if *dnat { "Dnat" } else { "Full" };
                write!(f, "{count} datagrams of {len} by {mode}, every {pause:?}")
            }
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", Seconds(self.at))?;
        match self.fault {
            Fault::Cut(leg, to) => write!(f, "leg {leg}: {} cut", Way(to)),
            Fault::Mend(leg, to) => write!(f, "leg {leg}: {} mended", Way(to)),
            Fault::LegDown(leg) => write!(f, "leg {leg}: down"),
            Fault::LegUp(leg) => write!(f, "leg {leg}: up"),
            Fault::Kill(backend) => write!(f, "backend {backend}: server crashes"),
            Fault::PowerOff(backend) => write!(f, "backend {backend}: machine crashes"),
            Fault::Revive(backend) => write!(f, "backend {backend}: back"),
            Fault::Leap(time) => write!(f, "all clocks jump by {time:?}"),
            Fault::Stall(time) => write!(f, "the balancer stands still for {time:?}"),
            Fault::Admin(backend, admin) => write!(f, "backend {backend}: set to {admin:?}"),
            Fault::Snat(which) => write!(f, "SNAT addresses: set {which}"),
        }
    }
}

struct Way(Place);

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Place::Balancer => "way to the balancer",
            Place::Host => "way to the host",
        })
    }
}

struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.3}s", self.0.as_secs_f64())
    }
}
