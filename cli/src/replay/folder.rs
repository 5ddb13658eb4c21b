//! A folder of files of one packet each.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use netstack::Packet;
use netstack::dev::capture_reader::Captured;
use netstack::dev::link::LinkType;
use netstack::packet::{MAX_PACKET_LEN, Offload};

/// Files of one folder.
pub(super) const MAX_FILES: usize = 1_000_000;

/// The time from one file's packet to the next.
pub(super) const SPACING: Duration = Duration::from_millis(1);

/// The longest file: a packet in an Ethernet frame.
const MAX_FILE: usize = MAX_PACKET_LEN + 22;

/// The files of a folder, in the order of their names: each an IP packet, or an Ethernet frame around one.
#[derive(Debug)]
pub(super) struct Folder {
    files: Vec<PathBuf>,
    read: usize,
    skipped: u64,
}

impl Folder {
    /// Lists a folder; folders in it are left out.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            if files.len() == MAX_FILES {
                let text = format!("more than {MAX_FILES} files");
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
            files.push(entry.path());
        }
        files.sort();
        Ok(Self { files, read: 0, skipped: 0 })
    }

    /// Reads the next file that holds a packet.
    pub(super) fn read(&mut self, packet: &mut Packet) -> io::Result<Option<Captured>> {
        while let Some(path) = self.files.get(self.read) {
            self.read += 1;
            let mut bytes = Vec::new();
            let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
            let file = File::open(path).map_err(named)?;
            file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(named)?;
            let ip = [LinkType::Raw, LinkType::Ethernet].iter().find_map(|link| link.ip(&bytes));
            let Some(ip) = ip else {
                self.skipped += 1;
                continue;
            };
            packet.offload = Offload::default();
            packet.set_len(ip.len());
            packet.data_mut().copy_from_slice(ip);
            return Ok(Some(Captured {
                time: SPACING * (self.read as u32 - 1),
                cut: 0,
                interface: 0,
                direction: None,
                packet_id: None,
                dropped: None,
            }));
        }
        Ok(None)
    }

    /// The number of the file that was read last, from 1.
    pub(super) const fn number(&self) -> u64 {
        self.read as u64
    }

    /// Files without a packet so far.
    pub(super) const fn skipped(&self) -> u64 {
        self.skipped
    }
}
