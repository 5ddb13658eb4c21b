//! One request, from the choice of a backend to the end of its answer.
//!
//! # Theory of operation
//! The same for every version of HTTP: the client's side is a [`Client`], the backend's a
//! [`Backend`](crate::side::Backend). A backend is chosen and reached, the next one if that fails;
//! then the exchange runs. If a kept connection turns out to have ended, a request that may be sent
//! twice is sent again on a fresh one. What only the client's side can do, such as an answer of our
//! own, is left to the caller as an [`Outcome`].

use std::net::SocketAddr;
use std::rc::Rc;

use http::{Method, StatusCode};

use crate::deadline::Deadline;
use crate::exchange::{Buffers, Delivered, Exchange, Failure, Request};
use crate::http1::reject::Reject;
use crate::service::{Private, Service};
use crate::side::{Client, Plain};
use crate::splice;
use crate::transaction::Watched;
use crate::upstream::{self, Connect, NoUpstream, Tried, Turn, Way};

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A backend's answer was delivered to its end.
    Delivered {
        /// The client was told that its connection ends.
        close: bool,
        /// The request's body was read and sent to its end.
        body_sent: bool,
    },
    /// There is no backend's answer: the client is to be told so.
    Own {
        status: StatusCode,
        detail: &'static str,
        /// The request's body was read to its end.
        body_read: bool,
    },
    /// The request broke a rule before it was answered.
    Refused(Reject),
    /// Nothing can be said any more, or all has been: the client is gone, half an answer is on its
    /// way, or a tunnel has come to its end.
    Ended,
}

/// A request to be forwarded; its head is in the buffers, and what is here of its body.
pub(crate) struct Forward<'a, K, C: Connect> {
    pub(crate) client: &'a mut K,
    pub(crate) peer: SocketAddr,
    pub(crate) service: &'a Rc<Service<C>>,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) deadline: &'a mut Deadline,
    pub(crate) watched: &'a mut Watched,
    /// Connections to backends that are the client's own.
    pub(crate) private: Option<&'a Private<C::Stream>>,
}

