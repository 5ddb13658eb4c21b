//! Runs the suite `http-cache-tests` through the proxy with its cache, and counts what it says.
//!
//! The suite is a package of npm: an origin server and a client, both run by Node.js. The proxy is a thread
//! of this process, between the two on loopback.

mod proxy;

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::Value;

const USAGE: &str = "usage: cache_tests FOLDER [SUITE [TEST]]";
/// The package and its version, as npm has it.
const PACKAGE: &str = "http-cache-tests@0.4.5";
/// The longest that the suite may take.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (suite, test) = (arguments.next().filter(|suite| !suite.is_empty()), arguments.next());
    match run(Path::new(&folder), suite, test) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

/// Runs the suite, and tells what it found. How many required tests failed.
fn run(folder: &Path, suite: Option<String>, test: Option<String>) -> Result<u64, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let suite = match suite {
        Some(suite) => fs::canonicalize(suite)?,
        None => install(folder)?,
    };
    let layout = Layout::of(&suite)?;
    let through = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = {
        // The suite's server takes a number, not a socket.
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()
    };
    let base = format!("http://localhost:{}", through.local_addr()?.port());
    let mut server = Ended(layout.server(&suite, folder, port)?);
    wait_for(port, &mut server.0)?;
    let origin = (Ipv4Addr::LOCALHOST, port).into();
    thread::spawn(move || proxy::serve(through, origin));
    let results = layout.client(&suite, &base, test.as_deref())?;
    if test.is_some() {
        print!("{results}");
        return Ok(0);
    }
    fs::write(folder.join("results.json"), &results)?;
    let counts = layout.count(&suite, folder)?;
    print!("{}", counts["text"].as_str().unwrap_or_default());
    Ok(counts["failed"].as_u64().unwrap_or(u64::MAX))
}

/// Installs the suite with npm; where it is.
fn install(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let suite = folder.join("node_modules/http-cache-tests");
    if !suite.is_dir() {
        eprintln!("npm install {PACKAGE}");
        let status = Command::new("npm")
            .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--prefix"])
            .arg(folder)
            .arg(PACKAGE)
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("`npm`, which is of the Debian package npm: {error}"))?;
        if !status.success() {
            return Err(format!("npm could not install {PACKAGE}: {status}").into());
        }
    }
    Ok(suite)
}

/// Where a version of the suite has its parts: what npm has is older than its repository.
struct Layout {
    engine: &'static str,
}

impl Layout {
    fn of(suite: &Path) -> Result<Self, Box<dyn Error>> {
        for engine in ["test-engine", "."] {
            if suite.join(engine).join("cli.mjs").is_file() {
                return Ok(Self { engine });
            }
        }
        Err(format!("{} is not the suite: it has no cli.mjs", suite.display()).into())
    }

    fn node(&self, suite: &Path) -> Command {
        let mut node = Command::new("node");
        node.current_dir(suite).arg("--no-warnings").stdin(Stdio::null());
        for (name, value) in [("protocol", "http"), ("id", ""), ("base", "")] {
            node.env(format!("npm_config_{name}"), value).env(format!("npm_package_config_{name}"), value);
        }
        node
    }

    fn server(&self, suite: &Path, folder: &Path, port: u16) -> Result<Child, Box<dyn Error>> {
        let mut node = self.node(suite);
        node.arg(format!("{}/server/server.mjs", self.engine))
            .env("npm_config_port", port.to_string())
            .env("npm_config_pidfile", fs::canonicalize(folder)?.join("server.pid"))
            .stdout(Stdio::null());
        let missing = |error| format!("`node`, which is of the Debian package nodejs: {error}");
        Ok(node.spawn().map_err(missing)?)
    }

    fn client(&self, suite: &Path, base: &str, test: Option<&str>) -> Result<String, Box<dyn Error>> {
        let mut node = self.node(suite);
        node.arg(format!("{}/cli.mjs", self.engine)).env("npm_config_base", base);
        if let Some(test) = test {
            node.env("npm_config_id", test);
        }
        let child = node.stdout(Stdio::piped()).spawn()?;
        let mut child = Ended(child);
        let mut text = String::new();
        let output = child.0.stdout.take();
        let reader = thread::spawn(move || {
            let read = output.map(|mut output| std::io::Read::read_to_string(&mut output, &mut text));
            read.transpose().map(|_| text)
        });
        let begin = Instant::now();
        while !reader.is_finished() {
            if begin.elapsed() > PATIENCE {
                return Err("the suite takes too long".into());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(reader.join().map_err(|_| "the suite's output could not be read")??)
    }

    /// Counts as the suite's own pages do: a test whose dependencies failed is not passed.
    fn count(&self, suite: &Path, folder: &Path) -> Result<Value, Box<dyn Error>> {
        let script = folder.join("count.mjs");
        fs::write(&script, include_str!("count.mjs"))?;
        let output = self.node(suite).arg(fs::canonicalize(script)?).arg(suite).arg(fs::canonicalize(folder)?.join("results.json")).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

fn wait_for(port: u16, server: &mut Child) -> Result<(), Box<dyn Error>> {
    for _ in 0..100 {
        if TcpStream::connect(("localhost", port)).is_ok() {
            return Ok(());
        }
        if let Some(status) = server.try_wait()? {
            return Err(format!("the suite's server ended: {status}").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err("the suite's server does not listen".into())
}

/// A process that ends with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
