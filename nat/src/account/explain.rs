//! An account in words.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use netstack::LegId;
use netstack::wire::{Protocol, Tuple};

use super::{Account, Choice, FlowAccount, Note, View};
use crate::flow::{Direction, State};
use crate::service::Nat;
use crate::{BackendId, BackendState, Engine, Mode, Pool, PoolId, ServiceId, Verdict};

/// One line of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was done: `vip`, `choose`, `rewrite`.
    pub verb: &'static str,
    /// To or by whom: a service's name, a scheduler's.
    pub object: String,
    /// With what outcome.
    pub detail: String,
    /// What of the configuration decided it.
    pub subject: Option<Subject>,
}

/// A part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A service.
    Service(ServiceId),
    /// A pool.
    Pool(PoolId),
    /// A backend of a pool.
    Backend(PoolId, BackendId),
    /// The SNAT pool.
    Snat,
    /// The limits.
    Limits,
    /// What bypasses translation.
    Bypass,
    /// A leg.
    Leg(LegId),
}

impl Account {
    /// What was done, a step at a time. `engine` is the one that kept this account, and has not been
    /// handed another packet since.
    pub fn steps(&self, engine: &Engine) -> Vec<Step> {
        let mut steps: Vec<_> = self.notes.iter().map(|note| self.of_note(note, engine)).collect();
        if let Some(flow) = &self.flow {
            // A service and what became of an older flow are found out before there is a flow.
            let at = self.notes.iter().take_while(|note| is_before_the_flow(note)).count();
            steps.insert(at, of_flow(flow, engine));
        }
        if self.is_rewritten() {
            steps.extend(self.of_rewrite());
            steps.extend(self.of_mss());
        }
        steps
    }

    /// The account in one line: `web-l4 flow 7f1a new, maglev → web/web2, established`.
    pub fn brief(&self, engine: &Engine) -> String {
        let mut line = String::new();
        self.write_brief(engine, &mut line);
        line
    }

    /// Puts what [`brief`](Self::brief) gives behind what is in `text`.
    pub fn write_brief(&self, engine: &Engine, text: &mut String) {
        let mut line = Brief { start: text.len(), text };
        if let Some(service) = self.service() {
            line.text.push_str(service_name(engine, service));
        }
        if let Some(flow) = &self.flow {
            line.between(" ").push_str("flow ");
            flow.id.write(line.text);
            line.text.push_str(match flow.direction {
                Direction::Forward => " >",
                Direction::Reverse => " <",
            });
            if let Some((pool, backend)) = self.backend() {
                let (pool, backend) = Name(engine, pool, backend).parts();
                for part in [" ", pool, "/", backend] {
                    line.text.push_str(part);
                }
            }
        }
        for note in &self.notes {
            match note {
                Note::Chosen { choice, .. } => line.add(format_args!("{choice}")),
                Note::FailedOver { pool, from } => {
                    let from = Name(engine, *pool, *from);
                    line.add(format_args!("SYN moved from {from}"));
                }
                Note::Bypass => line.between(", ").push_str("bypass"),
                Note::PickedUp => line.between(", ").push_str("picked up"),
                Note::About(..) => line.between(", ").push_str("an error about it"),
                Note::Probe => line.between(", ").push_str("health probe"),
                Note::Service(_) | Note::Replaced(_) | Note::Evicted(_) | Note::Mapped { .. } => {}
            }
        }
        if let Some((before, after)) = self.transition() {
            match before {
                Some(before) => line.add(format_args!("{before} → {after}")),
                None => line.add(format_args!("new, {after}")),
            }
        }
        match self.verdict {
            Some(Verdict::Drop(reason)) => line.add(format_args!("drop:{reason}")),
            Some(Verdict::Reject(reason)) => {
                line.add(format_args!("refused:{reason}"));
            }
            Some(Verdict::Reply) => line.between(", ").push_str("answered"),
            Some(Verdict::Hold) => line.between(", ").push_str("held"),
            Some(Verdict::Forward | Verdict::Divert(_) | Verdict::Consumed) | None => {}
        }
    }

