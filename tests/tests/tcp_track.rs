//! Connections of two model endpoints over a bad path, with packets forged blindly in between.
//!
//! What is tracked is never ahead of what the endpoints have done, and catches up with it. A failure
//! prints its seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use nat::flow::State;
use nat::flow::tcp::TcpState;
use nat::limits::REOPENINGS;
use nat::rng::Rng;
use nat::{Engine, Verdict};
use netstack::wire::text;
use netstack::{Instant, LegId};
use tests::bed::config;
use tests::conversation::Conversation;

const SEEDS: u64 = 60;
/// Milliseconds without an acknowledgment until an end sends again.
const RTO: u64 = 200;
/// The most bytes that an end offers to receive.
const MOST: u32 = 1 << 20;
const BLIND_FLAGS: [&str; 9] = ["R", "R.", "F.", "F", "S", "S.", ".", "P.", "SF"];

/// `a` before `b` or the same.
fn at_most(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).cast_signed() >= 0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Seg {
    syn: bool,
    ack: Option<u32>,
    fin: bool,
    rst: bool,
    seq: u32,
    len: u32,
    win: u16,
    ws: Option<u8>,
}

impl Seg {
    fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len + u32::from(self.syn) + u32::from(self.fin))
    }

    fn line(&self, from: End) -> String {
        let mut flags = String::new();
        for (set, letter) in
            [(self.fin, 'F'), (self.syn, 'S'), (self.rst, 'R'), (self.ack.is_some(), '.')]
        {
            flags.extend(set.then_some(letter));
        }
        let ws = self.ws.map_or(String::new(), |ws| format!(" ws={ws}"));
        let side = if from == CLIENT { '>' } else { '<' };
        let (seq, ack, win, len) = (self.seq, self.ack.unwrap_or(0), self.win, self.len);
        format!("{side} {flags} seq={seq} ack={ack} win={win} len={len}{ws}")
    }
}

/// Index of an endpoint.
type End = usize;
const CLIENT: End = 0;
const BACKEND: End = 1;

/// A TCP that sends `total` bytes, go-back-N, then a FIN, and keeps what comes in order.
#[derive(Debug)]
struct Model {
    iss: u32,
    una: u32,
    nxt: u32,
    total: u32,
    peer_edge: u32,
    rcv: u32,
    edge: u32,
    /// What this end offers, and what both agreed on: for its own windows, and for the peer's.
    offer: Option<u8>,
    shifts: (u8, u8),
    open: bool,
    peer_fin: bool,
    dead: bool,
    deadline: u64,
}

impl Model {
    fn new(rng: &mut Rng) -> Self {
        // Half of them near the wrap.
        let iss = if rng.below(2) == 0 {
            rng.next_u64() as u32
        } else {
            0_u32.wrapping_sub(rng.below(9_000) as u32)
        };
        let offer = (rng.below(3) > 0).then(|| rng.below(15) as u8);
        let total = rng.below(60_000) as u32;
        Self {
            iss,
            una: iss,
            nxt: iss,
            total,
            peer_edge: iss,
            rcv: 0,
            edge: 0,
            offer,
            shifts: (0, 0),
            open: false,
            peer_fin: false,
            dead: false,
            deadline: 0,
        }
    }

    fn fin_at(&self) -> u32 {
        self.iss.wrapping_add(1 + self.total)
    }

    fn is_done(&self) -> bool {
        self.peer_fin && self.una == self.fin_at().wrapping_add(1)
    }

    fn syn(&self, answer: bool) -> Seg {
        let ack = answer.then_some(self.rcv);
        Seg { syn: true, ack, seq: self.iss, win: 30_000, ws: self.offer, ..Seg::default() }
    }

    /// Takes the peer's SYN.
    fn meet(&mut self, syn: &Seg) {
        self.rcv = syn.end();
        self.edge = self.rcv.wrapping_add(30_000);
        self.shifts = self.offer.zip(syn.ws).unwrap_or((0, 0));
        self.peer_edge = self.iss.wrapping_add(1 + u32::from(syn.win));
    }

    fn segment(&mut self, rng: &mut Rng, seq: u32, len: u32, fin: bool) -> Seg {
        let most = MOST.min(u32::from(u16::MAX) << self.shifts.0);
        let room = if rng.below(10) == 0 { 0 } else { rng.below(u64::from(most)) as u32 };
        if at_most(self.edge, self.rcv.wrapping_add(room)) {
            self.edge = self.rcv.wrapping_add(room);
        }
        let win = (self.edge.wrapping_sub(self.rcv) >> self.shifts.0) as u16;
        Seg { ack: Some(self.rcv), seq, len, fin, win, ..Seg::default() }
    }

