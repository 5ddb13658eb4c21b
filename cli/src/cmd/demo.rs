//! `balun demo`.

use std::time::Duration;

use crate::args::DemoArgs;
use crate::console::Console;
use crate::demo::{self, DemoError, Options, Outcome};
use crate::exit::ExitCode;
use crate::seed;

/// How long a demo lasts if nobody says.
const LENGTH: u64 = 12;

/// Shows the demo that this machine allows.
pub(super) fn run(args: &DemoArgs, console: &Console) -> ExitCode {
    if args.hold && args.sim {
        console.error("`--hold` wants a demo that can be touched, and `--sim` has none");
        return ExitCode::Usage;
    }
    // A simulation repeats itself unless it is asked not to.
    let seed = match (args.seed, args.sim) {
        (Some(seed), _) => seed,
        (None, true) => 1,
        (None, false) => seed::from_system().unwrap_or(1),
    };
    let options = Options {
        length: Duration::from_secs(args.seconds.unwrap_or(LENGTH)),
        backends: args.backends,
        break_after: args.break_after.map(Duration::from_secs),
        seed,
        hold: args.hold,
    };
    let mut out = std::io::stdout();
    let record = args.record.as_deref();
    match demo::show(options, args.sim, record, &mut out, &mut console.talker()) {
        Ok(Outcome::Good) => {
            console.talk(
                "\nnext: balun demo --hold (try it by hand)   balun config default > balun.toml   \
                 balun doctor",
            );
            ExitCode::Done
        }
        Ok(Outcome::Interrupted) => ExitCode::Interrupted,
        Ok(Outcome::Bad) => {
            console.error(
                "clients saw errors that no killed backend explains, or a backend no client",
            );
            ExitCode::No
        }
        Err(DemoError::Closed) => ExitCode::Done,
        Err(error @ DemoError::Environment(_)) => {
            console.error(&error.to_string());
            ExitCode::Environment
        }
        Err(error @ DemoError::Failed(_)) => {
            console.error(&error.to_string());
            ExitCode::CouldNot
        }
    }
}