    fn of_note(&self, note: &Note, engine: &Engine) -> Step {
        match note {
            Note::Service(id) => of_service(*id, engine),
            Note::Bypass => Step {
                verb: "bypass",
                object: String::new(),
                detail: "passed on as it is: its addresses are exempt".into(),
                subject: Some(Subject::Bypass),
            },
            Note::Replaced(id) => Step {
                verb: "forget",
                object: id.to_string(),
                detail: "that connection is over; this packet begins another".into(),
                subject: None,
            },
            Note::Evicted(id) => Step {
                verb: "evict",
                object: id.to_string(),
                detail: "a limit of flows is reached, and this one gives way".into(),
                subject: Some(Subject::Limits),
            },
            Note::Chosen { pool, backend, choice } => of_choice(*pool, *backend, *choice, engine),
            Note::Mapped { source, early, paired } => {
                let mut detail = SocketAddr::new(source.address.into(), source.port).to_string();
                for (is_so, text) in [
                    (self.keeps_parity(source.port), "  (parity kept)"),
                    (*early, "  (before its quarantine was over)"),
                    (!*paired, "  (not the client's usual address)"),
                ] {
                    if is_so {
                        detail.push_str(text);
                    }
                }
                let object = "alloc".into();
                Step { verb: "snat", object, detail, subject: Some(Subject::Snat) }
            }
            Note::FailedOver { pool, from } => Step {
                verb: "failover",
                object: Name(engine, *pool, *from).to_string(),
                detail: "did not take the client's SYN, which goes to the next".into(),
                subject: Some(Subject::Backend(*pool, *from)),
            },
            Note::PickedUp => Step {
                verb: "pickup",
                object: String::new(),
                detail: "a segment of a connection older than this process".into(),
                subject: None,
            },
            Note::About(id, direction) => Step {
                verb: "icmp",
                object: id.to_string(),
                detail: match direction {
                    Direction::Forward => "an error for the backend, about what it sent".into(),
                    Direction::Reverse => "an error for the client, about what it sent".into(),
                },
                subject: None,
            },
            Note::Probe => Step {
                verb: "health",
                object: String::new(),
                detail: "the answer to a probe".into(),
                subject: None,
            },
        }
    }

    /// What leaves is what came, rather than an answer to it or a SYN that was kept.
    fn is_rewritten(&self) -> bool {
        self.verdict == Some(Verdict::Forward)
            && !self.notes.iter().any(|note| matches!(note, Note::FailedOver { .. }))
    }

    fn of_rewrite(&self) -> Option<Step> {
        let (before, after) = (self.before.as_ref()?, self.after.as_ref()?);
        let mut changes = Vec::new();
        if (before.src, before.ports.map(|p| p.0)) != (after.src, after.ports.map(|p| p.0)) {
            changes.push("src".to_owned());
        }
        if (before.dst, before.ports.map(|p| p.1)) != (after.dst, after.ports.map(|p| p.1)) {
            changes.push("dst".to_owned());
        }
        if let (Some(before), Some(after)) = (before.ip_id, after.ip_id)
            && before != after
        {
            changes.push(format!("id {before}→{after}"));
        }
        let mut sum = |name: &str, before: Option<u16>, after: Option<u16>| {
            if let (Some(before), Some(after)) = (before, after)
                && before != after
            {
                changes.push(format!("{name} sum 0x{before:04x}→0x{after:04x}"));
            }
        };
        sum("ip", before.ip_sum, after.ip_sum);
        let transport = before.protocol.map_or("", Protocol::name);
        sum(transport, before.transport_sum, after.transport_sum);
        if before.ttl != after.ttl {
            changes.push(format!("ttl {}→{}", before.ttl, after.ttl));
        }
        if before.len != after.len {
            changes.push(format!("length {}→{}", before.len, after.len));
        }
        let (object, subject) = (String::new(), None);
        let detail = changes.join(", ");
        (!detail.is_empty()).then_some(Step { verb: "rewrite", object, detail, subject })
    }

    fn of_mss(&self) -> Option<Step> {
        let (before, after) = (self.before.as_ref()?.mss?, self.after.as_ref()?.mss?);
        let leg = self.after.as_ref()?.leg;
        (before != after).then(|| Step {
            verb: "mss",
            object: "clamp".into(),
            detail: format!("{before}→{after}, what the narrower leg carries"),
            subject: Some(Subject::Leg(leg)),
        })
    }

    fn keeps_parity(&self, port: u16) -> bool {
        let client = self.before.as_ref().and_then(|view| view.ports).map(|ports| ports.0);
        self.protocol() == Some(Protocol::Udp) && client.is_some_and(|c| c % 2 == port % 2)
    }

    fn protocol(&self) -> Option<Protocol> {
        self.before.as_ref().and_then(|view| view.protocol)
    }
}

const fn is_before_the_flow(note: &Note) -> bool {
    matches!(
        note,
        Note::Service(_) | Note::Replaced(_) | Note::Evicted(_) | Note::Bypass | Note::PickedUp
    )
}

fn of_service(id: ServiceId, engine: &Engine) -> Step {
    let mut detail = String::new();
    if let Some(service) = engine.services().get(id) {
        for listen in &service.listens {
            push(&mut detail, ", ", format_args!("{listen}"));
        }
        let mode = match service.mode {
            Mode::Divert => "ends here",
            Mode::Nat(Nat::Full) => "nat full",
            Mode::Nat(Nat::Dnat) => "nat dnat",
            Mode::Nat(Nat::Tunnel(_)) => "tunnel",
        };
        push(&mut detail, ", ", format_args!("{mode}"));
    }
    let object = service_name(engine, id).to_owned();
    Step { verb: "vip", object, detail, subject: Some(Subject::Service(id)) }
}

