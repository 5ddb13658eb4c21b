//! What a change of backends does to clients.

use nat::{BackendConfig, BackendId, BackendState, PoolId, Scheduler, Verdict};
use netstack::LegId;
use netstack::wire::text;
use tests::bed::{Bed, config};

const BACKENDS: usize = 10;
const FLOWS: usize = 2_000;

fn bed(scheduler: Scheduler) -> Bed {
    let mut config = config();
    config.pools[0].scheduler = scheduler;
    config.pools[0].backends = (0..BACKENDS as u8)
        .map(|i| BackendConfig::new(format!("b{i}"), ([10, 2, 0, i], 8080).into()))
        .collect();
    Bed::new(config)
}

/// The backends to which packets of all flows go. Not through the bed, which checks everything after
/// each packet.
fn backends(bed: &mut Bed, segment: &str) -> Vec<String> {
    let to = (0..FLOWS).map(|n| {
        let line = format!("tcp {} > 10.99.0.1:81 {segment}", client(n));
        let mut packet = text::packet(&line).unwrap_or_else(|e| panic!("{}", e.underline(&line)));
        assert_eq!(bed.engine.handle_packet(bed.now, &mut packet), Verdict::Forward);
        let line = text::Line::of(&packet).to_string();
        line.split(' ').nth(3).map(str::to_owned)
    });
    let to = to.collect::<Option<_>>();
    bed.engine.assert_consistent();
    to.unwrap_or_else(|| panic!("a packet without a destination"))
}

fn client(n: usize) -> String {
    format!("10.1.0.{}:{}", 1 + n % 200, 1_000 + n)
}

fn take_out(bed: &mut Bed, state: BackendState) {
    bed.engine.set_backend_state(bed.now, PoolId(0), BackendId(3), state);
}

tests::conforms! {
    /// When a backend leaves, at most its own share of the new flows and five percent of the others'
    /// go elsewhere than they would have.
    L17 Always "MAP stability"
    fn one_backend_less_moves_few_new_flows() {
        for (scheduler, epsilon) in [(Scheduler::Maglev, FLOWS / 20), (Scheduler::SourceHash, 0)] {
            for state in [BackendState::Down, BackendState::Maint, BackendState::Drain] {
                let before = backends(&mut bed(scheduler), "S");
                let mut bed = bed(scheduler);
                take_out(&mut bed, state);
                let after = backends(&mut bed, "S");
                let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
                let own = before.iter().filter(|to| *to == "10.2.0.3:8080").count();
                assert!(own.abs_diff(FLOWS / BACKENDS) < FLOWS / 20, "{scheduler:?}: {own}");
                assert!((own..=own + epsilon).contains(&moved), "{scheduler:?}: {moved} of {own}");
            }
        }
    }

    /// When a backend leaves, no tracked connection goes to another.
    L17 Always "MAP stability"
    fn one_backend_less_moves_no_tracked_connection() {
        for scheduler in [Scheduler::Maglev, Scheduler::SourceHash, Scheduler::RoundRobin] {
            for state in [BackendState::Down, BackendState::Maint, BackendState::Drain] {
                let mut bed = bed(scheduler);
                let before = backends(&mut bed, "S");
                for (n, to) in before.iter().enumerate() {
                    let answer = format!("tcp {to} > {} S. seq=1 ack=1", client(n));
                    let mut packet = text::packet(&answer).expect("a packet");
                    packet.leg = LegId(1);
                    assert_eq!(bed.engine.handle_packet(bed.now, &mut packet), Verdict::Forward);
                }
                assert_eq!(backends(&mut bed, ". seq=1 ack=2"), before);
                take_out(&mut bed, state);
                assert_eq!(backends(&mut bed, "P. seq=1 ack=2 len=5"), before, "{scheduler:?}");
                take_out(&mut bed, BackendState::Ready);
                assert_eq!(backends(&mut bed, "P. seq=6 ack=2 len=5"), before, "{scheduler:?}");
            }
        }
    }
}
