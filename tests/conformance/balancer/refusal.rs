//! What a client hears when there is no backend for it.

use nat::{BackendId, BackendState, Config, DropReason, PoolId, Verdict};
use tests::bed::{Bed, canonical, config};

fn without(state: BackendState) -> Bed {
    let mut bed = Bed::new(config());
    for (pool, backend) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        bed.engine.set_backend_state(bed.now, PoolId(pool), BackendId(backend), state);
    }
    bed
}

fn full() -> Config {
    let mut config = config();
    let backends = config.pools.iter_mut().flat_map(|pool| &mut pool.backends);
    backends.for_each(|backend| backend.max_connections = Some(0));
    config
}

/// Nobody's SYN is met by silence: `bed` refuses them for `reason`.
fn refuses(bed: &mut Bed, reason: DropReason) {
    for (client, vip) in [("10.1.0.5", "10.99.0.1"), ("[fd01::5]", "[fd99::1]")] {
        for port in [80, 81] {
            let seen = bed.send(0, &format!("tcp {client}:4000 > {vip}:{port} S seq=7"));
            assert_eq!((seen.verdict, seen.leg), (Verdict::Reject(reason), 0));
            let df = if client.contains('[') { "" } else { " df" };
            let reset = format!("tcp {vip}:{port} > {client}:4000 R. ack=8 win=0{df}");
            assert_eq!(seen.line, canonical(&reset));
        }
        let seen = bed.send(0, &format!("udp {client}:4000 > {vip}:53 len=4"));
        assert_eq!((seen.verdict, seen.leg), (Verdict::Reject(reason), 0));
        assert!(seen.line.contains(" unreachable "), "{}", seen.line);
    }
    assert!(bed.engine.flows().is_empty());
}

tests::conforms! {
    /// A SYN to a service without a backend that can take it is answered by a RST, and a datagram by
    /// an ICMP error; neither is met by silence.
    L10 Always "RFC 9293 section 3.10.7"
    fn a_syn_without_a_backend_is_refused_aloud() {
        for state in [
            BackendState::Down,
            BackendState::Maint,
            BackendState::Drain,
            BackendState::Starting,
        ] {
            refuses(&mut without(state), DropReason::NoBackend);
        }
    }

    /// The same holds if all backends have as many connections as they may.
    L10 Always "RFC 9293 section 3.10.7"
    fn a_syn_to_full_backends_is_refused_aloud() {
        refuses(&mut Bed::new(full()), DropReason::BackendsFull);
    }
}
