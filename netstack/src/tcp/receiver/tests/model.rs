//! Against a model: a map of bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// From the next byte on, by a distance that may be negative.
    Segment {
        distance: i64,
        len: usize,
        version: u8,
        fin: bool,
    },
    Read(usize),
    Acknowledge,
    Wait(u64),
    /// Others take or give blocks.
    Others(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let distance = prop_oneof![
        4 => Just(0_i64),
        3 => -3_000..9_000_i64,
        2 => -70_000..70_000_i64,
        1 => Just(1_i64 << 40),
    ];
    let len = prop_oneof![3 => 0..3_000_usize, 1 => Just(1), 1 => 3_000..70_000_usize];
    prop_oneof![
        10 => (distance, len, 0..4_u8, prop::bool::weighted(0.02))
            .prop_map(|(distance, len, version, fin)| Step::Segment { distance, len, version, fin }),
        3 => (0..80_000_usize).prop_map(Step::Read),
        3 => Just(Step::Acknowledge),
        1 => (0..60_u64).prop_map(Step::Wait),
        1 => (0..20_usize).prop_map(Step::Others),
    ]
}

/// What a receiver should know: every byte by its offset, the first version that was accepted.
#[derive(Default)]
struct Model {
    bytes: BTreeMap<u64, u8>,
    next: u64,
    fin: Option<u64>,
    /// What was reported and must not be given up.
    reported: Vec<Range<u64>>,
}

impl Model {
    fn segment(&mut self, offset: u64, payload: &[u8], fin: bool, edge: u64) {
        let end = offset + payload.len() as u64;
        let far = self.bytes.last_key_value().map_or(0, |(at, _)| at + 1).max(self.next);
        if fin && self.fin.is_none() && end >= far && end <= edge {
            self.fin = Some(end);
        }
        for (at, &value) in (offset..).zip(payload) {
            if at >= self.next && at < edge && self.fin.is_none_or(|fin| at < fin) {
                self.bytes.entry(at).or_insert(value);
            }
        }
        while self.bytes.contains_key(&self.next) {
            self.next += 1;
        }
    }
}

/// A receiver and its model; no model while memory is scarce, which it knows nothing of.
struct Run {
    bed: Bed,
    model: Option<Model>,
    others: Vec<Block>,
}

impl Run {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Segment { distance, len, version, fin } => {
                self.segment(distance, len, version, fin)?;
            }
            Step::Read(len) => self.read(len)?,
            Step::Acknowledge => self.acknowledge()?,
            Step::Wait(millis) => self.bed.wait(millis),
            Step::Others(blocks) => {
                self.others.drain(..).for_each(|block| self.bed.pool.give(block));
                if self.model.is_none() {
                    self.others.extend((0..blocks).map_while(|_| self.bed.pool.take()));
                }
            }
        }
        Ok(())
    }

    fn segment(
        &mut self,
        distance: i64,
        len: usize,
        version: u8,
        fin: bool,
    ) -> Result<(), TestCaseError> {
        let bed = &mut self.bed;
        let offset = bed.receiver.next().saturating_add_signed(distance);
        // Without a model all versions are one.
        let version = if self.model.is_some() { version } else { 0 };
        let payload: Vec<u8> = (offset..offset + len as u64).map(|at| byte(at) ^ version).collect();
        let (edge, before) = (bed.receiver.edge(), bed.receiver.next());
        let received = bed.receiver.on_segment(bed.now, &mut bed.pool, offset, &payload, fin);
        prop_assert_eq!(received.in_order, bed.receiver.next() - before);
        prop_assert!(bed.receiver.next() <= edge);
        if let Some(model) = &mut self.model {
            model.segment(offset, &payload, fin, edge);
            prop_assert_eq!(bed.receiver.next(), model.next);
            prop_assert_eq!(bed.receiver.fin, model.fin);
        }
        Ok(())
    }

    fn read(&mut self, len: usize) -> Result<(), TestCaseError> {
        let mut to = vec![0; len];
        let len = self.bed.receiver.read(&mut self.bed.pool, &mut to);
        let end = self.bed.receiver.bytes_read();
        let range = end - len as u64..end;
        if let Some(model) = &mut self.model {
            let expected: Vec<u8> = model.bytes.range(range).map(|(_, &value)| value).collect();
            prop_assert_eq!(&to[..len], &expected[..]);
            model.bytes = model.bytes.split_off(&end);
        } else {
            prop_assert_eq!(&to[..len], &data(range)[..]);
        }
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<(), TestCaseError> {
        let receiver = &self.bed.receiver;
        let unit = receiver.config.unit();
        let (window, edge) = (receiver.window(), receiver.edge());
        prop_assert!(window <= receiver.config.largest_window());
        prop_assert_eq!(u64::from(window) % unit, 0);
        prop_assert!(self.bed.edge() + unit > edge, "the edge moved back");
        let most = receiver.bytes_read() + u64::from(receiver.config.max);
        prop_assert!(self.bed.edge() <= most.max(edge), "more was promised than the buffer holds");
        if let Some(model) = &mut self.model {
            model.reported.extend(receiver.sack_blocks(4).iter().cloned());
        }
        self.bed.acknowledge();
        prop_assert_eq!(self.bed.due(), !self.bed.receiver.duplicates.is_empty());
        Ok(())
    }
}

fn run(config: ReceiverConfig, memory: Option<usize>, steps: &[Step]) -> Result<(), TestCaseError> {
    let model = memory.is_none().then(Model::default);
    let mut run = Run { bed: Bed::new(config), model, others: Vec::new() };
    if let Some(memory) = memory {
        run.bed.pool = Pool::new(memory);
    }
    for step in steps {
        run.step(step)?;
        check(&run.bed, run.model.as_ref())?;
    }
    run.others.drain(..).for_each(|block| run.bed.pool.give(block));
    run.bed.receiver.clear(&mut run.bed.pool);
    prop_assert_eq!(run.bed.pool.used(), 0);
    Ok(())
}

fn check(bed: &Bed, model: Option<&Model>) -> Result<(), TestCaseError> {
    let receiver = &bed.receiver;
    let blocks = receiver.sack_blocks(4);
    let islands = blocks.iter().skip(usize::from(!receiver.duplicates.is_empty()));
    let mut ends: Vec<_> = islands.clone().flat_map(|block| [block.start, block.end]).collect();
    prop_assert!(
        islands.clone().all(|block| receiver.next() < block.start && block.start < block.end)
    );
    ends.sort_unstable();
    ends.dedup();
    prop_assert_eq!(ends.len(), 2 * islands.clone().count(), "blocks overlap: {:?}", &blocks[..]);
    for range in model.map_or(&[][..], |model| &model.reported) {
        for at in [range.start, range.end - 1] {
            prop_assert!(at < receiver.next() || receiver.islands.overlap(&(at..at + 1)).is_some());
        }
    }
    prop_assert!(receiver.queue.memory() <= bed.pool.used() + (2 << 10));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_receiver_is_a_map_of_bytes(
        steps in prop::collection::vec(step(), 1..80),
        shift in prop_oneof![Just(0_u8), Just(7), Just(11)],
        initial in prop_oneof![Just(2_048_u32), Just(65_536)],
    ) {
        run(ReceiverConfig { initial, max: 300_000, mss: MSS, shift }, None, &steps)?;
    }

    #[test]
    fn a_receiver_without_memory_loses_nothing_that_it_acknowledged(
        steps in prop::collection::vec(step(), 1..80),
        blocks in 1..20_usize,
    ) {
        run(ReceiverConfig { max: 300_000, ..config() }, Some(blocks * BLOCK), &steps)?;
    }
}
