//! A running instance, as its control socket sees it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use l7::divert::Proxy;
use netstack::dev::pcapng::Run;
use serde_json::json;

use super::cache;
use super::request::{Answer, Request};
use super::server::Server;
use crate::capture::{self, Origin};
use crate::config::Written;
use crate::exit::ExitCode;
use crate::lab::World;
use crate::runtime::{Attendant, Next, Runtime};
use crate::trace::live::Desk;

/// What answers requests, beside the runtime itself.
#[derive(Debug)]
pub struct Instance {
    /// The lab around the balancer, if there is one. It goes down before the socket does: whoever sees
    /// that the socket is gone may rely on it.
    lab: Option<World>,
    server: Option<Server>,
    /// Names of the legs, in their order.
    legs: Vec<String>,
    run: Run,
    desk: Desk,
    started: Instant,
    stopping: bool,
}

impl Instance {
    /// An instance with legs of these names, reached by `server` if there is one.
    pub fn new(server: Option<Server>, legs: Vec<String>) -> Self {
        let run = Run { seed: 0, config: String::new() };
        let desk = Desk::default();
        Self { server, legs, run, desk, lab: None, started: Instant::now(), stopping: false }
    }

    /// The same, with a lab around it.
    #[must_use]
    pub fn with_lab(self, lab: World) -> Self {
        Self { lab: Some(lab), ..self }
    }

    /// The same, whose captures say that they are of this run.
    #[must_use]
    pub fn with_run(self, run: Run) -> Self {
        Self { run, ..self }
    }

    /// The same, made from this configuration.
    #[must_use]
    pub fn with_written(self, written: Option<Arc<Written>>) -> Self {
        Self { desk: Desk::new(written), ..self }
    }

    /// Names of the legs, in their order.
    pub fn legs(&self) -> &[String] {
        &self.legs
    }

    /// Does what is asked for.
    pub fn answer(&mut self, request: Request, runtime: &mut Runtime<Proxy>) -> Answer {
        match request {
            Request::Status => self.status(runtime),
            Request::Stop => {
                self.stopping = true;
                Answer::done()
            }
            Request::Capture(wanted) => {
                let (run, legs) = (self.run.clone(), self.legs.clone());
                capture::begin(&wanted, Origin { run, legs, epoch: Duration::ZERO }, runtime)
            }
            Request::Trace(asked) => self.desk.ask(asked, runtime),
            Request::Caches => cache::list(runtime.balancer_mut().divert.caches()),
            Request::Purge { cache: name, what } => {
                cache::purge(runtime.balancer_mut().divert.caches(), name.as_deref(), &what)
            }
            Request::LabPs => self.lab(|lab| lab.ps(runtime)),
            Request::LabEnter { node } => self.lab(|lab| lab.enter(&node)),
            Request::LabLink { node, direction, set } => {
                self.lab(|lab| lab.link(&node, direction, &set, runtime))
            }
        }
    }

    fn lab(&self, answer: impl FnOnce(&World) -> Answer) -> Answer {
        let none = || Answer::refused(ExitCode::CouldNot, "this instance runs no lab");
        self.lab.as_ref().map_or_else(none, answer)
    }

    fn status(&self, runtime: &mut Runtime<Proxy>) -> Answer {
        let legs: Vec<_> = self
            .legs
            .iter()
            .zip(runtime.leg_stats())
            .map(|(name, leg)| {
                json!({
                    "name": name,
                    "received": leg.received,
                    "received-bytes": leg.received_bytes,
                    "sent": leg.sent,
                    "sent-bytes": leg.sent_bytes,
                    "send-drops": leg.send_drops,
                })
            })
            .collect();
        let stats = runtime.balancer_mut().engine.stats();
        Answer::ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime-ms": self.started.elapsed().as_millis() as u64,
            "packets": stats.packets,
            "forwarded": stats.forwarded,
            "flows-opened": stats.flows_opened,
            "legs": legs,
        }))
    }
}

impl Attendant<Proxy> for Instance {
    fn poll(&mut self, runtime: &mut Runtime<Proxy>, cx: &mut Context<'_>) -> Poll<Next> {
        // Taken out while it is served, so that answers may look at the rest.
        let Some(mut server) = self.server.take() else { return Poll::Pending };
        let answered = server.poll(cx, &mut |request| self.answer(request, runtime));
        self.server = Some(server);
        match answered {
            Poll::Ready(()) if self.stopping => Poll::Ready(Next::Stop),
            Poll::Ready(()) => Poll::Ready(Next::Round),
            Poll::Pending => Poll::Pending,
        }
    }
}
