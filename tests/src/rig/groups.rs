//! The tables, and the sessions of each of their rows.

use std::time::Duration;

use super::measure::flood::flood;
use super::measure::latency::latency;
use super::measure::{Setting, Transfer, goodput, share};
use super::options::Options;
use super::report::{Column, Layout, Of, Row};
use super::scenario::{Path, Who};
use super::{Algorithm, Failure};

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Sending with CUBIC, over links of every kind.
    Cubic,
    /// Sending with BBR, likewise.
    Bbr,
    /// Receiving from a kernel's CUBIC, likewise.
    Receive,
    /// Beside a kernel's CUBIC.
    Share,
    /// Answers of 20 KB.
    Latency,
    /// As fast as the machine can.
    Bulk,
    /// Under a flood of SYNs.
    Flood,
}

/// What a session measures, of either stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Sender,
    Receiver,
    Share,
    Latency,
    Flood,
}

/// A row's sessions: everything but whose they are, and the seed.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    subject: Subject,
    setting: Setting,
}

impl Session {
    /// Measures it once, with `who` as the stack in question.
    ///
    /// # Errors
    /// [`Failure`]
    pub fn run(&self, who: Who, seed: u64) -> Result<Vec<f64>, Failure> {
        let setting = Setting { seed, ..self.setting };
        match self.subject {
            Subject::Sender => goodput(&setting, Transfer { sender: who, receiver: Who::Linux }),
            Subject::Receiver => goodput(&setting, Transfer { sender: Who::Linux, receiver: who }),
            Subject::Share => share(&setting, who),
            Subject::Latency => latency(&setting, who),
            Subject::Flood => flood(&setting, who),
        }
    }
}

/// What the pump carries at most: Mbit/s of packets of 1,500 bytes, kernel to kernel.
///
/// # Errors
/// [`Failure`]
pub fn capacity(options: &Options) -> Result<f64, Failure> {
    let path = Path { rate: 0, rtt: Duration::ZERO, ..path(options) };
    let setting = Setting { path: Some(path), ..setting(options) };
    let both = Transfer { sender: Who::Linux, receiver: Who::Linux };
    let figures = goodput(&setting, both)?;
    figures.first().copied().ok_or_else(|| Failure::because("no figure"))
}

impl Group {
    /// All, in the order of the report.
    pub const ALL: [Self; 7] = [
        Self::Cubic,
        Self::Bbr,
        Self::Receive,
        Self::Share,
        Self::Latency,
        Self::Bulk,
        Self::Flood,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
            Self::Receive => "receive",
            Self::Share => "share",
            Self::Latency => "latency",
            Self::Bulk => "bulk",
            Self::Flood => "flood",
        }
    }

    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// How its table looks.
    pub fn layout(self, options: &Options) -> Layout {
        let rate = options.rate / 1_000_000;
        let (what, columns): (_, &[Column]) = match self {
            Self::Cubic => ("CUBIC as sender to Linux, Mbit/s; at least 0.90", GOODPUT),
            Self::Bbr => ("BBR as sender to Linux, Mbit/s; at least 0.85, again no more", GOODPUT),
            Self::Receive => ("receiver of Linux CUBIC, Mbit/s; at least 0.95", GOODPUT),
            Self::Share => ("beside a Linux CUBIC flow; neither below 35 %", SHARE),
            Self::Latency => {
                ("answers of 20 KB, losses of answers only; p99 at most 1.00", LATENCY)
            }
            Self::Bulk => ("one flow over TUN with offload; at least 10 Gbit/s", BULK),
            Self::Flood => ("flood of SYNs beside a transfer; at least 95 % kept", FLOOD),
        };
        let names = match self {
            Self::Cubic | Self::Bbr | Self::Receive => vec!["RTT ms", "loss %", "reorder %"],
            _ => vec!["link"],
        };
        let title = match self {
            Self::Cubic | Self::Bbr | Self::Receive | Self::Flood => {
                format!("{}: {what} ({rate} Mbit/s)", self.name())
            }
            _ => format!("{}: {what}", self.name()),
        };
        Layout { title, names, columns: columns.to_vec() }
    }

    /// Its rows.
    pub fn rows(self, options: &Options) -> Vec<(Row, Session)> {
        let setting = setting(options);
        let one = |name: &str, subject, setting| {
            (Row::new(vec![name.to_owned()]), Session { subject, setting })
        };
        let over = |path: Path| Setting { path: Some(path), ..setting };
        let path = path(options);
        let millis = Duration::from_millis;
        match self {
            Self::Cubic => cells(options, Subject::Sender, setting),
            Self::Bbr => {
                let setting = Setting { algorithm: Algorithm::Bbr, ..setting };
                cells(options, Subject::Sender, setting)
            }
            Self::Receive => cells(options, Subject::Receiver, setting),
            Self::Share => {
                let path = Path { rate: 100_000_000, rtt: millis(20), ..path };
                // Flows take seconds to find their shares.
                let setting = Setting { time: 4 * options.time, ..over(path) };
                vec![one("100 Mbit/s, 20 ms", Subject::Share, setting)]
            }
            Self::Latency => {
                let path = Path { rtt: millis(1), loss: 10_000, loss_from_only: true, ..path };
                // The far end answers.
                vec![one("1 ms, 1 %", Subject::Latency, over(path))]
            }
            Self::Bulk => {
                let setting = Setting { path: None, ..setting };
                vec![
                    one("none, as sender", Subject::Sender, setting),
                    one("none, as receiver", Subject::Receiver, setting),
                ]
            }
            Self::Flood => {
                vec![one("1 ms", Subject::Flood, over(Path { rtt: millis(1), ..path }))]
            }
        }
    }
}

