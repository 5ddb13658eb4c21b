//! The command line: every command, flag and variable in one place.
//!
//! Each flag can be given as `BALUN_` and its name in capitals.

mod cache;
mod lab;
mod replay;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use serde::{Deserialize, Serialize};

use crate::capture::{Comments, DEFAULT_SNAPLEN, MAX_SNAPLEN, Side};
use crate::demo::MAX_BACKENDS;
use crate::testing::report::Format;

pub use cache::{CacheArgs, CacheCommand, PurgeArgs};
pub use lab::{LabArgs, LabCommand, LabLinkArgs, LabUpArgs};
pub use replay::{Health, ReplayArgs, ReplayFormat};

/// The configuration file that commands read if none is named.
pub const DEFAULT_CONFIG: &str = "balun.toml";

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the answer is no: a test failed, nothing matched
  2    wrong command line
  3    could not: an instance is not running, an I/O error
  77   the environment forbids it: no TUN, no user namespaces
  78   bad configuration
  130  interrupted";

/// A layer 4 and layer 7 load balancer in user space, on Linux TUN devices.
#[derive(Clone, Debug, Parser)]
#[command(name = "balun", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Arguments {
    /// Flags of every command.
    #[command(flatten)]
    pub verbosity: Verbosity,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How much is said on the standard error stream.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Verbosity {
    /// Say nothing but errors
    #[arg(short, long, global = true, env = "BALUN_QUIET", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, env = "BALUN_VERBOSE", action = ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the balancer that a configuration file describes
    Run(RunArgs),
    /// Check configuration files and explain what is wrong with them
    Check(CheckArgs),
    /// Run the tests of a configuration, without a device
    Test(TestArgs),
    /// Replay a capture through the whole balancer, the same each time
    Replay(Box<ReplayArgs>),
    /// Show the balancer at work, with clients and backends of its own
    Demo(DemoArgs),
    /// Run a network of nodes around the balancer, without root
    Lab(LabArgs),
    /// Capture what goes through a running balancer, with what was done to each packet
    Capture(CaptureArgs),
    /// Show and purge the caches of a running balancer
    Cache(CacheArgs),
    /// Speak Wireshark's external-capture protocol
    Extcap(ExtcapArgs),
    /// Say what this machine allows, and how to cure what it does not
    Doctor(DoctorArgs),
    /// Say what would become of a packet, step by step, and why
    Trace(TraceArgs),
    /// Explain an error code or a drop reason at length
    Explain(ExplainArgs),
    /// Print configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the version
    Version(VersionArgs),
    /// What `doctor` starts in a child process
    #[command(name = "__try-rootless", hide = true)]
    TryRootless,
    /// What `lab` starts as process 1 of a node
    #[command(name = "__lab-init", hide = true)]
    LabInit,
    /// What `lab` starts to become a command in a node
    #[command(name = "__lab-run", hide = true)]
    LabRun {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Arguments of `balun run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG, env = "BALUN_CONFIG")]
    pub config: PathBuf,
    /// Unix socket to take commands at, instead of the one that the file names
    #[arg(long, value_name = "PATH", env = "BALUN_CONTROL")]
    pub control: Option<PathBuf>,
    /// Do everything but open devices: check, put together, say what would run
    #[arg(long, env = "BALUN_DRY_RUN", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub dry_run: bool,
}

/// Arguments of `balun check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Configuration files
    #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub files: Vec<PathBuf>,
    /// Look at the files alone, not for what they name on this machine
    #[arg(long, env = "BALUN_NO_ENVIRONMENT", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub no_environment: bool,
    /// A warning is as bad as an error
    #[arg(long, env = "BALUN_DENY_WARNINGS", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub deny_warnings: bool,
    /// How errors are shown
    #[arg(long, value_enum, default_value_t, env = "BALUN_FORMAT")]
    pub format: CheckFormat,
}

/// Forms of the result of `balun check`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line, on the standard output
    Json,
    /// Annotations for GitHub Actions, on the standard output
    Github,
}

