//! One request, from the choice of a backend to the end of its answer.
//!
//! # Theory of operation
//! The same for every version of HTTP: the client's side is a [`Client`], the backend's a
//! [`Backend`](crate::side::Backend). A backend is chosen and reached, the next one if that fails;
//! then the exchange runs. If a kept connection turns out to have ended, a request that may be sent
//! twice is sent again on a fresh one. What only the client's side can do, such as an answer of our
//! own, is left to the caller as an [`Outcome`].

mod failed;

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;

use crate::answer::{Answer as Own, Memory};
use crate::buffering::{self, Buffering, Reserved};
use crate::cache::Fetch;
use crate::cached::InCache;
use crate::deadline::Deadline;
use crate::destination::{Destination, Private};
use crate::exchange::{Buffers, Delivered, Exchange, Rest};
use crate::failure::Failure;
use crate::h2;
use crate::h2::upstream::Links;
use crate::http1::reject::Reject;
use crate::log::{End, Record};
use crate::request::Request;
use crate::service::{Config, Service};
use crate::side::{Client, Plain, Upstream};
use crate::splice;
use crate::stats::Stats;
use crate::upstream::hedge::{self, Attempt, Lost, Raced};
use crate::upstream::{self, Connect, History, NoUpstream, Tried, Tries, Turn, Way};

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
    /// Nothing was delivered, and this is to be. Never told outside.
    Instead(Box<Own>),
    /// The request broke a rule before it was answered.
    Refused(Reject),
    /// Nothing can be said any more, or all has been: the client is gone, half an answer is on its
    /// way, or a tunnel has come to its end.
    Ended,
}

impl Outcome {
    /// Of an answer that was delivered, or is to be by what is given `instead`.
    fn of(close: bool, body_sent: bool, instead: Option<Box<Own>>) -> Self {
        instead.map_or(Self::Delivered { close, body_sent }, Self::Instead)
    }
}

/// What buffering has to do with an answer.
struct Answer {
    /// The request's body is here as a whole.
    is_collected: bool,
    /// What is left to be delivered.
    rest: Option<Rest>,
    /// What a cache makes of it.
    fetch: Option<Box<Fetch>>,
}

/// A request to be forwarded; its head is in the buffers, and what is here of its body.
pub(crate) struct Forward<'a, K, C: Connect> {
    pub(crate) client: &'a mut K,
    pub(crate) peer: &'a SocketAddr,
    pub(crate) service: &'a Service<C>,
    /// Where what becomes of it is counted.
    pub(crate) stats: &'a Stats,
    /// Where the request goes.
    pub(crate) to: &'a Destination<C>,
    /// How it is treated.
    pub(crate) config: &'a Config,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) deadline: &'a mut Deadline,
    pub(crate) record: &'a mut Record,
    /// Connections to backends that are the client's own.
    pub(crate) private: Option<&'a Private<C::Stream>>,
}

