//! What both ends have said about sequence numbers, and whether a segment fits.

use netstack::wire::TcpFlags;

use super::segment::{MAX_SHIFT, Segment, at_most, later};
use super::state::{Event, TcpState};
use crate::flow::Direction;

/// How far behind the newest one an acknowledgment may be, at least: what a path reorders.
const MIN_ACK_WINDOW: u32 = 1 << 16;
/// The largest window that there can be (RFC 7323 section 2.3).
const MAX_WINDOW: u32 = 1 << 30;

/// A window scale, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scale(u8);

impl Scale {
    /// Of an end that did not offer one.
    const NONE: Self = Self(MAX_SHIFT + 1);
    /// Of an end that was not heard yet.
    const UNHEARD: Self = Self(MAX_SHIFT + 2);
    /// Of an end whose SYN was missed: the largest, so that nothing of its is outside by mistake.
    const MISSED: Self = Self(MAX_SHIFT);

    const fn shift(self) -> u8 {
        if self.0 > MAX_SHIFT { 0 } else { self.0 }
    }
}

/// What one end has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Side {
    /// The number behind the newest that it sent.
    next: u32,
    /// The newest acknowledgment that it sent; before the first, the least that it can be.
    ack: u32,
    /// The largest window that it offered, not scaled.
    window: u16,
    scale: Scale,
    /// The last byte of its SYN's number, which tells a late copy from a new SYN.
    initial: u8,
}

impl Side {
    const UNHEARD: Self = Self { next: 0, ack: 0, window: 0, scale: Scale::UNHEARD, initial: 0 };

    /// An end that has sent this SYN, and has acknowledged nothing before `ack`.
    fn opened_by(syn: &Segment, ack: u32) -> Self {
        let scale = syn.scale.map_or(Scale::NONE, Scale);
        // A SYN's window is not scaled, while what is kept is in the scaled unit.
        let window = match scale.shift() {
            0 => syn.window,
            shift => (syn.window >> shift) + 1,
        };
        Self { next: syn.end(), ack, window, scale, initial: syn.seq as u8 }
    }

    /// An end whose SYN comes second. Windows are scaled if both SYNs say so (RFC 7323 section 1.3).
    fn answered_by(syn: &Segment, ack: u32, first: &mut Self) -> Self {
        if first.scale == Scale::NONE {
            return Self::opened_by(&Segment { scale: None, ..*syn }, ack);
        }
        if syn.scale.is_none() {
            // What was offered was rounded for another unit.
            first.window = u16::MAX;
            first.scale = Scale::NONE;
        }
        Self::opened_by(syn, ack)
    }

    /// An end whose SYN was missed and that has sent this segment.
    const fn met_by(segment: &Segment) -> Self {
        Self {
            next: segment.end(),
            ack: segment.ack,
            window: segment.window,
            scale: Scale::MISSED,
            initial: 0,
        }
    }

    fn is_unheard(&self) -> bool {
        self.scale == Scale::UNHEARD
    }

    /// Its window in bytes, less than 2^30.
    const fn reach(&self) -> u32 {
        (self.window as u32) << self.scale.shift()
    }

    /// True if it waits for this number: from its last acknowledgment to the end of its window.
    const fn waits_for(&self, seq: u32) -> bool {
        at_most(self.ack, seq) && at_most(seq, self.ack.wrapping_add(self.reach()))
    }

    fn hear(&mut self, segment: &Segment) {
        self.next = later(self.next, segment.end());
        if segment.has(TcpFlags::ACK) {
            self.ack = later(self.ack, segment.ack);
        }
        self.window = self.window.max(segment.window);
    }
}

/// What both ends of a connection have said about sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    client: Side,
    backend: Side,
}

impl Default for Windows {
    /// Nothing heard: for what is not TCP.
    fn default() -> Self {
        Self { client: Side::UNHEARD, backend: Side::UNHEARD }
    }
}

impl Windows {
    /// A connection that the client's SYN has opened.
    pub fn opened_by(syn: &Segment) -> Self {
        let backend = Side { ack: syn.seq.wrapping_add(1), ..Side::UNHEARD };
        Self { client: Side::opened_by(syn, 0), backend }
    }

    /// A connection whose handshake was missed, met by a segment in this direction.
    pub const fn picked_up(direction: Direction, segment: &Segment) -> Self {
        let met = Side::met_by(segment);
        let other = Side { next: segment.ack, ack: segment.seq, window: u16::MAX, ..Side::UNHEARD };
        match direction {
            Direction::Forward => Self { client: met, backend: other },
            Direction::Reverse => Self { client: other, backend: met },
        }
    }

