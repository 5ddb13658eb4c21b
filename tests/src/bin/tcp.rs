//! Measures the TCP endpoint beside the kernel's: what `cargo xtask compare --tcp` starts.

use std::io::{self, Write};
use std::process::ExitCode;

use netstack::dev::enter_user_namespace;
use nix::unistd::Uid;
use tests::rig::Failure;
use tests::rig::groups::{self, Group};
use tests::rig::kernel::take_processor;
use tests::rig::options::Options;
use tests::rig::report;
use tests::rig::scenario::Who;

/// What is missing will be missing as long as the machine is as it is.
const NOT_ALLOWED: u8 = 77;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match Options::parse(&arguments) {
        Ok(options) => options,
        Err(complaint) => {
            eprintln!("error: {complaint}; see `cargo xtask help`");
            return ExitCode::from(2);
        }
    };
    if !Uid::effective().is_root()
        && let Err(error) = enter_user_namespace()
    {
        eprintln!("error: {error}");
        return ExitCode::from(NOT_ALLOWED);
    }
    take_processor();
    let mut out = io::stdout();
    let most = match groups::capacity(&options) {
        Ok(most) => most,
        Err(failure) => {
            eprintln!("error: {failure}");
            let lacking = matches!(failure, Failure::Lacking(_));
            return ExitCode::from(if lacking { NOT_ALLOWED } else { 3 });
        }
    };
    let (rounds, time) = (options.rounds, options.time);
    // Who closed the output does not want to read it.
    let _ = writeln!(
        out,
        "medians of {rounds} rounds of {time:?}; the pump carries {most:.0} Mbit/s at most\n\
         again: payload that was sent before; late: packets that the pump carried > 250 µs late\n"
    );
    for &group in &options.groups {
        let table = measure(group, &options);
        let _ = writeln!(out, "{table}");
    }
    ExitCode::SUCCESS
}

/// The table of a group. Both stacks take turns within a round, and another one begins the next.
fn measure(group: Group, options: &Options) -> String {
    let mut rows = group.rows(options);
    for round in 0..options.rounds {
        for (row, session) in &mut rows {
            row.begin();
            let mut turns = [Who::Ours, Who::Linux];
            turns.rotate_left((round % 2) as usize);
            for who in turns {
                let outcome = session.run(who, options.seed + round);
                let (group, name) = (group.name(), row.name());
                match &outcome {
                    Ok(figures) => eprintln!("{group} {name} {who:?}: {figures:.1?}"),
                    Err(failure) => eprintln!("{group} {name} {who:?}: {failure}"),
                }
                row.record(who, outcome);
            }
        }
    }
    let rows: Vec<_> = rows.into_iter().map(|(row, _)| row).collect();
    report::render(&group.layout(options), &rows)
}
