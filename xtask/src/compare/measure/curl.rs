//! Large messages by curl.

use std::fs::File;
use std::time::Duration;

use crate::compare::children::{Child, Errors};
use crate::compare::tools::Tool;
use crate::compare::topology::{Node, Target};
use crate::compare::{Failure, Site};

/// Bytes of one message.
const MESSAGE_BYTES: u64 = 256 * 1024 * 1024;

/// Messages for each second asked for: as much as the slowest takes some seconds for.
const MESSAGES_A_SECOND: u32 = 3;

/// What curl may take.
const LIMIT: Duration = Duration::from_mins(2);

/// Makes a file of [`MESSAGE_BYTES`] that takes no room on disk.
pub(in crate::compare) fn large_file(site: &Site<'_>) -> Result<std::path::PathBuf, Failure> {
    let path = site.scratch.directory().join("large");
    File::create(&path)
        .and_then(|file| file.set_len(MESSAGE_BYTES))
        .map_err(|error| Failure::because(format!("{}: {error}", path.display())))?;
    Ok(path)
}

/// Gbit/s of answers.
pub(super) fn download(site: &Site<'_>, target: Target, seconds: u32) -> Result<f64, Failure> {
    let url = target.url("/large");
    transfer(site, seconds, "%{http_code} %{size_download} %{time_total}\n", |command| {
        command.args(["--output", "/dev/null", &url]);
    })
}

/// Gbit/s of requests.
pub(super) fn upload(site: &Site<'_>, target: Target, seconds: u32) -> Result<f64, Failure> {
    let (url, file) = (target.url("/"), large_file(site)?);
    transfer(site, seconds, "%{http_code} %{size_upload} %{time_total}\n", |command| {
        command.arg("--upload-file").arg(&file).args(["--output", "/dev/null", &url]);
    })
}

fn transfer(
    site: &Site<'_>,
    seconds: u32,
    report: &str,
    add: impl Fn(&mut std::process::Command),
) -> Result<f64, Failure> {
    let mut command = site.topology.tool(Node::Client, Tool::Curl);
    command.args(["--silent", "--show-error", "--fail", "--header", "Expect:"]);
    command.args(["--write-out", report]);
    for _ in 0..seconds * MESSAGES_A_SECOND {
        add(&mut command);
    }
    let said = Child::start(site.scratch, command, Errors::Kept)?.succeed(LIMIT)?;
    rate(&said).map_err(|reason| Failure::because(format!("curl: {reason}")))
}

/// Gbit/s, of lines with a status, bytes and seconds.
fn rate(report: &str) -> Result<f64, String> {
    let (mut bytes, mut seconds) = (0_u64, 0.0_f64);
    for line in report.lines() {
        let mut words = line.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (status, size, time) = (next(), next(), next());
        let size: u64 = size.parse().map_err(|_| format!("not a report: {line}"))?;
        if status != "200" || size != MESSAGE_BYTES {
            return Err(format!("status {status}, {size} bytes of {MESSAGE_BYTES}"));
        }
        bytes += size;
        seconds += time.parse::<f64>().map_err(|_| format!("not a report: {line}"))?;
    }
    if seconds > 0.0 { Ok(bytes as f64 * 8.0 / seconds / 1e9) } else { Err("nothing".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfers_add_up_and_short_ones_do_not_count() {
        let two = format!("200 {MESSAGE_BYTES} 0.5\n200 {MESSAGE_BYTES} 1.5\n");
        let expected = MESSAGE_BYTES as f64 * 8.0 / 1e9;
        assert!((rate(&two).unwrap() - expected).abs() < 1e-9);
        assert!(rate("200 5 0.5\n").unwrap_err().starts_with("status 200, 5 bytes"));
        assert!(rate(&format!("502 {MESSAGE_BYTES} 0.5\n")).is_err());
        assert!(rate("").is_err());
    }
}
