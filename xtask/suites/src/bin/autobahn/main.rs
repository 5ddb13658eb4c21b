//! Runs the Autobahn WebSocket suite against an echo server directly and through the proxy, and compares
//! the verdicts, case by case.
//!
//! The client that misbehaves is `wstest` of the package `autobahntestsuite`, which needs Python 2.7. The
//! server, by tungstenite, and the proxy are threads of this process, on loopback.

mod echo;
mod proxy;

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, thread};

use serde_json::{Value, json};

const USAGE: &str = "usage: autobahn WSTEST FOLDER [CASES]";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (Some(wstest), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let cases = arguments.next().unwrap_or_else(|| "*".to_owned());
    let compared = run(&wstest, Path::new(&folder), &cases).and_then(|report| compare(&report));
    match compared {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

/// Runs the suite; where its report is.
fn run(wstest: &str, folder: &Path, cases: &str) -> Result<PathBuf, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let [echo, through] = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
    ];
    let (direct, balun) = (echo.local_addr()?, through.local_addr()?);
    thread::spawn(move || echo::serve(echo));
    thread::spawn(move || proxy::serve(through, direct));
    let specification = json!({
        "outdir": folder,
        "servers": [
            { "agent": "direct", "url": format!("ws://{direct}") },
            { "agent": "balun", "url": format!("ws://{balun}") },
        ],
        "cases": cases.split(',').collect::<Vec<_>>(),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let file = folder.join("fuzzingclient.json");
    fs::write(&file, serde_json::to_vec_pretty(&specification)?)?;
    let status = Command::new(wstest)
        .args(["-m", "fuzzingclient", "-s"])
        .arg(&file)
        .current_dir(folder)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("`{wstest}`: {error}"))?;
    if !status.success() {
        return Err(format!("`{wstest} -m fuzzingclient` failed: {status}").into());
    }
    Ok(folder.join("index.json"))
}

/// Prints how the verdicts compare; how many differ.
fn compare(report: &Path) -> Result<usize, Box<dyn Error>> {
    let index: Value = serde_json::from_slice(&fs::read(report)?)?;
    let verdicts = |agent: &str| {
        index[agent].as_object().ok_or_else(|| format!("the report has nothing of {agent}"))
    };
    let (direct, through) = (verdicts("direct")?, verdicts("balun")?);
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut differ = 0;
    for (case, verdict) in direct {
        let [expected, found] = [verdict, &through[case]]
            .map(|verdict| format!("{} {}", verdict["behavior"], verdict["behaviorClose"]));
        if found != expected {
            differ += 1;
            println!("{case}: {expected} directly, {found} through the proxy");
        }
        *counts.entry(expected).or_default() += 1;
    }
    println!("{} cases, {differ} differ", direct.len());
    for (verdict, count) in counts {
        println!("{count:5}  {verdict}");
    }
    if direct.len() != through.len() || direct.is_empty() {
        return Err("the two runs are not of the same cases".into());
    }
    Ok(differ)
}
