//! Who gets a connection, and who is refused.

use super::peer::*;
use super::*;

/// A peer that sends to that address.
fn asks(mut peer: Peer, local: &str, port: u16) -> Peer {
    peer.local = addr(local);
    peer.remote.set_port(port);
    peer.seq = IRS;
    peer
}

fn listen(peer: &mut Peer, local: &str) -> ListenerId {
    peer.endpoint.listen(addr(local)).unwrap()
}

#[test]
fn without_a_listener_every_address_is_taken_and_with_one_others_are_refused() {
    let mut peer = Peer::new(EndpointConfig::new(SEED));
    peer.handshake();
    assert_eq!(peer.endpoint.accept().unwrap().local, addr("10.0.0.1:80"));

    let web = listen(&mut peer, "10.0.0.1:80");
    let mut peer = asks(peer, "10.0.0.1:80", 5001);
    peer.handshake();
    assert_eq!(peer.endpoint.accept(), None, "the listener's");
    assert_eq!(peer.endpoint.accept_from(web).unwrap().remote, addr("10.0.0.2:5001"));
    assert_eq!(peer.endpoint.accept_from(web), None);

    let mut peer = asks(peer, "10.0.0.1:81", 5002);
    assert_eq!(peer.send(S, &[]), TcpVerdict::Reset);
    let refusal = peer.one();
    assert!(refusal.flags.contains(R));
    assert_eq!(refusal.ack, IRS.wrapping_add(1));

    // With the last listener gone nobody listens.
    peer.endpoint.stop_listening(web);
    let mut peer = asks(peer, "10.0.0.1:80", 5003);
    assert_eq!(peer.send(S, &[]), TcpVerdict::Reset);
    peer.one();
    assert_eq!(peer.endpoint.accept_from(web), None);
}

#[test]
fn the_listener_that_fits_best_gets_the_connection() {
    let mut peer = Peer::new(EndpointConfig::new(SEED));
    let [all, v4, any_web, host, host_web] =
        ["[::]:0", "0.0.0.0:0", "0.0.0.0:80", "10.0.0.1:0", "10.0.0.1:80"]
            .map(|local| listen(&mut peer, local));
    let all_of_them = [all, v4, any_web, host, host_web];
    let mut port = 5000;
    for (local, best) in [
        ("10.0.0.1:80", host_web),
        ("10.0.0.1:81", host),
        ("10.0.0.9:80", any_web),
        ("10.0.0.9:81", v4),
    ] {
        port += 1;
        peer = asks(peer, local, port);
        peer.handshake();
        for listener in all_of_them {
            let accepted = peer.endpoint.accept_from(listener);
            assert_eq!(accepted.is_some(), listener == best, "{local}");
        }
    }
    // Without it, the next best.
    peer.endpoint.stop_listening(v4);
    let mut peer = asks(peer, "10.0.0.9:81", 5100);
    peer.handshake();
    assert!(peer.endpoint.accept_from(all).is_some());
}

#[test]
fn what_waits_for_a_listener_that_ends_is_reset_or_goes_to_a_wider_one() {
    let mut peer = Peer::new(EndpointConfig::new(SEED));
    let web = listen(&mut peer, "10.0.0.1:80");
    peer.handshake();
    let mut peer = asks(peer, "10.0.0.1:80", 5001);
    peer.send(S, &[]);
    peer.one();
    assert_eq!(peer.endpoint.stats().connections, 2);
    peer.endpoint.stop_listening(web);
    assert_eq!(peer.endpoint.stats().connections, 0);
    assert_eq!(peer.endpoint.stats().half_open, 0);
    assert!(peer.seen_by_port().iter().all(|(_, seen)| seen.flags.contains(R)));

    let web = listen(&mut peer, "10.0.0.1:80");
    let mut peer = asks(peer, "10.0.0.1:80", 5002);
    peer.handshake();
    let all = listen(&mut peer, "0.0.0.0:80");
    peer.endpoint.stop_listening(web);
    assert_eq!(peer.endpoint.accept_from(all).unwrap().remote, addr("10.0.0.2:5002"));
}

#[test]
fn addresses_that_cannot_be_listened_on() {
    let mut endpoint = Endpoint::new(EndpointConfig::new(SEED));
    let id = endpoint.listen(addr("10.0.0.1:80")).unwrap();
    let again = endpoint.listen(addr("10.0.0.1:80"));
    assert_eq!(again, Err(ListenError::InUse));
    endpoint.stop_listening(id);
    endpoint.listen(addr("10.0.0.1:80")).unwrap();
    for local in ["224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80"] {
        assert_eq!(endpoint.listen(addr(local)), Err(ListenError::Address), "{local}");
    }
    for port in 1..1024 {
        endpoint.listen(addr(&format!("10.0.0.2:{port}"))).unwrap();
    }
    assert_eq!(endpoint.listen(addr("10.0.0.3:80")), Err(ListenError::Limit));
}
