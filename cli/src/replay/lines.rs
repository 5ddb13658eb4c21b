//! A line for each packet.

use std::fmt;
use std::io::{self, Write};

use nat::account::View;
use nat::{Account, DropReason, Engine, Verdict};
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
    out: Option<String>,
    flow: Option<String>,
    service: Option<&'a str>,
    backend: Option<String>,
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
    pub(super) const fn new(out: Box<dyn Write>, form: Form, legs: Vec<String>) -> Self {
        Self { out, form, legs, frame: 0, leg: LegId(0), came: String::new(), error: None }
    }

    pub(super) fn arrives(&mut self, frame: u64, packet: &Packet) {
        (self.frame, self.leg) = (frame, packet.leg);
        self.came = Line::of(packet).to_string();
    }

    pub(super) fn decided(
        &mut self,
        now: Instant,
        engine: &Engine,
        verdict: Verdict,
        packet: &Packet,
    ) {
        let came = (self.frame, self.leg, std::mem::take(&mut self.came));
        self.write(now, engine, engine.account(), Some(verdict), Some(&came), packet);
    }

    pub(super) fn leaves(&mut self, now: Instant, engine: &Engine, packet: &Packet) {
        self.write(now, engine, account_of(engine, packet), None, None, packet);
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

    fn write(
        &mut self,
        now: Instant,
        engine: &Engine,
        account: Option<&Account>,
        verdict: Option<Verdict>,
        came: Option<&(u64, LegId, String)>,
        packet: &Packet,
    ) {
        if self.error.is_some() {
            return;
        }
        let name = |leg: LegId| self.legs.get(usize::from(leg.0)).map(String::as_str);
        let left = verdict.is_none_or(leaves).then(|| Line::of(packet).to_string());
        let service = account.and_then(Account::service).and_then(|id| engine.services().get(id));
        let line = Verdicts {
            n: came.map(|(frame, ..)| *frame),
            t: Seconds(now),
            leg: came.and_then(|(_, leg, _)| name(*leg)),
            came: came.map(|(_, _, line)| line.as_str()),
            verdict: verdict.map_or("send", verdict_name),
            out_leg: left.as_ref().and_then(|_| name(packet.leg)),
            out: left,
            flow: account.and_then(|a| a.flow.as_ref()).map(|flow| flow.id.to_string()),
            service: service.map(|service| service.name.as_str()),
            backend: account.and_then(|account| backend(account, engine)),
            reason: verdict.and_then(reason).map(DropReason::name),
        };
        let written = match self.form {
            Form::Json => serde_json::to_writer(&mut self.out, &line)
                .map_err(io::Error::from)
                .and_then(|()| self.out.write_all(b"\n")),
            Form::Text => text(&mut self.out, now, &line),
        };
        self.error = written.err();
    }
}

/// `12  0.001200s  client  tcp …  forward  web1  tcp …  web/web1`.
fn text(out: &mut dyn Write, now: Instant, line: &Verdicts<'_>) -> io::Result<()> {
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
    for word in [line.out_leg, line.out.as_deref(), line.backend.as_deref()].into_iter().flatten() {
        write!(out, "  {word}")?;
    }
    writeln!(out)
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
