//! `balun extcap`: Wireshark's external-capture protocol (extcap(4)).
//!
//! Wireshark starts the program several times: to list interfaces, to learn link types and options of
//! one, and to capture from it into a fifo. Here an interface is a running instance.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use super::capture::{blocks, instances, open};
use crate::args::ExtcapArgs;
use crate::capture::{DEFAULT_SNAPLEN, MAX_SNAPLEN, Wanted};
use crate::console::Console;
use crate::control::directory;
use crate::exit::ExitCode;

/// What stands in front of an instance's name, so that it is told from Wireshark's own interfaces.
const PREFIX: &str = "balun-";

/// Answers one call of Wireshark.
pub(super) fn run(args: &ExtcapArgs, console: &Console) -> ExitCode {
    let folder = directory::path();
    if args.extcap_interfaces {
        return console.finish_with(&interfaces(&instances(&folder)));
    }
    let Some(name) = &args.extcap_interface else {
        console.error("`balun extcap` is for Wireshark\nhelp: docs/capture.md says where it goes");
        return ExitCode::Usage;
    };
    if args.extcap_dlts {
        return console.finish_with("dlt {number=101}{name=RAW}{display=Raw IP}\n");
    }
    if args.extcap_config {
        return console.finish_with(&config());
    }
    let Some(fifo) = args.fifo.as_ref().filter(|_| args.capture) else {
        // Asked whether a filter is right: no output says yes.
        return check_filter(args, console);
    };
    match capture(args, &folder, name, fifo) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            console.error(&error);
            ExitCode::CouldNot
        }
    }
}

fn interfaces(sockets: &[PathBuf]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!("extcap {{version={version}}}{{display=balun}}\n");
    for name in sockets.iter().filter_map(|path| path.file_stem()?.to_str()) {
        let _ = writeln!(out, "interface {{value={PREFIX}{name}}}{{display=balun {name}}}");
    }
    out
}

fn config() -> String {
    let mut out = String::from(
        "arg {number=0}{call=--side}{display=Side}{type=selector}\
         {tooltip=Where packets are seen}\n",
    );
    for (value, display) in
        [("both", "both sides"), ("client", "the client's"), ("backend", "the backends'")]
    {
        let default = value == "both";
        let _ = writeln!(
            out,
            "value {{arg=0}}{{value={value}}}{{display={display}}}{{default={default}}}"
        );
    }
    out.push_str(
        "arg {number=1}{call=--dropped}{display=Only dropped and refused packets}\
         {type=boolflag}{default=false}\n",
    );
    let _ = writeln!(
        out,
        "arg {{number=2}}{{call=--snaplen}}{{display=Bytes of each packet}}{{type=unsigned}}\
         {{range=64,{MAX_SNAPLEN}}}{{default={DEFAULT_SNAPLEN}}}"
    );
    out.push_str("arg {number=3}{call=--comments}{display=Comments}{type=selector}\n");
    for (value, display) in [("none", "none"), ("brief", "one line"), ("full", "every step")] {
        let default = value == "brief";
        let _ = writeln!(
            out,
            "value {{arg=3}}{{value={value}}}{{display={display}}}{{default={default}}}"
        );
    }
    out
}

fn wanted(args: &ExtcapArgs) -> Wanted {
    Wanted {
        filter: args.extcap_capture_filter.clone().unwrap_or_default(),
        side: args.kept.side,
        dropped: args.kept.dropped,
        snaplen: args.kept.snaplen,
        comments: args.kept.comments,
        segment: false,
        count: None,
        requests: None,
    }
}

fn check_filter(args: &ExtcapArgs, console: &Console) -> ExitCode {
    match wanted(args).options() {
        Ok(_) => ExitCode::Done,
        Err(error) => console.finish_with(&format!("{error}\n")),
    }
}

fn capture(args: &ExtcapArgs, folder: &Path, name: &str, fifo: &Path) -> Result<(), String> {
    let wanted = wanted(args);
    wanted.options()?;
    let socket = instances(folder).into_iter().find(|path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        stem.is_some_and(|stem| name.strip_prefix(PREFIX) == Some(stem))
    });
    let socket = socket.ok_or_else(|| format!("`{name}` does not run any more"))?;
    let pipe = open(&socket, wanted).map_err(|error| error.to_string())?;
    let mut output = OpenOptions::new()
        .write(true)
        .open(fifo)
        .map_err(|error| format!("{}: {error}", fifo.display()))?;
    match blocks(std::fs::File::from(pipe), &mut output) {
        // Wireshark has stopped.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| format!("the capture ended early: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_an_interface() {
        let said = interfaces(&["/run/user/0/balun/lab-two-tier.sock".into()]);
        let lines: Vec<_> = said.lines().collect();
        assert!(lines[0].starts_with("extcap {version="), "{said}");
        assert_eq!(lines[1], "interface {value=balun-lab-two-tier}{display=balun lab-two-tier}");
    }

    #[test]
    fn each_option_has_one_default() {
        let said = config();
        for arg in ["{arg=0}", "{arg=3}"] {
            let values = said.lines().filter(|line| line.contains(arg));
            assert_eq!(values.filter(|line| line.ends_with("{default=true}")).count(), 1, "{said}");
        }
    }
}
