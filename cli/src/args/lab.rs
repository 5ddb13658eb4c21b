//! Arguments of `balun lab`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Subcommand};

use super::{DEFAULT_CONFIG, TableFormat};

/// Arguments of `balun lab`.
#[derive(Clone, Debug, Args)]
pub struct LabArgs {
    /// Lab file; without it the only lab that runs, or `balun.toml`
    #[arg(short, long, global = true, value_name = "FILE", env = "BALUN_FILE")]
    pub file: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: LabCommand,
}

impl LabArgs {
    /// The file to read where one is needed.
    pub fn config(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| DEFAULT_CONFIG.into())
    }
}

/// The commands `balun lab`.
#[derive(Clone, Debug, Subcommand)]
pub enum LabCommand {
    /// Bring the lab up, and keep it up until it is told to end
    Up(LabUpArgs),
    /// Take a lab down
    Down,
    /// List the nodes
    Ps {
        /// How they are shown
        #[arg(long, value_enum, default_value_t, env = "BALUN_FORMAT")]
        format: TableFormat,
    },
    /// Run a command in a node, and end as it does
    Exec {
        /// The node
        #[arg(value_name = "NODE")]
        node: String,
        /// The command; `builtin:get URL` needs nothing installed
        #[arg(value_name = "COMMAND", trailing_var_arg = true, required = true)]
        #[arg(allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Open a shell in a node
    Shell {
        /// The node
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Show what the link to a node does, or change it
    Link(LabLinkArgs),
    /// Draw the lab
    Graph {
        /// What for
        #[arg(long, value_enum, default_value_t, env = "BALUN_FORMAT")]
        format: crate::lab::graph::Format,
    },
    /// Bring the lab up, try all that it expects, and take it down
    Check,
}

/// Arguments of `balun lab up`.
#[derive(Clone, Copy, Debug, Args)]
pub struct LabUpArgs {
    /// Leave it in the background when it is up
    #[arg(short, long, env = "BALUN_DETACH", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub detach: bool,
    /// Say on the standard output when it is up: what `--detach` waits for
    #[arg(long, hide = true, env = "BALUN_REPORT", value_parser = FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue)]
    pub report: bool,
}

/// Arguments of `balun lab link`.
#[derive(Clone, Debug, Args)]
pub struct LabLinkArgs {
    /// The node
    #[arg(value_name = "NODE")]
    pub node: String,
    /// `set`, and changes such as loss=1% delay=10ms rate=0
    #[arg(value_name = "set KEY=VALUE")]
    pub set: Vec<String>,
    /// Which way, seen from the balancer
    #[arg(long, value_enum, default_value_t, env = "BALUN_DIRECTION")]
    pub direction: crate::lab::Direction,
    /// How it is shown
    #[arg(long, value_enum, default_value_t, env = "BALUN_FORMAT")]
    pub format: TableFormat,
}
