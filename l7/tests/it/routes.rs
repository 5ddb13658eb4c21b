//! Routes: which requests go where, what is changed on the way, and answers of our own.

use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use l7::route::{
    Action, Condition, Fields, HostPattern, Operation, PathPattern, Rewrite, Route, Routes, Split,
    Sticky, Template, TextPattern,
};
use l7::{Answer, Config, Destination, Forwarded, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::h2_harness::{connect, get, post, receive};
use crate::harness::*;

/// A backend that answers with its name, and the head that it got as the body.
fn echo(name: &'static str) -> Backend {
    serves(move |mut stream, _| async move {
        while let Some((head, body)) = read_request(&mut stream).await {
            let length = head.len() + body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Name: {name}\r\nServer: {name}\r\nContent-Length: {length}\r\n\r\n{head}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
        }
    })
}

/// A service with two destinations, `one` and `two`, and `routes`; clients may speak HTTP/2 too.
fn service(routes: Vec<Route>, otherwise: Option<Answer>) -> Rc<Service<Connector>> {
    let config = Config { forwarded: Forwarded::Hide, ..crate::h2_harness::config() };
    let (one, two) = (Network::new([echo("one")]), Network::new([echo("two")]));
    let mut service = Service::new(one.connector(), one.balance(), config);
    let second = Destination::new(two.connector(), two.balance(), Config::default().pool);
    assert_eq!(service.add(second), Some(1));
    Rc::new(service.with_routes(Routes::new(routes, otherwise)))
}

fn to(index: u16, host: &str, path: &str) -> Route {
    let mut route = Route::new(Action::To(index));
    if !host.is_empty() {
        route.condition.hosts.push(HostPattern::new(host));
    }
    if !path.is_empty() {
        route.condition.path = Some(PathPattern::parse(path).unwrap());
    }
    route
}

/// What is answered to `GET target` with those fields: the status, the backend's name, the whole.
async fn asked(service: &Rc<Service<Connector>>, request: &str) -> (u16, String, String) {
    let request = format!("{}\r\n\r\n", request.replace('|', "\r\n"));
    let answer = ask(service, &request).await;
    let status = answer.get(9..12).and_then(|text| text.parse().ok()).unwrap_or_default();
    let name = field(&answer, "X-Name").unwrap_or_default().to_owned();
    (status, name, answer)
}

#[tokio::test(start_paused = true)]
async fn the_first_route_that_fits_is_taken() {
    local(async {
        let mut canary = to(1, "a.lab", "");
        canary.condition.headers.push(("x-canary".into(), TextPattern::parse("1").unwrap()));
        let mut write = to(1, "", "/w/*");
        write.condition.methods.push(Method::POST);
        let missing = Answer::text(StatusCode::NOT_FOUND, "no route\n");
        let routes = vec![canary, to(0, "a.lab", "/v1/*"), write, to(1, "*.b.lab", "")];
        let service = service(routes, Some(missing));
        for (request, expected) in [
            ("GET /v1/x HTTP/1.1|Host: a.lab", "one"),
            ("GET /v1/x HTTP/1.1|Host: A.lab.:80", "one"),
            ("GET /v1/x HTTP/1.1|Host: a.lab|X-Canary: 1", "two"),
            ("GET /v1/x HTTP/1.1|Host: a.lab|X-Canary: 2", "one"),
            ("GET /v2/../v1/%78 HTTP/1.1|Host: a.lab", "one"),
            ("GET /v2 HTTP/1.1|Host: a.lab", ""),
            ("POST /w/x HTTP/1.1|Host: z|Content-Length: 0", "two"),
            ("GET /w/x HTTP/1.1|Host: z", ""),
            ("GET / HTTP/1.1|Host: x.b.lab", "two"),
            ("GET / HTTP/1.1|Host: y.x.b.lab", ""),
            ("GET / HTTP/1.1|Host: b.lab", ""),
        ] {
            let (status, name, _) = asked(&service, request).await;
            let good = if expected.is_empty() { 404 } else { 200 };
            assert_eq!((status, &*name), (good, expected), "{request}");
        }
        assert_eq!(service.destination(0).requests_by_backend(), [4]);
        assert_eq!(service.destination(1).requests_by_backend(), [3]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_routed_is_what_is_forwarded() {
    local(async {
        let service = service(vec![to(1, "", "/admin/*")], None);
        for (target, name, forwarded) in [
            ("/admin/x", "two", "/admin/x"),
            ("/%61dmin/%2Fx", "two", "/admin/%2Fx"),
            ("/a/../admin/x", "two", "/admin/x"),
            ("/a/%2e%2E/admin/x?%61", "two", "/admin/x?%61"),
            ("http://z/admin/x", "two", "/admin/x"),
            ("/admin%2fx", "one", "/admin%2fx"),
        ] {
            let (_, found, answer) =
                asked(&service, &format!("GET {target} HTTP/1.1|Host: z")).await;
            assert_eq!(found, name, "{target}");
            assert!(answer.contains(&format!("\r\n\r\nGET {forwarded} HTTP/1.1\r\n")), "{answer}");
        }
    })
    .await;
}

fn redirect(path: &str, location: &str) -> Route {
    let path = PathPattern::parse(path).unwrap();
    let to = Template::parse(location, Some(&path)).unwrap();
    let action = Action::Redirect { status: StatusCode::PERMANENT_REDIRECT, to };
    let condition = Condition { path: Some(path), ..Condition::default() };
    Route { condition, ..Route::new(action) }
}

#[tokio::test(start_paused = true)]
async fn a_redirection_says_where() {
    local(async {
        let service = service(
            vec![
                redirect("/old/*", "/new/{rest}"),
                redirect("/u/{id}/p/{page}", "https://{host}/users/{id}?page={page}"),
                redirect("/all*", "{scheme}://z.lab{target}"),
                redirect("/bare*", "/{rest}{?query}"),
            ],
            None,
        );
        for (target, location) in [
            ("/old/a/b?q=1", "/new/a/b"),
            ("/u/7/p/9", "https://a.lab/users/7?page=9"),
            ("/all/x?y=z", "http://z.lab/all/x?y=z"),
            ("/bare", "/"),
            ("/bare//evil.lab?x", "/evil.lab?x"),
        ] {
            let (status, _, answer) =
                asked(&service, &format!("GET {target} HTTP/1.1|Host: a.lab:80")).await;
            assert_eq!((status, field(&answer, "Location")), (308, Some(location)), "{target}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_our_own_is_one_like_any_other() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
                        Content-Length: 5\r\n\r\n";
    local(async {
        let answer = Answer::text(StatusCode::OK, "well\n");
        let service = service(vec![Route::new(Action::Respond(answer))], None);
        let mut stream = client(&service);
        // The connection goes on, after a body that was here as a whole too.
        for (request, body) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "well\n"),
            ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "well\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "well\n"),
        ] {
            stream.write_all(request.as_bytes()).await.unwrap();
            expect(&mut stream, &format!("{HEAD}{body}")).await;
        }
        expect(&mut stream, &format!("{HEAD}well\n")).await;
        // R15: where the next request begins is not known before the body's end.
        let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
        stream.write_all(request.as_bytes()).await.unwrap();
        let rest = read_all(&mut stream).await;
        assert!(rest.contains("Connection: close\r\n") && rest.ends_with("well\n"), "{rest}");
        let ends = service.stats().ends.iter().filter(|(_, count)| *count > 0);
        assert_eq!(ends.collect::<Vec<_>>(), [("answered", 6)]);
        assert_eq!(service.destination(0).requests_by_backend(), [0; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clients_of_http2_take_the_same_routes() {
    local(async {
        let answer = Answer::text(StatusCode::IM_A_TEAPOT, &"x".repeat(100_000));
        let mut own = to(0, "", "/own");
        own.action = Action::Respond(answer);
        let mut two = to(1, "a.lab", "/two/*");
        let value = |text: &str| Template::parse(text, None).unwrap();
        two.answer.change(Operation::Set, "Server", value("balun"));
        let service = service(vec![own, two, redirect("/old/*", "/new/{rest}")], None);
        let mut sender = connect(client(&service)).await;
        let (answer, _) = sender.send_request(get("/own"), true).unwrap();
        let (head, body, _) = receive(answer).await.unwrap();
        assert_eq!((head.status().as_u16(), body.len()), (418, 100_000));
        assert_eq!(head.headers()["content-length"], "100000");
        let (answer, mut body) = sender.send_request(post("/own"), false).unwrap();
        body.send_data(Bytes::from_static(b"abc"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().1.len(), 100_000);
        let head = Request::head("http://a.lab/own").body(()).unwrap();
        let (answer, _) = sender.send_request(head, true).unwrap();
        assert_eq!(receive(answer).await.unwrap().1, "");
        let (answer, _) = sender.send_request(get("/old/x"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().0.headers()["location"], "/new/x");
        let (answer, _) = sender.send_request(get("/two/x"), true).unwrap();
        let (head, _, _) = receive(answer).await.unwrap();
        assert_eq!(
            (&head.headers()["x-name"], &head.headers()["server"]),
            (&"two".parse().unwrap(), &"balun".parse().unwrap())
        );
        let (answer, _) = sender.send_request(get("/else"), true).unwrap();
        assert_eq!(receive(answer).await.unwrap().0.headers()["x-name"], "one");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_is_rewritten_on_its_way_and_its_answer_too() {
    local(async {
        let path = PathPattern::parse("/api/{who}/*").unwrap();
        let template = |text: &str| Template::parse(text, Some(&path)).unwrap();
        let mut fields = Fields::default();
        fields.change(Operation::Set, "X-Who", template("{who} of {client}"));
        fields.change(Operation::Add, "X-More", template("yes"));
        fields.change(Operation::Remove, "Cookie", template(""));
        let mut answer = Fields::default();
        answer.change(Operation::Remove, "server", template(""));
        answer.change(Operation::Add, "X-Path", template("{path}"));
        answer.change(Operation::Set, "Cache-Control", template("no-store"));
        let rewrite = Rewrite {
            target: Some(template("/{rest}")),
            host: Some(template("{who}.b.lab")),
            query: None,
            fields,
        };
        let condition = Condition { path: Some(path), ..Condition::default() };
        let route = Route { condition, rewrite, answer, ..Route::new(Action::To(1)) };
        let service = service(vec![route], None);
        let request = "GET /api/me/x/y?q=1 HTTP/1.1|Host: a.lab|X-Who: you|x-more: no|Cookie: a=b";
        let (_, _, answer) = asked(&service, request).await;
        assert_eq!(
            answer,
            "HTTP/1.1 200 OK\r\nX-Name: two\r\nCache-Control: no-store\r\nX-Path: /api/me/x/y\r\n\
             Content-Length: 89\r\n\r\n\
             GET /x/y?q=1 HTTP/1.1\r\nHost: me.b.lab\r\nx-more: no\r\nX-More: yes\r\n\
             X-Who: me of 10.1.0.5\r\n\r\n"
        );
        // What would climb above the root after all goes nowhere.
        let (status, _, answer) = asked(&service, "GET /api/x:y/z HTTP/1.1|Host: a.lab").await;
        assert_eq!(status, 400, "{answer}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_split_goes_by_weight_and_clients_may_stay_where_they_were() {
    local(async {
        let split = |sticky| Action::Split(Split::new(&[(0, 3), (1, 1)], sticky).unwrap());
        let plain = service(vec![Route::new(split(None))], None);
        for _ in 0..400 {
            asked(&plain, "GET / HTTP/1.1|Host: a").await;
        }
        let two = plain.destination(1).requests_by_backend()[0];
        assert!((70..130).contains(&two), "{two} of 400");

        let by_header =
            service(vec![Route::new(split(Some(Sticky::Header("x-user".into()))))], None);
        let mut seen = [0; 2];
        for user in 0..100 {
            let request = format!("GET / HTTP/1.1|Host: a|X-User: {user}");
            let (_, first, _) = asked(&by_header, &request).await;
            assert_eq!(asked(&by_header, &request).await.1, first);
            seen[usize::from(first == "two")] += 1;
        }
        assert!(seen[0] > 50 && seen[1] > 10, "{seen:?}");

        let by_cookie = service(vec![Route::new(split(Some(Sticky::Cookie("arm".into()))))], None);
        for _ in 0..20 {
            let (_, first, answer) = asked(&by_cookie, "GET / HTTP/1.1|Host: a").await;
            let cookie = field(&answer, "Set-Cookie").unwrap();
            let arm = if first == "one" { "arm=0" } else { "arm=1" };
            assert_eq!(cookie, format!("{arm}; Path=/; HttpOnly; SameSite=Lax"));
            let request = format!("GET / HTTP/1.1|Host: a|Cookie: x=y; {arm}");
            let (_, again, answer) = asked(&by_cookie, &request).await;
            assert_eq!((again, field(&answer, "Set-Cookie")), (first, None));
        }
        for bad in ["arm=2", "arm=", "arm=-1", "arm=00000000000000000000000009"] {
            let (status, _, answer) =
                asked(&by_cookie, &format!("GET / HTTP/1.1|Host: a|Cookie: {bad}")).await;
            assert!(status == 200 && field(&answer, "Set-Cookie").is_some(), "{bad}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_route_has_limits_of_its_own() {
    local(async {
        let mut small = to(0, "", "/small");
        small.config = Some(Box::new(Config { max_body: Some(3), ..crate::h2_harness::config() }));
        let service = service(vec![small], None);
        let post = |path: &str| format!("POST {path} HTTP/1.1|Host: a|Content-Length: 4||abcd");
        assert_eq!(asked(&service, &post("/small")).await.0, 413);
        assert_eq!(asked(&service, &post("/else")).await.0, 200);
        let mut stream = client(&service);
        let chunked = "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                       4\r\nabcd\r\n0\r\n\r\n";
        stream.write_all(chunked.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 413");
    })
    .await;
}