const GOODPUT: &[Column] = &[
    ("ours", Of::Ours, 0, 1),
    ("Linux", Of::Linux, 0, 1),
    ("ratio", Of::Ratio, 0, 2),
    ("ours again %", Of::Ours, 1, 2),
    ("Linux again %", Of::Linux, 1, 2),
    ("late %", Of::Larger, 2, 1),
];

const SHARE: &[Column] = &[
    ("ours", Of::Ours, 0, 1),
    ("Linux beside it", Of::Ours, 1, 1),
    ("ours has %", Of::Ours, 2, 0),
    ("Linux", Of::Linux, 0, 1),
    ("Linux beside that", Of::Linux, 1, 1),
    ("Linux has %", Of::Linux, 2, 0),
    ("late %", Of::Larger, 3, 1),
];

const LATENCY: &[Column] = &[
    ("ours p50 ms", Of::Ours, 0, 2),
    ("Linux p50 ms", Of::Linux, 0, 2),
    ("ours p99 ms", Of::Ours, 1, 2),
    ("Linux p99 ms", Of::Linux, 1, 2),
    ("ratio of p99", Of::Ratio, 1, 2),
    ("ours/s", Of::Ours, 2, 0),
    ("Linux/s", Of::Linux, 2, 0),
    ("late %", Of::Larger, 3, 1),
];

const BULK: &[Column] = &[
    ("ours Mbit/s", Of::Ours, 0, 0),
    ("Linux Mbit/s", Of::Linux, 0, 0),
    ("ratio", Of::Ratio, 0, 2),
    ("core of ours %", Of::Ours, 3, 0),
    ("core of Linux %", Of::Linux, 3, 0),
];

const FLOOD: &[Column] = &[
    ("ours keeps %", Of::Ours, 0, 0),
    ("Linux keeps %", Of::Linux, 0, 0),
    ("ours Mbit/s", Of::Ours, 1, 0),
    ("Linux Mbit/s", Of::Linux, 1, 0),
    ("ours kSYN/s", Of::Ours, 2, 0),
    ("Linux kSYN/s", Of::Linux, 2, 0),
    ("ours opens %", Of::Ours, 3, 0),
    ("Linux opens %", Of::Linux, 3, 0),
    ("ours grows MiB", Of::Ours, 4, 1),
];

/// A link without chances.
fn path(options: &Options) -> Path {
    let rtt = Duration::from_millis(1);
    Path { rtt, loss: 0, loss_from_only: false, reorder: 0, rate: options.rate }
}

fn setting(options: &Options) -> Setting {
    Setting {
        path: Some(path(options)),
        family: options.family,
        algorithm: Algorithm::Cubic,
        time: options.time,
        seed: options.seed,
    }
}

/// A row for each round trip, loss and reordering.
fn cells(options: &Options, subject: Subject, setting: Setting) -> Vec<(Row, Session)> {
    let percent = |chance: u32| (f64::from(chance) / 10_000.0).to_string();
    let mut rows = Vec::new();
    for &reorder in &options.reorders {
        for &rtt in &options.rtts {
            for &loss in &options.losses {
                let path = Path { rtt, loss, reorder, ..path(options) };
                let millis = (rtt.as_micros() as f64 / 1_000.0).to_string();
                let row = Row::new(vec![millis, percent(loss), percent(reorder)]);
                let setting = Setting { path: Some(path), ..setting };
                rows.push((row, Session { subject, setting }));
            }
        }
    }
    rows
}
