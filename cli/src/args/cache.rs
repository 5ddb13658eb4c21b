//! The command line of `balun cache`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::TableFormat;

/// Arguments of `balun cache`.
#[derive(Clone, Debug, Args)]
pub struct CacheArgs {
    /// Control socket of the instance; needed if several run
    #[arg(long, global = true, value_name = "PATH", env = "BALUN_CONTROL")]
    pub control: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What is done with the caches of a running instance.
#[derive(Clone, Debug, Subcommand)]
pub enum CacheCommand {
    /// Show what each cache holds and did
    Show {
        /// How they are shown
        #[arg(long, value_enum, default_value_t, env = "BALUN_FORMAT")]
        format: TableFormat,
    },
    /// Have answers forgotten
    Purge(PurgeArgs),
}

/// Which answers are forgotten.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["url", "prefix", "tag", "all"])))]
pub struct PurgeArgs {
    /// The answers of this URL, as clients ask for it: `http://site.lab/a?b`
    pub url: Option<String>,
    /// The answers of all URLs that begin so
    #[arg(long, value_name = "URL", env = "BALUN_PREFIX")]
    pub prefix: Option<String>,
    /// The answers that have this word in Surrogate-Key or Cache-Tag
    #[arg(long, value_name = "KEY", env = "BALUN_TAG")]
    pub tag: Option<String>,
    /// All answers
    #[arg(long, env = "BALUN_ALL")]
    pub all: bool,
    /// Only by this cache
    #[arg(long, value_name = "NAME", env = "BALUN_CACHE")]
    pub cache: Option<String>,
}
