//! `balun capture`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use netstack::Packet;
use netstack::dev::CaptureReader;
use netstack::dev::pcapng::{Direction, MAX_BLOCK_LEN};
use netstack::wire::text::Line;

use crate::args::CaptureArgs;
use crate::capture::{Requests, Wanted};
use crate::console::Console;
use crate::control::{CallError, Connection, Request, directory};
use crate::exit::ExitCode;

/// Captures what goes through a running instance, until it ends or nobody wants more.
pub(super) fn run(args: &CaptureArgs, console: &Console) -> ExitCode {
    capture(args, console).unwrap_or_else(|code| code)
}

fn capture(args: &CaptureArgs, console: &Console) -> Result<ExitCode, ExitCode> {
    let wanted = Wanted {
        filter: args.filter.join(" "),
        side: args.kept.side,
        dropped: args.kept.dropped,
        snaplen: args.kept.snaplen,
        comments: args.kept.comments,
        segment: args.segment,
        count: args.count,
        requests: args.request.clone().map(|request| Requests {
            request,
            status: args.status.clone(),
            slow: args.slow.clone(),
        }),
    };
    // Before anything is asked: a wrong filter is the command line's fault.
    if let Err(error) = wanted.check() {
        console.error(&error);
        return Err(ExitCode::Usage);
    }
    let socket = match &args.control {
        Some(path) => path.clone(),
        None => only_instance(&directory::path()).map_err(|error| could_not(&error, console))?,
    };
    let pipe = open(&socket, wanted).map_err(|error| {
        console.error(&error.to_string());
        match error {
            CallError::Refused(refusal) if refusal.exit == ExitCode::Usage.code() => {
                ExitCode::Usage
            }
            _ => ExitCode::CouldNot,
        }
    })?;
    let written = match &args.write {
        None => print(File::from(pipe), &mut io::stdout().lock()),
        Some(path) if path.as_os_str() == "-" => blocks(File::from(pipe), &mut io::stdout().lock()),
        Some(path) => File::create(path)
            .and_then(|mut file| blocks(File::from(pipe), &mut file))
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
    };
    match written {
        Ok(()) => Ok(ExitCode::Done),
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::Done),
        Err(error) => Err(could_not(&format!("the capture ended early: {error}"), console)),
    }
}

fn could_not(error: &str, console: &Console) -> ExitCode {
    console.error(error);
    ExitCode::CouldNot
}

/// The socket of the only instance of this user.
pub(super) fn only_instance(folder: &Path) -> Result<PathBuf, String> {
    let mut sockets = instances(folder);
    match (sockets.pop(), sockets.len()) {
        (Some(socket), 0) => Ok(socket),
        (None, _) => Err("no instance is known to run\n\
                          fix: name its control socket by --control"
            .to_owned()),
        (Some(_), others) => Err(format!(
            "{} instances run\nfix: name the control socket of one by --control, see {}",
            others + 1,
            folder.display()
        )),
    }
}

/// The sockets of a folder, in order.
pub(super) fn instances(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut sockets: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "sock"))
        .collect();
    sockets.sort();
    sockets
}

/// Asks the instance at `socket` for a capture; gives the pipe that it comes by.
pub(super) fn open(socket: &Path, wanted: Wanted) -> Result<OwnedFd, CallError> {
    let (_, descriptors) = Connection::open(socket)?.call(&Request::Capture(wanted))?;
    descriptors.into_iter().next().ok_or_else(|| CallError::Io {
        path: socket.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, "it sent no pipe"),
    })
}

/// Passes on whole blocks, each at once: whoever ends this, what was written is a sound file.
pub(super) fn blocks(input: impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut input = io::BufReader::new(input);
    let mut block = Vec::new();
    loop {
        let mut head = [0; 8];
        match input.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return output.flush(),
            result => result?,
        }
        // In the byte order of our own writer.
        let [_, _, _, _, len @ ..] = head;
        let len = u32::from_le_bytes(len);
        if !(12..=MAX_BLOCK_LEN).contains(&len) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a block of no known length"));
        }
        block.clear();
        block.extend_from_slice(&head);
        block.resize(len as usize, 0);
        input.read_exact(block.get_mut(head.len()..).unwrap_or_default())?;
        // In one piece: who reads the file meanwhile finds no part of a block.
        output.write_all(&block)?;
        // A reader wants to see packets when they come.
        output.flush()?;
    }
}

/// Prints packets as lines.
fn print(input: impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut reader = CaptureReader::new(input)?;
    let mut packet = Packet::max_sized();
    while let Some(captured) = reader.read(&mut packet)? {
        let arrow = match captured.direction {
            Some(Direction::Inbound) => "in ",
            Some(Direction::Outbound) => "out",
            None => "   ",
        };
        let seconds = captured.time.as_secs() % 86_400;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            output,
            "{hours:02}:{minutes:02}:{seconds:02}.{:06} #{} {arrow} {}  ",
            captured.time.subsec_micros(),
            captured.packet_id.unwrap_or(0),
            reader.interface_name(captured.interface),
        )?;
        // A packet that was cut is malformed as it stands; its length says what it was.
        match captured.cut {
            0 => writeln!(output, "{}", Line::of(&packet))?,
            cut => writeln!(output, "{}", head(&mut packet, cut))?,
        }
        for comment in reader.comments() {
            writeln!(output, "    {comment}")?;
        }
        output.flush()?;
    }
    Ok(())
}

/// The line of a packet whose last `cut` bytes are missing: with zeros in their place.
fn head(packet: &mut Packet, cut: u32) -> String {
    let kept = packet.len();
    packet.set_len(kept + cut as usize);
    if let Some(missing) = packet.data_mut().get_mut(kept..) {
        missing.fill(0);
    }
    let line = Line::of(packet).to_string();
    // Its sum is over bytes that are not here.
    line.replace(" csum=bad", "")
}
