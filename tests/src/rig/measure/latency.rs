//! How long answers take.

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::super::Failure;
use super::super::end::End;
use super::super::kernel::{self, Kernel, Peers};
use super::super::ours::{Application, Ours, config};
use super::super::pump::Pump;
use super::super::scenario::{Who, address};
use super::Setting;
use super::session::{PORT, RECEIVER, bind, need, wire};

/// Bytes of a request, and of its answer.
const SIZES: (usize, usize) = (64, 20_000);
/// Fewer answers say nothing; below a hundred the 99th percentile is the slowest.
const LEAST: usize = 10;

/// A kernel asks on one connection, one request after the other, and `who` answers: milliseconds of the
/// median and of the 99th percentile, answers a second, and late packets in percent.
///
/// # Errors
/// [`Failure`]
pub fn latency(setting: &Setting, who: Who) -> Result<Vec<f64>, Failure> {
    let mut peers = Peers::default();
    let server = address(setting.family, RECEIVER);
    let to = SocketAddr::new(server.0, PORT);
    let algorithm = setting.algorithm;
    let far: Box<dyn End> = match who {
        Who::Linux => {
            need(algorithm)?;
            let (namespace, end) = Kernel::make(server)?;
            let listener = bind(&namespace, to)?;
            peers.start(&namespace, "server", move |stop| {
                kernel::answer(&listener, algorithm, SIZES, stop)
            })?;
            Box::new(end)
        }
        Who::Ours => {
            let (request, answer) = SIZES;
            let answers = Application::Answers { clients: Vec::new(), request, answer };
            Box::new(Ours::new(config(algorithm, setting.seed), server.0, answers))
        }
    };
    let mut pump = Pump::new(far, wire(setting.path, setting.seed));
    let (namespace, client) = Kernel::make(address(setting.family, RECEIVER + 1))?;
    let (done, answers) = channel();
    peers.start(&namespace, "client", move |stop| kernel::ask(to, SIZES, &done, stop))?;
    pump.wired(Box::new(client));
    pump.run(setting.time, |_| false)?;
    let mut took: Vec<Duration> = answers.try_iter().collect();
    took.sort_unstable();
    if took.len() < LEAST {
        return Err(Failure::because(format!("{} answers are too few", took.len())));
    }
    let millis = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let rate = took.len() as f64 / setting.time.as_secs_f64();
    Ok(vec![millis(50), millis(99), rate, pump.lateness.percent()])
}
