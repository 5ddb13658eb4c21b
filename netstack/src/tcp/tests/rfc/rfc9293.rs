//! Windows, keep-alive, and the ways in which connections begin and end.

use super::*;
use crate::tcp::keepalive::KeepaliveConfig;

/// Section 3.8.6.1.
#[test]
fn a_closed_window_is_probed_ever_more_rarely_until_it_opens() {
    play(
        SACK,
        "< . seq=1 ack=1 win=0
         send 5000
         +220ms > . seq=0
         < . seq=1 ack=1 win=0
         +440ms > . seq=0
         < . seq=1 ack=1 win=0
         +880ms > . seq=0
         < . seq=1 ack=1 win=100
         > . seq=1 len=5000
         is timeouts=0 window=10000",
    );
}

/// Section 3.8.6.2.1: a small piece is worth sending if it is half of the largest window ever, or has
/// waited for the override time.
#[test]
fn a_sender_does_not_fill_small_windows() {
    play(
        SACK,
        "< . seq=1 ack=1 win=0
         < . seq=1 ack=1 win=4             # 512 bytes
         send 5000
         +220ms > . seq=1 len=512
         +20ms < . seq=1 ack=513 win=8
         > . seq=513 len=1000",
    );
}

#[test]
fn a_sender_fills_the_windows_of_a_peer_that_has_no_large_ones() {
    let mut script = Script::new(config());
    script.run(
        "< S seq=0 mss=1000 win=600
         > S. seq=0 ack=1
         +20ms < . seq=1 ack=1 win=600",
    );
    script.id = script.endpoint.accept().map(|accepted| accepted.id);
    script.run(
        "send 2000
         > . seq=1 len=600
         +20ms < . seq=1 ack=601 win=400
         > . seq=601 len=400
         +20ms < . seq=1 ack=1001 win=200     # less than half
         +220ms > . seq=1001 len=200",
    );
}

/// Section 3.8.6.2.2: the window opens by a segment, or half the buffer.
#[test]
fn a_receiver_offers_no_small_windows() {
    let config = EndpointConfig { receive_buffer: 8_192, ..config() };
    let mut script = Script::open("mss=1000", config);
    script.run(
        "< . seq=1 ack=1 len=7168
         > . ack=7169 win=0
         recv 400                          # 1,424 bytes are free
         +1s < . seq=7168 ack=1            # a probe
         > . ack=7169 win=0
         recv 100
         > . ack=7169 win=1524
         < . seq=7169 ack=1 len=1524
         > . ack=8693 win=0
         < . seq=8693 ack=1 len=1          # beyond the window
         > . ack=8693 win=0
         recv 8192
         > . ack=8693 win=8192",
    );
}

/// Section 3.8.4.
#[test]
fn a_silent_peer_is_probed_and_given_up() {
    let (idle, interval) = (Duration::from_secs(10), Duration::from_secs(3));
    let keepalive = Some(KeepaliveConfig { idle, interval, probes: 2 });
    let mut script = Script::open(SACK, EndpointConfig { keepalive, ..config() });
    script.run(
        "+10s > . seq=0 ack=1
         +20ms < . seq=1 ack=1
         +10s > . seq=0 ack=1
         +3s > . seq=0 ack=1
         +4s",
    );
    assert_eq!(script.endpoint.error(script.id.unwrap()), Some(StreamError::TimedOut));
}

#[test]
fn keep_alive_rests_while_a_fin_is_in_flight() {
    let (idle, interval) = (Duration::from_secs(1), Duration::from_secs(1));
    let keepalive = Some(KeepaliveConfig { idle, interval, probes: 1 });
    let mut script = Script::open("mss=1000", EndpointConfig { keepalive, ..config() });
    script.run(
        "shutdown
         > F. seq=1
         +220ms > F. seq=1
         +440ms > F. seq=1
         +880ms > F. seq=1
         +1760ms > F. seq=1
         < . seq=1 ack=2
         +1s > . seq=1 ack=1",
    );
}

