//! The initial window.

use super::*;

#[test]
fn ten_segments_leave_before_anything_is_acknowledged() {
    play(
        SACK,
        "send 20000
         > . seq=1 len=10000 gso=1000
         +20ms < . seq=1 ack=10001
         > . seq=10001 len=10000 gso=1000",
    );
}

#[test]
fn of_large_segments_as_many_as_make_14600_bytes() {
    let mut script = Script::open("mss=4000 sackok", EndpointConfig { mtu: 9_000, ..config() });
    script.run(
        "send 40000
         > . seq=1 len=12000 gso=4000",
    );
}

#[test]
fn over_ipv6_it_is_the_same() {
    let mut script = Script::v6(config());
    script.handshake(SACK);
    script.run(
        "send 20000
         > . seq=1 len=10000 gso=1000",
    );
}