    /// What a segment means for a connection in `state`; nothing if it does not count.
    #[inline]
    pub fn judge(&self, state: TcpState, direction: Direction, segment: &Segment) -> Option<Event> {
        let (from, to) = match direction {
            Direction::Forward => (&self.client, &self.backend),
            Direction::Reverse => (&self.backend, &self.client),
        };
        let event = Event::of(segment.flags);
        let counts = match (event, state, direction) {
            (Event::Segment | Event::Fin, TcpState::SynSent, _) => false,
            // Half-open until the client shows that it has seen the backend's SYN.
            (
                Event::Segment | Event::Fin | Event::SynAck,
                TcpState::SynReceived,
                Direction::Forward,
            ) => segment.acknowledges(from.ack, to.next) && fits(from, to, segment),
            (Event::Segment, ..) => fits(from, to, segment),
            (Event::Fin, ..) => {
                fits(from, to, segment) && (to.is_unheard() || to.waits_for(segment.fin()))
            }

            (Event::Rst, TcpState::SynSent, Direction::Reverse)
            | (Event::SynAck, TcpState::SynSent | TcpState::SynReceived, Direction::Reverse) => {
                segment.acknowledges(from.ack, to.next)
            }
            (Event::Rst, ..) => to.waits_for(segment.seq),
            (Event::Syn, TcpState::SynSent, Direction::Reverse) => true,
            (Event::Syn | Event::SynAck | Event::Restart, ..) => false,
        };
        counts.then_some(event)
    }

    /// What the client's segment means for a connection in `state` whose backend is never heard; nothing
    /// if it does not count. Windows are unknown then: what counts is near the newest that was sent.
    pub fn judge_alone(&self, state: TcpState, segment: &Segment) -> Option<Event> {
        let near = |bound: u32| {
            segment.end().wrapping_sub(self.client.next).wrapping_add(bound) <= 2 * bound
        };
        let event = Event::of(segment.flags);
        let counts = match event {
            Event::Segment | Event::Fin => segment.has(TcpFlags::ACK) && near(MAX_WINDOW),
            Event::Rst => near(MIN_ACK_WINDOW),
            // Another connection on the tuple, before the first came about.
            Event::Syn => state == TcpState::SynSent,
            Event::SynAck | Event::Restart => false,
        };
        counts.then_some(event)
    }

    /// Takes note of a segment that counts as `event`, where the backend is never heard.
    pub fn learn_alone(&mut self, event: Event, segment: &Segment) {
        match event {
            Event::Syn => *self = Self::opened_by(segment),
            Event::Segment | Event::Fin => self.client.hear(segment),
            Event::SynAck | Event::Rst | Event::Restart => {}
        }
    }

    /// Takes note of a segment that counts as `event`.
    #[inline]
    pub fn learn(&mut self, direction: Direction, event: Event, segment: &Segment) {
        let (from, to) = match direction {
            Direction::Forward => (&mut self.client, &mut self.backend),
            Direction::Reverse => (&mut self.backend, &mut self.client),
        };
        match event {
            Event::Segment | Event::Fin if from.is_unheard() => {
                *from = Side::met_by(segment);
                to.next = later(to.next, segment.ack);
            }
            Event::Segment | Event::Fin => from.hear(segment),
            Event::Syn | Event::SynAck => {
                let least = segment.seq.wrapping_add(1);
                if direction == Direction::Reverse && (from.is_unheard() || to.ack != least) {
                    *from = Side::answered_by(segment, from.ack, to);
                    to.ack = least;
                }
                if event == Event::SynAck {
                    from.ack = later(from.ack, segment.ack);
                }
            }
            Event::Rst | Event::Restart => {}
        }
    }

    /// True if each end has acknowledged all that the other sent: with both FINs, nothing is left to
    /// say.
    pub fn are_settled(&self) -> bool {
        let heard = !self.client.is_unheard() && !self.backend.is_unheard();
        heard && self.client.ack == self.backend.next && self.backend.ack == self.client.next
    }

    /// True if this SYN is the client's last word, sent once more.
    pub const fn begin_with(&self, syn: &Segment) -> bool {
        self.client.next == syn.end()
    }

    /// True if the backend's `answer` to `syn` shows that a new connection has begun, and is not a late
    /// copy of the answer that began this one.
    pub fn is_restarted_by(&self, syn: &Segment, answer: &Segment) -> bool {
        let copies =
            self.client.initial == syn.seq as u8 && self.backend.initial == answer.seq as u8;
        answer.answers(syn) && !copies
    }

    /// Begins anew: the client's `syn` was answered by the backend's.
    pub fn restart(&mut self, syn: &Segment, answer: &Segment) {
        *self = Self::opened_by(syn);
        self.learn(Direction::Reverse, Event::SynAck, answer);
    }
}

/// True if a segment between two ends is one that its sender can have sent.
#[inline]
fn fits(from: &Side, to: &Side, segment: &Segment) -> bool {
    if from.is_unheard() || to.is_unheard() {
        return segment.has(TcpFlags::ACK); // Of the other end's numbers, which are taken from it.
    }
    let reach = to.reach() + 1; // A probe of a closed window lies one beyond it.
    let acknowledges = || {
        let oldest = from.ack.wrapping_sub(from.reach().max(MIN_ACK_WINDOW));
        segment.acknowledges(oldest, to.next)
    };
    at_most(segment.seq, to.ack.wrapping_add(reach))
        && at_most(from.next.wrapping_sub(reach), segment.end())
        && (!segment.has(TcpFlags::ACK) || acknowledges())
}