#[test]
fn the_peers_keep_alive_is_answered() {
    play(
        SACK,
        "< . seq=0 ack=1
         > . seq=1 ack=1
         +1s < . seq=0 ack=1 len=1           # with a byte of garbage, as old ones do
         > . seq=1 ack=1",
    );
}

/// Section 3.6, figure 13.
#[test]
fn both_may_close_at_once() {
    let mut script = Script::open(SACK, config());
    script.run(
        "send 100
         > . seq=1 len=100
         close
         > F. seq=101
         < F. seq=1 ack=1                  # has seen neither
         > . seq=102 ack=2
         +20ms < . seq=2 ack=102
         > . seq=102 ack=2",
    );
    let stats = script.endpoint.stats();
    assert_eq!((stats.connections, stats.time_wait, stats.buffer_memory), (0, 1, 0));
}

/// Section 3.5, figure 7.
#[test]
fn both_may_open_at_once() {
    let mut script = Script::new(config());
    let (local, remote) = (addr("10.0.0.1:80"), addr("10.0.0.2:5000"));
    script.id = script.endpoint.connect(script.now, local, remote).ok();
    script.run(
        "+0ms > S seq=0
         +10ms < S seq=0 mss=1000 sackok ws=7
         > S. seq=0 ack=1
         +10ms < S. seq=0 ack=1 mss=1000 sackok ws=7
         > . seq=1 ack=1
         send 2000
         > . seq=1 len=2000
         < . seq=1 ack=1 len=3
         > . ack=4
         recv 3",
    );
}

/// Section 3.6: one direction ends, the other goes on.
#[test]
fn half_a_connection_goes_on_and_a_repeated_fin_is_acknowledged() {
    play(
        SACK,
        "< F. seq=1 ack=1 len=10
         > . ack=12
         recv 10
         recv 0
         < F. seq=1 ack=1 len=10           # our acknowledgment was lost
         > . ack=12 sack=1-11
         < . seq=12 ack=1 len=5            # behind its end
         > . ack=12
         send 3000
         > . seq=1 len=3000
         +20ms < . seq=12 ack=3001
         close
         > F. seq=3001 ack=12
         < . seq=12 ack=3002",
    );
}

/// Section 3.6.1 and RFC 2525 section 2.17: who has closed takes nothing more.
#[test]
fn data_for_an_application_that_has_closed_is_reset() {
    let mut script = Script::open(SACK, config());
    script.run(
        "close
         > F. seq=1
         < . seq=1 ack=2
         < . seq=1 ack=2 len=10
         > R. seq=2 ack=11",
    );
    let stats = script.endpoint.stats();
    assert_eq!((stats.connections, stats.buffer_memory), (0, 0));
}

#[test]
fn what_arrived_before_a_reset_can_be_read() {
    let mut script = Script::open(SACK, config());
    script.run(
        "send 5000
         > . seq=1 len=5000
         < . seq=1 ack=1 len=10
         > . ack=11
         < R seq=11
         recv 10",
    );
    let id = script.id.unwrap();
    assert_eq!(script.endpoint.recv(id, &mut [0; 9]), Err(StreamError::Reset));
    assert_eq!(script.endpoint.stats().buffer_memory, 0);
}

/// Two connections and memory for one: the second's writer is woken when the first lets go.
#[test]
fn who_waits_for_memory_is_woken_when_there_is_some() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let config = EndpointConfig { buffer_memory: 4_096, ..config() };
    let mut script = Script::open(SACK, config);
    script.run(
        "< . seq=1 ack=1 len=1000
         > . ack=1001",
    );
    let id = script.id.unwrap();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    assert_eq!(script.endpoint.send(id, b"answer"), Err(StreamError::WouldBlock));
    script.endpoint.wake_on_write(id, &Waker::from(Arc::clone(&count)));
    // Not for what does not free anything.
    script.run("recv 10");
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    script.run("recv 990");
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    script.run(
        "send 6
         > . seq=1 len=6",
    );
}
