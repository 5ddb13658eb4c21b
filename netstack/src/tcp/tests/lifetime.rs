//! Acknowledgments, timers, closing and TIME-WAIT.

use super::peer::*;
use super::*;

fn config() -> EndpointConfig {
    EndpointConfig::new(SEED)
}

#[test]
fn an_acknowledgment_waits_for_data_but_not_for_long() {
    let (mut peer, id) = Peer::established(config());
    peer.end_quick_acknowledgments();
    peer.send(A, b"request");
    assert_eq!(peer.seen(), []);
    peer.endpoint.recv(id, &mut [0; 99]).unwrap();
    peer.endpoint.send(id, b"response").unwrap();
    let answer = peer.one();
    assert_eq!((answer.ack, &answer.payload[..]), (peer.seq.wrapping_add(7), &b"response"[..]));
    peer.seq = peer.seq.wrapping_add(7);
    peer.ack = peer.ack.wrapping_add(8);

    peer.send(A, b"more");
    let sent = peer.now;
    let later = peer.pass(ms(100));
    assert_eq!(later.len(), 1);
    assert!(later[0].0 >= sent + ms(40) && later[0].0 < sent + ms(43), "{}", later[0].0);
    assert_eq!((later[0].1.flags, later[0].1.ack), (A, peer.seq.wrapping_add(4)));
}

#[test]
fn a_stream_is_acknowledged_at_once() {
    let (mut peer, _) = Peer::established(config());
    peer.end_quick_acknowledgments();
    peer.send(A, &[1; 1459]);
    assert_eq!(peer.seen(), []);
    peer.seq = peer.seq.wrapping_add(1459);
    // More than one full-sized segment.
    peer.send(A, b"xx");
    assert_eq!(peer.one().ack, peer.seq.wrapping_add(2));
    peer.seq = peer.seq.wrapping_add(2);
    peer.send(A, &[1; 1461]);
    assert_eq!(peer.one().ack, peer.seq.wrapping_add(1461));
}

#[test]
fn an_overtaken_segment_is_taken_all_the_same() {
    let (mut peer, id) = Peer::established(config());
    peer.endpoint.send(id, b"12345678").unwrap();
    peer.one();
    let overtaken = peer.packet(A, peer.seq, b"first");
    peer.ack = peer.ack.wrapping_add(8);
    peer.send_at(A, peer.seq.wrapping_add(5), b"second");
    peer.deliver(&overtaken);
    let mut buffer = [0; 20];
    assert_eq!(peer.endpoint.recv(id, &mut buffer), Ok(11));
    assert_eq!(&buffer[..11], b"firstsecond");
    assert_eq!(peer.endpoint.send_queue(id), 0);
}

#[test]
fn a_window_that_reopens_is_announced() {
    let small = EndpointConfig { receive_buffer: 4096, ..config() };
    let (mut peer, id) = Peer::established(small);
    // What the SYN-ACK offered; the rest of the buffer makes good for windows told in units.
    peer.send(A, &[1; 3584]);
    let full = peer.one();
    assert_eq!((full.ack, full.window), (peer.seq.wrapping_add(3584), 0));
    assert_eq!(peer.endpoint.recv(id, &mut [0; 3000]), Ok(3000));
    let update = peer.one();
    assert_eq!((update.ack, update.window), (full.ack, 3512));
}

#[test]
fn a_retransmission_comes_after_200_ms_and_the_user_timeout_ends_it() {
    let (mut peer, id) = Peer::established(config());
    // Idleness is no reason to give up.
    assert_eq!(peer.pass(Duration::from_hours(1)), []);
    assert_eq!(peer.endpoint.state(id), State::Established);

    peer.endpoint.send(id, b"hello?").unwrap();
    let (start, first) = (peer.now, peer.one());
    let again = peer.pass(ms(119_900));
    assert!(again.len() > 8 && again.iter().all(|(_, seen)| seen.payload == first.payload));
    assert!(again[0].0 >= start + ms(200) && again[0].0 < start + ms(205), "{}", again[0].0);
    assert_eq!(peer.endpoint.state(id), State::Established);
    peer.pass(ms(200));
    assert_eq!(peer.endpoint.error(id), Some(StreamError::TimedOut));
    assert_eq!(peer.endpoint.recv(id, &mut [0; 9]), Err(StreamError::TimedOut));
    assert_eq!(peer.endpoint.stats().timed_out, 1);
}

