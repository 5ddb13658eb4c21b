//! What packets carry, byte by byte.

use std::fmt::Write;

use nat::Verdict;
use netstack::LegId;
use netstack::wire::text;

use crate::bed::Bed;
use crate::oracle;

/// Sends the packet of `line` with `payload` into leg `leg`, and makes sure that what comes out carries
/// the very same bytes under right checksums.
///
/// # Panics
/// If it does not, or `line` describes no packet.
pub fn passes(bed: &mut Bed, leg: u16, line: &str, payload: &[u8]) -> Verdict {
    let mut line = format!("{line} data=");
    for byte in payload {
        // Writing to a string does not fail.
        let _ = write!(line, "{byte:02x}");
    }
    let mut packet = text::packet(&line).unwrap_or_else(|e| panic!("{}", e.underline(&line)));
    packet.leg = LegId(leg);
    let len = packet.len();
    let verdict = bed.engine.handle_packet(bed.now, &mut packet);
    assert_eq!(packet.len(), len, "nothing was added or taken away");
    assert!(packet.data().ends_with(payload), "{}", text::Line::exact(&packet));
    oracle::assert_checksums(&packet);
    verdict
}