fn of_flow(flow: &FlowAccount, engine: &Engine) -> Step {
    let way = match flow.direction {
        Direction::Forward => "from the client",
        Direction::Reverse => "to the client",
    };
    let (object, detail) = match (flow.before, &flow.after) {
        (None, Some(after)) => {
            let count = engine.flows().len();
            let detail = format!("{}, {count} of {}", after.state, engine.limits().flows);
            ("new".to_owned(), detail)
        }
        (Some(before), Some(after)) if before != after.state => {
            (flow.id.to_string(), format!("{way}, {before} → {}", after.state))
        }
        (Some(before), _) => (flow.id.to_string(), format!("{way}, {before}")),
        (None, None) => (flow.id.to_string(), "given up again".to_owned()),
    };
    let subject = flow.before.is_none().then_some(Subject::Limits);
    Step { verb: "flow", object, detail, subject }
}

fn of_choice(pool: PoolId, id: BackendId, choice: Choice, engine: &Engine) -> Step {
    let scheduler = engine.pools().get(usize::from(pool.0)).map(Pool::scheduler);
    let backend = engine.pools().get(usize::from(pool.0)).and_then(|pool| pool.backend(id));
    let object = match (choice, scheduler) {
        (Choice::Affinity, _) => "affinity",
        (_, Some(scheduler)) => scheduler.name(),
        (_, None) => "",
    };
    let why = match choice {
        Choice::Affinity => "the client's already".to_owned(),
        Choice::RoundRobin => "in turn".to_owned(),
        Choice::Random => "drawn by weight".to_owned(),
        Choice::LeastConnections { active } => format!("the fewest open flows, {active}"),
        Choice::P2c { active } => format!("the better of two drawn, {active} open flows"),
        Choice::Ewma { active, latency: None } => {
            format!("the better of two drawn, {active} open flows, not measured yet")
        }
        Choice::Ewma { active, latency: Some(latency) } => {
            format!("the better of two drawn, {active} open flows, {latency:.1?}")
        }
        Choice::SourceHash => "by the client's address".to_owned(),
        Choice::Maglev { place, of } => format!("place {place} of {of}"),
    };
    let mut detail = format!("{why} → {}", Name(engine, pool, id));
    if let Some(backend) = backend {
        let state = backend.state;
        push(&mut detail, " ", format_args!("({state}, weight {})", backend.config.weight));
    }
    Step { verb: "choose", object: object.into(), detail, subject: Some(Subject::Pool(pool)) }
}

fn service_name(engine: &Engine, id: ServiceId) -> &str {
    engine.services().get(id).map_or("?", |service| service.name.as_str())
}

/// A backend as people call it: `pool/backend`.
struct Name<'a>(&'a Engine, PoolId, BackendId);

impl<'a> Name<'a> {
    fn parts(&self) -> (&'a str, &'a str) {
        let Self(engine, pool, backend) = *self;
        let Some(pool) = engine.pools().get(usize::from(pool.0)) else { return ("?", "?") };
        let backend = pool.backend(backend).map_or("?", |backend| backend.config.name.as_str());
        (pool.name(), backend)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pool, backend) = self.parts();
        write!(f, "{pool}/{backend}")
    }
}

/// One line in the making, behind what is in a text already.
struct Brief<'a> {
    text: &'a mut String,
    start: usize,
}

impl Brief<'_> {
    /// The line's end, and what stands between it and what was there.
    fn between(&mut self, words: &str) -> &mut String {
        if self.text.len() > self.start {
            self.text.push_str(words);
        }
        self.text
    }

    fn add(&mut self, words: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.between(", ").write_fmt(words);
    }
}

fn push(line: &mut String, between: &str, text: fmt::Arguments<'_>) {
    if !line.is_empty() {
        line.push_str(between);
    }
    // Writing to a string does not fail.
    let _ = line.write_fmt(text);
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp(state) => state.name(),
            Self::Datagram(false) => "unreplied",
            Self::Datagram(true) => "replied",
        })
    }
}

impl fmt::Display for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Affinity => f.write_str("affinity"),
            Self::RoundRobin => f.write_str("round-robin"),
            Self::Random => f.write_str("random"),
            Self::LeastConnections { active } => write!(f, "least-connections {active}"),
            Self::P2c { active } => write!(f, "p2c {active}"),
            Self::Ewma { .. } => f.write_str("ewma"),
            Self::SourceHash => f.write_str("source-hash"),
            Self::Maglev { place, of } => write!(f, "maglev {place}/{of}"),
        }
    }
}

impl fmt::Display for View {
    /// The packet's ends: `tcp 10.1.0.5:40000 > 10.99.0.1:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { src, dst, protocol, ports, .. } = *self;
        match (protocol, ports) {
            (Some(protocol), Some((src_port, dst_port))) => {
                Tuple { protocol, src, dst, src_port, dst_port }.fmt(f)
            }
            _ => write!(f, "{} {src} > {dst}", protocol.map_or("ip", Protocol::name)),
        }
    }
}
