//! Bytes from one endpoint to another.

use super::pair::*;
use super::*;

const V4: (&str, &str) = ("10.0.0.1:0", "10.0.0.2:443");
const V6: (&str, &str) = ("[fd00::1]:0", "[fd00::2]:443");

fn config(seed: u64) -> EndpointConfig {
    EndpointConfig::new([seed, 1])
}

/// Runs both flows to their ends and gives the time that it took; `most` bounds what is read at once.
fn run(pair: &mut Pair, ids: [ConnectionId; 2], flows: &mut [Flow; 2], most: usize) -> Duration {
    let start = pair.now;
    while !(flows[0].finished && flows[1].finished) {
        for end in 0..2 {
            flows[end].write(&mut pair.ends[end], ids[end]);
            flows[1 - end].read(&mut pair.ends[end], ids[end], most);
        }
        pair.collect();
        if !(flows[0].finished && flows[1].finished) {
            assert!(pair.step(), "stalled at {} and {}", flows[0].read, flows[1].read);
        }
        assert!(pair.now < start + Duration::from_hours(1), "no end in sight");
    }
    pair.now - start
}

#[test]
fn a_handshake_takes_three_packets() {
    for (client, server) in [V4, V6] {
        let wire = Wire { delay: ms(1), ..Wire::default() };
        let mut pair = Pair::new([config(1), config(2)], wire, 0);
        let [client, server] = pair.connect(client, server);
        assert_eq!(pair.packets, [2, 1]);
        assert_eq!(pair.ends[0].state(client), State::Established);
        assert_eq!(pair.ends[1].state(server), State::Established);
        let (ours, theirs) = pair.ends[0].addresses(client).unwrap();
        assert_eq!(pair.ends[1].addresses(server), Some((theirs, ours)));
        assert_eq!((pair.ends[0].stats().connected, pair.ends[1].stats().accepted), (1, 1));
    }
}

#[test]
fn bytes_arrive_in_both_directions_in_super_packets_that_a_wire_can_cut() {
    for (client, server) in [V4, V6] {
        for cut in [None, Some(1500)] {
            let wire = Wire { delay: ms(1), cut, ..Wire::default() };
            let big = |seed| EndpointConfig {
                send_buffer: 300_000,
                receive_buffer: 300_000,
                ..config(seed)
            };
            let mut pair = Pair::new([big(1), big(2)], wire, 0);
            let ids = pair.connect(client, server);
            let mut flows = [Flow::new(5_000_000), Flow::new(3_000_000)];
            run(&mut pair, ids, &mut flows, usize::MAX);
            // 45 segments with timestamps.
            let longest = if client.starts_with('[') { 45 * 1_428 } else { 45 * 1_448 };
            assert_eq!(pair.longest, [longest; 2]);
            // Far fewer packets than segments of an Ethernet.
            assert!(pair.packets[0] < 5_000_000 / 1460 / 4, "{:?}", pair.packets);
            ids.into_iter().zip(&mut pair.ends).for_each(|(id, end)| end.close(id));
            while pair.step() {}
            assert!(
                pair.ends.iter().all(|end| end.stats().connections + end.stats().time_wait == 0)
            );
        }
    }
}

#[test]
fn a_slow_reader_holds_the_writer_and_loses_nothing() {
    let wire = Wire { delay: ms(1), cut: Some(1500), ..Wire::default() };
    let small = |seed| EndpointConfig { send_buffer: 8_000, receive_buffer: 5_000, ..config(seed) };
    let mut pair = Pair::new([small(1), small(2)], wire, 0);
    let ids = pair.connect(V4.0, V4.1);
    let mut flows = [Flow::new(300_000), Flow::new(0)];
    // The writer stops at what both buffers hold, for as long as nobody reads.
    for _ in 0..2000 {
        flows[0].write(&mut pair.ends[0], ids[0]);
        pair.step();
    }
    // The receiver keeps back an eighth of its own.
    assert_eq!(flows[0].written, 8_000 + 4_375);
    assert_eq!(pair.ends[0].state(ids[0]), State::Established);
    run(&mut pair, ids, &mut flows, 700);
}

#[test]
fn one_request_and_one_response_are_two_packets() {
    let wire = Wire { delay: Duration::from_micros(50), ..Wire::default() };
    let mut pair = Pair::new([config(1), config(2)], wire, 0);
    let ids = pair.connect(V4.0, V4.1);
    let before = pair.packets;
    for _ in 0..100 {
        for (from, to) in [(0, 1), (1, 0)] {
            pair.ends[from].send(ids[from], b"a request or a response").unwrap();
            let mut buffer = [0; 100];
            while pair.ends[to].recv(ids[to], &mut buffer).is_err() {
                assert!(pair.step());
            }
        }
    }
    assert_eq!([pair.packets[0] - before[0], pair.packets[1] - before[1]], [100, 100]);
}