/// Arguments of `balun test`.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// Configuration files with tests, .pkt files, or folders of .pkt files
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The configuration that .pkt files are about, whatever they say; without a PATH, the one whose
    /// tests are run [default: balun.toml]
    #[arg(short, long, value_name = "FILE", env = "BALUN_CONFIG")]
    pub config: Option<PathBuf>,
    /// Run only tests whose name holds this text, in any case
    #[arg(long, value_name = "TEXT", env = "BALUN_FILTER")]
    pub filter: Option<String>,
    /// Fix every random choice; decimal, or hexadecimal after 0x
    #[arg(long, value_name = "N", env = "BALUN_SEED", value_parser = parse_seed)]
    pub seed: Option<u64>,
    /// Run each test with so many seeds, up to its first failure
    #[arg(long, value_name = "N", default_value_t = 1, env = "BALUN_RUNS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub runs: u32,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t, env = "BALUN_FORMAT")]
    pub format: Format,
}

/// A seed in decimal or hexadecimal.
fn parse_seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

/// Arguments of `balun demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Simulate everything: no device, no privilege, the same every time
    #[arg(long, env = "BALUN_SIM", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub sim: bool,
    /// End after so many seconds
    #[arg(long, value_name = "N", env = "BALUN_SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// How many backends to start
    #[arg(long, value_name = "N", default_value_t = 3, env = "BALUN_BACKENDS")]
    #[arg(value_parser = clap::value_parser!(u8).range(2..=i64::from(MAX_BACKENDS)))]
    pub backends: u8,
    /// Break a backend after so many seconds
    #[arg(long = "break", value_name = "SECONDS", env = "BALUN_BREAK")]
    pub break_after: Option<u64>,
    /// Fix every random choice
    #[arg(long, value_name = "N", env = "BALUN_SEED")]
    pub seed: Option<u64>,
    /// Stay up until interrupted, break nothing, and let a person try
    #[arg(long, env = "BALUN_HOLD", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub hold: bool,
    /// Write every packet to a capture, with what was done to it
    #[arg(long, value_name = "FILE", env = "BALUN_RECORD")]
    pub record: Option<PathBuf>,
}

/// Arguments of `balun capture`.
#[derive(Clone, Debug, Args)]
pub struct CaptureArgs {
    /// Which packets, in the words of the packet line: `tcp dst 10.99.0.1:80 S`
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
    /// Write a pcapng file, or `-` for the standard output; without it packets are printed
    #[arg(short, long, value_name = "FILE", env = "BALUN_WRITE")]
    pub write: Option<PathBuf>,
    /// What is kept
    #[command(flatten)]
    pub kept: KeptArgs,
    /// Cut super-packets into the segments that a wire would carry
    #[arg(long, env = "BALUN_SEGMENT", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub segment: bool,
    /// End after so many packets, each side counted by itself, or so many requests
    #[arg(long, value_name = "N", env = "BALUN_COUNT")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// The packets of whole HTTP requests instead, once each is over: `GET /path*`, or `*` for all
    #[arg(long, value_name = "REQUEST", env = "BALUN_REQUEST")]
    #[arg(conflicts_with_all = ["filter", "side", "dropped", "snaplen", "comments", "segment"])]
    pub request: Option<String>,
    /// Of requests those that are answered so: `503` or `5xx`
    #[arg(long, value_name = "STATUS", requires = "request", env = "BALUN_STATUS")]
    pub status: Option<String>,
    /// Of requests those that take this long, or longer: `500ms`
    #[arg(long, value_name = "TIME", requires = "request", env = "BALUN_SLOW")]
    pub slow: Option<String>,
    /// Control socket of the instance; without it the only one that runs
    #[arg(short, long, value_name = "PATH", env = "BALUN_CONTROL")]
    pub control: Option<PathBuf>,
}