impl<K: Client, C: Connect> Forward<'_, K, C> {
    /// Finds a backend that answers `request`, and delivers the answer.
    pub(crate) async fn run(mut self, request: &Request) -> Outcome {
        let service = self.service;
        let pool = self.private.map_or(&service.pool, |private| &private.pool);
        let mut tried = Tried::default();
        // The turn of a request that is sent again, once, on a fresh connection.
        let mut again: Option<Turn> = None;
        let mut retried = false;
        loop {
            let fresh = again.is_some();
            let turn = match again.take() {
                Some(turn) => turn,
                None => match upstream::choose(&service.balance, self.peer, &tried) {
                    Ok(turn) => turn,
                    Err(none) => return none.outcome(request),
                },
            };
            let Some((stream, reused)) =
                reach(service, self.private, &turn, fresh, &mut tried).await
            else {
                continue;
            };
            self.watched.reached(C::local_addr(&stream), turn.address);
            let mut backend = Plain(stream);
            let mut exchange = Exchange::new(
                self.client,
                &mut backend,
                self.buffers,
                self.deadline,
                request,
                &turn,
                service,
            );
            let result = exchange.run().await;
            let body_sent = exchange.body_sent();
            self.watched.answered(exchange.status());
            match result {
                Ok(Delivered::Tunnel) => {
                    turn.succeeded();
                    self.tunnel(backend).await;
                    return Outcome::Ended;
                }
                Ok(Delivered::Response { close, reusable }) => {
                    turn.succeeded();
                    let Plain(stream) = backend;
                    if reusable {
                        pool.put(turn.backend, turn.address, turn.outages, stream);
                    } else if body_sent {
                        upstream::close(stream);
                    }
                    return Outcome::Delivered { close, body_sent };
                }
                Err(Failure::Closed) if reused && !retried && request.is_replayable() => {
                    service.stats.retries.bump();
                    retried = true;
                    again = Some(turn);
                }
                Err(failure) => {
                    if failure.blames_backend(reused) {
                        turn.failed();
                    }
                    return self.fail(&failure, body_sent);
                }
            }
        }
    }

    async fn tunnel(&mut self, mut upstream: Plain<C::Stream>) {
        let service = self.service;
        service.stats.tunnels.bump();
        let tunnel = splice::Tunnel {
            client: self.client,
            upstream: &mut upstream,
            client_in: &mut self.buffers.client_in,
            client_out: &mut self.buffers.client_out,
            upstream_in: &mut self.buffers.upstream_in,
            upstream_out: &mut self.buffers.upstream_out,
            deadline: self.deadline,
            idle: service.config.timeouts.tunnel,
            bytes_up: &service.stats.bytes_up,
            bytes_down: &service.stats.bytes_down,
        };
        // Either way nothing is left to say: a tunnel shuts down each side as the other ends.
        if !tunnel.run().await {
            service.stats.aborted.bump();
        }
    }

    /// What to answer for a backend that did not.
    fn fail(&self, failure: &Failure, body_read: bool) -> Outcome {
        let stats = &self.service.stats;
        let (status, detail) = match *failure {
            Failure::ClientGone => {
                stats.aborted.bump();
                return Outcome::Ended;
            }
            Failure::Refused(reject) => return Outcome::Refused(reject),
            Failure::Closed => (StatusCode::BAD_GATEWAY, "the backend closed the connection"),
            Failure::TimedOut => {
                (StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time")
            }
            Failure::BadResponse(reject) => {
                stats.count_rejected(reject.rule);
                tracing::debug!(peer = %self.peer, %reject, "response refused");
                (reject.status, "the backend's answer is not valid HTTP")
            }
        };
        Outcome::Own { status, detail, body_read }
    }
}

/// A connection to the backend of `turn`, and whether it has been used before.
///
/// A kept one, unless it must be `fresh`. None if there is none to be had, which `tried` notes.
async fn reach<C: Connect>(
    service: &Service<C>,
    private: Option<&Private<C::Stream>>,
    turn: &Turn,
    fresh: bool,
    tried: &mut Tried,
) -> Option<(C::Stream, bool)> {
    let stats = &service.stats;
    let (pool, header) = match private {
        Some(Private { pool, header }) => (pool, &header[..]),
        None => (&service.pool, &[][..]),
    };
    let kept = if fresh { None } else { pool.take(turn.backend, turn.address) };
    let reused = kept.is_some();
    let stream = if let Some(stream) = kept {
        stats.upstream_reuses.bump();
        stream
    } else {
        let (connector, timeouts) = (&service.connector, &service.config.timeouts);
        let way = Way { connector, timeouts, header, secure: true };
        let Some(stream) = way.connect(turn, tried).await else {
            stats.upstream_failures.bump();
            return None;
        };
        stats.upstream_connects.bump();
        stream
    };
    stats.count_sent_to(turn.backend);
    Some((stream, reused))
}

impl NoUpstream {
    /// What to tell the client of `request`.
    fn outcome(self, request: &Request) -> Outcome {
        let (status, detail) = match self {
            Self::NoBackend => (StatusCode::SERVICE_UNAVAILABLE, "no backend is ready"),
            Self::Refused => (StatusCode::BAD_GATEWAY, "no backend could be reached"),
            Self::Untrusted => (StatusCode::BAD_GATEWAY, "TLS with the backend failed"),
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "no backend answered in time"),
        };
        Outcome::Own { status, detail, body_read: request.framing.is_empty() }
    }
}

impl Request {
    /// May be sent again after a connection ended without a word (RFC 9110 section 9.2.2).
    fn is_replayable(&self) -> bool {
        self.framing.is_empty() && self.method.is_idempotent() && self.method != Method::CONNECT
    }
}
