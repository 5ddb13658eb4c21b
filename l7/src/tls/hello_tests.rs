use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// A vector with a length of `bytes` bytes before it.
fn vector(bytes: usize, data: &[u8]) -> Vec<u8> {
    let length = data.len().to_be_bytes();
    [&length[8 - bytes..], data].concat()
}

fn name_list(name: &str) -> Vec<u8> {
    vector(2, &[&[0], &vector(2, name.as_bytes())[..]].concat())
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &vector(2, data)[..]].concat()
}

/// The body of a hello with these extensions.
fn body(extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = vector(2, &extensions.concat());
    let suites = vector(2, &[0x13, 0x01, 0x0a, 0x0a]);
    [&[3, 3][..], &[7; 32], &vector(1, &[9; 32]), &suites, &vector(1, &[0]), &extensions].concat()
}

/// A hello with this body, in records of at most so many bytes.
fn records(body: &[u8], most: usize) -> Vec<u8> {
    let message = [&[1], &vector(3, body)[..]].concat();
    let record = |piece: &[u8]| [&[22, 3, 1], &vector(2, piece)[..]].concat();
    message.chunks(most).flat_map(record).collect()
}

/// What Chrome sends beside a name, in kind: values that nobody knows, an encrypted hello, a key share.
fn hello(name: &str) -> Vec<u8> {
    let share = vec![5; 1216];
    let extensions = [
        extension(0x0a0a, &[]),
        extension(0xfe0d, &[6; 200]),
        extension(0, &name_list(name)),
        extension(51, &share),
    ];
    body(&extensions)
}

fn whole(name: &str) -> Progress {
    Progress::Whole(Some(name.to_owned()))
}

#[test]
fn the_name_is_read_in_lower_case_and_what_is_unknown_is_passed_over() {
    let bytes = records(&hello("Www.A.lab"), RECORD_BYTES);
    assert_eq!(server_name(&bytes), Ok(whole("www.a.lab")));
    let more = [&bytes[..], b"early data"].concat();
    assert_eq!(server_name(&more), Ok(whole("www.a.lab")));
    let nameless = records(&body(&[extension(51, &[1])]), RECORD_BYTES);
    assert_eq!(server_name(&nameless), Ok(Progress::Whole(None)));
    let mut plain = body(&[]);
    plain.truncate(plain.len() - 2);
    assert_eq!(server_name(&records(&plain, RECORD_BYTES)), Ok(Progress::Whole(None)));
}

#[test]
fn wherever_it_is_cut_it_is_waited_for_and_never_longer_than_needed() {
    for most in [1, 2, 3, 7, 32, 500, RECORD_BYTES] {
        let bytes = records(&hello("a.lab"), most);
        for end in 0..bytes.len() {
            let Ok(Progress::Missing(count)) = server_name(&bytes[..end]) else {
                panic!("{:?} of {end} bytes", server_name(&bytes[..end]));
            };
            assert!((1..=bytes.len() - end).contains(&count), "{count} more than {end} bytes");
        }
        assert_eq!(server_name(&bytes), Ok(whole("a.lab")), "records of {most} bytes");
    }
}

#[test]
fn another_protocol_is_known_by_its_first_bytes() {
    for other in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x\r\n",
        &[0x80, 0x2e, 1, 0, 2],
        &[21, 3, 1, 0, 2, 1, 0],
        &[22, 2],
        &[22, 3, 1, 0, 4, 2],
    ] {
        assert_eq!(server_name(other), Err(NotHello::OtherProtocol), "{other:?}");
    }
    assert_eq!(server_name(&[]), Ok(Progress::Missing(6)));
    assert_eq!(server_name(&[22, 3, 1]), Ok(Progress::Missing(3)));
}