/// An empty segment with a number that has been acknowledged.
fn is_probe(peer: &Peer, seen: &Seen) -> bool {
    seen.flags == A && seen.payload.is_empty() && seen.seq == peer.ack.wrapping_sub(1)
}

#[test]
fn a_peer_with_a_closed_window_is_waited_for_while_it_answers() {
    let (mut peer, id) = Peer::established(config());
    peer.window = 0;
    peer.send(A, b"");
    peer.endpoint.send(id, b"hello").unwrap();
    for _ in 0..10 {
        let probes = peer.pass(ms(60_000));
        assert!(!probes.is_empty() && probes.iter().all(|(_, seen)| is_probe(&peer, seen)));
        peer.send(A, b"");
    }
    assert_eq!(peer.endpoint.state(id), State::Established);
    // Not so once the application has let go: then there must be progress.
    peer.endpoint.close(id);
    for _ in 0..3 {
        peer.pass(ms(60_000));
        peer.send(A, b"");
    }
    assert_eq!(peer.endpoint.stats().connections, 0);
}

#[test]
fn handshakes_that_nobody_completes_are_given_up() {
    let mut peer = Peer::new(config());
    peer.send(S, b"");
    assert_eq!(peer.one().flags, SA);
    let again = peer.pass(ms(74_900));
    assert!(!again.is_empty() && again.iter().all(|(_, seen)| seen.flags == SA));
    assert_eq!(peer.endpoint.stats().half_open, 1);
    peer.pass(ms(200));
    let stats = peer.endpoint.stats();
    assert_eq!((stats.half_open, stats.connections, stats.timed_out), (0, 0, 1));

    let id = peer.endpoint.connect(peer.now, peer.local, peer.remote).unwrap();
    assert_eq!(peer.one().flags, S);
    peer.pass(ms(9_900));
    assert_eq!(peer.endpoint.state(id), State::SynSent);
    peer.pass(ms(200));
    assert_eq!(peer.endpoint.error(id), Some(StreamError::TimedOut));
    assert_eq!(peer.seen(), []);
}

#[test]
fn half_a_close_leaves_the_other_direction_open() {
    let (mut peer, id) = Peer::established(config());
    peer.endpoint.send(id, b"last words").unwrap();
    peer.endpoint.shutdown(id).unwrap();
    assert_eq!(peer.endpoint.send(id, b"x"), Err(StreamError::WriteClosed));
    let fin = peer.one();
    assert_eq!((fin.flags, &fin.payload[..]), (F, &b"last words"[..]));
    peer.ack = peer.ack.wrapping_add(11);
    peer.send(A, b"answer");
    // An application that still reads is not hurried.
    peer.pass(Duration::from_hours(1));
    let mut buffer = [0; 20];
    assert_eq!(peer.endpoint.recv(id, &mut buffer), Ok(6));
    assert_eq!(peer.endpoint.recv(id, &mut buffer), Err(StreamError::WouldBlock));
    peer.seq = peer.seq.wrapping_add(6);
    peer.send(F, b"");
    assert_eq!(peer.endpoint.recv(id, &mut buffer), Ok(0));
    assert_eq!(peer.one().ack, peer.seq.wrapping_add(1));
    assert_eq!(peer.endpoint.shutdown(id), Ok(()));
}

#[test]
fn a_lost_fin_is_sent_again_whatever_duplicates_come() {
    let (mut peer, id) = Peer::established(config());
    peer.endpoint.shutdown(id).unwrap();
    assert_eq!(peer.one().flags, F);
    // The FIN was lost, and the peer repeats itself for reasons of its own.
    for _ in 0..5 {
        peer.send(A, b"");
    }
    let again = peer.pass(ms(500));
    assert!(again.iter().any(|(_, seen)| seen.flags == F), "{again:?}");
}