    /// Sends what the window allows.
    fn pump(&mut self, rng: &mut Rng, out: &mut Vec<Seg>) {
        for _ in 0..8 {
            let room = self.peer_edge.wrapping_sub(self.nxt).cast_signed();
            if room <= 0 || !at_most(self.nxt, self.fin_at()) {
                return;
            }
            let len = (1 + rng.below(3_000) as u32)
                .min(room.cast_unsigned())
                .min(self.fin_at().wrapping_sub(self.nxt));
            let fin = self.nxt.wrapping_add(len) == self.fin_at() && len < room.cast_unsigned();
            let segment = self.segment(rng, self.nxt, len, fin);
            self.nxt = segment.end();
            out.push(segment);
            if fin || len == 0 {
                return;
            }
        }
    }

    fn timer(&mut self, now: u64, rng: &mut Rng, out: &mut Vec<Seg>) {
        if self.dead || now < self.deadline {
            return;
        }
        self.deadline = now + RTO;
        if !self.open {
            // The backend's first is that which its client's makes it send.
            if self.iss == self.una && (self.rcv != 0 || self.nxt != self.iss) {
                out.push(self.syn(self.rcv != 0));
            }
            return;
        }
        self.nxt = self.una;
        self.pump(rng, out);
        if out.is_empty() && self.una != self.fin_at().wrapping_add(1) {
            // A probe of the closed window.
            let len = u32::from(self.nxt != self.fin_at());
            let probe = self.segment(rng, self.nxt, len, len == 0);
            out.push(probe);
        }
    }

    fn receive(&mut self, segment: &Seg, is_backend: bool, rng: &mut Rng, out: &mut Vec<Seg>) {
        if self.dead {
            if !segment.rst {
                let seq = segment.ack.unwrap_or(0);
                let ack = segment.ack.is_none().then(|| segment.end());
                out.push(Seg { rst: true, seq, ack, ..Seg::default() });
            }
            return;
        }
        if !self.open {
            return self.opening(segment, is_backend, rng, out);
        }
        if segment.rst && segment.seq == self.rcv {
            self.dead = true;
            return;
        }
        let acceptable = !segment.syn && !segment.rst && at_most(segment.seq, self.rcv);
        if let Some(ack) = segment.ack.filter(|_| acceptable)
            && at_most(self.una, ack)
            && at_most(ack, self.fin_at().wrapping_add(1))
        {
            self.una = ack;
            self.nxt = if at_most(self.nxt, ack) { ack } else { self.nxt };
            let edge = ack.wrapping_add(u32::from(segment.win) << self.shifts.1);
            self.peer_edge = if at_most(self.peer_edge, edge) { edge } else { self.peer_edge };
        }
        let fits = at_most(segment.end(), self.edge.wrapping_add(1));
        let news =
            acceptable && fits && segment.end() != self.rcv && at_most(self.rcv, segment.end());
        if news {
            self.rcv = segment.end();
            self.peer_fin |= segment.fin;
        }
        let outside = !at_most(self.rcv, segment.seq) || !at_most(segment.seq, self.edge);
        if segment.end() != segment.seq || segment.rst || outside {
            let ack = self.segment(rng, self.nxt, 0, false);
            out.push(ack);
        }
        self.pump(rng, out);
    }

    fn opening(&mut self, segment: &Seg, is_backend: bool, rng: &mut Rng, out: &mut Vec<Seg>) {
        let first = self.iss.wrapping_add(1);
        if is_backend
            && segment.syn
            && segment.ack.is_none()
            && (self.rcv == 0 || segment.end() == self.rcv)
        {
            self.meet(segment);
            out.push(self.syn(true));
        } else if !segment.rst && segment.ack == Some(first) && segment.syn != is_backend {
            if !is_backend {
                self.meet(segment);
            }
            (self.open, self.una, self.nxt) = (true, first, first);
            if is_backend {
                self.receive(segment, true, rng, out);
            } else {
                let ack = self.segment(rng, first, 0, false);
                out.push(ack);
                self.pump(rng, out);
            }
        }
    }
}

/// Where a segment is on its way: from which end, and whether it has passed the engine.
type Flight = Reverse<(u64, u64, End, bool, Seg)>;

