//! Arguments of `balun replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use super::DEFAULT_CONFIG;
use crate::capture::Comments;
use crate::replay::legs::LegOf;
use crate::replay::pace::Speed;

/// Arguments of `balun replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Capture (pcap or pcapng), or folder of files of one packet each
    #[arg(value_name = "CAPTURE")]
    pub input: PathBuf,
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG, env = "BALUN_CONFIG")]
    pub config: PathBuf,
    /// Write a capture of the replay, as a live one: pcapng
    #[arg(short, long, value_name = "FILE", env = "BALUN_OUTPUT", conflicts_with = "diff")]
    pub output: Option<PathBuf>,
    /// How much that capture says of each packet
    #[arg(long, value_enum, default_value_t, env = "BALUN_COMMENTS")]
    pub comments: Comments,
    /// Script of what happens meanwhile: a line such as `at 5s backend web/web1 down`
    #[arg(long, value_name = "FILE", env = "BALUN_EVENTS")]
    pub events: Option<PathBuf>,
    /// Compare what leaves with what left when this capture was taken
    #[arg(long, value_name = "CAPTURE", env = "BALUN_EXPECT", conflicts_with = "diff")]
    pub expect: Option<PathBuf>,
    /// How much earlier or later a packet may leave than was recorded
    #[arg(long, value_name = "TIME", default_value = "0us", env = "BALUN_TOLERANCE")]
    #[arg(value_parser = duration, requires = "expect")]
    pub tolerance: Duration,
    /// Replay under this configuration too, and show what differs
    #[arg(long, value_name = "FILE", env = "BALUN_DIFF")]
    pub diff: Option<PathBuf>,
    /// How fast: `max`, or a factor such as `1x`
    #[arg(long, value_name = "SPEED", default_value = "max", env = "BALUN_SPEED")]
    #[arg(conflicts_with = "diff")]
    pub speed: Speed,
    /// By which leg packets came whose interface has not the name of one
    #[arg(long, value_name = "PREFIX=LEG", env = "BALUN_LEG_OF", value_delimiter = ',')]
    pub leg_of: Vec<LegOf>,
    /// Fill packets up with zeros that the capture cut short, rather than leave them out
    #[arg(long, env = "BALUN_PAD", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub pad: bool,
    /// Whether backends are asked if they are well
    #[arg(long, value_enum, default_value_t, env = "BALUN_HEALTH")]
    pub health: Health,
    /// Seed, if neither the configuration nor the capture has one [default: 0]
    #[arg(long, value_name = "N", env = "BALUN_SEED")]
    pub seed: Option<u64>,
    /// Form of what is printed
    #[arg(long, value_enum, default_value_t, env = "BALUN_FORMAT", conflicts_with = "diff")]
    pub format: ReplayFormat,
}

/// Forms of the result of `balun replay`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReplayFormat {
    /// Counts at the end; with -v a line for each packet
    #[default]
    Text,
    /// One JSON object a line for each packet
    Json,
}

/// Whether backends are asked if they are well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Health {
    /// If the capture is one that balun took of a whole run, and so has their answers
    #[default]
    Auto,
    /// As configured
    On,
    /// No: all are well until an event says something else
    Off,
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text)
}
