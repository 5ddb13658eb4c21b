//! The limits of the table of neighbours. What it does otherwise the edge's tests show.

use std::time::Duration;

use super::Mac;
use super::neighbors::{
    Answer, MAX_ASKS, MAX_LOST, MAX_NEIGHBORS, MAX_WAITING, MAX_WAITING_BYTES, Neighbors,
    RETRANSMIT, Resolution, UNUSED,
};
use crate::packet::Packet;
use crate::time::Instant;
use crate::wire::Address;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 5]);

fn host(number: usize) -> Address {
    Address::from_v4([10, 1, (number >> 8) as u8, number as u8])
}

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn packet(mark: u8) -> Packet {
    Packet::from_ip(&[0x45, mark])
}

const WAITS: Resolution = Resolution::Waits { instead: false };

#[test]
fn the_newest_packets_wait_for_one_neighbour() {
    let mut table = Neighbors::default();
    for mark in 0..=MAX_WAITING {
        let instead = mark == MAX_WAITING;
        let outcome = table.resolve(at(0), host(1), &packet(mark as u8));
        assert_eq!(outcome, Resolution::Waits { instead });
    }
    let answer = Answer { address: host(1), mac: Some(MAC), overrides: true };
    table.answered(at(0), answer);
    let marks: Vec<_> =
        std::iter::from_fn(|| table.poll_ready()).map(|(_, p)| usize::from(p.data()[1])).collect();
    assert_eq!(marks, (1..=MAX_WAITING).collect::<Vec<_>>());
}

#[test]
fn so_many_bytes_wait_for_all() {
    let mut table = Neighbors::default();
    let long = Packet::from_ip(&vec![0x45; 65_535]);
    let fit = MAX_WAITING_BYTES / long.len();
    for number in 0..fit {
        assert_eq!(table.resolve(at(0), host(number), &long), WAITS);
    }
    assert_eq!(table.resolve(at(0), host(fit), &long), Resolution::Full);
    // Given up, they make room again.
    for second in 1..=u64::from(MAX_ASKS) {
        table.handle_timeout(at(second * RETRANSMIT.as_secs()));
    }
    assert_eq!(std::iter::from_fn(|| table.poll_lost()).count(), fit.min(MAX_LOST));
    assert_eq!(table.resolve(at(9), host(fit + 1), &long), WAITS);
}

#[test]
fn a_full_table_gives_up_what_was_longest_not_used_and_never_what_is_asked() {
    let mut table = Neighbors::default();
    for number in 0..MAX_NEIGHBORS {
        table.heard(at(number as u64 / 100), host(number), MAC);
    }
    let full = |table: &Neighbors| assert_eq!(table.len(), MAX_NEIGHBORS);
    full(&table);
    // The first has been used since; the second gives way.
    assert_eq!(table.resolve(at(11), host(0), &packet(0)), Resolution::Send(MAC));
    assert_eq!(table.resolve(at(11), host(5_000), &packet(0)), WAITS);
    full(&table);
    assert_eq!(table.resolve(at(11), host(0), &packet(0)), Resolution::Send(MAC));
    assert_eq!(table.resolve(at(11), host(1), &packet(0)), WAITS);

    let mut table = Neighbors::default();
    for number in 0..MAX_NEIGHBORS {
        assert_eq!(table.resolve(at(0), host(number), &packet(0)), WAITS);
    }
    assert_eq!(table.resolve(at(0), host(5_000), &packet(0)), Resolution::Full);
    table.heard(at(0), host(5_001), MAC);
    full(&table);
}

#[test]
fn who_floods_questions_does_not_push_out_who_is_reachable() {
    let mut table = Neighbors::default();
    assert_eq!(table.resolve(at(0), host(0), &packet(0)), WAITS);
    table.answered(at(0), Answer { address: host(0), mac: Some(MAC), overrides: true });
    for number in 1..3 * MAX_NEIGHBORS {
        table.heard(at(1), host(number), MAC);
    }
    assert_eq!(table.len(), MAX_NEIGHBORS);
    assert_eq!(table.resolve(at(1), host(0), &packet(0)), Resolution::Send(MAC));
}

#[test]
fn an_answer_without_override_does_not_replace_an_address() {
    let other = Mac([2, 0, 0, 0, 0, 6]);
    for (mac, overrides, then) in [
        (None, false, MAC),
        (Some(MAC), false, MAC),
        (Some(other), false, MAC),
        (Some(other), true, other),
    ] {
        let mut table = Neighbors::default();
        table.heard(at(0), host(1), MAC);
        assert_eq!(table.resolve(at(0), host(1), &packet(0)), Resolution::Send(MAC));
        table.answered(at(0), Answer { address: host(1), mac, overrides });
        assert_eq!(table.resolve(at(0), host(1), &packet(0)), Resolution::Send(then));
    }
}

#[test]
fn what_nobody_uses_is_forgotten() {
    let mut table = Neighbors::default();
    table.heard(at(0), host(1), MAC);
    assert_eq!(table.poll_timeout(), Some(at(0) + UNUSED));
    table.handle_timeout(at(0) + UNUSED + Duration::from_secs(1));
    assert!(table.is_empty());
    assert_eq!(table.poll_timeout(), None);
}