impl<K: Client, C: Connect> Forward<'_, K, C> {
    /// Finds a backend that answers `request`, and delivers the answer.
    pub(crate) async fn run(&mut self, request: &Request) -> Outcome {
        if request.is_reset() {
            self.record.ended(End::Injected);
            return Outcome::Ended;
        }
        if let Some(own) = request.own() {
            if let Some(outcome) = request.in_cache().and_then(|cached| cached.outcome) {
                self.record.cached(outcome);
            }
            // Most are a backend's, and should not carry what this needs.
            return Box::pin(self.answer_by_ourselves(request, own)).await;
        }
        let room = match self.collect(request).await {
            Ok(room) => room,
            Err(failure) => return self.fail(&failure, false),
        };
        let fetch = request.in_cache().and_then(InCache::take);
        let mut answer = Answer { is_collected: room.is_some(), rest: None, fetch };
        self.deadline.set_end(self.config.timeouts.total);
        let mut outcome = self.answer(request, &mut answer).await;
        self.deadline.set_end(None);
        if let Some(fetch) = answer.fetch {
            outcome = Box::pin(self.after_fetch(request, outcome, fetch)).await;
        }
        // The backend is free by now.
        match answer.rest {
            Some(rest) => Box::pin(self.deliver(rest, outcome)).await,
            None => outcome,
        }
    }

    /// Delivers an answer that is not a backend's.
    async fn answer_by_ourselves(&mut self, request: &Request, own: &Own) -> Outcome {
        self.deadline.set_end(self.config.timeouts.total);
        let mut memory: Upstream<C::Stream> = Upstream::Own(Box::new(Memory::new(own)));
        self.buffers.begin();
        let service = self.service;
        let mut exchange = Exchange::new(
            self.client,
            &mut memory,
            self.buffers,
            self.deadline,
            request,
            None,
            (self.config, self.stats, &service.hoard),
        )
        .with_changes(service.changes(request));
        let result = exchange.run().await;
        let body_sent = exchange.body_sent() || request.framing.is_empty();
        let (told, rest) = (exchange.told(), exchange.take_rest());
        self.record.exchanged(None, &told);
        self.deadline.set_end(None);
        let outcome = match result {
            Ok(Delivered::Response { close, .. }) => {
                self.record.ended(End::Answered);
                Outcome::Delivered { close, body_sent }
            }
            // It asks for no websocket.
            Ok(Delivered::Tunnel) => Outcome::Ended,
            Err(failure) => self.fail(&failure, body_sent),
        };
        match rest {
            Some(rest) => self.deliver(rest, outcome).await,
            None => outcome,
        }
    }

    /// Gives what a cache has in the place of a backend's answer, or of its failure.
    async fn after_fetch(
        &mut self,
        request: &Request,
        outcome: Outcome,
        mut fetch: Box<Fetch>,
    ) -> Outcome {
        self.record.cached(fetch.outcome());
        let own = match outcome {
            Outcome::Instead(own) => own,
            Outcome::Own { .. } => match fetch.failed() {
                Some(given) => {
                    self.record.cached(fetch.outcome());
                    Box::new(given.into())
                }
                None => return outcome,
            },
            outcome => return outcome,
        };
        if fetch.is_background() {
            return Outcome::Ended;
        }
        self.answer_by_ourselves(request, &own).await
    }

    async fn answer(&mut self, request: &Request, answer: &mut Answer) -> Outcome {
        let to = self.to;
        let policy = (&self.config.retry, to.budget.as_ref());
        let (end, may) = (self.deadline.end(), request.is_idempotent());
        let mut tries = Tries::new(policy, &to.balance, self.peer, may, end);
        tries.tried.belongs = request.belongs;
        if may && policy.0.body > 0 && !request.framing.is_empty() {
            self.buffers.client_in.keep(policy.0.body);
        }
        let outcome = self.try_backends(request, &mut tries, answer).await;
        self.buffers.client_in.forget();
        outcome
    }

    async fn try_backends(
        &mut self,
        request: &Request,
        tries: &mut Tries<'_>,
        answer: &mut Answer,
    ) -> Outcome {
        let (service, config) = (self.service, self.config);
        let (mut replaced, mut replayed) = (false, 0);
        loop {
            let (mut turn, (mut backend, mut history)) = match self.attempt(tries).await {
                Ok(reached) => reached,
                Err(none) => return self.apologise(none, request),
            };
            self.buffers.begin();
            let mut raced = None;
            if let Some(after) = request.hedge_after(config, self.to) {
                let first = Attempt::new(turn, (backend, history));
                let (best, result) = Box::pin(self.hedge(first, after, tries)).await;
                (turn, backend, history) = (best.turn, best.stream, best.history);
                self.buffers.upstream_in = best.input;
                raced = Some(result);
            }
            let told = self.to.tell(turn.backend, request.belongs);
            let local = backend.plain().and_then(C::local_addr);
            let mut exchange = Exchange::new(
                self.client,
                &mut backend,
                self.buffers,
                self.deadline,
                request,
                Some(&turn),
                (config, self.stats, &service.hoard),
            )
            .with_changes(service.changes(request).with(told.as_deref()))
            .with_tries(tries, replayed)
            .with_cache(answer.fetch.as_deref_mut(), answer.is_collected)
            .begun(raced.is_some());
            exchange.is_timed = self.record.is_timed();
            let result = match raced {
                None | Some(Ok(())) => exchange.run().await,
                Some(Err(failure)) => Err(failure),
            };
            let body_sent = exchange.body_sent() || request.framing.is_empty();
            let (told, untouched) = (exchange.told(), exchange.body_untouched());
            answer.rest = exchange.take_rest();
            self.record.exchanged(local, &told);
            let failure = match result {
                Ok(Delivered::Tunnel) => {
                    turn.succeeded();
                    return Box::pin(self.tunnel(backend, local)).await;
                }
                Ok(Delivered::Response { close, reusable, instead }) => {
                    turn.finished(told.status);
                    self.part(&turn, (backend, history), reusable, body_sent);
                    return Outcome::of(close, body_sent, instead);
                }
                Err(failure) => failure,
            };
            let input = &self.buffers.client_in;
            let whole = request.may_be_sent_again(input);
            // What was not processed may be sent again whatever it asks for (RFC 9113 section 8.7).
            let passed_over = failure == Failure::Unprocessed && (untouched || input.is_kept());
            if !replaced && (passed_over || failure == Failure::Closed && history.kept && whole) {
                replaced = true;
                tries.replace(turn);
            } else {
                failure.report(&turn, &backend, history.kept);
                let chosen = matches!(failure, Failure::Retry(_));
                if !(chosen || failure.is_silence() && whole && tries.again(&turn)) {
                    return self.fail(&failure, body_sent);
                }
            }
            self.stats.retries.bump();
            replayed = self.buffers.client_in.rewind();
        }
    }

    /// Reaches a backend that has a turn for the request.
    async fn attempt(
        &mut self,
        tries: &mut Tries<'_>,
    ) -> Result<(Turn, (Upstream<C::Stream>, History)), NoUpstream> {
        let (to, config) = (self.to, self.config);
        let stats = self.stats;
        loop {
            let (turn, fresh) = match tries.next() {
                Some(next) => next,
                None => (self.take_turn(&tries.tried).await?, false),
            };
            self.record.tries(turn.address);
            let way = (to, config, stats);
            let reached = reach(way, self.private, &turn, fresh, &mut tries.tried).await;
            let Some(connection) = reached else { continue };
            let local = connection.0.plain().and_then(C::local_addr);
            self.record.reached(local, turn.address, connection.1.kept);
            return Ok((turn, connection));
        }
    }

    /// Keeps a connection that has served a request, or ends it.
    fn part(
        &self,
        turn: &Turn,
        (backend, history): (Upstream<C::Stream>, History),
        reusable: bool,
        body_sent: bool,
    ) {
        let kept = self.private.and_then(|private| private.kept(self.to));
        let pool = kept.map_or(&self.to.pool, |kept| &kept.pool);
        match backend {
            Upstream::Http1(Plain(stream)) if reusable => {
                pool.put(turn.backend, turn.address, turn.outages, (stream, history));
            }
            Upstream::Http1(Plain(stream)) if body_sent => upstream::close(stream),
            _ => {}
        }
    }

    /// Sends the request by `attempt`, and to a second backend too if no byte of an answer has come `after`
    /// a time. Whoever begins to answer first is what comes back.
    async fn hedge(
        &mut self,
        mut attempt: Attempt<Upstream<C::Stream>>,
        after: Duration,
        tries: &mut Tries<'_>,
    ) -> (Attempt<Upstream<C::Stream>>, Result<(), Failure>) {
        let Self { stats, to, config, deadline, client, record, private, .. } = self;
        let (private, way) = (*private, (*to, *config, *stats));
        let Buffers { client_in, head, .. } = &mut *self.buffers;
        deadline.restart(tries.patience(config.timeouts.response));
        let (head, end, backend): (&[u8], _, _) = (head, deadline.end(), attempt.turn.backend);
        let mut rival = None;
        let make_rival = || {
            let turn = tries.hedge(backend)?;
            stats.hedges.bump();
            let rival = &mut rival;
            Some(async move {
                let mut tried = Tried::until(end);
                record.tries(turn.address);
                let reached = reach(way, private, &turn, false, &mut tried).await;
                let connection = reached.ok_or(Lost)?;
                let local = connection.0.plain().and_then(C::local_addr);
                record.reached(local, turn.address, connection.1.kept);
                rival.insert(Attempt::new(turn, connection)).begin(head).await
            })
        };
        let stop = |cx: &mut Context<'_>| match upstream::poll_gone(cx, *client, client_in) {
            Poll::Ready(()) => Poll::Ready(Failure::ClientGone),
            Poll::Pending => deadline.poll(cx).map(|()| Failure::TimedOut),
        };
        let raced = hedge::race(attempt.begin(head), after, make_rival, stop).await;
        if let (Raced::Second, Some(rival)) = (&raced, &mut rival) {
            std::mem::swap(&mut attempt, rival);
        } else if rival.is_some() {
            self.record.abandoned(attempt.turn.address);
        }
        if let Some(loser) = rival.filter(|loser| !loser.history.kept)
            && (loser.closed || raced == Raced::Stopped(Failure::TimedOut))
        {
            loser.turn.failed();
        }
        let result = match raced {
            Raced::First | Raced::Second => Ok(()),
            Raced::Neither => Err(Failure::Closed),
            Raced::Stopped(failure) => Err(failure),
        };
        (attempt, result)
    }

    /// A backend to try, after a wait if all are at their limits.
    async fn take_turn(&mut self, tried: &Tried) -> Result<Turn, NoUpstream> {
        let (client, input) = (&mut *self.client, &mut self.buffers.client_in);
        let watch = |cx: &mut Context<'_>| upstream::poll_gone(cx, client, input);
        upstream::take_turn(&self.to.balance, *self.peer, tried, watch).await
    }

    /// Reads the request's body to its end, if that is to be buffered and there is room.
    async fn collect(&mut self, request: &Request) -> Result<Option<Reserved>, Failure> {
        let Buffers { client_in, client_out, .. } = &mut *self.buffers;
        if request.invited && self.client.invite(client_out).is_err() {
            return Err(Failure::ClientGone);
        }
        let config = self.config;
        let Buffering { request: wanted, limit, .. } = config.buffering;
        if !wanted || request.framing.is_empty() {
            return Ok(None);
        }
        let length = buffering::expected(request.framing, limit);
        let Some(room) = self.service.hoard.reserve(length) else { return Ok(None) };
        let (framing, timeouts) = (request.framing, &config.timeouts);
        let buffers = (client_in, client_out);
        let client = &mut *self.client;
        let collected =
            buffering::collect(client, buffers, self.deadline, framing, limit, timeouts);
        Box::pin(collected).await?;
        Ok(Some(room))
    }

    /// Gives the client what is left of an answer whose backend is done.
    async fn deliver(&mut self, rest: Rest, outcome: Outcome) -> Outcome {
        let (timeouts, trailers) = (&self.config.timeouts, &rest.trailers);
        let output = &mut self.buffers.client_out;
        let delivered =
            buffering::deliver_rest(self.client, output, self.deadline, trailers, timeouts).await;
        match delivered {
            Ok(()) => output.shrink(),
            Err(failure) => return self.fail(&failure, true),
        }
        outcome
    }

    async fn tunnel(
        &mut self,
        mut upstream: Upstream<C::Stream>,
        local: Option<SocketAddr>,
    ) -> Outcome {
        self.stats.tunnels.bump();
        self.deadline.set_end(None);
        let tunnel = splice::Tunnel {
            client: self.client,
            upstream: &mut upstream,
            client_in: &mut self.buffers.client_in,
            client_out: &mut self.buffers.client_out,
            upstream_in: &mut self.buffers.upstream_in,
            upstream_out: &mut self.buffers.upstream_out,
            deadline: self.deadline,
            idle: self.config.timeouts.tunnel,
            bytes_up: &self.stats.bytes_up,
            bytes_down: &self.stats.bytes_down,
        };
        // Either way nothing is left to say: a tunnel shuts down each side as the other ends.
        let moved = tunnel.run().await;
        self.record.tunnelled(local, &moved);
        if !moved.is_whole {
            self.stats.aborted.bump();
        }
        Outcome::Ended
    }
}

