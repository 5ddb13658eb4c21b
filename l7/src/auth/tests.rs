use super::*;
use crate::http1::head::{self, Strictness};

fn users() -> Arc<Renewed<Users>> {
    let hash = bcrypt::hash_with_result("secret", 4).unwrap().to_string();
    Arc::new(Renewed::new(Users::parse(format!("alice:{hash}").as_bytes()).unwrap()))
}

fn basic() -> Auth {
    let method = Method::Basic { users: users(), remember: 60 };
    Auth::new("team".to_owned(), "x-auth-user".to_owned(), method, 1)
}

fn api_keys(header: &str) -> Auth {
    let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let keys = ApiKeys::parse(format!("shop:{sum}").as_bytes(), 1).unwrap();
    let keys = Arc::new(Renewed::new(keys));
    let method = Method::ApiKeys { keys, header: header.to_owned() };
    Auth::new("callers".to_owned(), "x-auth-user".to_owned(), method, 1)
}

fn judge(auth: &Auth, fields: &[(&str, &str)]) -> Judgement {
    let fields = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let fields = fields.collect::<Vec<_>>().concat();
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut slots = head::slots();
    let head = head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap();
    auth.judge(0, &head.fields, None)
}

fn denied(judgement: Judgement) -> Denial {
    match judgement {
        Judgement::Denied(denial) => denial,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_without_credentials_learns_which_there_must_be() {
    for (auth, challenge) in [
        (basic(), "Basic realm=\"team\", charset=\"UTF-8\""),
        (api_keys("x-api-key"), "ApiKey realm=\"callers\", header=\"x-api-key\""),
        (api_keys("authorization"), "Bearer realm=\"callers\""),
    ] {
        let denial = denied(judge(&auth, &[("Accept", "*/*")]));
        assert_eq!(denial.status, StatusCode::UNAUTHORIZED);
        assert_eq!(denial.challenge.as_deref(), Some(challenge));
        assert_eq!(denial.reason, Reason::Missing);
    }
}

#[test]
fn a_password_is_checked_elsewhere_and_known_then() {
    let auth = basic();
    let value = [("authorization", "Basic YWxpY2U6c2VjcmV0")];
    let Judgement::Ask(check) = judge(&auth, &value) else { panic!() };
    let Judgement::Granted(identity) = auth.learn(0, check.run()) else { panic!() };
    assert_eq!(*identity, Identity::named("alice".to_owned()));
    assert!(matches!(judge(&auth, &value), Judgement::Granted(_)));
}

/// Nobody learns who there is.
#[test]
fn a_wrong_password_and_a_stranger_get_the_same_answer() {
    let auth = basic();
    let deny = |value: &str| {
        let Judgement::Ask(check) = judge(&auth, &[("authorization", value)]) else { panic!() };
        denied(auth.learn(0, check.run()))
    };
    let wrong = deny("Basic YWxpY2U6d3Jvbmc=");
    let stranger = deny("Basic bWFsbG9yeTp3cm9uZw==");
    assert_eq!(wrong, stranger);
    assert_eq!(wrong.reason, Reason::Wrong);
}

#[test]
fn a_key_is_presented_in_a_field() {
    let auth = api_keys("x-api-key");
    let granted =
        |auth, fields: &[(&str, &str)]| matches!(judge(auth, fields), Judgement::Granted(_));
    assert!(granted(&auth, &[("X-Api-Key", "hello")]));
    assert!(!granted(&auth, &[("X-Api-Key", "Hello")]));
    assert!(!granted(&auth, &[("X-Api-Key", "")]));
    assert!(!granted(&auth, &[("authorization", "Bearer hello")]));
    let bearer = api_keys("authorization");
    assert!(granted(&bearer, &[("authorization", "Bearer hello")]));
    assert!(!granted(&bearer, &[("authorization", "hello")]));
}

#[test]
fn several_or_endless_credentials_are_refused() {
    let auth = api_keys("x-api-key");
    let two = denied(judge(&auth, &[("x-api-key", "hello"), ("X-API-KEY", "hello")]));
    assert_eq!((two.status, two.reason), (StatusCode::BAD_REQUEST, Reason::Several));
    let long = "x".repeat(CREDENTIAL_BYTES + 1);
    let long = denied(judge(&auth, &[("x-api-key", &long)]));
    assert_eq!(long.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!((long.reason, long.challenge), (Reason::Oversized, None));
    let longest = "x".repeat(CREDENTIAL_BYTES);
    assert_eq!(denied(judge(&auth, &[("x-api-key", &longest)])).reason, Reason::Wrong);
}

#[test]
fn a_renewed_file_counts_at_once() {
    let (old, new) = (users(), Users::parse(CAROL.as_bytes()).unwrap());
    let method = Method::Basic { users: Arc::clone(&old), remember: 60 };
    let auth = Auth::new("team".to_owned(), "x-auth-user".to_owned(), method, 1);
    let value = [("authorization", "Basic YWxpY2U6c2VjcmV0")];
    let Judgement::Ask(check) = judge(&auth, &value) else { panic!() };
    let _ = auth.learn(0, check.run());
    assert!(matches!(judge(&auth, &value), Judgement::Granted(_)));
    old.set(new);
    let Judgement::Ask(check) = judge(&auth, &value) else { panic!() };
    assert_eq!(denied(auth.learn(0, check.run())).reason, Reason::Wrong);
}

const CAROL: &str =
    "carol:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