/// What a capture keeps of the packets that go through.
#[derive(Clone, Debug, Args)]
pub struct KeptArgs {
    /// Only on this side
    #[arg(long, value_enum, default_value_t, env = "BALUN_SIDE")]
    pub side: Side,
    /// Only packets that were dropped or refused
    #[arg(long, env = "BALUN_DROPPED", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub dropped: bool,
    /// Bytes of each packet that are kept; 65535 for all
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_SNAPLEN, env = "BALUN_SNAPLEN")]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=i64::from(MAX_SNAPLEN)))]
    pub snaplen: u32,
    /// How much is said of each packet
    #[arg(long, value_enum, default_value_t, env = "BALUN_COMMENTS")]
    pub comments: Comments,
}

/// Arguments of `balun extcap`, as Wireshark gives them.
#[derive(Clone, Debug, Args)]
pub struct ExtcapArgs {
    /// List the instances that run
    #[arg(long, env = "BALUN_EXTCAP_INTERFACES", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub extcap_interfaces: bool,
    /// Wireshark's version, which makes no difference
    #[arg(long, value_name = "VERSION", env = "BALUN_EXTCAP_VERSION")]
    pub extcap_version: Option<String>,
    /// The instance
    #[arg(long, value_name = "NAME", env = "BALUN_EXTCAP_INTERFACE")]
    pub extcap_interface: Option<String>,
    /// Print its link type
    #[arg(long, env = "BALUN_EXTCAP_DLTS", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub extcap_dlts: bool,
    /// Print what can be set
    #[arg(long, env = "BALUN_EXTCAP_CONFIG", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub extcap_config: bool,
    /// Which packets, in the words of the packet line
    #[arg(long, value_name = "FILTER", env = "BALUN_EXTCAP_CAPTURE_FILTER")]
    pub extcap_capture_filter: Option<String>,
    /// Capture
    #[arg(long, env = "BALUN_CAPTURE", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub capture: bool,
    /// Where to
    #[arg(long, value_name = "PATH", env = "BALUN_FIFO")]
    pub fifo: Option<PathBuf>,
    /// What is kept
    #[command(flatten)]
    pub kept: KeptArgs,
}

/// Forms of what is read from a running instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// Arguments of `balun doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Print only the commands that mend what fails
    #[arg(long, env = "BALUN_FIX_HINTS", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub fix_hints: bool,
}

/// Arguments of `balun trace`.
#[derive(Clone, Debug, Args)]
#[command(after_help = TRACE_HELP)]
pub struct TraceArgs {
    /// A packet, or `reply WORDS` for the answer to what left; in front of it, `@LEG` and `+TIME`
    #[arg(value_name = "PACKET", required_unless_present = "pcap")]
    pub packets: Vec<String>,
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG, env = "BALUN_CONFIG")]
    pub config: PathBuf,
    /// Ask a running instance, as it is now, with the configuration that it was started with
    #[arg(long, env = "BALUN_LIVE", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue, conflicts_with_all = ["at", "seed", "pcap"])]
    pub live: bool,
    /// Control socket of the instance; without it the only one that runs
    #[arg(long, value_name = "PATH", requires = "live", env = "BALUN_CONTROL")]
    pub control: Option<PathBuf>,
    /// The leg that packets come by; without it, the one that leads to their source
    #[arg(long, value_name = "NAME", env = "BALUN_LEG")]
    pub leg: Option<String>,
    /// How long the balancer has run when the first packet comes
    #[arg(long, value_name = "TIME", default_value = "0s", env = "BALUN_AT")]
    #[arg(value_parser = crate::config::duration)]
    pub at: Duration,
    /// The state of a backend: ready, drain, maint or down; unless this says otherwise all are ready, or with --live as they are
    #[arg(long, value_name = "POOL/NAME=STATE", env = "BALUN_BACKEND")]
    pub backend: Vec<String>,
    /// Fix every random choice, if the configuration does not
    #[arg(long, value_name = "N", default_value_t = 1, env = "BALUN_SEED")]
    pub seed: u64,
    /// Take packets from a capture
    #[arg(long, value_name = "FILE", requires = "frame", env = "BALUN_PCAP")]
    pub pcap: Option<PathBuf>,
    /// Which of its frames, as Wireshark numbers them
    #[arg(long, value_name = "N[,M…]", requires = "pcap", env = "BALUN_FRAME")]
    pub frame: Option<String>,
    /// Hand in all earlier frames of the capture too, without a word about each
    #[arg(long, requires = "pcap", env = "BALUN_WITH_EARLIER")]
    #[arg(value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub with_earlier: bool,
    /// How the answer is shown
    #[arg(long, value_enum, default_value_t, env = "BALUN_FORMAT")]
    pub format: TraceFormat,
    /// Draw the story as a picture too
    #[arg(long, value_name = "FILE", env = "BALUN_SVG")]
    pub svg: Option<PathBuf>,
    /// The picture's title, if it is not to be the first packet
    #[arg(long, value_name = "TEXT", requires = "svg", env = "BALUN_TITLE")]
    pub title: Option<String>,
}

