//! What a receiver does, by idea, and in the end against a model.

mod acknowledgments;
mod model;
mod reassembly;
mod window;

use super::super::buffer::{BLOCK, Block};
use super::*;

const MSS: u16 = 1_000;
const INITIAL: u32 = 65_536;

fn config() -> ReceiverConfig {
    ReceiverConfig { initial: INITIAL, max: 1 << 22, mss: MSS, shift: 7 }
}

/// The byte that the stream has at an offset.
fn byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

fn data(range: Range<u64>) -> Vec<u8> {
    range.map(byte).collect()
}

/// A receiver with its pool and clock.
struct Bed {
    now: Instant,
    pool: Pool,
    receiver: Receiver,
}

impl Bed {
    fn new(config: ReceiverConfig) -> Self {
        Self {
            now: Instant::from_secs(100),
            pool: Pool::new(1 << 26),
            receiver: Receiver::new(config),
        }
    }

    /// One whose first acknowledgments have been sent: the next may wait.
    fn settled() -> Self {
        let mut bed = Self::new(config());
        for turn in 0..20 {
            bed.segment(turn * 1_000..(turn + 1) * 1_000);
            bed.acknowledge();
        }
        bed.read_all();
        bed.acknowledge();
        bed
    }

    fn segment(&mut self, range: Range<u64>) -> Received {
        self.receiver.on_segment(self.now, &mut self.pool, range.start, &data(range), false)
    }

    fn fin(&mut self, range: Range<u64>) -> Received {
        self.receiver.on_segment(self.now, &mut self.pool, range.start, &data(range), true)
    }

    fn read_all(&mut self) -> Vec<u8> {
        let mut to = vec![0; self.receiver.available()];
        let start = self.receiver.bytes_read();
        assert_eq!(self.receiver.read(&mut self.pool, &mut to), to.len());
        assert_eq!(to, data(start..start + to.len() as u64));
        to
    }

    fn acknowledge(&mut self) {
        self.receiver.on_ack_sent(self.now, false);
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn due(&self) -> bool {
        self.receiver.ack_now(self.now)
    }

    fn sack(&self) -> Vec<Range<u64>> {
        self.receiver.sack_blocks(4).to_vec()
    }

    fn edge(&self) -> u64 {
        self.receiver.rcv_nxt() + u64::from(self.receiver.window())
    }
}

fn in_order(bytes: u64) -> Received {
    Received { in_order: bytes, ..Received::default() }
}

fn dropped(why: Dropped) -> Received {
    Received { dropped: Some(why), ..Received::default() }
}
