use super::*;
use crate::http1::head::{self, Strictness};
use pattern::Case;

const DENY: Action = Action::Deny(StatusCode::FORBIDDEN);

fn networks(list: &str) -> Networks {
    Networks::parse(list.replace(' ', "\n").as_bytes()).unwrap()
}

fn patterns(list: &str, case: Case) -> Patterns {
    Patterns::parse(list.replace(' ', "\n").as_bytes(), case).unwrap()
}

fn inline<T>(inline: T) -> Listed<T> {
    Listed { inline, file: None }
}

/// Whether a request of `client` with this line and these fields is allowed.
fn allows(rules: &Rules, client: &str, line: &str, fields: &str) -> bool {
    let text = format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut slots = head::slots();
    let head = head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap();
    let target = head.target.forwarded();
    let path = target.split(|&byte| byte == b'?').next().unwrap();
    let client = client.parse().unwrap();
    rules.denies(&Asked { client, method: &head.method, path, fields: &head.fields }).is_none()
}

#[test]
fn the_first_rule_that_fits_decides() {
    let office =
        Rule { clients: Some(inline(networks("10.1.0.0/16"))), ..Rule::all(Action::Allow) };
    let not_found = Action::Deny(StatusCode::NOT_FOUND);
    let admin = Rule {
        paths: Some(inline(patterns("/admin /admin/*", Case::Counts))),
        ..Rule::all(not_found)
    };
    let rules = Rules::new(vec![office, admin]);
    assert!(allows(&rules, "10.1.2.3", "GET /admin/x", ""));
    assert!(!allows(&rules, "10.2.2.3", "GET /admin/x", ""));
    assert!(!allows(&rules, "10.2.2.3", "GET /admin?a=/b", ""));
    assert!(allows(&rules, "10.2.2.3", "GET /administrators", ""));
    assert!(allows(&rules, "10.2.2.3", "GET /b?x=/admin/", ""), "the query is no path");
    assert!(allows(&Rules::default(), "10.2.2.3", "GET /admin", ""), "no rule fits");
}

#[test]
fn every_condition_of_a_rule_must_hold() {
    let rules = Rules::new(vec![
        Rule {
            clients: Some(inline(networks("10.1.0.0/16 fd00::/8"))),
            methods: vec![Method::GET, Method::HEAD],
            headers: vec![("x-tool".to_owned(), Pattern::parse("probe/*").unwrap())],
            ..Rule::all(Action::Allow)
        },
        Rule::all(DENY),
    ]);
    let tool = "X-Tool: other\r\nx-tool: probe/1\r\n";
    assert!(allows(&rules, "10.1.2.3", "GET /", tool));
    assert!(allows(&rules, "fd00::1", "HEAD /", tool));
    assert!(!allows(&rules, "10.2.2.3", "GET /", tool));
    assert!(!allows(&rules, "10.1.2.3", "POST /", tool));
    assert!(!allows(&rules, "10.1.2.3", "GET /", "X-Tool: other\r\n"));
    assert!(!allows(&rules, "10.1.2.3", "GET /", ""));
}

#[test]
fn user_agents_are_known_in_any_case() {
    let agents = patterns("*sqlmap* curl/*", Case::Ignored);
    let rules = Rules::new(vec![Rule { agents: Some(inline(agents)), ..Rule::all(DENY) }]);
    assert!(!allows(&rules, "10.1.2.3", "GET /", "User-Agent: SQLMap/1.7\r\n"));
    assert!(!allows(&rules, "10.1.2.3", "GET /", "User-Agent: x\r\nUser-Agent: Curl/8\r\n"));
    assert!(allows(&rules, "10.1.2.3", "GET /", "User-Agent: Mozilla/5.0\r\n"));
    assert!(allows(&rules, "10.1.2.3", "GET /", ""));
    let unnamed = patterns("*", Case::Ignored);
    let rules = Rules::new(vec![Rule { agents: Some(inline(unnamed)), ..Rule::all(DENY) }]);
    assert!(!allows(&rules, "10.1.2.3", "GET /", ""), "a missing field is an empty one");
}

/// What one server reads as `/admin` is denied, and what one does not read as `/public/…` is not allowed.
#[test]
fn no_spelling_of_a_path_gets_around_a_rule() {
    let rule = |list, action| Rule {
        paths: Some(inline(patterns(list, Case::Counts))),
        ..Rule::all(action)
    };
    let denied = Rules::new(vec![rule("/admin /admin/*", DENY)]);
    let allowed = Rules::new(vec![rule("/public/*", Action::Allow), Rule::all(DENY)]);
    for path in ["/admin", "/%61dmin", "//admin/x", "/x/../admin", "/admin;a=b/x", "/admin%2Fx"] {
        assert!(!allows(&denied, "10.1.2.3", &format!("GET {path}"), ""), "{path}");
    }
    for path in ["/public%2f", "//public/x", "/public;a/x", "/public/%252e%252e/admin"] {
        assert!(!allows(&allowed, "10.1.2.3", &format!("GET {path}"), ""), "{path}");
    }
    for path in ["/public/x", "/public/x%20y", "/public/a//b"] {
        assert!(allows(&allowed, "10.1.2.3", &format!("GET {path}"), ""), "{path}");
    }
}

#[test]
fn a_list_that_is_renewed_counts_at_once() {
    let file = Arc::new(Renewed::new(networks("10.6.0.0/16")));
    let clients = Listed { inline: networks("10.7.0.0/16"), file: Some(Arc::clone(&file)) };
    let rules = Rules::new(vec![Rule { clients: Some(clients), ..Rule::all(DENY) }]);
    let allowed = |client| allows(&rules, client, "GET /", "");
    assert_eq!(
        [allowed("10.6.0.1"), allowed("10.7.0.1"), allowed("10.8.0.1")],
        [false, false, true]
    );
    file.set(networks("10.8.0.0/16"));
    assert_eq!(
        [allowed("10.6.0.1"), allowed("10.7.0.1"), allowed("10.8.0.1")],
        [true, false, false]
    );
}
