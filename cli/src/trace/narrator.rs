//! A passage as rows.

use nat::account::Note;
use nat::flow::Direction;
use nat::verdict::DivertTo;
use nat::{Scheduler, Verdict};
use netstack::packet::Checksum;
use netstack::wire::checksum::verify_transport;
use netstack::wire::text::Line;
use netstack::wire::{Headers, Transport};
use netstack::{LegId, Packet};

use super::places::{Place, Places};
use super::{Passage, Tracer, diverted, refusal};

/// One row of an explanation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What was done.
    pub verb: &'static str,
    /// To or by whom.
    pub object: String,
    /// With what outcome.
    pub detail: String,
    /// At the right: the line of the configuration that decided, or what a packet is like.
    pub aside: String,
}

/// Tells what became of packets.
#[derive(Clone, Copy, Debug)]
pub struct Narrator<'a> {
    /// The engine that they were handed to.
    pub tracer: &'a Tracer,
    /// What it was made from.
    pub places: Places<'a>,
}

impl Narrator<'_> {
    /// A passage, a step a row.
    pub fn rows(&self, passage: &Passage) -> Vec<Row> {
        let mut rows = vec![self.packet("in", &passage.came)];
        rows.extend(passage.steps.iter().map(|step| Row {
            verb: step.verb,
            object: step.object.clone(),
            detail: step.detail.clone(),
            aside: aside(step.subject.and_then(|subject| self.places.of(subject))),
        }));
        rows.extend(refusal::rows(self, passage));
        if let Verdict::Divert(to) = passage.verdict {
            rows.extend(diverted::rows(self, to));
        }
        rows.extend(passage.sent.iter().map(|packet| self.packet("out", packet)));
        rows
    }

    /// What came of it, in a few words.
    pub fn verdict(&self, passage: &Passage) -> String {
        let account = &passage.account;
        let about = account.notes.iter().any(|note| matches!(note, Note::About(..)));
        match passage.verdict {
            Verdict::Forward if about => "forward, as an error of the service".to_owned(),
            Verdict::Forward => match (passage.backend(), account.flow.as_ref()) {
                (_, Some(flow))
                    if flow.direction == Direction::Reverse && !passage.failed_over() =>
                {
                    let client = account.client().map_or(String::new(), |at| format!(" {at}"));
                    format!("forward to the client{client}")
                }
                (Some((pool, backend)), _) => {
                    let name = refusal::backend_name(self.tracer.engine(), pool, backend);
                    format!("forward to {name}")
                }
                _ => format!("forward by leg {}", self.leg(passage.sent.first().map(|p| p.leg))),
            },
            Verdict::Reply => "answered here".to_owned(),
            Verdict::Divert(DivertTo::Service(id)) => {
                let service = self.places.service(id);
                let mode = service.map_or("", |service| service.mode.name());
                let name = service.map_or("", |service| service.name.as_str());
                format!("ends here, in {name} ({mode})")
            }
            Verdict::Divert(DivertTo::Upstream) => "ends here, in a connection of ours".to_owned(),
            Verdict::Hold => "held, until what belongs to it comes".to_owned(),
            Verdict::Consumed => "taken: it answers a health check".to_owned(),
            Verdict::Reject(reason) => format!("refused, {reason}"),
            Verdict::Drop(reason) => format!("dropped, {reason}"),
        }
    }

    /// What to try next.
    pub fn next(&self, passage: &Passage) -> String {
        match passage.verdict {
            Verdict::Drop(reason) | Verdict::Reject(reason) => {
                format!("balun explain drop:{reason}")
            }
            Verdict::Forward if passage.account.is_new_flow() => {
                let answer = Headers::parse(&passage.came).map(|headers| headers.transport);
                let answer = match answer {
                    Ok(Transport::Tcp { .. }) => "reply S.",
                    Ok(Transport::Udp { .. }) => "reply len=20",
                    _ => "reply",
                };
                format!(
                    "balun trace … '{answer}'   (the backend's answer)   --svg FILE   (a picture)"
                )
            }
            Verdict::Hold => "balun trace … and the other fragments".to_owned(),
            _ => "balun trace … --svg FILE   (a picture)".to_owned(),
        }
    }

    /// Why another run of the same configuration may choose differently, if it may.
    pub fn chance(&self, passage: &Passage) -> Option<&'static str> {
        passage.account.notes.iter().find_map(|note| match note {
            Note::Chosen { pool, .. } => {
                let pool = self.tracer.engine().pools().get(usize::from(pool.0))?;
                match pool.scheduler() {
                    Scheduler::Random => Some("random"),
                    Scheduler::P2c => Some("p2c"),
                    Scheduler::Ewma => Some("ewma"),
                    _ => None,
                }
            }
            _ => None,
        })
    }

    /// A leg's name.
    pub fn leg(&self, leg: Option<LegId>) -> &str {
        let leg = leg.and_then(|leg| self.places.config().legs.get(usize::from(leg.0)));
        leg.map_or("?", |leg| leg.name.value.as_str())
    }

    fn packet(&self, verb: &'static str, packet: &Packet) -> Row {
        let object = self.leg(Some(packet.leg)).to_owned();
        let (detail, aside) = (Line::of(packet).to_string(), look(packet));
        Row { verb, object, detail, aside }
    }
}

/// A place, or nothing.
pub(super) fn aside(place: Option<Place>) -> String {
    place.map_or_else(String::new, |place| place.to_string())
}

/// Length and checksum of a packet.
pub(super) fn look(packet: &Packet) -> String {
    let len = packet.len();
    let Ok(headers) = Headers::parse(packet) else { return format!("{len} B, malformed") };
    let sum = match packet.offload.checksum {
        Checksum::Partial { .. } => "checksum offloaded",
        Checksum::Verified => "checksum verified",
        // A fragment's sum covers what is not here.
        Checksum::Complete if headers.transport == Transport::Fragment => "a fragment",
        Checksum::Complete if headers.transport == Transport::Other => "not looked into",
        Checksum::Complete if verify_transport(packet, &headers) => "checksum ok",
        Checksum::Complete => "checksum wrong",
    };
    format!("{len} B, {sum}")
}
