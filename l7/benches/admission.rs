//! What it costs to let one request in.
//!
//! `cargo bench -p l7 --bench admission`

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, criterion_group, criterion_main};
use l7::access::list::Networks;
use l7::access::pattern::{Case, Patterns};
use l7::access::{Action, Asked, Listed, Rule, Rules};
use l7::auth::jwt::{Claim, JwtConfig, KeySet};
use l7::auth::{Auth, Judgement, Method};
use l7::http1::head::{self, Strictness};
use l7::limit::{Key, Limit, LimitConfig, Subject, admit};
use l7::renewed::Renewed;
use nat::Prefix;
use netstack::wire::Address;

const NOW: u64 = 1_800_000_000;

/// As many clients as there are keys, each asking in turn.
fn rate(c: &mut Criterion) {
    let config = LimitConfig {
        name: "api".to_owned(),
        key: Key::default(),
        rate: Some(nat::Rate { count: 1_000_000, per: Duration::from_secs(1), burst: 1000 }),
        at_once: None,
        keys: 65_536,
        tell: false,
    };
    let limit = Limit::new(&config, 1);
    let (mut now, mut client) = (0, 0_u32);
    c.bench_function("rate limit, 65,536 clients", |b| {
        b.iter(|| {
            now += 1000;
            client = (client + 1) % 65_536;
            let client = IpAddr::from((0x0a00_0000 + client).to_be_bytes());
            let key = limit.key(&Subject { client, identity: None, route: 0 }, |_| None);
            black_box(admit(now, [(&limit, key)].into_iter()).is_ok())
        });
    });
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A set of keys, and signatures by them.
struct Signer {
    rsa: RsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Signer {
    fn auth(&self) -> Auth {
        let modulus = &self.rsa.public_key().as_ref()[9..265];
        let set = serde_json::json!({ "keys": [
            { "kty": "RSA", "kid": "r", "n": encode(modulus), "e": "AQAB" },
            { "kty": "OKP", "kid": "o", "crv": "Ed25519", "x": encode(self.ed25519.public_key()) },
        ] });
        let keys = KeySet::parse(set.to_string().as_bytes()).expect("keys");
        let config = JwtConfig {
            issuer: Some("https://id.lab".to_owned()),
            audience: Some("shop".to_owned()),
            leeway: Duration::from_mins(1),
            claims: vec![("x-roles".to_owned(), Claim::new("roles"))],
        };
        let method = Method::Jwt { keys: Arc::new(Renewed::new(keys)), config };
        Auth::new("tokens".to_owned(), "x-auth-user".to_owned(), method, 1)
    }

    fn request(&self, alg: &str, kid: &str, number: u64) -> String {
        let header = serde_json::json!({ "alg": alg, "kid": kid });
        let claims = serde_json::json!({
            "sub": format!("user-{number}"), "iss": "https://id.lab", "aud": "shop",
            "exp": NOW + 3600, "roles": ["reader", "writer"], "jti": number,
        });
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = if alg == "RS256" {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            let random = aws_lc_rs::rand::SystemRandom::new();
            self.rsa
                .sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                .expect("a signature");
            signature
        } else {
            self.ed25519.sign(message.as_bytes()).as_ref().to_vec()
        };
        format!(
            "GET /shop HTTP/1.1\r\nHost: a.lab\r\nUser-Agent: x\r\nAccept: */*\r\n\
             Authorization: Bearer {message}.{}\r\n\r\n",
            encode(signature)
        )
    }
}

fn judge(auth: &Auth, text: &str) {
    let mut slots = head::slots();
    let head =
        head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).expect("a head");
    let judgement = auth.judge(NOW, &head.fields, None);
    assert!(matches!(black_box(judgement), Judgement::Granted(_)));
}

/// A token that comes again, and ones that come for the first time; parsing the head is counted.
fn jwt(c: &mut Criterion) {
    let signer = Signer {
        rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        ed25519: Ed25519KeyPair::generate().expect("a key"),
    };
    for (alg, kid) in [("RS256", "r"), ("EdDSA", "o")] {
        let auth = signer.auth();
        let text = signer.request(alg, kid, 0);
        c.bench_function(&format!("JWT {alg}, known"), |b| b.iter(|| judge(&auth, &text)));
        let texts: Vec<_> = (0..64).map(|n| signer.request(alg, kid, n)).collect();
        c.bench_function(&format!("JWT {alg}, 64 for the first time"), |b| {
            b.iter_batched(
                || signer.auth(),
                |auth| texts.iter().for_each(|text| judge(&auth, text)),
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

/// A list of blocked networks, and some patterns.
fn rules(c: &mut Criterion) {
    let network = |n: u32| {
        let address = Address::from_v4((0x2000_0000 + (n << 8)).to_be_bytes());
        Prefix::new(address, 24)
    };
    let blocked = Networks::new((0..100_000).filter_map(network));
    let agents = Patterns::parse(b"*sqlmap*\n*nikto*\n*masscan*", Case::Ignored).expect("patterns");
    let deny = Action::Deny(http::StatusCode::FORBIDDEN);
    let rules = Rules::new(vec![
        Rule { clients: Some(Listed { inline: blocked, file: None }), ..Rule::all(deny) },
        Rule { agents: Some(Listed { inline: agents, file: None }), ..Rule::all(deny) },
    ]);
    let text = "GET /a/b HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n\r\n";
    let mut slots = head::slots();
    let head =
        head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).expect("a head");
    let asked = Asked {
        client: [10, 1, 0, 5].into(),
        method: &head.method,
        path: b"/a/b",
        fields: &head.fields,
    };
    c.bench_function("rules, 100,000 networks", |b| {
        b.iter(|| black_box(rules.denies(black_box(&asked))));
    });
}

criterion_group!(benches, rate, jwt, rules);
criterion_main!(benches);
