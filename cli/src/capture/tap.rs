//! What stands beside the loop.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use l7::transaction::Transaction;
use nat::account::{Account, View};
use nat::flow::Direction as Way;
use nat::{Engine, Verdict};
use netstack::dev::pcapng::Direction;
use netstack::packet::Offload;
use netstack::wire::{Headers, TcpFlags, Transport};
use netstack::{Instant, LegId, Packet};

use super::batch::{Batch, Record};
use super::output::Target;
use super::queue::{HandOver, Queue, Totals};
use super::taps::Ending;
use super::{Comments, Options, Origin, Report, Side, Trigger, worker};
use crate::queue::Batch as _;

/// Bytes that are handed over at once while there is work; when the loop waits it hands over whatever
/// there is.
const BATCH: usize = 64 << 10;

/// Bytes that are held here while the queue takes nothing.
const MAX_HELD: usize = 1 << 20;

/// How long a loop that waits for the disk does so at a time.
const PAUSE: Duration = Duration::from_micros(100);

/// How often a loop that is about to wait tries to get rid of what it has.
const IDLE_TRIES: u32 = 1000;

/// Copies packets for one capture: see [`Taps`](super::Taps), which shows them to it.
#[derive(Debug)]
pub struct Tap {
    options: Options,
    epoch: Duration,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<Report>>,
    is_file: bool,
    /// Whoever fills it waits for the disk, and loses nothing.
    waits: bool,
    batch: Batch,
    /// Records that are still to be made.
    left: u64,
    arrived: Arrived,
    comments: String,
    totals: Totals,
    /// Records lost on each leg since the last that was not.
    lost: Vec<u64>,
}

/// The packet that the engine decides on, as it came.
#[derive(Debug, Default)]
struct Arrived {
    data: Vec<u8>,
    len: u32,
    id: u64,
    leg: LegId,
    offload: Offload,
    matches: bool,
    is_reset: bool,
}

