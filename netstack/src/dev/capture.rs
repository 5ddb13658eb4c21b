//! A capture as a device: what it holds arrives, what is transmitted is recorded.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::pcap::{PcapError, PcapReader, PcapWriter};
use super::{Device, Received, Transmitted};
use crate::packet::{Checksum, Packet};
use crate::time::Instant;
use crate::wire::checksum;

/// Plays a capture against a clock that the caller turns, and records what is transmitted.
///
/// The capture's first packet is at [`Instant::ZERO`]. A packet can be received once
/// [`advance`](Self::advance) has brought the clock to its time; [`next_arrival`](Self::next_arrival)
/// says when that is. A time stamp earlier than the one before it counts as equal to it, so that
/// packets keep the capture's order.
#[derive(Debug)]
pub struct PcapDevice<R, W> {
    name: String,
    mtu: u16,
    reader: PcapReader<R>,
    writer: Option<PcapWriter<W>>,
    /// The time stamp of the first packet.
    epoch: Option<Duration>,
    now: Instant,
    next: Option<Instant>,
    next_packet: Packet,
    /// Why there is no packet after the last one received.
    failed: Option<PcapError>,
    /// Where checksums are completed for the record.
    recorded: Packet,
}

impl<R: Read, W: Write> PcapDevice<R, W> {
    /// A device that plays `reader`, and records to `writer` if there is one.
    ///
    /// # Errors
    /// [`PcapError`] if there is no reading the first packet.
    pub fn new(
        name: &str,
        mtu: u16,
        reader: PcapReader<R>,
        writer: Option<PcapWriter<W>>,
    ) -> Result<Self, PcapError> {
        let mut device = Self {
            name: name.into(),
            mtu,
            reader,
            writer,
            epoch: None,
            now: Instant::ZERO,
            next: Some(Instant::ZERO),
            next_packet: Packet::with_capacity(0),
            failed: None,
            recorded: Packet::with_capacity(0),
        };
        device.fetch()?;
        Ok(device)
    }

    /// When the next packet arrives; nothing after the last.
    pub const fn next_arrival(&self) -> Option<Instant> {
        self.next
    }

    /// Turns the clock to `now`; never back.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Frames of the capture that hold no IP packet, so far.
    pub const fn skipped(&self) -> u64 {
        self.reader.skipped()
    }

    /// Flushes the recording and gives its writer back.
    ///
    /// # Errors
    /// That of the writer.
    pub fn finish(self) -> io::Result<Option<W>> {
        let Some(mut writer) = self.writer else { return Ok(None) };
        writer.flush()?;
        Ok(Some(writer.into_inner()))
    }

    fn fetch(&mut self) -> Result<(), PcapError> {
        let earliest = self.next.take().unwrap_or_default();
        if let Some(record) = self.reader.read(&mut self.next_packet)? {
            let epoch = *self.epoch.get_or_insert(record.time);
            let at = Instant::ZERO + record.time.saturating_sub(epoch);
            self.next = Some(at.max(earliest));
        }
        Ok(())
    }
}

impl<R: Read, W: Write> Device for PcapDevice<R, W> {
    fn receive(&mut self, packet: &mut Packet) -> io::Result<Received> {
        match self.next {
            None => match self.failed.take() {
                Some(error) => Err(error.into()),
                None => Ok(Received::End),
            },
            Some(at) if at > self.now => Ok(Received::WouldBlock),
            Some(_) => {
                packet.copy_from(&self.next_packet);
                self.failed = self.fetch().err();
                Ok(Received::Packet)
            }
        }
    }

