//! What is checked of an error.

use nat::{DropReason, Verdict};
use netstack::wire::Family;
use tests::talk::{Kind, Talk};

/// Sends an error from the backend's side and one from the client's; what became of them.
fn both(talk: &mut Talk, what: &str) -> [Verdict; 2] {
    let (from_backend, from_client) = (talk.error_from_backend(what), talk.error_from_client(what));
    let leg = talk.client_leg;
    [talk.bed.send(1, &from_backend).verdict, talk.bed.send(leg, &from_client).verdict]
}

/// Asserts that an error with more words about the quoted packet passes both ways.
fn passes_with(talk: &mut Talk, what: &str, inner: &str) {
    let with = |error: String| error.replacen(')', &format!(" {inner})"), 1);
    let sent = with(talk.error_from_backend(what));
    talk.passes(1, &sent, 0, &with(talk.error_at_client(what)));
    let sent = with(talk.error_from_client(what));
    talk.passes(0, &sent, 1, &with(talk.error_at_backend(what)));
}

tests::conforms! {
    /// An error whose checksum is wrong is dropped in silence.
    I5 Always "RFC 5508 REQ-3"
    fn an_error_with_a_wrong_checksum_is_dropped() {
        for mut talk in Talk::all() {
            let dropped = Verdict::Drop(DropReason::IcmpChecksum);
            assert_eq!(both(&mut talk, "unreachable csum=bad"), [dropped, dropped]);
        }
    }

    /// So is one that quotes an IP header with a wrong checksum.
    I6 Always "RFC 5508 REQ-3a"
    fn an_error_that_quotes_a_wrong_header_checksum_is_dropped() {
        for mut talk in Talk::all().filter(|talk| talk.family == Family::V4) {
            let with = |error: String| error.replace(')', " ipsum=0x1234)");
            for error in [talk.error_from_backend("unreachable"), talk.error_from_client("unreachable")] {
                let verdict = talk.bed.send(1, &with(error)).verdict;
                assert_eq!(verdict, Verdict::Drop(DropReason::IcmpChecksum));
            }
        }
    }

    /// IP options of the quoted packet are skipped to find its transport header.
    I7 Always "RFC 5508 REQ-3b"
    fn options_of_the_quoted_packet_are_skipped() {
        for mut talk in Talk::all() {
            let inner = match talk.family {
                Family::V4 => &["ipopt=01010101", "ipopt=86060000000001020304"][..],
                Family::V6 => &["ext=0:000000000000", "ext=43:000000000000 ext=60:0104000000000000000000000000"],
            };
            for inner in inner {
                passes_with(&mut talk, "unreachable", inner);
            }
        }
    }

    /// The quoted packet's transport checksum is not looked at: it may be wrong, or not there.
    I8 Always "RFC 5508 REQ-3c"
    fn the_quoted_transport_checksum_may_be_cut_off() {
        for mut talk in Talk::all() {
            let header = if talk.family == Family::V4 { 20 } else { 40 };
            // Eight bytes of transport header are the least that is quoted; a TCP checksum lies beyond.
            for len in [8, 10, 16, 18, 19] {
                let what = format!("unreachable cut={}", header + len);
                talk.passes(1, &talk.error_from_backend(&what), 0, &talk.error_at_client(&what));
                talk.passes(0, &talk.error_from_client(&what), 1, &talk.error_at_backend(&what));
            }
        }
    }

    /// A wrong one passes and stays wrong.
    I8 Always "RFC 5508 REQ-3c"
    fn a_wrong_quoted_transport_checksum_passes() {
        for mut talk in Talk::all() {
            let with = |error: String| error.replace(')', " csum=bad)");
            for error in [talk.error_from_backend("unreachable"), talk.error_from_client("unreachable")] {
                let seen = talk.bed.send(1, &with(error));
                assert_eq!(seen.verdict, Verdict::Forward);
                assert!(seen.line.contains("csum=bad"), "{}", seen.line);
            }
        }
    }

    /// Padding and extension objects are not taken for parts of the quoted packet, and stay as they are.
    I9 Always "RFC 5508 REQ-3d"
    fn extension_objects_are_kept_byte_for_byte() {
        // Version 2, a checksum, and one object of class 1 with a label stack (RFC 4950).
        const OBJECTS: &str = "2000abcd000801010045213f";
        for mut talk in Talk::all() {
            let (length, kinds) = match talk.family {
                Family::V4 => ("0x00200000", [3, 11]),
                Family::V6 => ("0x10000000", [1, 3]),
            };
            let quoted = talk.quoted_len();
            let padding = "00".repeat(128 - quoted);
            let header = if talk.family == Family::V4 { 20 } else { 40 };
            for kind in kinds {
                let head = format!("type={kind} code=0 rest={length}");
                let whole = format!("{head} data={padding}{OBJECTS}");
                // Who quotes eight bytes pads the more, where a TCP checksum would be.
                let short = header + 8;
                let cut = format!("{head} cut={short} data={}{OBJECTS}", "00".repeat(128 - short));
                // An older sender says no length (RFC 4884 section 5).
                let silent = format!("type={kind} code=0 rest=0 data={padding}{OBJECTS}");
                for what in [whole, cut, silent] {
                    talk.passes(1, &talk.error_from_backend(&what), 0, &talk.error_at_client(&what));
                    talk.passes(0, &talk.error_from_client(&what), 1, &talk.error_at_backend(&what));
                }
            }
        }
    }

    /// A length that leaves no transport header is believed: such an error is about no flow.
    I9 Always "RFC 5508 REQ-3d"
    fn what_lies_behind_the_quoted_datagram_names_no_flow() {
        for mut talk in Talk::all_of(Kind::Udp) {
            let what = match talk.family {
                Family::V4 => "type=3 code=1 rest=0x00050000",
                Family::V6 => "type=1 code=1 rest=0x05000000",
            };
            let error = talk.error_from_client(what);
            assert_eq!(talk.bed.send(0, &error).verdict, Verdict::Drop(DropReason::IcmpNoFlow));
        }
    }
}