const TRACE_HELP: &str = "\
Packets of one command line are one story, in that order:
  balun trace 'tcp 10.1.0.5:40000 > 10.99.0.1:80 S' 'reply S.' '+1s tcp 10.1.0.5:40000 > 10.99.0.1:80 R'

Exit codes:
  0    every packet was passed on or answered
  1    one was dropped or refused
  2    a packet line cannot be read";

/// Forms of the answer of `balun trace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a packet, each on a line
    Json,
}

/// Arguments of `balun explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// An error code such as E0304, drop: and a drop reason, or a request such as `GET http://api.lab/v1/x`; without it, a list of codes and reasons
    #[arg(value_name = "CODE")]
    pub topic: Option<String>,
    /// Configuration file whose routes a request meets
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG, env = "BALUN_CONFIG")]
    pub config: PathBuf,
    /// The service that is asked; without it, all of mode http
    #[arg(long, value_name = "NAME", env = "BALUN_SERVICE")]
    pub service: Option<String>,
    /// A field of the request
    #[arg(long, value_name = "NAME: VALUE", env = "BALUN_HEADER")]
    pub header: Vec<String>,
    /// Who sends the request
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.1", env = "BALUN_CLIENT")]
    pub client: IpAddr,
}

/// The commands `balun config`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a configuration to begin with
    Default,
}

/// Arguments of `balun version`.
#[derive(Clone, Copy, Debug, Args)]
pub struct VersionArgs {
    /// Print it as JSON
    #[arg(long, env = "BALUN_JSON", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::exit::ExitCode;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable_of_its_name() {
        fn visit(command: &clap::Command) {
            for argument in command.get_arguments() {
                let Some(long) = argument.get_long() else { continue };
                if matches!(long, "help" | "version") {
                    continue;
                }
                let name = format!("BALUN_{}", long.to_uppercase().replace('-', "_"));
                let variable = argument.get_env().and_then(|name| name.to_str());
                assert_eq!(variable, Some(name.as_str()), "{} --{long}", command.get_name());
            }
            command.get_subcommands().for_each(visit);
        }
        visit(&Arguments::command());
    }

    #[test]
    fn the_help_names_every_exit_code() {
        for code in ExitCode::ALL {
            let line = format!("\n  {:<4} ", code.code());
            assert!(EXIT_CODES.contains(&line), "{code:?}");
        }
    }

    #[test]
    fn the_demo_takes_what_its_help_says() {
        let line = ["balun", "demo", "--sim", "--break", "5", "--seconds=9", "--hold", "-v"];
        let parsed = Arguments::try_parse_from(line).unwrap();
        let Command::Demo(demo) = parsed.command else { panic!("another command") };
        assert_eq!((demo.break_after, demo.seconds, demo.backends), (Some(5), Some(9), 3));
        assert!(demo.sim && demo.hold && parsed.verbosity.verbose == 1);
    }
}
