//! A story as a ladder.

use nat::account::Note;
use nat::flow::Direction;
use nat::{Verdict, pool::Backend};
use netstack::wire::text::Line;
use netstack::wire::{Address, Headers};
use netstack::{Instant, Packet};

use super::narrator::Narrator;
use super::refusal::backend_name;
use super::{Event, Passage};
use crate::ladder::{self, Kind, Ladder, Lifeline};

/// Lifelines on one side of the balancer; who comes later shares the last.
const MAX_LIFELINES: usize = 4;

/// The picture of a story: clients to the left of the balancer, backends to its right.
pub fn ladder(narrator: &Narrator<'_>, events: &[Event], title: &str) -> Ladder {
    let cast = Cast::of(narrator, events);
    let timed = events.iter().any(|event| event.at() > Instant::ZERO);
    let mut ladder =
        Ladder { title: title.to_owned(), lifelines: cast.lifelines(), events: Vec::new() };
    for event in events {
        let time = if timed { short(event.at()) } else { String::new() };
        let mut kinds = match event {
            Event::Passage(passage) => cast.passage(narrator, passage),
            Event::Sent(_, packet) => vec![cast.sent(packet)],
        }
        .into_iter();
        let first = kinds.next().map(|kind| ladder::Event { time, kind });
        ladder.events.extend(first);
        ladder.events.extend(kinds.map(|kind| ladder::Event { time: String::new(), kind }));
    }
    ladder
}