struct World {
    rng: Rng,
    conversation: Conversation,
    ends: [Model; 2],
    flights: BinaryHeap<Flight>,
    sequence: u64,
    now: u64,
    /// What went by the engine: each end's FIN, and any true RST.
    fins: [bool; 2],
    reset: bool,
    /// A forged SYN of the backend's side was taken for a simultaneous open.
    crossed: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let ends = [Model::new(&mut rng), Model::new(&mut rng)];
        let conversation =
            if rng.below(2) == 0 { Conversation::dnat() } else { Conversation::full_nat() };
        let flights = BinaryHeap::new();
        Self {
            rng,
            conversation,
            ends,
            flights,
            sequence: 0,
            now: 0,
            fins: [false; 2],
            reset: false,
            crossed: false,
        }
    }

    /// Puts a segment on a hop, which loses, doubles and delays.
    fn fly(&mut self, from: End, passed: bool, segment: Seg) {
        let copies = match self.rng.below(20) {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let late = if self.rng.below(10) == 0 { 60 } else { 3 };
            let at = self.now + 1 + self.rng.below(late);
            self.sequence += 1;
            self.flights.push(Reverse((at, self.sequence, from, passed, segment)));
        }
    }

    fn send(&mut self, from: End, segments: Vec<Seg>) {
        for segment in segments {
            self.fly(from, false, segment);
        }
    }

    fn step(&mut self) {
        self.now += 1;
        self.conversation.bed.now = Instant::from_millis(1_000 + self.now);
        for end in [CLIENT, BACKEND] {
            let mut out = Vec::new();
            self.ends[end].timer(self.now, &mut self.rng, &mut out);
            self.send(end, out);
        }
        while self.flights.peek().is_some_and(|Reverse((at, ..))| *at <= self.now) {
            let Some(Reverse((_, _, from, passed, segment))) = self.flights.pop() else { return };
            if passed {
                let mut out = Vec::new();
                let to = 1 - from;
                self.ends[to].receive(&segment, to == BACKEND, &mut self.rng, &mut out);
                self.send(to, out);
            } else {
                self.pass(from, segment);
            }
        }
        if self.conversation.lives() && self.rng.below(8) == 0 {
            self.forge();
        }
    }

    /// A segment goes through the engine.
    fn pass(&mut self, from: End, segment: Seg) {
        self.fins[from] |= segment.fin;
        self.reset |= segment.rst;
        let kills =
            segment.rst && segment.seq == self.ends[1 - from].rcv && self.ends[1 - from].open;
        let seen = self.conversation.send(&segment.line(from));
        assert_eq!(seen.verdict, Verdict::Forward, "{segment:?}");
        self.is_justified(segment);
        if kills {
            let state = self.conversation.state();
            assert!(
                matches!(state, TcpState::Closing | TcpState::Reset),
                "{state:?} after {segment:?}, which ends it"
            );
        }
        self.fly(from, true, segment);
    }

    fn is_justified(&self, after: impl std::fmt::Debug) {
        let state = self.conversation.state();
        let [client, backend] = self.fins;
        let justified = match state {
            TcpState::SynSent => true,
            TcpState::SynReceived => self.crossed || self.ends[BACKEND].rcv != 0,
            TcpState::Established => self.ends[CLIENT].open,
            TcpState::ClientFin => client,
            TcpState::BackendFin => backend,
            TcpState::Closing => client && backend,
            TcpState::Reset => self.reset,
            TcpState::PickedUp => false,
        };
        assert!(justified, "{state:?} after {after:?}: {:?}, {:?}", self.fins, self.ends);
    }

    /// A packet of someone who knows the addresses alone. That of a lucky one is left out: numbers that
    /// fall close to the true ones.
    fn forge(&mut self) {
        let from = self.rng.below(2) as End;
        let to = &self.ends[1 - from];
        let seq = self.rng.next_u64() as u32;
        let near = |a: u32, b: u32| a.wrapping_sub(b).cast_signed().unsigned_abs() < 4 * MOST;
        if near(seq, to.rcv) || near(seq, self.ends[from].iss) {
            return;
        }
        let before = self.conversation.state();
        let flags = BLIND_FLAGS[self.rng.below(BLIND_FLAGS.len() as u64) as usize];
        let (ack, len) = (self.rng.next_u64() as u32, self.rng.below(2) * 500);
        let win = self.rng.below(65_536);
        let side = if from == CLIENT { '>' } else { '<' };
        let line = format!("{side} {flags} seq={seq} ack={ack} win={win} len={len} ws=14");
        // A SYN of the client makes a new flow of one that is over; that is another test's matter.
        if flags.starts_with('S') && before == TcpState::Reset || before == TcpState::Closing {
            return;
        }
        assert_eq!(self.conversation.send(&line).verdict, Verdict::Forward);
        let after = self.conversation.state();
        // The backend's SYN without ACK can be half of a simultaneous open.
        self.crossed |= (before, after) == (TcpState::SynSent, TcpState::SynReceived)
            && (flags.starts_with('S') && !flags.ends_with('.'));
        assert!(after == before || self.crossed, "{line}: {before:?} became {after:?}");
    }
}

