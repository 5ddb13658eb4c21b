use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::at_once::{AtOnce, Entered, Place, Waiting};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn limit(key: Key, rate: (u32, u32), keys: usize) -> Limit {
    let rate = nat::Rate { count: rate.0, per: Duration::from_secs(1), burst: rate.1 };
    let (rate, name) = (Some(rate), "api".to_owned());
    Limit::new(&LimitConfig { name, key, rate, at_once: None, keys, tell: false }, 7)
}

fn subject(client: &str) -> Subject<'_> {
    Subject { client: client.parse().unwrap(), identity: None, route: 0 }
}

fn admit_one(now: u64, limit: &Limit, key: u64) -> Result<(), Reading> {
    admit(now, [(limit, key)].into_iter()).map_err(|(_, reading)| reading)
}

#[test]
fn a_burst_passes_and_then_the_rate() {
    let limit = limit(Key::default(), (10, 5), 64);
    for left in (1..=5).rev() {
        assert_eq!(limit.read(SECOND, 1).unwrap().remaining, left);
        admit_one(SECOND, &limit, 1).unwrap();
    }
    let full = admit_one(SECOND, &limit, 1).unwrap_err();
    assert_eq!((full.remaining, full.wait), (0, Some(Duration::from_millis(100))));
    assert_eq!(full.full_in, Duration::from_millis(500));
    assert!(admit_one(SECOND + 99_999_999, &limit, 1).is_err());
    admit_one(SECOND + 100_000_000, &limit, 1).unwrap();
    assert!(admit_one(SECOND + 100_000_000, &limit, 1).is_err());
    // Another key has a bucket of its own.
    admit_one(SECOND, &limit, 2).unwrap();
    // After half a second of rest all of the burst is there again, and no more.
    let passed = (0..9).filter(|_| admit_one(3 * SECOND, &limit, 1).is_ok()).count();
    assert_eq!(passed, 5);
}

#[test]
fn a_client_is_told_of_the_limit_and_when_to_come_back() {
    let limit = limit(Key::default(), (2, 3), 64);
    let told = |reading| {
        let fields = limit.fields(reading).into_iter();
        fields.map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat()
    };
    assert_eq!(
        told(limit.read(0, 1).unwrap()),
        "RateLimit-Policy: \"api\";q=3;w=2\r\nRateLimit: \"api\";r=3;t=0\r\n"
    );
    (0..3).for_each(|_| admit_one(0, &limit, 1).unwrap());
    assert_eq!(
        told(admit_one(0, &limit, 1).unwrap_err()),
        "RateLimit-Policy: \"api\";q=3;w=2\r\nRateLimit: \"api\";r=0;t=2\r\nRetry-After: 1\r\n"
    );
}

