//! The rules R1 to R20, each by its table: first the codec alone, then the whole proxy.

mod codec;
mod served;
mod text;

use l7::http1::reject::Rule;

macro_rules! tables {
    ($($name:ident $rule:ident)*) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn codec() {
                    codec::run(Rule::$rule);
                }

                #[tokio::test(start_paused = true)]
                async fn served() {
                    served::run(Rule::$rule).await;
                }
            }
        )*
    };
}

tables! {
    r01 R01
    r02 R02
    r03 R03
    r04 R04
    r05 R05
    r06 R06
    r07 R07
    r08 R08
    r09 R09
    r10 R10
    r11 R11
    r12 R12
    r13 R13
    r14 R14
    r16 R16
    r18 R18
    r19 R19
    r20 R20
}

/// Writes every row as a seed for the fuzzers, to the folder `BALUN_CORPUS`:
///
/// ```sh
/// BALUN_CORPUS=fuzz/corpus cargo test -p l7 --test it -- --ignored seeds
/// ```
#[test]
#[ignore = "writes files where BALUN_CORPUS says"]
#[expect(clippy::disallowed_methods, reason = "a chore of who fuzzes, not a part of the core")]
fn seeds() {
    let folder = std::env::var("BALUN_CORPUS").expect("BALUN_CORPUS names a folder");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = std::path::Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).unwrap();
        // The first byte of an input is a choice of the harness.
        std::fs::write(folder.join(name), [b"\0", bytes].concat()).unwrap();
    };
    for (rule, _) in text::TABLES {
        for probe in text::probes(rule) {
            let name = probe.place.replace(':', "-");
            match probe.kind {
                text::Kind::Request => write("http_request", &name, &probe.bytes),
                text::Kind::Response => write("http_response", &name, &probe.bytes),
            }
            let chunked = b"chunked\r\n\r\n";
            let at = probe.bytes.windows(chunked.len()).position(|window| window == chunked);
            if let Some(at) = at {
                write("http_chunks", &name, &probe.bytes[at + chunked.len()..]);
            }
        }
    }
}
