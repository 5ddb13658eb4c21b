//! Fragments, byte for byte.

use super::*;
use crate::wire::text;
use crate::wire::{Headers, Transport};
use proptest::prelude::*;

fn packet(line: &str) -> Packet {
    text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
}

fn lines(line: &str, mtu: usize) -> Vec<String> {
    let packet = packet(line);
    fragment(&packet, mtu, 99).unwrap().map(|piece| text::Line::of(&piece).to_string()).collect()
}

#[test]
fn what_fits_stays_whole_and_one_byte_more_is_cut() {
    let line = |len| format!("udp 10.1.0.5:1 > 10.99.0.1:2 len={len} ipid=7");
    assert_eq!(lines(&line(572), 600), [line(572).replace("ipid=7", "ttl=64 ipid=7")]);
    assert_eq!(
        lines(&line(573), 600),
        [
            "udp 10.1.0.5:1 > 10.99.0.1:2 udplen=581 len=568 ttl=64 ipid=7 frag=0+",
            "udp 10.1.0.5 > 10.99.0.1 len=5 ttl=64 ipid=7 frag=576"
        ]
    );
    // The last fragment may fill the MTU to the byte, whether or not that is a multiple of eight.
    assert_eq!(lines(&line(576 + 572), 600).len(), 2);
    assert_eq!(lines(&line(576 + 573), 600).len(), 3);
}

#[test]
fn options_go_where_their_flag_sends_them() {
    // Record route (not copied), a nop, a stream identifier (copied), in the middle of twelve bytes.
    let pieces = lines("udp 10.1.0.5:1 > 10.99.0.1:2 len=70 ipopt=0707040000000001880400ff", 68);
    assert_eq!(
        pieces,
        [
            "udp 10.1.0.5:1 > 10.99.0.1:2 udplen=78 len=24 ttl=64 ipid=99 frag=0+ \
             ipopt=0707040000000001880400ff",
            "udp 10.1.0.5 > 10.99.0.1 len=40 ttl=64 ipid=99 frag=32+ ipopt=880400ff",
            "udp 10.1.0.5 > 10.99.0.1 len=6 ttl=64 ipid=99 frag=72 ipopt=880400ff",
        ]
    );
}

#[test]
fn options_that_lie_are_not_copied() {
    for lie in ["88000000", "88010000", "88090000", "01010188"] {
        let pieces = lines(&format!("udp 10.1.0.5:1 > 10.99.0.1:2 len=70 ipopt={lie}"), 68);
        assert!(pieces[0].ends_with(&format!("ipopt={lie}")), "{pieces:?}");
        assert!(!pieces[1].contains("ipopt"), "{pieces:?}");
    }
}

#[test]
fn a_fragment_is_cut_again_and_its_last_piece_says_what_it_said() {
    let pieces = lines("udp 10.1.0.5 > 10.99.0.1 len=96 ipid=0 frag=800+", 68);
    assert_eq!(
        pieces,
        [
            "udp 10.1.0.5 > 10.99.0.1 len=48 ttl=64 frag=800+",
            "udp 10.1.0.5 > 10.99.0.1 len=48 ttl=64 frag=848+"
        ]
    );
    let pieces = lines("udp 10.1.0.5 > 10.99.0.1 len=96 ipid=5 frag=800", 68);
    assert_eq!(pieces[1], "udp 10.1.0.5 > 10.99.0.1 len=48 ttl=64 ipid=5 frag=848");
}

#[test]
fn what_may_not_be_cut_is_not() {
    let udp = "udp 10.1.0.5:1 > 10.99.0.1:2 len=1000";
    let refused = |line: &str, mtu| fragment(&packet(line), mtu, 1).map(|_| ()).unwrap_err();
    assert_eq!(refused(&format!("{udp} df"), 1027), FragmentError::DontFragment);
    assert_eq!(refused(&format!("{udp} csum=partial"), 68), FragmentError::Offloaded);
    assert_eq!(refused(&format!("{udp} gso=100"), 68), FragmentError::Offloaded);
    assert_eq!(refused(udp, 27), FragmentError::NoRoom);
    assert_eq!(refused("udp [fd00::1]:1 > [fd00::2]:2 len=9", 68), FragmentError::NotIpv4);
    assert!(matches!(fragment(&Packet::with_capacity(0), 68, 1), Err(FragmentError::NotIpv4)));
    let beyond = "udp 10.1.0.5 > 10.99.0.1 len=1000 frag=65528";
    assert_eq!(refused(beyond, 68), FragmentError::TooMany);
    let longest = packet("udp 10.1.0.5:1 > 10.99.0.1:2 len=65507");
    assert_eq!(fragment(&longest, 68, 1).unwrap().count(), 1_365);
    assert_eq!(fragment(&longest, 67, 1).map(|_| ()).unwrap_err(), FragmentError::TooMany);
}

proptest! {
    #[test]
    fn fragments_fit_follow_each_other_and_make_the_whole(
        len in 0_usize..4_000,
        mtu in 68_usize..1_500,
        options in proptest::collection::vec(any::<u8>(), 0..=40),
    ) {
        let options = options.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let ipopt = if options.is_empty() { String::new() } else { format!(" ipopt={options}") };
        let whole = packet(&format!("udp 10.1.0.5:1 > 10.99.0.1:2 len={len}{ipopt}"));
        let payload = &whole.data()[usize::from(whole.data()[0] & 15) * 4..];
        let mut joined: Vec<u8> = Vec::new();
        let pieces: Vec<_> = fragment(&whole, mtu, 1).unwrap().collect();
        for (i, piece) in pieces.iter().enumerate() {
            let headers = Headers::parse(piece).expect("a fragment is well formed");
            prop_assert!(piece.len() <= mtu);
            let flags = u16_at(piece.data(), FLAGS);
            prop_assert_eq!(usize::from(flags & OFFSET) * 8, joined.len());
            prop_assert_eq!(flags & MORE_FRAGMENTS != 0, i + 1 < pieces.len());
            let whole = pieces.len() == 1;
            prop_assert_eq!(headers.transport == Transport::Fragment, !whole);
            joined.extend(&piece.data()[headers.l4()..]);
        }
        prop_assert_eq!(joined, payload);
    }
}