#[test]
fn requests_are_counted_by_what_the_key_says() {
    let key = |limit: &Limit, subject: &Subject<'_>, value: Option<&'static [u8]>| {
        limit.key(subject, |name| {
            assert_eq!(name, "x-api-key");
            value
        })
    };
    let by_client = limit(Key::Client { prefix_v4: 24, prefix_v6: 64 }, (1, 1), 8);
    let of = |client| key(&by_client, &subject(client), None);
    assert_eq!(of("10.1.2.3"), of("10.1.2.9"));
    assert_eq!(of("10.1.2.3"), of("::ffff:10.1.2.9"), "an IPv4 address in IPv6 form");
    assert_ne!(of("10.1.2.3"), of("10.1.3.3"));
    assert_eq!(of("fd99::1"), of("fd99::ffff:2"));
    assert_ne!(of("fd99::1"), of("fd99:0:0:1::1"));

    let by_field = limit(Key::Header("x-api-key".to_owned()), (1, 1), 8);
    let of = |value| key(&by_field, &subject("10.1.2.3"), value);
    assert_eq!(of(Some(b"k1")), of(Some(b"k1")));
    assert_ne!(of(Some(b"k1")), of(Some(b"k2")));
    assert_ne!(of(None), of(Some(b"")), "no field is not an empty one");

    let by_identity = limit(Key::Identity, (1, 1), 8);
    assert!(by_identity.needs_identity() && !by_field.needs_identity());
    let of = |identity| key(&by_identity, &Subject { identity, ..subject("10.1.2.3") }, None);
    assert_eq!(of(Some("alice")), of(Some("alice")));
    assert_ne!(of(Some("alice")), of(Some("bob")));
    assert_ne!(of(None), of(Some("")));

    let by_route = limit(Key::Route, (1, 1), 8);
    let of = |route| key(&by_route, &Subject { route, ..subject("10.1.2.3") }, None);
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn one_limit_that_refuses_leaves_the_others_untouched() {
    let (narrow, wide) = (limit(Key::Route, (1, 1), 8), limit(Key::Route, (1, 2), 8));
    let both = || [(&wide, 1), (&narrow, 1)].into_iter();
    admit(0, both()).unwrap();
    let (by, _) = admit(0, both()).unwrap_err();
    assert!(std::ptr::eq(by, &raw const narrow));
    assert_eq!(wide.read(0, 1).unwrap().remaining, 1, "what was refused took nothing");
}

/// However many keys are invented, none gets more than it may, and memory stays as it is.
#[test]
fn a_flood_of_keys_gives_nobody_more() {
    let limit = limit(Key::Route, (10, 2), 64);
    let mut state = 1;
    let mut invented = || {
        state = nat::rng::derive(state, 9);
        state
    };
    let mut passed = 0;
    for n in 0..20_000_u64 {
        let now = n * 10_000;
        let _ = admit_one(now, &limit, invented());
        passed += u64::from(admit_one(now, &limit, 42).is_ok());
    }
    // 200 ms: the burst and two tokens.
    assert!(passed <= 4, "{passed}");
    assert!(limit.evicted() > 0);
    // Those that rest long enough are as new.
    assert!(admit_one(SECOND * 60, &limit, 42).is_ok());
}

#[test]
fn a_bucket_that_is_full_gives_its_place_away_and_nobody_loses() {
    let limit = limit(Key::Route, (10, 1), 8);
    for key in 1..=1000 {
        admit_one(key * SECOND, &limit, key).unwrap();
    }
    assert_eq!(limit.evicted(), 0);
}

#[test]
fn extreme_rates_do_not_overflow() {
    for rate in [
        nat::Rate { count: u32::MAX, per: Duration::from_secs(1), burst: u32::MAX },
        nat::Rate { count: 1, per: Duration::from_hours(1), burst: u32::MAX },
        nat::Rate { count: 0, per: Duration::MAX, burst: 0 },
    ] {
        let config = LimitConfig {
            name: "x".to_owned(),
            key: Key::Route,
            rate: Some(rate),
            at_once: None,
            keys: 0,
            tell: false,
        };
        let limit = Limit::new(&config, 1);
        for now in [0, 1, u64::MAX / 2, u64::MAX] {
            let reading = limit.read(now, 0).unwrap();
            limit.take(now, 0);
            limit.fields(reading);
        }
    }
}

fn at_once(most: u32, queue: Option<usize>) -> Rc<AtOnce> {
    let queue = queue.map(|size| QueueLimits { size, timeout: Duration::from_secs(1) });
    let config = LimitConfig {
        name: "x".to_owned(),
        key: Key::Route,
        rate: None,
        at_once: Some(AtOnceConfig { most, queue }),
        keys: 0,
        tell: false,
    };
    let limit = Limit::new(&config, 1);
    assert_eq!(limit.read(0, 1), None, "there is no rate");
    Rc::clone(limit.at_once().unwrap())
}

fn served(entered: Entered) -> Place {
    match entered {
        Entered::Served(place) => place,
        other => panic!("{other:?}"),
    }
}

fn waits(entered: Entered) -> Waiting {
    match entered {
        Entered::Waits(waiting, timeout) => {
            assert_eq!(timeout, Duration::from_secs(1));
            waiting
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn so_many_are_served_at_once_and_no_more() {
    let limit = at_once(2, None);
    let (first, _second) = (served(limit.enter(1)), served(limit.enter(1)));
    assert!(matches!(limit.enter(1), Entered::Refused));
    let other = served(limit.enter(2));
    assert_eq!(limit.counts(), (3, 0));
    drop(first);
    let _third = served(limit.enter(1));
    assert!(matches!(limit.enter(1), Entered::Refused));
    drop(other);
    assert_eq!(limit.counts(), (2, 0));
}

#[tokio::test]
async fn who_waits_is_served_in_order() {
    let limit = at_once(1, Some(2));
    let place = served(limit.enter(1));
    let mut first = waits(limit.enter(1));
    let mut second = waits(limit.enter(1));
    assert!(matches!(limit.enter(1), Entered::Refused), "the queue is full");
    let _elsewhere = served(limit.enter(2));
    let is_pending = async |waiting: &mut Waiting| {
        poll_fn(|cx| Poll::Ready(pin!(&mut *waiting).poll(cx).is_pending())).await
    };
    assert!(is_pending(&mut first).await && is_pending(&mut second).await);
    drop(place);
    // The place is the first one's, whoever asks next.
    assert!(is_pending(&mut second).await);
    let place = first.await;
    drop(place);
    drop(second.await);
    assert_eq!(limit.counts(), (1, 0));
}

#[tokio::test]
async fn who_leaves_the_queue_leaves_nothing_behind() {
    let limit = at_once(1, Some(9));
    let place = served(limit.enter(1));
    let (gone, given, last) = (waits(limit.enter(1)), waits(limit.enter(1)), waits(limit.enter(1)));
    drop(gone);
    assert_eq!(limit.counts(), (1, 2));
    drop(place);
    // It was given the place, and goes before it learns of it.
    drop(given);
    drop(last.await);
    assert_eq!(limit.counts(), (0, 0));
    assert!(limit.lanes_are_empty());
}
