//! A second opinion: where `http-cache-semantics` reads what we read, it says what we say.
//!
//! Left out is what it reads otherwise than the RFCs do: directives with other letters or in quoted text,
//! several that disagree, `proxy-revalidate` (for which it never takes an answer for fresh), dates in the
//! older forms, `Vary`, cookies, statuses that it does not know, the age that follows from `Date`, and `Age`
//! beside heuristic freshness.

use std::time::SystemTime;

use http::{Method, Request, Response};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::prelude::*;

use super::*;
use crate::cache::lines::Text;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: Time = Time::from_secs(784_111_777);

fn times() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), Just(Some(0)), (1..200_u32).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn another_reader_of_the_rfc_agrees(
        status in prop::sample::select(vec![200_u16, 203, 204, 300, 301, 302, 307, 308, 404, 405, 410, 414, 501]),
        max_age in times(),
        s_maxage in times(),
        expires in prop::option::of(0..300_u64),
        flags in prop::collection::vec(prop::sample::select(vec!["no-store", "no-cache", "private", "public", "must-revalidate"]), 0..3),
        age in prop::option::of(0..150_u32),
        authorised in any::<bool>(),
        later in 0..250_u64,
    ) {
        let mut directives: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        directives.dedup();
        directives.extend(max_age.map(|age| format!("max-age={age}")));
        directives.extend(s_maxage.map(|age| format!("s-maxage={age}")));
        let date = |time: Time| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + time);
        let mut fields = vec![("Date", date(NOW)), ("Etag", "\"1\"".to_owned())];
        if !directives.is_empty() {
            fields.push(("Cache-Control", directives.join(", ")));
        }
        fields.extend(expires.map(|after| ("Expires", date(NOW + Duration::from_secs(after)))));
        fields.extend(age.map(|age| ("Age", age.to_string())));

        let mut request = Request::builder().method(Method::GET).uri("http://a.lab/a");
        if authorised {
            request = request.header("Authorization", "Basic eDp5");
        }
        let request = request.body(()).unwrap();
        let mut response = Response::builder().status(status);
        let mut text = Vec::new();
        for (name, value) in &fields {
            response = response.header(*name, value);
            super::super::lines::push(name, value.as_bytes(), &mut text);
        }
        let response = response.body(()).unwrap();
        let came = SystemTime::UNIX_EPOCH + NOW;
        let theirs = CachePolicy::new_options(&request, &response, came, CacheOptions::default());

        let fields = Text::new(&text);
        let status = StatusCode::from_u16(status).unwrap();
        let policy = Policy::new(1 << 20);
        let directives = ResponseDirectives::of(&fields);
        let ours = Freshness::of(status, &fields, &directives, &policy, (NOW, NOW));
        let asked = RequestDirectives::default();
        let kept = storable(status, &fields, &directives, &policy, (&asked, authorised), &ours);
        prop_assert_eq!(kept.is_ok(), theirs.is_storable(), "{:?}: {}", kept, String::from_utf8_lossy(&text));
        if kept.is_ok() {
            let now = NOW + Duration::from_secs(later);
            let fresh = ours.judge(&asked, now) == Use::Fresh;
            let is_stale = theirs.is_stale(SystemTime::UNIX_EPOCH + now);
            prop_assert_eq!(fresh, !is_stale, "{}", String::from_utf8_lossy(&text));
        }
    }
}