#[test]
fn the_peers_fin_is_the_end_of_reading_only() {
    let (mut peer, id) = Peer::established(config());
    peer.send(F, b"bye");
    assert_eq!(peer.one().ack, peer.seq.wrapping_add(4));
    peer.seq = peer.seq.wrapping_add(4);
    assert_eq!(peer.endpoint.recv(id, &mut [0; 9]), Ok(3));
    assert_eq!(peer.endpoint.recv(id, &mut [0; 9]), Ok(0));
    peer.endpoint.send(id, b"answer").unwrap();
    assert_eq!(peer.one().payload, b"answer");
    peer.ack = peer.ack.wrapping_add(6);
    peer.send(A, b"");
    peer.endpoint.close(id);
    assert_eq!(peer.one().flags, F);
    peer.ack = peer.ack.wrapping_add(1);
    peer.send(A, b"");
    // Who closes last does not wait.
    let stats = peer.endpoint.stats();
    assert_eq!((stats.connections, stats.time_wait), (0, 0));
}

#[test]
fn closing_with_unread_data_and_data_for_a_closed_connection_are_reset() {
    let (mut peer, id) = Peer::established(config());
    peer.send(A, b"unread");
    peer.endpoint.close(id);
    let reset = peer.one();
    assert_eq!((reset.flags, reset.seq, reset.ack), (R | A, peer.ack, peer.seq.wrapping_add(6)));
    assert_eq!(peer.endpoint.recv(id, &mut [0; 9]), Err(StreamError::Unknown));

    let (mut peer, id) = Peer::established(config());
    peer.endpoint.close(id);
    assert_eq!(peer.one().flags, F);
    peer.ack = peer.ack.wrapping_add(1);
    peer.send(F, b"too late");
    let reset = peer.one();
    assert_eq!((reset.flags, reset.seq), (R | A, peer.ack));
    let stats = peer.endpoint.stats();
    assert_eq!((stats.connections, stats.time_wait, stats.resets_sent), (0, 0, 1));
}

#[test]
fn a_closed_connection_does_not_wait_for_a_fin_for_ever() {
    let (mut peer, id) = Peer::established(config());
    peer.endpoint.close(id);
    assert_eq!(peer.one().flags, F);
    peer.ack = peer.ack.wrapping_add(1);
    peer.send(A, b"");
    assert_eq!(peer.pass(ms(59_900)), []);
    assert_eq!(peer.endpoint.stats().connections, 1);
    peer.pass(ms(200));
    assert_eq!(peer.endpoint.stats().connections, 0);
}

#[test]
fn time_wait_answers_a_repeated_fin_and_ends_after_a_minute() {
    let (mut peer, id) = Peer::established(config());
    peer.close_to_time_wait(id);
    let fin = peer.seq.wrapping_sub(1);
    peer.pass(ms(30_000));
    assert_eq!(peer.send_at(F, fin, b""), TcpVerdict::Acknowledged);
    let ack = peer.one();
    assert_eq!((ack.flags, ack.seq, ack.ack), (A, peer.ack, peer.seq));
    assert_eq!(peer.send(A, b""), TcpVerdict::Dropped(TcpDrop::TimeWait));
    assert_eq!(peer.send(R, b""), TcpVerdict::Dropped(TcpDrop::ResetOfNothing));
    // The FIN started the minute again.
    peer.pass(ms(59_900));
    assert_eq!(peer.endpoint.stats().time_wait, 1);
    peer.pass(ms(200));
    assert_eq!(peer.endpoint.stats().time_wait, 0);
    assert_eq!(peer.send(A, b""), TcpVerdict::Reset);
}

#[test]
fn time_wait_gives_way_to_a_newer_syn_only() {
    let (mut peer, id) = Peer::established(config());
    peer.close_to_time_wait(id);
    let (old_seq, old_ack) = (peer.seq, peer.ack);
    for seq in [old_seq, old_seq.wrapping_sub(1000)] {
        assert_eq!(peer.send_at(S, seq, b""), TcpVerdict::Acknowledged);
        assert_eq!(peer.one().ack, old_seq);
    }
    assert_eq!(peer.endpoint.connect(peer.now, peer.local, peer.remote), Err(ConnectError::InUse));
    assert_eq!(peer.send_at(S, old_seq.wrapping_add(1), b""), TcpVerdict::Opened);
    let syn_ack = peer.one();
    assert_eq!(syn_ack.ack, old_seq.wrapping_add(2));
    assert!(
        sequence::before(old_ack, syn_ack.seq),
        "the old connection's numbers are not used again"
    );
    // The old record's time does not end the new connection.
    peer.seq = old_seq.wrapping_add(2);
    peer.ack = syn_ack.seq.wrapping_add(1);
    peer.send(A, b"");
    peer.pass(ms(61_000));
    let id = peer.endpoint.accept().unwrap().id;
    assert_eq!(peer.endpoint.state(id), State::Established);
    assert_eq!(peer.endpoint.stats().time_wait, 0);
    // And the wheel's one entry for the place serves the next record.
    peer.close_to_time_wait(id);
    peer.pass(ms(59_900));
    assert_eq!(peer.endpoint.stats().time_wait, 1);
    peer.pass(ms(200));
    assert_eq!(peer.endpoint.stats().time_wait, 0);
}

