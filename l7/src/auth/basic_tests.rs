use base64::Engine as _;

use super::*;

/// By `htpasswd -nbB -C 4`, `openssl passwd -6` and `argon2`, whose passwords are the names in capitals.
fn users() -> Arc<Users> {
    let bcrypt = bcrypt::hash_with_result("ALICE", 4).unwrap().to_string();
    let text = format!("# people\nalice:{bcrypt}\n{BOB}\n{CAROL}\n");
    Arc::new(Users::parse(text.as_bytes()).unwrap())
}

/// The test vector of the specification of SHA-crypt, with another name for its password.
const BOB: &str = "bob:$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
const BOB_PASSWORD: &str = "Hello world!";
/// The test vector of the reference implementation of Argon2.
const CAROL: &str =
    "carol:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
const CAROL_PASSWORD: &str = "password";

fn basic(name: &str, password: &str) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))).into_bytes()
}

fn ask(basic: &mut Basic, users: &Arc<Users>, value: &[u8]) -> Check {
    match basic.judge(0, Arc::clone(users), value) {
        Said::Ask(check) => check,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_of_hash_knows_its_password() {
    let users = users();
    let mut auth = Basic::new(Arc::clone(&users), 60, 1);
    for (name, password) in [("alice", "ALICE"), ("bob", BOB_PASSWORD), ("carol", CAROL_PASSWORD)] {
        let check = ask(&mut auth, &users, &basic(name, password));
        assert_eq!(auth.learn(0, check.run()).unwrap().name, name);
        for wrong in ["", "x", &password[1..], &format!("{password}x")] {
            let check = ask(&mut auth, &users, &basic(name, wrong));
            assert_eq!(auth.learn(0, check.run()), None, "{name}: {wrong}");
        }
    }
}

#[test]
fn a_password_that_was_right_is_known_for_a_while() {
    let users = users();
    let mut auth = Basic::new(Arc::clone(&users), 60, 1);
    let value = basic("bob", BOB_PASSWORD);
    let check = ask(&mut auth, &users, &value);
    auth.learn(100, check.run()).unwrap();
    let known = |auth: &mut Basic, now, users: &Arc<Users>, value: &[u8]| {
        matches!(auth.judge(now, Arc::clone(users), value), Said::Known(_))
    };
    assert!(known(&mut auth, 159, &users, &value));
    assert!(!known(&mut auth, 159, &users, &basic("bob", "other")));
    assert!(!known(&mut auth, 160, &users, &value), "its time is over");
    // Another file, even of the same people, forgets all.
    assert!(known(&mut auth, 150, &users, &value));
    let renewed = Arc::new(Users::parse(format!("{BOB}\n").as_bytes()).unwrap());
    assert!(!known(&mut auth, 150, &renewed, &value));
}

#[test]
fn a_check_of_a_file_that_was_replaced_is_not_remembered() {
    let users = users();
    let mut auth = Basic::new(Arc::clone(&users), 60, 1);
    let value = basic("bob", BOB_PASSWORD);
    let check = ask(&mut auth, &users, &value);
    let renewed = Arc::new(Users::parse(format!("{CAROL}\n").as_bytes()).unwrap());
    let _ = ask(&mut auth, &renewed, &value);
    assert!(auth.learn(0, check.run()).is_some(), "it was right when it was asked");
    let _ = ask(&mut auth, &renewed, &value);
}

/// A stranger has a hash checked, always the same one, and is refused even with its password.
#[test]
fn a_stranger_takes_as_long_as_a_wrong_password() {
    let users = Arc::new(Users::parse(format!("{BOB}\n").as_bytes()).unwrap());
    let mut auth = Basic::new(Arc::clone(&users), 60, 1);
    let check = ask(&mut auth, &users, &basic("mallory", BOB_PASSWORD));
    assert_eq!((check.place, check.is_known), (0, false));
    assert_eq!(auth.learn(0, check.run()), None);
    let users = self::users();
    let mut auth = Basic::new(Arc::clone(&users), 60, 1);
    let place = |name: &str, auth: &mut Basic| ask(auth, &users, &basic(name, "x")).place;
    let places: Vec<_> = (0..50).map(|n| place(&format!("u{n}"), &mut auth)).collect();
    let again: Vec<_> = (0..50).map(|n| place(&format!("u{n}"), &mut auth)).collect();
    assert_eq!(places, again);
    assert!((0..3).all(|user| places.contains(&user)), "{places:?}");
}

#[test]
fn credentials_that_are_none_are_malformed() {
    let encoded = |text: &[u8]| format!("Basic {}", STANDARD.encode(text)).into_bytes();
    let users = users();
    let mut auth = Basic::new(Arc::clone(&users), 60, 1);
    for value in [
        b"".to_vec(),
        b"Basic".to_vec(),
        b"Basic ".to_vec(),
        b"Bearer abc".to_vec(),
        b"Basicabc".to_vec(),
        b"Basic !!!".to_vec(),
        b"Basic YWxpY2U6QUxJQ0U".to_vec(),
        encoded(b"no colon"),
        encoded(b":no name"),
        encoded(b"\xff:x"),
        encoded(b"a\nb:x"),
        encoded(b" a:x"),
        encoded(b"alice:ALICE\0x"),
    ] {
        let said = auth.judge(0, Arc::clone(&users), &value);
        assert!(matches!(said, Said::Refused(Reason::Malformed)), "{value:?}: {said:?}");
    }
    let value = format!("bAsIc   {}", STANDARD.encode("alice:a:b"));
    assert_eq!(ask(&mut auth, &users, value.as_bytes()).password, b"a:b");
}

#[test]
fn a_bad_line_of_a_file_is_named() {
    let cases = [
        (String::new(), BadUsers::Empty),
        ("# nobody\n\n".to_owned(), BadUsers::Empty),
        (format!("{BOB}\nalice"), BadUsers::Line(2)),
        (BOB.replace("bob", ""), BadUsers::Line(1)),
        (BOB.replace("bob", "b\x07b"), BadUsers::Line(1)),
        (format!("{BOB}\n{BOB}"), BadUsers::Twice(2)),
        ("bob:secret".to_owned(), BadUsers::Hash(1, BadHash::Kind)),
        ("bob:{SHA}x".to_owned(), BadUsers::Hash(1, BadHash::Kind)),
        ("bob:$apr1$x$y".to_owned(), BadUsers::Hash(1, BadHash::Kind)),
        ("bob:$2y$05$short".to_owned(), BadUsers::Hash(1, BadHash::Malformed)),
        (BOB[..BOB.len() - 1].to_owned(), BadUsers::Hash(1, BadHash::Malformed)),
        ("bob:$6$".to_owned(), BadUsers::Hash(1, BadHash::Malformed)),
        (BOB.replace("$6$", "$6$rounds=x$"), BadUsers::Hash(1, BadHash::Malformed)),
        (BOB.replace("$6$", "$6$rounds=99999999$"), BadUsers::Hash(1, BadHash::Costly)),
        (CAROL.replace("m=256", "m=4194304"), BadUsers::Hash(1, BadHash::Costly)),
        (CAROL.replace("t=2", "t=1000"), BadUsers::Hash(1, BadHash::Costly)),
        (CAROL.replace("m=256", "m=x"), BadUsers::Hash(1, BadHash::Malformed)),
        ("bob:$argon2id$v=19$m=256,t=2,p=1$".to_owned(), BadUsers::Hash(1, BadHash::Malformed)),
    ];
    for (text, bad) in cases {
        assert_eq!(Users::parse(text.as_bytes()).unwrap_err(), bad, "{text}");
    }
    let costly = format!("bob:$2y$31${}", ".".repeat(53));
    assert_eq!(Users::parse(costly.as_bytes()).unwrap_err(), BadUsers::Hash(1, BadHash::Costly));
    assert_eq!(Users::parse(b"\xff").unwrap_err(), BadUsers::NotText);
}
