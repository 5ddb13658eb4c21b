//! Packets out of captures.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use netstack::Packet;
use netstack::dev::{CaptureError, CaptureReader};

/// Frames that one question may be about.
pub const MAX_FRAMES: usize = 1_000;

/// A packet of a capture.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its number, counted from 1 over all frames of the file, as Wireshark does.
    pub number: u64,
    /// When it was captured, from the Unix epoch.
    pub time: Duration,
    /// Bytes missing at its end.
    pub cut: u32,
    /// Its interface: in a capture that balun wrote, the name of a leg.
    pub interface: String,
    /// The packet.
    pub packet: Packet,
    /// Asked for, rather than one that came earlier.
    pub wanted: bool,
}

/// Why frames cannot be had.
#[derive(Debug)]
pub enum FrameError {
    /// The list of numbers is wrong.
    Numbers(String),
    /// The file cannot be opened.
    Open(io::Error),
    /// It cannot be read on.
    Read(CaptureError),
    /// It has no such frame, or that one is no IP packet.
    NoFrame(u64),
    /// More frames were asked for than are explained at a time.
    TooMany,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(word) => {
                write!(f, "`{word}` is no list of frames: write numbers from 1, as 3 or 1,4,5")
            }
            Self::Open(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::NoFrame(number) => {
                write!(f, "it has no frame {number}, or that is no IP packet")
            }
            Self::TooMany => write!(f, "at most {MAX_FRAMES} frames are explained at a time"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Reads a list of frame numbers: `3` or `1,4,5`. The result is in order.
///
/// # Errors
/// [`FrameError`] if it is no such list, or too long.
pub fn numbers(text: &str) -> Result<Vec<u64>, FrameError> {
    let number = |word: &str| match word.trim().parse() {
        Ok(0) | Err(_) => Err(FrameError::Numbers(text.chars().take(40).collect())),
        Ok(number) => Ok(number),
    };
    let mut numbers = text.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.len() > MAX_FRAMES { Err(FrameError::TooMany) } else { Ok(numbers) }
}

/// Hands the frames of those numbers, and with `earlier` all before the last of them too, to `take`,
/// one at a time.
///
/// # Errors
/// [`FrameError`]; frames before the error have been handed over.
pub fn read(
    path: &Path,
    wanted: &[u64],
    earlier: bool,
    take: impl FnMut(Frame),
) -> Result<(), FrameError> {
    let file = File::open(path).map_err(FrameError::Open)?;
    from(file, wanted, earlier, take)
}

fn from(
    input: impl Read,
    wanted: &[u64],
    earlier: bool,
    mut take: impl FnMut(Frame),
) -> Result<(), FrameError> {
    let mut reader = CaptureReader::new(input).map_err(FrameError::Read)?;
    let (mut read, mut left) = (0, wanted.iter().copied().peekable());
    let mut packet = Packet::max_sized();
    while let Some(&next) = left.peek() {
        let record = reader.read(&mut packet).map_err(FrameError::Read)?;
        let Some(record) = record else { return Err(FrameError::NoFrame(next)) };
        read += 1;
        let number = read + reader.skipped();
        if number > next {
            return Err(FrameError::NoFrame(next));
        }
        let is_wanted = number == next;
        if is_wanted {
            left.next();
        }
        if is_wanted || earlier {
            let mut copy = Packet::with_capacity(packet.len());
            copy.copy_from(&packet);
            take(Frame {
                number,
                time: record.time,
                cut: record.cut,
                interface: reader.interface_name(record.interface).to_owned(),
                packet: copy,
                wanted: is_wanted,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use netstack::dev::pcap::PcapWriter;

    use super::*;

    fn capture(packets: u8) -> Vec<u8> {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        for n in 1..=packets {
            // The fourth is no IP packet.
            let first = if n == 4 { 0 } else { 0x45 };
            writer.write(Duration::from_secs(n.into()), &[first, n]).unwrap();
        }
        writer.into_inner()
    }

    fn frames(wanted: &[u64], earlier: bool) -> Result<Vec<(u64, bool)>, String> {
        let mut frames = Vec::new();
        from(capture(6).as_slice(), wanted, earlier, |f| frames.push((f.number, f.wanted)))
            .map_err(|error| error.to_string())?;
        Ok(frames)
    }

    #[test]
    fn frames_are_numbered_as_the_file_has_them() {
        assert_eq!(frames(&[2, 5], false), Ok(vec![(2, true), (5, true)]));
        let all = [(1, false), (2, true), (3, false), (5, true)];
        assert_eq!(frames(&[2, 5], true), Ok(all.to_vec()));
        assert_eq!(frames(&[], true), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_there_is_said() {
        for missing in [4, 7] {
            let said = frames(&[missing], false).unwrap_err();
            assert!(said.contains(&format!("no frame {missing}")), "{said}");
        }
        let said = from(&b"GIF89a, which is no capture"[..], &[1], false, |_| ()).unwrap_err();
        assert!(said.to_string().contains("neither pcap nor pcapng"), "{said}");
    }

    #[test]
    fn a_list_has_numbers_from_1_in_any_order() {
        assert_eq!(numbers("5, 1,5").unwrap(), [1, 5]);
        for wrong in ["", "0", "a", "1,,2", "1-3", "-1", "99999999999999999999999"] {
            assert!(matches!(numbers(wrong), Err(FrameError::Numbers(_))), "{wrong}");
        }
        let many: Vec<_> = (1..=MAX_FRAMES + 1).map(|n| n.to_string()).collect();
        assert!(matches!(numbers(&many.join(",")), Err(FrameError::TooMany)));
        assert!(numbers(&many[1..].join(",")).is_ok());
    }
}
