//! The options of a SYN: what the peer's says, and what ours and our SYN-ACK say.
//!
//! Reading is as lenient as Linux is: an option of an unexpected length is passed over, one that does
//! not fit ends the list, of an option that comes twice the last counts, and an MSS of zero is none.
//! Writing uses the order and padding of Linux, so that middleboxes and fingerprints see what they know:
//!
//! ```text
//! MSS, SACK-permitted, timestamps, NOP, window scale     20 bytes, everything
//! MSS, NOP, NOP, timestamps, NOP, window scale           20 bytes, no SACK
//! MSS, NOP, NOP, SACK-permitted, NOP, window scale       12 bytes, no timestamps
//! ```
//!
//! RFCs: 9293 section 3.2, 7323, 2018.

use crate::tcp::timestamps::Stamp;
use crate::wire::Tcp;

const NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const KIND_WINDOW_SCALE: u8 = 3;
const KIND_SACK_PERMITTED: u8 = 4;

/// RFC 7323 section 2.3: a larger shift is to be taken as 14.
pub(in crate::tcp) const MAX_WINDOW_SCALE: u8 = 14;

/// The options that a SYN can carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp) struct SynOptions {
    /// The longest segment that the sender takes, not zero.
    pub(in crate::tcp) mss: Option<u16>,
    /// Shift of the sender's windows, at most [`MAX_WINDOW_SCALE`].
    pub(in crate::tcp) window_scale: Option<u8>,
    /// The sender reads SACK options.
    pub(in crate::tcp) sack_permitted: bool,
    /// The sender wants timestamps in every segment.
    pub(in crate::tcp) stamp: Option<Stamp>,
}

/// Options as they are written, a multiple of four bytes long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tcp) struct Written {
    bytes: [u8; Written::MAX],
    len: u8,
}

impl SynOptions {
    /// Reads the options of a SYN.
    pub(in crate::tcp) fn read(syn: &Tcp<&[u8]>) -> Self {
        let mut found = Self::default();
        for option in syn.options() {
            match (option.kind, option.data) {
                (KIND_MSS, &[high, low]) => {
                    let mss = u16::from_be_bytes([high, low]);
                    if mss != 0 {
                        found.mss = Some(mss);
                    }
                }
                (KIND_WINDOW_SCALE, &[shift]) => {
                    found.window_scale = Some(shift.min(MAX_WINDOW_SCALE));
                }
                (KIND_SACK_PERMITTED, &[]) => found.sack_permitted = true,
                (Stamp::KIND, data) => found.stamp = Stamp::from_data(data).or(found.stamp),
                _ => {}
            }
        }
        found
    }

    /// The options of the SYN-ACK that answers a SYN with the options `self`, by one who could use
    /// everything in `ours`.
    ///
    /// Window scale and timestamps are said only to who said them (RFC 7323 sections 2.2 and 3.2), and
    /// so is SACK-permitted. `ours.stamp` holds our clock's value; its echo is the peer's value.
    pub(in crate::tcp) fn answer(&self, ours: &Self) -> Self {
        let stamp = ours.stamp.zip(self.stamp);
        Self {
            mss: ours.mss,
            window_scale: self.window_scale.and(ours.window_scale),
            sack_permitted: self.sack_permitted && ours.sack_permitted,
            stamp: stamp.map(|(ours, peers)| Stamp { value: ours.value, echo: peers.value }),
        }
    }

    /// Writes the options.
    pub(in crate::tcp) fn write(&self) -> Written {
        let mut written = Written::default();
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            written.push(&[KIND_MSS, 4, high, low]);
        }
        match (self.sack_permitted, self.stamp) {
            (true, Some(_)) => written.push(&[KIND_SACK_PERMITTED, 2]),
            (true, None) => written.push(&[NOP, NOP, KIND_SACK_PERMITTED, 2]),
            (false, Some(_)) => written.push(&[NOP, NOP]),
            (false, None) => {}
        }
        if let Some(stamp) = self.stamp {
            written.push(&stamp.option());
        }
        if let Some(shift) = self.window_scale {
            written.push(&[NOP, KIND_WINDOW_SCALE, 3, shift.min(MAX_WINDOW_SCALE)]);
        }
        written
    }
}

impl Written {
    /// The most that there can be to write.
    pub(in crate::tcp) const MAX: usize = 20;

    /// Options of at most [`Self::MAX`] bytes that are written already.
    pub(in crate::tcp) fn new(options: &[u8]) -> Self {
        let mut written = Self::default();
        written.push(options);
        written
    }

    /// What is to stand behind the header.
    pub(in crate::tcp) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn push(&mut self, option: &[u8]) {
        let start = usize::from(self.len);
        self.bytes[start..start + option.len()].copy_from_slice(option);
        self.len += option.len() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { value: 0x0102_0304, echo: 0x0506_0708 };
    const ALL: SynOptions = SynOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        stamp: Some(STAMP),
    };

