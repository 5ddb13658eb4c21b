//! A line for each packet.

use std::fmt;
use std::io::{self, Write};

use nat::account::View;
use nat::{Account, DropReason, Engine, Pool, Verdict};
use netstack::wire::text::Line;
use netstack::{Instant, LegId, Packet};
use serde::Serialize;

use super::tally::{leaves, reason, verdict_name};

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Writes a line for each packet that came, and each that left without one that came.
pub(super) struct Lines {
    out: Box<dyn Write>,
    form: Form,
    legs: Vec<String>,
    frame: u64,
    leg: LegId,
    came: String,
    left: String,
    flow: String,
    /// Backends as people call them, by pool.
    backends: Vec<Vec<String>>,
    /// The line in the making.
    line: Vec<u8>,
    /// Why nothing is written any more.
    error: Option<io::Error>,
}

/// One packet, in the order in which a person reads.
#[derive(Serialize)]
struct Verdicts<'a> {
    n: Option<u64>,
    t: Seconds,
    leg: Option<&'a str>,
    #[serde(rename = "in")]
    came: Option<&'a str>,
    verdict: &'static str,
    out_leg: Option<&'a str>,
    out: Option<&'a str>,
    flow: Option<&'a str>,
    service: Option<&'a str>,
    backend: Option<&'a str>,
    reason: Option<&'static str>,
}

/// A time, with all its microseconds.
struct Seconds(Instant);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Exact for three hundred years.
        serializer.serialize_f64(self.0.as_micros() as f64 / 1e6)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("form", &self.form).finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn new(out: Box<dyn Write>, form: Form, legs: Vec<String>) -> Self {
        let (came, left, flow) = (String::new(), String::new(), String::new());
        let (frame, leg, backends, line) = (0, LegId(0), Vec::new(), Vec::new());
        Self { out, form, legs, frame, leg, came, left, flow, backends, line, error: None }
    }

    pub(super) fn arrives(&mut self, frame: u64, packet: &Packet) {
        (self.frame, self.leg) = (frame, packet.leg);
        self.came.clear();
        Line::of(packet).write_to(&mut self.came);
    }

    pub(super) fn decided(
        &mut self,
        now: Instant,
        engine: &Engine,
        verdict: Verdict,
        packet: &Packet,
    ) {
        self.write(now, engine, engine.account(), Some(verdict), packet);
    }

    pub(super) fn leaves(&mut self, now: Instant, engine: &Engine, packet: &Packet) {
        self.write(now, engine, account_of(engine, packet), None, packet);
    }

    /// Ends them.
    ///
    /// # Errors
    /// What could not be written. A reader that went away has seen enough.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.error.map_or_else(|| self.out.flush(), Err) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes the line of the packet that came, if there is a verdict on it, or else of one that left.
    fn write(
        &mut self,
        now: Instant,
        engine: &Engine,
        account: Option<&Account>,
        verdict: Option<Verdict>,
        packet: &Packet,
    ) {
        if self.error.is_some() {
            return;
        }
        if self.backends.is_empty() {
            self.backends = engine.pools().iter().map(names).collect();
        }
        let (left, flow) = (&mut self.left, &mut self.flow);
        left.clear();
        flow.clear();
        let leaves = verdict.is_none_or(leaves);
        if leaves {
            Line::of(packet).write_to(left);
        }
        let id = account.and_then(|account| account.flow.as_ref()).map(|flow| flow.id);
        if let Some(id) = id {
            id.write(flow);
        }
        let name = |leg: LegId| self.legs.get(usize::from(leg.0)).map(String::as_str);
        let service = account.and_then(Account::service).and_then(|id| engine.services().get(id));
        let backend = account.and_then(Account::backend).and_then(|(pool, backend)| {
            self.backends.get(usize::from(pool.0))?.get(usize::from(backend.0))
        });
        let line = Verdicts {
            n: verdict.map(|_| self.frame),
            t: Seconds(now),
            leg: verdict.and_then(|_| name(self.leg)),
            came: verdict.map(|_| self.came.as_str()),
            verdict: verdict.map_or("send", verdict_name),
            out_leg: if leaves { name(packet.leg) } else { None },
            out: leaves.then_some(self.left.as_str()),
            flow: id.map(|_| self.flow.as_str()),
            service: service.map(|service| service.name.as_str()),
            backend: backend.map(String::as_str),
            reason: verdict.and_then(reason).map(DropReason::name),
        };
        self.line.clear();
        let made = match self.form {
            Form::Json => serde_json::to_writer(&mut self.line, &line).map_err(io::Error::from),
            Form::Text => text(&mut self.line, now, &line),
        };
        self.line.push(b'\n');
        self.error = made.and_then(|()| self.out.write_all(&self.line)).err();
    }
}

/// The names of a pool's backends.
fn names(pool: &Pool) -> Vec<String> {
    let backends = pool.backends().iter();
    backends.map(|backend| format!("{}/{}", pool.name(), backend.config.name)).collect()
}

/// `12  0.001200s  client  tcp …  forward  web1  tcp …  web/web1`.
fn text(out: &mut impl Write, now: Instant, line: &Verdicts<'_>) -> io::Result<()> {
    match line.n {
        Some(n) => write!(out, "{n:>6}")?,
        None => write!(out, "      ")?,
    }
    write!(out, "  {now}")?;
    for word in [line.leg, line.came].into_iter().flatten() {
        write!(out, "  {word}")?;
    }
    write!(out, "  {}", line.verdict)?;
    if let Some(reason) = line.reason {
        write!(out, ":{reason}")?;
    }
    for word in [line.out_leg, line.out, line.backend].into_iter().flatten() {
        write!(out, "  {word}")?;
    }
    Ok(())
}

/// The account of a packet that leaves and was not decided on just now: of a segment of a connection that
/// ends in this process, which was handed in just before. Of any other the last account says nothing.
pub(super) fn account_of<'a>(engine: &'a Engine, packet: &Packet) -> Option<&'a Account> {
    engine.account().filter(|account| {
        account.verdict == Some(Verdict::Forward) && account.after == View::of(packet)
    })
}

pub(super) fn backend(account: &Account, engine: &Engine) -> Option<String> {
    let (pool, backend) = account.backend()?;
    let pool = engine.pools().get(usize::from(pool.0))?;
    Some(format!("{}/{}", pool.name(), pool.backend(backend)?.config.name))
}