#[test]
fn what_a_server_would_not_read_is_malformed() {
    let two = [extension(0, &name_list("a.lab")), extension(0, &name_list("b.lab"))];
    let two_names = vector(2, &[&name_list("a.lab")[2..], &name_list("b.lab")[2..]].concat());
    let mut other_kind = name_list("a.lab");
    other_kind[2] = 1;
    let named = |name: &str| body(&[extension(0, &name_list(name))]);
    let good = named("a.lab");
    let mut odd_suites = good.clone();
    odd_suites[2 + 32 + 33 + 1] = 3;
    let mut long_session = good.clone();
    long_session[2 + 32] = 33;
    let mut version = good.clone();
    version[0] = 2;
    let trailing = [&good[..], &[0]].concat();
    for (why, body) in [
        ("two lists", body(&two)),
        ("two names", body(&[extension(0, &two_names)])),
        ("another kind of name", body(&[extension(0, &other_kind)])),
        ("an empty list", body(&[extension(0, &[0, 0])])),
        ("no list", body(&[extension(0, &[])])),
        ("no name", named("")),
        ("a dot at the end", named("a.lab.")),
        ("a zero byte", named("a.lab\0.evil")),
        ("odd suites", odd_suites),
        ("a long session", long_session),
        ("another version", version),
        ("bytes behind", trailing),
        ("cut", good[..good.len() - 1].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let found = server_name(&records(&body, RECORD_BYTES));
        assert!(matches!(found, Err(NotHello::Malformed(_))), "{why}: {found:?}");
    }
    let first = records(&good, 20);
    for (at, byte) in [(25, 23), (26, 2), (28, 0x41)] {
        let mut second = first.clone();
        second[at] = byte;
        let found = server_name(&second);
        assert!(matches!(found, Err(NotHello::Malformed(_))), "{at}: {found:?}");
    }
    assert!(matches!(server_name(&[22, 3, 1, 0, 0]), Err(NotHello::Malformed(_))));
}

#[test]
fn a_hello_may_have_so_many_bytes_and_no_more() {
    let of = |length: usize| {
        let rest = length - HANDSHAKE_HEADER - body(&[extension(21, &[])]).len();
        records(&body(&[extension(21, &vec![0; rest])]), RECORD_BYTES)
    };
    let most = of(HELLO_BYTES - RECORD_HEADER);
    assert_eq!(most.len(), HELLO_BYTES);
    assert_eq!(server_name(&most), Ok(Progress::Whole(None)));
    // Its length says it at once.
    assert_eq!(server_name(&[22, 3, 1, 64, 0, 1, 0, 64, 1]), Err(NotHello::TooLong));
    // Small records make a long stream of a hello that is not too long by itself.
    let endless = records(&hello("a.lab"), 1).repeat(3);
    let scattered = records(&body(&[extension(21, &[0; 9000])]), 1);
    assert!(scattered.len() > HELLO_BYTES);
    assert_eq!(server_name(&scattered[..HELLO_BYTES]), Err(NotHello::TooLong));
    assert_eq!(server_name(&endless), Ok(whole("a.lab")));
}

/// A hello of rustls, and what its own acceptor makes of it.
fn of_rustls(name: &str, fragment: Option<usize>) -> (Vec<u8>, Option<String>) {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.max_fragment_size = fragment;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    let mut acceptor = Acceptor::default();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest).unwrap();
    }
    let accepted = acceptor.accept().ok().flatten().unwrap();
    (bytes.clone(), accepted.client_hello().server_name().map(str::to_owned))
}

#[test]
fn what_rustls_says_it_is_read_to_say() {
    for (name, fragment) in [("A.lab", None), ("a.lab", Some(64)), ("10.0.0.1", None)] {
        let (bytes, expected) = of_rustls(name, fragment);
        let expected = expected.map(|name| name.to_ascii_lowercase());
        assert_eq!(server_name(&bytes), Ok(Progress::Whole(expected)), "{name}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_there_is_an_answer(
        most in 1..2000_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = records(&hello("a.lab"), most);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // What is no hello does not become one by more bytes, and what is one stays it.
        let early = server_name(&bytes[..end.index(bytes.len())]);
        let late = server_name(&bytes);
        if !matches!(early, Ok(Progress::Missing(_))) {
            prop_assert_eq!(early, late);
        }
    }
}
