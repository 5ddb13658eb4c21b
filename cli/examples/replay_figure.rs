//! How fast a capture of established NAT flows is replayed, on one core:
//!
//! ```text
//! cargo run --release -p balun --example replay_figure [PACKETS [FLOWS]]
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write, sink};
use std::path::Path;
use std::time::Duration;

use balun::capture::Comments;
use balun::config;
use balun::plan::Plan;
use balun::replay::input::Input;
use balun::replay::{Capture, Choices, Listing, Replay, Shown, prepare};
use nat::Engine;
use netstack::dev::pcapng::{Direction, NewPacket, PcapngWriter, Run, Section};
use netstack::wire::{Headers, text};
use netstack::{Instant, LegId, Packet};

const CONFIG: &str = r#"version = 1
seed = 7

[[leg]]
name    = "client"
address = ["10.1.255.254/16"]

[[leg]]
name    = "servers"
address = ["10.2.255.254/16"]

[snat]
addresses = ["10.99.0.250", "10.99.0.251"]

[pool.web]
backend = [
  { name = "web1", address = "10.2.0.11:8080" },
  { name = "web2", address = "10.2.0.12:8080" },
]

[[service]]
name   = "web"
listen = "tcp 10.99.0.1:80"
mode   = "nat"
pool   = "web"
"#;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Maker<W: Write> {
    writer: PcapngWriter<W>,
    written: u64,
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (packets, flows) = (number(4_000_000)?, number(10_000)?);
    let folder = std::env::temp_dir().join(format!("balun-replay-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = measure(&folder, packets, flows);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(folder: &Path, packets: u64, flows: u64) -> Outcome<()> {
    let (capture, configuration) = (folder.join("flows.pcapng"), folder.join("balun.toml"));
    std::fs::write(&configuration, CONFIG)?;
    make(&capture, packets, flows)?;
    let again = folder.join("again.pcapng");
    let mut out = std::io::stdout();
    writeln!(out, "{packets} packets of {flows} TCP flows, million packets a second,")?;
    writeln!(out, "  by the clock, of the replay's thread, and of all threads")?;
    for (name, shown) in [
        ("counts alone", Shown::default()),
        ("JSON lines", Shown { lines: Some(Listing::Json(Box::new(sink()))), ..Shown::default() }),
        (
            "capture, brief",
            Shown {
                output: Some(Capture {
                    path: "/dev/null".into(),
                    comments: Comments::Brief,
                    config: String::new(),
                }),
                ..Shown::default()
            },
        ),
        (
            "capture, file",
            Shown {
                output: Some(Capture {
                    path: again.clone(),
                    comments: Comments::Brief,
                    config: String::new(),
                }),
                ..Shown::default()
            },
        ),
        ("comparison", Shown { expect: Some((again.clone(), Duration::ZERO)), ..Shown::default() }),
    ] {
        let loaded = config::load(&configuration, false)?;
        let input = Input::open(&capture, false).map_err(|fault| fault.0)?;
        let prepared = prepare(&loaded, &input, &Choices::default())?;
        let (plan, legs) = (prepared.plan, prepared.legs);
        let (events, speed) = Default::default();
        let replay = Replay { plan, input, legs, events, speed };
        let before = Spent::until_now()?;
        let done = replay.run(shown).map_err(|fault| fault.0)?;
        if let Some(fault) = done.fault {
            return Err(fault.into());
        }
        let spent = Spent::until_now()?;
        let rate = |seconds: f64| done.tally.packets as f64 / seconds / 1e6;
        let clock = rate(done.took.as_secs_f64());
        let thread = rate(spent.thread - before.thread);
        let all = rate(spent.all - before.all);
        writeln!(out, "  {name:<16} {clock:.2}  {thread:.2}  {all:.2}")?;
    }
    Ok(())
}

/// Processor time, in seconds.
struct Spent {
    thread: f64,
    all: f64,
}

impl Spent {
    /// As the kernel has counted it: proc(5), `schedstat` and `stat`.
    fn until_now() -> Outcome<Self> {
        let thread = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        let nanos: f64 = thread.split(' ').next().ok_or("schedstat is empty")?.parse()?;
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // Behind the name, in hundredths of a second: in user mode and in the kernel.
        let fields = stat.rsplit(") ").next().ok_or("stat is empty")?.split(' ');
        let ticks = fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(Self { thread: nanos / 1e9, all: ticks / 100.0 })
    }
}

/// Writes a capture of flows that are made, and then carry packets both ways.
fn make(path: &Path, packets: u64, flows: u64) -> Outcome<()> {
    let (model, _) = config::examine(CONFIG, config::Environment::Ignore);
    let model = model.ok_or("the configuration is wrong")?;
    let plan = Plan::from_config(&model, Path::new(""), 7)?;
    let mut engine = Engine::new(plan.engine)?;
    let run = Run { seed: 7, config: String::new() };
    let section =
        Section { comments: vec![run.comment_from(Duration::ZERO)], ..Section::default() };
    let mut writer = PcapngWriter::new(BufWriter::new(File::create(path)?), &section)?;
    writer.interface("client", 0)?;
    writer.interface("servers", 0)?;
    let mut maker = Maker { writer, written: 0 };
    let mut ready = Vec::new();
    for flow in 0..flows {
        let client =
            format!("10.1.{}.{}:{}", flow / 250 % 250, flow % 250 + 1, 40_000 + flow / 62_500);
        let syn = maker.send(&mut engine, LegId(0), &format!("tcp {client} > 10.99.0.1:80 S"))?;
        let headers = Headers::parse(&syn).map_err(|e| format!("{e:?}"))?;
        let tuple = headers.tuple().ok_or("no ports")?;
        let back =
            format!("tcp {}:{} > {}:{}", tuple.dst, tuple.dst_port, tuple.src, tuple.src_port);
        maker.send(&mut engine, LegId(1), &format!("{back} S. ack=1"))?;
        let forth = format!("tcp {client} > 10.99.0.1:80");
        maker.send(&mut engine, LegId(0), &format!("{forth} . seq=1 ack=1"))?;
        ready.push((LegId(0), text::packet(&format!("{forth} P. seq=1 ack=1 len=100"))?));
        ready.push((LegId(1), text::packet(&format!("{back} P. seq=1 ack=1 len=1000"))?));
    }
    while maker.written < packets {
        for (leg, packet) in &ready {
            maker.write(*leg, packet)?;
        }
    }
    maker.writer.flush()?;
    Ok(())
}

impl<W: Write> Maker<W> {
    /// Writes a packet down and gives what the engine makes of it.
    fn send(&mut self, engine: &mut Engine, leg: LegId, line: &str) -> Outcome<Packet> {
        let mut packet = text::packet(line)?;
        packet.leg = leg;
        let now = Instant::from_micros(self.written);
        self.write(leg, &packet)?;
        match engine.handle_packet(now, &mut packet) {
            nat::Verdict::Forward => Ok(packet),
            verdict => Err(format!("{line}: {verdict:?}").into()),
        }
    }

    fn write(&mut self, leg: LegId, packet: &Packet) -> Outcome<()> {
        let time = Duration::from_micros(self.written);
        self.written += 1;
        let block = NewPacket::new(leg.0.into(), time, packet.data());
        self.writer.packet(&NewPacket { direction: Some(Direction::Inbound), ..block })?;
        Ok(())
    }
}