#[test]
fn sequence_numbers_of_a_reused_tuple_pass_what_a_fast_connection_used() {
    let (mut peer, id) = Peer::established(config());
    // More in a short time than the 4 µs timer counts.
    for _ in 0..10 {
        peer.endpoint.send(id, &vec![7; 50_000]).unwrap();
        while peer.endpoint.send_queue(id) > 0 {
            peer.now += Duration::from_micros(100);
            peer.endpoint.handle_timeout(peer.now);
            let sent: usize = peer.seen().iter().map(|seen| seen.payload.len()).sum();
            peer.ack = peer.ack.wrapping_add(sent as u32);
            peer.send(A, b"");
        }
    }
    peer.close_to_time_wait(id);
    assert_eq!(peer.send_at(S, peer.seq.wrapping_add(1), b""), TcpVerdict::Opened);
    assert!(sequence::before(peer.ack, peer.one().seq));
}

#[test]
fn received_bytes_can_be_read_after_the_connection_is_over() {
    let (mut peer, id) = Peer::established(config());
    peer.endpoint.shutdown(id).unwrap();
    peer.one();
    peer.ack = peer.ack.wrapping_add(1);
    peer.send(A, &[1; 2000]);
    peer.seq = peer.seq.wrapping_add(2000);
    peer.send(F, b"rest");
    let stats = peer.endpoint.stats();
    assert_eq!((stats.connections, stats.time_wait), (1, 1));
    assert_eq!(peer.endpoint.state(id), State::Closed);
    // The socket that is kept for its bytes has nothing more to say, now or later.
    assert_eq!(peer.one().flags, A);
    let mut wakeups = 0;
    while let Some(next) = peer.endpoint.poll_timeout() {
        peer.now = next;
        peer.endpoint.handle_timeout(next);
        assert_eq!(peer.seen(), []);
        wakeups += 1;
    }
    assert!(wakeups < 5, "{wakeups}");
    let mut buffer = [0; 1003];
    for expected in [Ok(1003), Ok(1001), Ok(0), Ok(0)] {
        assert_eq!(peer.endpoint.recv(id, &mut buffer), expected);
    }
    assert_eq!(peer.endpoint.send(id, b"x"), Err(StreamError::WriteClosed));
    peer.endpoint.close(id);
    assert_eq!(peer.endpoint.stats().connections, 0);
}

#[test]
fn records_of_time_wait_are_limited() {
    let (mut peer, id) = Peer::established(EndpointConfig { max_time_wait: 1, ..config() });
    peer.close_to_time_wait(id);
    peer.remote.set_port(5001);
    (peer.seq, peer.ack) = (IRS, 0);
    peer.handshake();
    let id = peer.endpoint.accept().unwrap().id;
    peer.close_to_time_wait(id);
    assert_eq!(peer.endpoint.stats().time_wait_overflows, 1);
}

#[test]
fn an_id_does_not_name_the_next_connection_in_its_place() {
    let (mut peer, old) = Peer::established(config());
    peer.endpoint.abort(old);
    assert_eq!(peer.one().flags, R | A);
    (peer.seq, peer.ack) = (IRS, 0);
    peer.handshake();
    let new = peer.endpoint.accept().unwrap().id;
    assert_eq!(old.index, new.index);
    assert_eq!(peer.endpoint.send(old, b"x"), Err(StreamError::Unknown));
    peer.endpoint.close(old);
    assert_eq!(peer.endpoint.state(new), State::Established);
}
