//! The project's own chores, which a user of balun never needs.

mod compare;
mod pictures;
mod soak;
mod suites;
mod tcp;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask compare [OPTIONS]   measure balun against its rivals on this machine
cargo xtask compare --tcp [OPTIONS]  measure balun's TCP endpoint beside the kernel's
cargo xtask soak [OPTIONS]      run simulated networks that break, and check that balun does not
cargo xtask desync              send the requests of http_desync_guardian's tests through the proxy
cargo xtask autobahn [OPTIONS]  run the Autobahn WebSocket suite directly and through the proxy
cargo xtask cache-tests [OPTIONS]  run the suite http-cache-tests through the proxy with its cache
cargo xtask pictures            draw the pictures of docs/pictures anew
cargo xtask help                this text

compare builds balun, makes namespaces of its own, and runs each rival in them in turn: the same
clients, the same servers, another balancer between. It needs root (or `unshare -Urnm` with a tmpfs
on /run) and says which Debian packages are missing. Tables go to stdout, progress to stderr.

  --rounds N     rounds, 1 to 50 [5]; rivals take turns within a round
  --seconds S    seconds that each measurement lasts, 1 to 60 [3]
  --http         measure all that is measured of HTTP too, and the balancers of layer 7
  --only LIST    only these, with commas between: measures (stream, connect, http, tls, tls-connect,
                 h2, download, upload, p99, idle, idle-tls, syscalls, acks), rivals (direct, nft,
                 haproxy-tcp, haproxy-http, nginx, balun-l4, balun-l7; balun is both of its own;
                 balun-capture is balun-l4 with [capture] on, to be named beside it)
  --balun PATH   measure this binary instead of building one

compare --tcp builds the rig for release (tests/src/rig) and measures both stacks over the same simulated
link, in namespaces that it makes; without root it makes a user namespace too. Where it may, it runs
before all else (`chrt -r 1`). On two processors that are busy otherwise its figures are not worth much.

  --only LIST    tables, with commas between: cubic, bbr, receive, share, latency, bulk, flood [all]
  --rounds N     1 to 50 [3]; figures are medians
  --seconds S    seconds that each measurement lasts, 1 to 60 [3]
  --rtt LIST     milliseconds, of the cells of the first three tables [1,20,100]
  --loss LIST    percent [0,0.1,1,3]
  --reorder LIST percent of packets that are up to 2 ms late [0,5]
  --rate M       Mbit/s of the link, 1 to 100000 [1000]
  --v6           over IPv6
  --seed N       of the link's chances in the first round [1]

soak builds the simulator for release and runs one network for each seed (docs/simulator.md). It stops
at the first that fails and prints it, with a smaller one that fails in the same place.

  --seeds N      how many, 1 to 1000000000 [10000]
  --from M       the first [1]
  --jobs J       how many at a time, 1 to 256 [as many as there are processors]
  --minutes T    begin no more after so long, 1 to 10080 [1440]

desync takes the crate http_desync_guardian from the registry, where its source has 159 requests with
their verdicts, and sends each through a proxy in memory: severe ones must be refused, and what is
forwarded must be strict (docs/http-rules.md).

autobahn needs `wstest` of the Python package autobahntestsuite, which needs Python 2.7 (`python2.7 -m pip
install autobahntestsuite`). It runs every case against an echo server directly and through a proxy on
loopback; the verdicts must be the same.

  --wstest PATH  the program [wstest]
  --cases LIST   with commas between, as wstest takes them [*]

cache-tests needs node and npm (Debian packages nodejs and npm). It installs the suite below the target
folder, runs its origin server behind the proxy and its client before it, on loopback, and counts what is
required, optimal and to be known (docs/cache.md). It fails if a required test does.

  --suite PATH   a checkout of the suite's repository instead; its own packages must be installed there
  --test ID      this test alone, with all that is said

exit codes: 0 measured, or no seed or case failed, 1 one failed, 2 wrong command line, 3 could not, 77 not allowed, 130 interrupted
";

/// What the process ends with, as for `balun` itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    WrongCommandLine = 2,
    CouldNot = 3,
    NotAllowed = 77,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks_for_help = |argument: &String| matches!(argument.as_str(), "help" | "--help" | "-h");
    let exit = match arguments.split_first() {
        None => {
            eprint!("{HELP}");
            Exit::WrongCommandLine
        }
        Some(_) if arguments.iter().any(asks_for_help) => compare::print(HELP),
        Some((command, [flag, rest @ ..])) if command == "compare" && flag == "--tcp" => {
            tcp::main(rest)
        }
        Some((command, rest)) if command == "compare" => compare::main(rest),
        Some((command, rest)) if command == "soak" => soak::main(rest),
        Some((command, [])) if command == "desync" => suites::desync(),
        Some((command, rest)) if command == "autobahn" => suites::autobahn(rest),
        Some((command, rest)) if command == "cache-tests" => suites::cache_tests(rest),
        Some((command, [])) if command == "pictures" => pictures::main(),
        Some((command, _)) => {
            eprintln!("error: no such command: `{command}`; see `cargo xtask help`");
            Exit::WrongCommandLine
        }
    };
    exit.into()
}