#[test]
fn loss_duplicates_and_reordering_cost_time_and_no_byte() {
    for seed in 0..12 {
        println!("seed {seed}");
        let (client, server) = if seed % 2 == 0 { V4 } else { V6 };
        let wire = Wire {
            delay: ms(2),
            cut: (seed % 4 < 2).then_some(1500),
            loss_percent: 5,
            duplicate_percent: 5,
            reorder_percent: 5,
        };
        let mut pair = Pair::new([config(seed), config(seed + 100)], wire, seed);
        let ids = pair.connect(client, server);
        let mut flows = [Flow::new(400_000), Flow::new(200_000)];
        let took = run(&mut pair, ids, &mut flows, usize::MAX);
        println!("{took:?}");
        ids.into_iter().zip(&mut pair.ends).for_each(|(id, end)| end.close(id));
        while pair.step() {}
        assert!(pair.ends.iter().all(|end| end.stats().connections + end.stats().time_wait == 0));
    }
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run_once = || {
        let wire = Wire { delay: ms(3), cut: Some(1500), loss_percent: 3, ..Wire::default() };
        let mut pair = Pair::new([config(5), config(6)], wire, 77);
        let ids = pair.connect(V4.0, V4.1);
        let took = run(&mut pair, ids, &mut [Flow::new(200_000), Flow::new(0)], usize::MAX);
        (took, pair.packets, pair.ends[0].addresses(ids[0]))
    };
    assert_eq!(run_once(), run_once());
}

#[test]
fn many_connections_share_an_endpoint() {
    let wire = Wire { delay: ms(1), ..Wire::default() };
    let small = |seed| EndpointConfig { send_buffer: 4096, receive_buffer: 4096, ..config(seed) };
    let mut pair = Pair::new([small(1), small(2)], wire, 0);
    let (client, server) = (addr("10.0.0.1:0"), addr("10.0.0.2:443"));
    let ids: Vec<_> =
        (0..1000).map(|_| pair.ends[0].connect(pair.now, client, server).unwrap()).collect();
    for _ in 0..10 {
        pair.step();
        while let Some(accepted) = pair.ends[1].accept() {
            let text = accepted.remote.to_string();
            pair.ends[1].send(accepted.id, text.as_bytes()).unwrap();
            pair.ends[1].close(accepted.id);
        }
    }
    for id in ids {
        let mut buffer = [0; 100];
        let count = pair.ends[0].recv(id, &mut buffer).unwrap();
        let expected = pair.ends[0].addresses(id).unwrap().0.to_string();
        assert_eq!(std::str::from_utf8(&buffer[..count]), Ok(&expected[..]));
        assert_eq!(pair.ends[0].recv(id, &mut buffer), Ok(0));
        pair.ends[0].close(id);
    }
    while pair.step() {}
    assert!(pair.ends.iter().all(|end| end.stats().connections + end.stats().time_wait == 0));
}

/// Memory for a twentieth of what all would like to hold, a reader that pauses, and segments lost: slower,
/// but each comes to its end, and all memory comes back.
#[test]
fn connections_that_exhaust_the_memory_all_end() {
    let wire = Wire { delay: ms(1), cut: Some(1500), loss_percent: 1, ..Wire::default() };
    let tight = |seed| EndpointConfig { buffer_memory: 256 << 10, ..config(seed) };
    let mut pair = Pair::new([tight(1), tight(2)], wire, 3);
    let ids: Vec<_> = (0..20).map(|_| pair.connect(V4.0, V4.1)).collect();
    let mut flows: Vec<_> = (0..20).map(|_| [Flow::new(100_000), Flow::new(100_000)]).collect();
    let (start, mut most) = (pair.now, 0);
    for round in 0.. {
        for (ids, flows) in ids.iter().zip(&mut flows) {
            for end in 0..2 {
                flows[end].write(&mut pair.ends[end], ids[end]);
                if round % 50 == 0 || pair.now > start + Duration::from_mins(1) {
                    flows[1 - end].read(&mut pair.ends[end], ids[end], usize::MAX);
                }
            }
        }
        most = most.max(pair.ends[0].stats().buffer_memory);
        if flows.iter().flatten().all(|flow| flow.finished) {
            break;
        }
        pair.step();
        assert!(pair.now < start + Duration::from_hours(1), "no end in sight");
    }
    assert_eq!(most, 256 << 10, "the memory was used up");
    for (end, side) in pair.ends.iter_mut().zip(0..) {
        for ids in &ids {
            end.close(ids[side]);
        }
    }
    while pair.step() {}
    assert!(pair.ends.iter().all(|end| end.stats().buffer_memory == 0));
}