/// Milliseconds or seconds, as short as they can be written.
fn short(at: Instant) -> String {
    let micros = at.as_micros();
    let (whole, part, digits, unit) = match micros {
        0..1_000_000 => (micros / 1_000, micros % 1_000, 3, "ms"),
        _ => (micros / 1_000_000, micros % 1_000_000, 6, "s"),
    };
    let text = format!("{whole}.{part:0digits$}");
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Who appears.
struct Cast {
    balancer: Lifeline,
    left: Vec<(Address, Lifeline)>,
    right: Vec<(Address, Lifeline)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Cast {
    fn of(narrator: &Narrator<'_>, events: &[Event]) -> Self {
        let balancer = balancer(narrator, events);
        let mut cast = Self { balancer, left: Vec::new(), right: Vec::new() };
        for event in events {
            let sent = match event {
                Event::Passage(passage) => {
                    if let Some(address) = source(&passage.came) {
                        cast.enter(narrator, address, side_of_source(passage));
                    }
                    let on = if goes_back(passage) { Side::Left } else { Side::Right };
                    passage.sent.iter().map(|packet| (packet, on)).collect()
                }
                Event::Sent(_, packet) => vec![(packet, Side::Left)],
            };
            for (packet, side) in sent {
                if let Some(address) = destination(packet) {
                    cast.enter(narrator, address, side);
                }
            }
        }
        cast
    }

    fn enter(&mut self, narrator: &Narrator<'_>, address: Address, side: Side) {
        if self.left.iter().chain(&self.right).any(|(known, _)| *known == address) {
            return;
        }
        let pools = narrator.tracer.engine().pools().iter();
        let mut backends = pools.flat_map(nat::Pool::backends);
        let backend = backends.find(|backend: &&Backend| backend.address() == address);
        let (side, name, detail) = match (backend, side) {
            (Some(backend), _) => {
                let at = backend.config.address;
                let detail = if at.port() == 0 { at.ip().to_string() } else { at.to_string() };
                (Side::Right, backend.config.name.as_str(), detail)
            }
            (None, Side::Left) => (Side::Left, "client", address.to_string()),
            (None, Side::Right) => (Side::Right, "host", address.to_string()),
        };
        let list = if side == Side::Left { &mut self.left } else { &mut self.right };
        if list.len() < MAX_LIFELINES {
            list.push((address, Lifeline { name: name.to_owned(), detail, wide: false }));
        } else if let Some((_, last)) = list.last_mut() {
            "and others".clone_into(&mut last.detail);
        }
    }

    fn lifelines(&self) -> Vec<Lifeline> {
        let left = self.left.iter().map(|(_, lifeline)| lifeline.clone());
        let right = self.right.iter().map(|(_, lifeline)| lifeline.clone());
        left.chain([self.balancer.clone()]).chain(right).collect()
    }

    const fn balancer(&self) -> usize {
        self.left.len()
    }

    fn number(&self, address: Option<Address>) -> usize {
        let is = |(known, _): &(Address, Lifeline)| Some(*known) == address;
        if let Some(at) = self.left.iter().position(is) {
            return at;
        }
        let at = self.right.iter().position(is).unwrap_or(self.right.len().saturating_sub(1));
        self.left.len() + 1 + at
    }

    fn passage(&self, narrator: &Narrator<'_>, passage: &Passage) -> Vec<Kind> {
        let from = self.number(source(&passage.came));
        let via = self.balancer();
        let before = Line::of(&passage.came).to_string();
        let mut sent = passage.sent.iter();
        let first = match passage.verdict {
            Verdict::Drop(reason) | Verdict::Reject(reason) => {
                let reason = reason.name().to_owned();
                Kind::Drop { from, to: via, line: before, reason }
            }
            Verdict::Forward => match sent.next() {
                Some(packet) => Kind::Pass {
                    from,
                    via,
                    to: self.number(destination(packet)),
                    before,
                    after: Line::of(packet).to_string(),
                    said: said(narrator, passage),
                },
                None => Kind::Packet { from, to: via, line: before },
            },
            _ => Kind::Packet { from, to: via, line: before },
        };
        std::iter::once(first).chain(sent.map(|packet| self.sent(packet))).collect()
    }

    fn sent(&self, packet: &Packet) -> Kind {
        let to = self.number(destination(packet));
        Kind::Packet { from: self.balancer(), to, line: Line::of(packet).to_string() }
    }
}

/// The balancer, and what clients ask for there if all ask for the same.
fn balancer(narrator: &Narrator<'_>, events: &[Event]) -> Lifeline {
    let services = events.iter().filter_map(|event| match event {
        Event::Passage(passage) => passage.account.service(),
        Event::Sent(..) => None,
    });
    let services: std::collections::BTreeSet<_> = services.collect();
    let mut balancer = Lifeline::balancer("balun");
    if let (Some(&only), 1) = (services.first(), services.len())
        && let Some(service) = narrator.places.service(only)
        && let Some(listen) = service.listens.first()
    {
        balancer.detail = format!("{}: {}", service.name.value, listen.value);
    }
    balancer
}

fn source(packet: &Packet) -> Option<Address> {
    Headers::parse(packet).ok().map(|headers| headers.src)
}

fn destination(packet: &Packet) -> Option<Address> {
    Headers::parse(packet).ok().map(|headers| headers.dst)
}

/// On which side somebody stands who is no backend.
fn side_of_source(passage: &Passage) -> Side {
    let reverse = passage.account.flow.as_ref().is_some_and(|f| f.direction == Direction::Reverse);
    if reverse || about(passage) == Some(Direction::Reverse) { Side::Right } else { Side::Left }
}

/// True if what left went to a client.
fn goes_back(passage: &Passage) -> bool {
    let answered = !matches!(passage.verdict, Verdict::Forward);
    answered || (side_of_source(passage) == Side::Right && !passage.failed_over())
}

fn about(passage: &Passage) -> Option<Direction> {
    passage.account.notes.iter().find_map(|note| match note {
        Note::About(_, direction) => Some(*direction),
        _ => None,
    })
}

/// What the balancer did, in one or two short lines.
fn said(narrator: &Narrator<'_>, passage: &Passage) -> Vec<String> {
    let engine = narrator.tracer.engine();
    let mut said = Vec::new();
    for note in &passage.account.notes {
        match note {
            Note::FailedOver { pool, from } => {
                said.push(format!("{} refused", backend_name(engine, *pool, *from)));
            }
            Note::Chosen { pool, backend, .. } => {
                let scheduler = engine.pools().get(usize::from(pool.0)).map(nat::Pool::scheduler);
                let scheduler = scheduler.map_or("", nat::Scheduler::name);
                said.push(format!("{scheduler} → {}", backend_name(engine, *pool, *backend)));
            }
            Note::Bypass => said.push("bypass".to_owned()),
            Note::PickedUp => said.push("picked up".to_owned()),
            Note::About(..) => said.push("translated".to_owned()),
            _ => {}
        }
    }
    match passage.account.transition() {
        Some((Some(before), after)) => said.push(format!("{before} → {after}")),
        Some((None, after)) => said.push(format!("new flow, {after}")),
        None => {
            let flow = passage.account.flow.as_ref().and_then(|flow| flow.after.as_ref());
            said.extend(flow.map(|flow| flow.state.to_string()));
        }
    }
    said
}