    fn read(options: &[u8]) -> SynOptions {
        let mut bytes = vec![0; 20];
        bytes.extend(options);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes[12] = ((bytes.len() / 4) << 4) as u8;
        bytes[13] = 2;
        SynOptions::read(&Tcp::new_checked(&bytes[..]).unwrap())
    }

    #[test]
    fn everything_is_written_in_the_order_of_linux() {
        let stamp = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let expected = [&[2, 4, 5, 180, 4, 2][..], &stamp, &[1, 3, 3, 7]].concat();
        assert_eq!(ALL.write().bytes(), expected);
        let no_sack = SynOptions { sack_permitted: false, ..ALL };
        let expected = [&[2, 4, 5, 180, 1, 1][..], &stamp, &[1, 3, 3, 7]].concat();
        assert_eq!(no_sack.write().bytes(), expected);
        let no_stamp = SynOptions { stamp: None, ..ALL };
        assert_eq!(no_stamp.write().bytes(), [2, 4, 5, 180, 1, 1, 4, 2, 1, 3, 3, 7]);
        let mss = SynOptions { mss: Some(1460), ..SynOptions::default() };
        assert_eq!(mss.write().bytes(), [2, 4, 5, 180]);
        assert_eq!(SynOptions::default().write().bytes(), []);
    }

    #[test]
    fn whatever_is_written_is_read_back_and_fills_whole_words() {
        for pick in 0..16 {
            let options = SynOptions {
                mss: ALL.mss.filter(|_| pick & 1 != 0),
                window_scale: ALL.window_scale.filter(|_| pick & 2 != 0),
                sack_permitted: pick & 4 != 0,
                stamp: ALL.stamp.filter(|_| pick & 8 != 0),
            };
            let written = options.write();
            assert_eq!(written.bytes().len() % 4, 0);
            assert_eq!(read(written.bytes()), options);
        }
    }

    #[test]
    fn a_syn_ack_says_only_what_the_syn_offered() {
        let ours = SynOptions { window_scale: Some(3), mss: Some(1440), ..ALL };
        for pick in 0..8 {
            let peer = SynOptions {
                mss: None,
                window_scale: Some(14).filter(|_| pick & 1 != 0),
                sack_permitted: pick & 2 != 0,
                stamp: Some(Stamp { value: 77, echo: 0 }).filter(|_| pick & 4 != 0),
            };
            let answer = peer.answer(&ours);
            assert_eq!(answer.mss, Some(1440), "RFC 9293 section 3.7.1: always");
            assert_eq!(answer.window_scale, peer.window_scale.and(Some(3)));
            assert_eq!(answer.sack_permitted, peer.sack_permitted);
            let echo = peer.stamp.map(|_| Stamp { value: STAMP.value, echo: 77 });
            assert_eq!(answer.stamp, echo);
        }
        let without = SynOptions { stamp: None, sack_permitted: false, ..ALL };
        let answer = ALL.answer(&without);
        assert_eq!((answer.stamp, answer.sack_permitted), (None, false), "nor what we cannot");
    }

    #[test]
    fn a_window_scale_beyond_14_is_14() {
        assert_eq!(read(&[3, 3, 15]).window_scale, Some(14));
        assert_eq!(read(&[3, 3, 255]).window_scale, Some(14));
        assert_eq!(read(&[3, 3, 14]).window_scale, Some(14));
    }

    #[test]
    fn options_of_a_wrong_length_are_passed_over_and_the_rest_counts() {
        let mss = [2, 4, 5, 180];
        for odd in [&[2, 3, 9][..], &[3, 4, 7, 7], &[4, 3, 0], &[8, 9, 1, 1, 1, 1, 1, 1, 1]] {
            let expected = SynOptions { mss: Some(1460), ..SynOptions::default() };
            assert_eq!(read(&[odd, &mss].concat()), expected, "{odd:?}");
        }
    }

    #[test]
    fn a_length_that_lies_ends_the_list() {
        for lie in [&[2, 0, 5, 180][..], &[2, 1], &[99, 200], &[0]] {
            assert_eq!(read(&[&[3, 3, 7], lie, &[4, 2]].concat()).window_scale, Some(7));
            assert!(!read(&[&[3, 3, 7], lie, &[4, 2]].concat()).sack_permitted, "{lie:?}");
        }
        // The last byte is a kind without a length.
        assert_eq!(read(&[1, 1, 1, 2]), SynOptions::default());
    }

    #[test]
    fn of_an_option_that_comes_twice_the_last_counts_and_zero_is_no_mss() {
        assert_eq!(read(&[2, 4, 0, 100, 2, 4, 0, 200]).mss, Some(200));
        assert_eq!(read(&[2, 4, 0, 100, 2, 4, 0, 0]).mss, Some(100));
        assert_eq!(read(&[2, 4, 0, 0]).mss, None);
    }
}