impl Tap {
    /// Opens `target` and starts the thread that writes it.
    ///
    /// # Errors
    /// The target cannot be opened, or its header not be written.
    pub fn start(target: Target, options: Options, origin: Origin) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (legs, epoch) = (origin.legs.len(), origin.epoch);
        let left = options.count.unwrap_or(u64::MAX);
        let is_file = matches!(target, Target::File(_));
        let thread = worker::start(target, options.clone(), origin, Arc::clone(&queue))?;
        let zeros = || vec![0; legs];
        let totals = Totals { received: zeros(), accepted: zeros(), lost: zeros(), time: epoch };
        Ok(Self {
            options,
            epoch,
            queue,
            thread: Some(thread),
            is_file,
            waits: false,
            batch: Batch::default(),
            left,
            arrived: Arrived::default(),
            comments: String::new(),
            totals,
            lost: zeros(),
        })
    }

    /// Makes whoever fills it wait for the disk: for a loop whose clock is its own.
    #[must_use]
    pub const fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    /// A packet has come by `packet.leg` and is about to be decided on.
    pub(super) fn arrives(&mut self, packet: &Packet) {
        let wants_resets = self.triggers().any(|trigger| *trigger == Trigger::Reset);
        let matches_all = self.options.filter.matches_all();
        let headers = if matches_all && !wants_resets { None } else { Headers::parse(packet).ok() };
        let arrived = &mut self.arrived;
        arrived.matches =
            matches_all || self.options.filter.matches(packet.data(), headers.as_ref());
        arrived.is_reset = headers.is_some_and(|headers| {
            matches!(headers.transport, Transport::Tcp { flags, .. } if flags.contains(TcpFlags::RST))
        });
        arrived.id = packet.id;
        arrived.leg = packet.leg;
        arrived.len = packet.len() as u32;
        arrived.offload = packet.offload;
        arrived.data.clear();
        arrived.data.extend_from_slice(head(packet, self.options.snaplen));
        count(&mut self.totals.received, packet.leg);
    }

    /// `engine` has decided on the packet that arrived last, and this is what became of it.
    pub(super) fn decided(&mut self, now: Instant, engine: &Engine, packet: &Packet) {
        let Some(account) = engine.account() else { return };
        let (leaves, answers) = match account.verdict {
            Some(Verdict::Forward) => (true, false),
            Some(Verdict::Reply | Verdict::Reject(_)) => (true, true),
            _ => (false, false),
        };
        let reason = match account.verdict {
            Some(Verdict::Drop(reason) | Verdict::Reject(reason)) => Some(reason),
            _ => None,
        };
        let matches = self.arrived.matches || leaves && self.matches(packet);
        if !matches || self.options.dropped && reason.is_none() {
            return;
        }
        let came_by = side_of(account);
        let left_by = if answers { came_by } else { other(came_by) };
        let brief = self.comment(account, engine);
        let arrived = std::mem::take(&mut self.arrived);
        if reason.is_some() || self.wants(came_by) {
            let record = Record {
                packet_id: arrived.id,
                original_len: arrived.len,
                offload: arrived.offload,
                ..Record::new(self.time(now), arrived.leg.0.into(), Direction::Inbound)
            };
            self.push(record, &arrived.data);
            if self.triggers().any(|trigger| trigger.is_packet(reason, arrived.is_reset)) {
                self.batch.mark(record.time);
            }
            // The details need not be said twice.
            self.comments.truncate(brief);
        }
        self.arrived = arrived;
        if leaves && self.wants(left_by) {
            self.push_outbound(now, packet);
        }
    }

    /// A packet is about to leave by `packet.leg` that was not decided on just now: one that was held,
    /// or that this process made.
    pub(super) fn leaves(&mut self, now: Instant, engine: &Engine, packet: &Packet) {
        // A segment of a connection that ends in this process was handed in just before; of any other
        // packet the last account says nothing.
        let account = engine.account().filter(|account| {
            account.verdict == Some(Verdict::Forward) && account.after == View::of(packet)
        });
        let left_by = account.map_or(Side::Both, |account| other(side_of(account)));
        if self.options.dropped || !self.wants(left_by) || !self.matches(packet) {
            return;
        }
        self.comments.clear();
        if let Some(account) = account {
            self.comment(account, engine);
        }
        self.push_outbound(now, packet);
    }

    /// True if what requests come to matters to it.
    pub(super) fn wants_requests(&self) -> bool {
        self.triggers().any(|trigger| matches!(trigger, Trigger::Status(_) | Trigger::Slow(_)))
    }

    /// A request is over.
    pub(super) fn finished(&mut self, now: Instant, transaction: &Transaction) {
        if self.triggers().any(|trigger| trigger.is_request(transaction)) {
            self.batch.mark(self.time(now));
        }
    }

    /// The loop is about to wait: what was captured goes on its way. False if the capture has all that
    /// it was to have, or has ended by itself, for want of a disk or a reader.
    pub(super) fn idle(&mut self) -> bool {
        for _ in 0..IDLE_TRIES {
            if self.batch.is_empty() {
                break;
            }
            match self.queue.hand_over(&mut self.batch) {
                HandOver::Done | HandOver::Full => break,
                HandOver::Over => return false,
                // For as long as it takes to exchange two pointers.
                HandOver::Busy => std::hint::spin_loop(),
            }
        }
        self.left > 0
    }

    /// Says that nothing follows; the thread writes what is left, and then ends.
    pub(super) fn end(mut self) -> Option<Ending> {
        self.close();
        let thread = self.thread.take()?;
        Some(Ending { thread, is_file: self.is_file })
    }

    fn close(&mut self) {
        let totals = std::mem::take(&mut self.totals);
        self.queue.close(std::mem::take(&mut self.batch), totals);
    }

    fn time(&self, now: Instant) -> Duration {
        self.epoch + now.saturating_since(Instant::ZERO)
    }

    fn matches(&self, packet: &Packet) -> bool {
        let filter = &self.options.filter;
        filter.matches_all() || filter.matches(packet.data(), Headers::parse(packet).ok().as_ref())
    }

    /// True if what is seen on `side` is wanted; what belongs to neither side always is.
    fn wants(&self, side: Side) -> bool {
        let wanted = self.options.side;
        wanted == Side::Both || side == Side::Both || side == wanted
    }

    fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        self.options.ring.iter().flat_map(|ring| &ring.triggers)
    }

    /// Takes down what is to be said of a packet; gives the length of what is said at level `brief`.
    fn comment(&mut self, account: &Account, engine: &Engine) -> usize {
        self.comments.clear();
        if self.options.comments == Comments::None {
            return 0;
        }
        account.write_brief(engine, &mut self.comments);
        if !self.comments.is_empty() {
            self.comments.push('\n');
        }
        let brief = self.comments.len();
        if self.options.comments == Comments::Full {
            for step in account.steps(engine) {
                let words = [step.verb, &step.object, &step.detail];
                for word in words.into_iter().filter(|word| !word.is_empty()) {
                    self.comments.push_str(word);
                    self.comments.push(' ');
                }
                self.comments.pop();
                self.comments.push('\n');
            }
        }
        brief
    }

    fn push_outbound(&mut self, now: Instant, packet: &Packet) {
        let record = Record {
            packet_id: packet.id,
            original_len: packet.len() as u32,
            offload: packet.offload,
            ..Record::new(self.time(now), packet.leg.0.into(), Direction::Outbound)
        };
        self.push(record, head(packet, self.options.snaplen));
    }

    fn push(&mut self, mut record: Record, data: &[u8]) {
        let leg = record.interface as usize;
        self.totals.time = record.time;
        let Some(lost) = self.lost.get_mut(leg).filter(|_| self.left > 0) else { return };
        self.left -= 1;
        count(&mut self.totals.accepted, LegId(leg as u16));
        let mut is_full = self.batch.size() >= BATCH;
        if is_full {
            let mut handed_over = self.queue.hand_over(&mut self.batch);
            while self.waits && matches!(handed_over, HandOver::Full | HandOver::Busy) {
                std::thread::sleep(PAUSE);
                handed_over = self.queue.hand_over(&mut self.batch);
            }
            is_full = handed_over != HandOver::Done && self.batch.size() >= MAX_HELD;
        }
        if is_full {
            *lost += 1;
            count(&mut self.totals.lost, LegId(leg as u16));
            return;
        }
        record.lost = std::mem::take(lost);
        self.batch.push(record, data, &self.comments);
    }
}

impl Drop for Tap {
    /// The thread ends, and is not waited for.
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.close();
        }
    }
}

/// The first bytes of a packet, as many as are kept.
fn head(packet: &Packet, snaplen: u32) -> &[u8] {
    let data = packet.data();
    data.get(..snaplen as usize).unwrap_or(data)
}

fn count(counters: &mut [u64], leg: LegId) {
    if let Some(counter) = counters.get_mut(usize::from(leg.0)) {
        *counter += 1;
    }
}

/// The side that a packet came by: that of neither is both.
fn side_of(account: &Account) -> Side {
    match account.flow.as_ref().map(|flow| flow.direction) {
        Some(Way::Forward) => Side::Client,
        Some(Way::Reverse) => Side::Backend,
        None => Side::Both,
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Backend,
        Side::Backend => Side::Client,
        Side::Both => Side::Both,
    }
}