/// A connection to the backend of `turn`, and what it has been used for.
///
/// A kept one, unless it must be `fresh`. None if there is none to be had, which `tried` notes.
async fn reach<C: Connect>(
    (to, config, stats): (&Destination<C>, &Config, &Stats),
    private: Option<&Private<C::Stream>>,
    turn: &Turn,
    fresh: bool,
    tried: &mut Tried,
) -> Option<(Upstream<C::Stream>, History)> {
    let header = private.map_or(&[][..], Private::header);
    let (pool, links) = match private.and_then(|private| private.kept(to)) {
        Some(kept) => (&kept.pool, &kept.links),
        None => (&to.pool, &to.links),
    };
    let kept = !fresh && !to.http2;
    if let Some((stream, history)) = kept.then(|| pool.take(turn.backend, turn.address)).flatten() {
        stats.upstream_reuses.bump();
        to.sent.bump(turn.backend);
        return Some((Upstream::Http1(Plain(stream)), history));
    }
    let (connector, timeouts) = (&to.connector, &config.timeouts);
    let way = Way { connector, timeouts, header, secure: true };
    // Few requests wait for a connection, and the others should not carry what that needs.
    let made = Box::pin(make((to, stats), links, &way, turn, tried)).await;
    if made.is_some() {
        to.sent.bump(turn.backend);
    } else {
        stats.upstream_failures.bump();
    }
    made
}

/// The same where no idle connection will do: a new one, or a stream of one that is shared.
async fn make<C: Connect>(
    (to, stats): (&Destination<C>, &Stats),
    links: &Links,
    way: &Way<'_, C>,
    turn: &Turn,
    tried: &mut Tried,
) -> Option<(Upstream<C::Stream>, History)> {
    let mut history = History::new();
    if to.http2 {
        let (stream, kept) = h2::upstream::reach((to, stats), links, way, turn, tried).await?;
        history.kept = kept;
        return Some((Upstream::Http2(Box::new(stream)), history));
    }
    let stream = way.connect(turn, tried).await?;
    stats.upstream_connects.bump();
    Some((Upstream::Http1(Plain(stream)), history))
}