#[test]
fn what_is_tracked_is_what_the_ends_have_done() {
    for seed in 0..SEEDS {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            let syn = world.ends[CLIENT].syn(false);
            world.ends[CLIENT].nxt = syn.end();
            world.fly(CLIENT, false, syn);
            for _ in 0..200_000 {
                world.step();
                // A late copy of the SYN may open the tuple anew once all is over.
                if world.conversation.bed.engine.stats().flows_opened > 1 {
                    return;
                }
                if world.ends.iter().all(Model::is_done) && world.flights.is_empty() {
                    break;
                }
            }
            assert!(world.ends.iter().all(Model::is_done), "{:?}", world.ends);
            assert_eq!(world.conversation.state(), TcpState::Closing);
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_reset_that_ends_a_connection_is_noticed() {
    for seed in 0..SEEDS {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            let syn = world.ends[CLIENT].syn(false);
            world.ends[CLIENT].nxt = syn.end();
            world.fly(CLIENT, false, syn);
            let abort_at = 5 + world.rng.below(400);
            let who = world.rng.below(2) as End;
            for _ in 0..5_000 {
                world.step();
                let model = &mut world.ends[who];
                if world.now >= abort_at && model.open && !model.dead {
                    model.dead = true;
                    let (seq, ack) = (model.nxt, Some(model.rcv));
                    world.fly(who, false, Seg { rst: true, seq, ack, ..Seg::default() });
                }
                // A late copy of the SYN opens the tuple anew once it is reset.
                let opened = world.conversation.bed.engine.stats().flows_opened;
                if opened > 1 || world.ends.iter().all(|end| end.dead) {
                    break;
                }
            }
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}

/// At the limit of SYNs out of turn that are remembered, the one that came longest ago gives way: a
/// connection that it begins is still tracked as the old one.
#[test]
fn syns_out_of_turn_are_remembered_up_to_a_limit() {
    let mut engine = Engine::new(config()).unwrap();
    let now = Instant::from_secs(1);
    let mut send = |leg, line: String| {
        let mut packet = text::packet(&line).unwrap();
        packet.leg = LegId(leg);
        assert_eq!(engine.handle_packet(now, &mut packet), Verdict::Forward, "{line}");
        text::Line::of(&packet).to_string()
    };
    let last = 3 + REOPENINGS as u16;
    let open = |port: u16, send: &mut dyn FnMut(u16, String) -> String| {
        let client = format!("10.1.0.5:{port}");
        let seen = send(0, format!("tcp {client} > 10.99.0.1:81 S seq=100"));
        let backend = seen.split(' ').nth(3).unwrap().to_owned();
        send(1, format!("tcp {backend} > {client} S. seq=500 ack=101"));
        send(0, format!("tcp {client} > 10.99.0.1:81 . seq=101 ack=501"));
        send(0, format!("tcp {client} > 10.99.0.1:81 S seq=70000"));
        (client, backend)
    };
    let mut ends: Vec<_> = (1..last).map(|port| open(port, &mut send)).collect();
    // The third is repeated, the first two have given way, and now the fourth does.
    send(0, "tcp 10.1.0.5:3 > 10.99.0.1:81 S seq=70000".to_owned());
    ends.push(open(last, &mut send));
    for (client, backend) in &ends {
        send(1, format!("tcp {backend} > {client} S. seq=90000 ack=70001"));
    }
    let state = |port| {
        let (_, flow) = engine.flows().iter().find(|(_, f)| f.client.port == port).unwrap();
        flow.state
    };
    for port in [1, 2, 4] {
        assert_eq!(state(port), State::Tcp(TcpState::Established), "{port}");
    }
    for port in [3, 5, 6, last - 1, last] {
        assert_eq!(state(port), State::Tcp(TcpState::SynReceived), "{port}");
    }
}

#[test]
fn what_was_sent_into_a_window_counts_when_the_window_has_shrunk() {
    for (fin, state) in [(20_501, "backend-fin"), (64_600, "established")] {
        let mut conversation = Conversation::established();
        conversation.run(&format!(
            "> . seq=101 ack=501 win=10
             < F. seq={fin} ack=101 => {state}"
        ));
    }
}
