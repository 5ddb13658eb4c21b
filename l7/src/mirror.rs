//! Copies of requests, sent to another pool whose answers nobody reads.
//!
//! # Theory of operation
//! A copy is a request of its own, from a client that takes everything and says nothing: it is forwarded
//! by the same code as any other, by a task of its own, so that the client of the first waits for nothing
//! of it. Only requests without a body are copied. There are at most [`MIRRORED`] at once; beyond, none
//! is made. What becomes of copies is counted apart from what clients see.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::exchange::Buffers;
use crate::forward::Forward;
use crate::limits::MIRRORED;
use crate::log::Record;
use crate::nobody::Nobody;
use crate::request::{Request, Way};
use crate::service::Service;
use crate::stats::Stats;
use crate::upstream::Connect;

/// What a service knows of its copies.
#[derive(Debug, Default)]
pub(crate) struct Mirrored {
    pub(crate) stats: Stats,
    /// Copies in progress.
    live: Cell<usize>,
}

/// A copy in progress: counts as one as long as it lives.
struct Live<C: Connect>(Rc<Service<C>>);

impl<C: Connect> Drop for Live<C> {
    fn drop(&mut self) {
        let live = &self.0.mirrored.live;
        live.set(live.get().saturating_sub(1));
    }
}

/// Sends a copy of `request` of `peer`, whose head as forwarded is `head`, where its route says, if it does.
pub(crate) fn send<C: Connect>(
    service: &Rc<Service<C>>,
    request: &Request,
    head: &[u8],
    peer: SocketAddr,
) {
    let Some(to) = request.mirror() else { return };
    let mirrored = &service.mirrored;
    if mirrored.live.get() >= MIRRORED || !request.framing.is_empty() || request.websocket.is_some()
    {
        return;
    }
    mirrored.live.set(mirrored.live.get() + 1);
    mirrored.stats.requests.bump();
    let live = Live(Rc::clone(service));
    let mut buffers = Box::<Buffers>::default();
    buffers.head.extend_from_slice(head);
    let mut copy = Request::of_nobody(request.method.clone(), Way { to, ..request.way });
    copy.trailers = request.trailers;
    tokio::task::spawn_local(async move {
        let service = &live.0;
        let mut deadline = Deadline::after(Duration::ZERO);
        let mut forward = Forward {
            client: &mut Nobody,
            peer: &peer,
            service,
            stats: &service.mirrored.stats,
            to: service.destination(to),
            config: service.config_of(copy.way.route),
            buffers: &mut buffers,
            deadline: &mut deadline,
            record: &mut Record::of_nobody(peer),
            private: None,
        };
        // Whatever it came to: nobody asked.
        drop(forward.run(&copy).await);
    });
}