    /// Records the packet at the clock's time: with its checksum completed, for a file has no place
    /// for offload state; a super-packet as the one long packet that it is.
    fn transmit(&mut self, packet: &mut Packet) -> io::Result<Transmitted> {
        let Some(writer) = &mut self.writer else { return Ok(Transmitted::Sent) };
        let since = self.now.saturating_since(Instant::ZERO);
        let time = self.epoch.unwrap_or_default() + since;
        if matches!(packet.offload.checksum, Checksum::Partial { .. }) {
            self.recorded.copy_from(packet);
            checksum::complete(&mut self.recorded);
            writer.write(time, self.recorded.data())?;
        } else {
            writer.write(time, packet.data())?;
        }
        Ok(Transmitted::Sent)
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Offload;

    fn file(packets: &[(Duration, &[u8])]) -> Vec<u8> {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        for (time, ip) in packets {
            writer.write(*time, ip).unwrap();
        }
        writer.into_inner()
    }

    fn device(file: &[u8]) -> PcapDevice<&[u8], Vec<u8>> {
        let writer = PcapWriter::new(Vec::new()).unwrap();
        PcapDevice::new("capture", 1_500, PcapReader::new(file).unwrap(), Some(writer)).unwrap()
    }

    #[test]
    fn packets_arrive_when_the_clock_reaches_them_and_in_order() {
        let at = |ms| Duration::from_secs(1_000) + Duration::from_millis(ms);
        let file = file(&[(at(0), &[0x45, 0]), (at(5), &[0x45, 1]), (at(3), &[0x45, 2])]);
        let mut device = device(&file);
        let mut packet = Packet::with_capacity(0);
        assert_eq!(device.next_arrival(), Some(Instant::ZERO));
        assert_eq!(device.receive(&mut packet).unwrap(), Received::Packet);
        assert_eq!(device.next_arrival(), Some(Instant::from_millis(5)));
        device.advance(Instant::from_micros(4_999));
        assert_eq!(device.receive(&mut packet).unwrap(), Received::WouldBlock);
        device.advance(Instant::from_millis(5));
        device.advance(Instant::ZERO);
        for expected in [1, 2] {
            assert_eq!(device.receive(&mut packet).unwrap(), Received::Packet);
            assert_eq!(packet.data(), [0x45, expected]);
        }
        assert_eq!(device.next_arrival(), None);
        assert_eq!(device.receive(&mut packet).unwrap(), Received::End);
    }

    #[test]
    fn what_is_transmitted_is_recorded_with_time_and_complete_checksum() {
        let file = file(&[(Duration::from_secs(1_000), &[0x45, 0])]);
        let mut device = device(&file);
        device.advance(Instant::from_millis(7));
        let mut packet = Packet::from_ip(&[0x45, 0, 0, 0, 0x12, 0x34]);
        let partial = Offload { checksum: Checksum::Partial { start: 2, offset: 0 }, gso: None };
        packet.offload = partial;
        assert_eq!(device.transmit(&mut packet).unwrap(), Transmitted::Sent);
        assert_eq!(packet.offload, partial);
        let recording = device.finish().unwrap().unwrap();
        let mut reader = PcapReader::new(recording.as_slice()).unwrap();
        let record = reader.read(&mut packet).unwrap().unwrap();
        assert_eq!(record.time, Duration::from_millis(1_000_007));
        assert_eq!(packet.data(), [0x45, 0, 0xed, 0xcb, 0x12, 0x34]);
    }

    #[test]
    fn packets_before_a_fault_arrive_and_the_fault_is_told_once() {
        let mut file = file(&[(Duration::ZERO, &[0x45, 0]), (Duration::ZERO, &[0x45, 1])]);
        file.pop();
        let mut device = device(&file);
        let mut packet = Packet::with_capacity(0);
        assert_eq!(device.receive(&mut packet).unwrap(), Received::Packet);
        assert_eq!(packet.data(), [0x45, 0]);
        let error = device.receive(&mut packet).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(device.receive(&mut packet).unwrap(), Received::End);
    }

    #[test]
    fn an_empty_capture_ends_at_once() {
        let file = file(&[]);
        let mut device = device(&file);
        assert_eq!(device.receive(&mut Packet::with_capacity(0)).unwrap(), Received::End);
    }
}
