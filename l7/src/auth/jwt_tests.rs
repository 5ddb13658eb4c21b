//! Tokens are signed by `aws-lc-rs` itself, so that two implementations meet.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::json;

use super::*;
use crate::auth::Reason;

const NOW: u64 = 1_800_000_000;

/// One key of each kind.
struct Signer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// The modulus, out of the key's PKCS #1.
    fn modulus(&self) -> &[u8] {
        &self.rsa.public_key().as_ref()[9..265]
    }

    fn set(&self) -> Value {
        let half = |key: &EcdsaKeyPair, n: usize| {
            let point = &key.public_key().as_ref()[1..];
            encode(&point[n * point.len() / 2..(n + 1) * point.len() / 2])
        };
        json!({ "keys": [
            { "kty": "RSA", "kid": "r", "use": "sig", "n": encode(self.modulus()), "e": "AQAB" },
            { "kty": "EC", "kid": "e", "crv": "P-256", "x": half(&self.p256, 0), "y": half(&self.p256, 1) },
            { "kty": "EC", "kid": "f", "crv": "P-384", "x": half(&self.p384, 0), "y": half(&self.p384, 1) },
            { "kty": "OKP", "kid": "o", "crv": "Ed25519", "x": encode(self.ed25519.public_key()) },
        ] })
    }

    fn keys(&self) -> Arc<KeySet> {
        Arc::new(KeySet::parse(self.set().to_string().as_bytes()).unwrap())
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "ES256" => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            _ => panic!("{algorithm}"),
        }
    }

    /// A token with that header, signed as `algorithm` asks.
    fn token(&self, algorithm: &str, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", encode(signature))
    }

    fn good(&self, claims: &Value) -> String {
        self.token("EdDSA", &json!({ "alg": "EdDSA", "kid": "o" }), claims)
    }
}

fn claims() -> Value {
    json!({ "sub": "alice", "exp": NOW + 100, "iss": "https://id.lab", "aud": "shop" })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn config() -> JwtConfig {
    JwtConfig {
        issuer: Some("https://id.lab".to_owned()),
        audience: Some("shop".to_owned()),
        leeway: Duration::from_secs(10),
        claims: vec![("x-roles".to_owned(), Claim::new("roles"))],
    }
}

fn judge(keys: &Arc<KeySet>, now: u64, token: &str) -> Result<Rc<Identity>, Reason> {
    Jwt::new(config(), Arc::clone(keys), 1).judge(now, Arc::clone(keys), token.as_bytes())
}

#[test]
fn each_algorithm_is_verified_by_a_key_of_its_kind() {
    let signer = Signer::new();
    let keys = signer.keys();
    assert_eq!(keys.len(), 4);
    for (algorithm, kid) in [
        ("RS256", "r"),
        ("RS512", "r"),
        ("PS256", "r"),
        ("ES256", "e"),
        ("ES384", "f"),
        ("EdDSA", "o"),
    ] {
        for header in [json!({ "alg": algorithm, "kid": kid }), json!({ "alg": algorithm })] {
            let token = signer.token(algorithm, &header, &claims());
            assert_eq!(judge(&keys, NOW, &token).unwrap().name, "alice", "{header}");
            let other = Signer::new().token(algorithm, &header, &claims());
            assert_eq!(judge(&keys, NOW, &other), Err(Reason::Signature), "{header}");
        }
    }
}

/// RFC 8725 section 2.1: the token says nothing of how it is verified.
#[test]
fn a_token_does_not_choose_how_it_is_verified() {
    let signer = Signer::new();
    let keys = signer.keys();
    // Without a signature.
    for alg in ["none", "None", "nOnE", ""] {
        let message = format!(
            "{}.{}",
            encode(json!({ "alg": alg }).to_string()),
            encode(claims().to_string())
        );
        assert_eq!(judge(&keys, NOW, &format!("{message}.")), Err(Reason::Algorithm), "{alg}");
    }
    // Signed with the public key, as a secret of HMAC.
    let header = json!({ "alg": "HS256", "kid": "r" });
    let message = format!("{}.{}", encode(header.to_string()), encode(claims().to_string()));
    for secret in [signer.modulus(), signer.rsa.public_key().as_ref(), b"", b"secret"] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        let token = format!("{message}.{}", encode(tag));
        assert_eq!(judge(&keys, NOW, &token), Err(Reason::Algorithm));
    }
    // With another algorithm than the key is for.
    for (alg, signed, kid) in
        [("RS256", "ES256", "e"), ("ES256", "RS256", "r"), ("EdDSA", "ES256", "e")]
    {
        let token = signer.token(signed, &json!({ "alg": alg, "kid": kid }), &claims());
        assert_eq!(judge(&keys, NOW, &token), Err(Reason::Key), "{alg} by {signed}");
    }
    // With a key that the token brings along, or says where to find.
    let jwk =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(Signer::new().ed25519.public_key()) });
    let stranger = Signer::new();
    for extra in
        [json!({ "jwk": jwk }), json!({ "jku": "http://evil/keys" }), json!({ "x5u": "x" })]
    {
        let mut header = json!({ "alg": "EdDSA" });
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let token = stranger.token("EdDSA", &header, &claims());
        assert_eq!(judge(&keys, NOW, &token), Err(Reason::Signature));
    }
    let crit = json!({ "alg": "EdDSA", "kid": "o", "crit": ["exp"] });
    let token = signer.token("EdDSA", &crit, &claims());
    assert_eq!(judge(&keys, NOW, &token), Err(Reason::Algorithm));
}

#[test]
fn a_key_may_be_for_one_algorithm_alone() {
    let signer = Signer::new();
    let mut set = signer.set();
    set["keys"][0]["alg"] = json!("RS256");
    let keys = Arc::new(KeySet::parse(set.to_string().as_bytes()).unwrap());
    let token = |alg: &str| signer.token(alg, &json!({ "alg": alg, "kid": "r" }), &claims());
    assert!(judge(&keys, NOW, &token("RS256")).is_ok());
    assert_eq!(judge(&keys, NOW, &token("RS512")), Err(Reason::Key));
    assert_eq!(judge(&keys, NOW, &token("PS256")), Err(Reason::Key));
}

#[test]
fn times_are_judged_by_ours_with_some_leeway() {
    let signer = Signer::new();
    let keys = signer.keys();
    let at = |now, claims: &Value| judge(&keys, now, &signer.good(claims)).map(|_| ());
    let claims = with("nbf", json!(NOW - 100));
    assert_eq!(at(NOW + 109, &claims), Ok(()));
    assert_eq!(at(NOW + 110, &claims), Err(Reason::Expired));
    assert_eq!(at(NOW - 110, &claims), Ok(()));
    assert_eq!(at(NOW - 111, &claims), Err(Reason::NotYet));
    assert_eq!(at(NOW, &with("exp", json!(NOW as f64 + 5.5))), Ok(()));
    assert_eq!(at(NOW, &with("exp", json!(u64::MAX))), Ok(()));
    for bad in [json!("soon"), json!(-1), json!(1e300), json!([1]), json!(true)] {
        assert_eq!(at(NOW, &with("exp", bad)), Err(Reason::Malformed));
    }
    assert_eq!(at(NOW, &with("exp", json!(null))), Err(Reason::Malformed));
    let mut endless = self::claims();
    endless.as_object_mut().unwrap().remove("exp");
    assert_eq!(at(NOW, &endless), Err(Reason::NoExpiry));
}

#[test]
fn a_token_is_for_us_and_of_whom_we_trust() {
    let signer = Signer::new();
    let keys = signer.keys();
    let is = |claims: &Value| judge(&keys, NOW, &signer.good(claims)).map(|_| ());
    assert_eq!(is(&with("iss", json!("https://id.lab/"))), Err(Reason::Issuer));
    assert_eq!(is(&with("iss", json!(null))), Err(Reason::Issuer));
    assert_eq!(is(&with("aud", json!(["x", "shop"]))), Ok(()));
    for other in [json!("shop2"), json!(["x"]), json!([]), json!(null), json!({ "shop": 1 })] {
        assert_eq!(is(&with("aud", other)), Err(Reason::Audience));
    }
}

#[test]
fn claims_are_told_and_cannot_write_fields() {
    let signer = Signer::new();
    let keys = signer.keys();
    let token = signer.good(&with("roles", json!(["a", "b"])));
    let identity = judge(&keys, NOW, &token).unwrap();
    assert_eq!(identity.fields, [("x-roles".to_owned(), "a,b".to_owned())]);
    let token = signer.good(&with("roles", json!("a\r\nX-User: root")));
    assert_eq!(judge(&keys, NOW, &token), Err(Reason::Malformed));
    let token = signer.good(&with("sub", json!("a\nb")));
    assert_eq!(judge(&keys, NOW, &token), Err(Reason::Malformed));
}

#[test]
fn what_is_no_token_is_malformed() {
    let signer = Signer::new();
    let keys = signer.keys();
    let good = signer.good(&claims());
    let parts: Vec<_> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!() };
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{good}.x"),
        format!("{header}={payload}.{signature}"),
        format!("!{header}.{payload}.{signature}"),
        format!("{}.{payload}.{signature}", encode("[]")),
        format!("{}.{payload}.{signature}", encode("{")),
        format!("{}.{payload}.{signature}", encode("{}")),
        format!("{}.{payload}.{signature}", encode(r#"{"alg":7}"#)),
        format!("{}.{payload}.{signature}", encode(r#"{"alg":"EdDSA","kid":7}"#)),
        format!("{}.{payload}.{signature}", encode("[".repeat(5000))),
    ] {
        assert_eq!(judge(&keys, NOW, &token), Err(Reason::Malformed), "{token:.80}");
    }
    // Cut anywhere, or with one letter changed, it is refused somehow.
    for at in 0..good.len() {
        assert!(judge(&keys, NOW, &good[..at]).is_err(), "{at}");
    }
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(judge(&keys, NOW, &changed).is_err(), "{at}");
    }
}

#[test]
fn a_token_that_was_good_is_known_until_it_expires_or_the_keys_change() {
    let signer = Signer::new();
    let keys = signer.keys();
    let mut jwt = Jwt::new(config(), Arc::clone(&keys), 1);
    let token = signer.good(&claims());
    let first = jwt.judge(NOW, Arc::clone(&keys), token.as_bytes()).unwrap();
    let again = jwt.judge(NOW + 109, Arc::clone(&keys), token.as_bytes()).unwrap();
    assert!(Rc::ptr_eq(&first, &again), "it was not verified again");
    let late = jwt.judge(NOW + 110, Arc::clone(&keys), token.as_bytes());
    assert_eq!(late, Err(Reason::Expired));
    jwt.judge(NOW, Arc::clone(&keys), token.as_bytes()).unwrap();
    let rotated = Signer::new().keys();
    assert_eq!(jwt.judge(NOW, rotated, token.as_bytes()), Err(Reason::Signature));
}

#[test]
fn a_set_without_a_usable_key_is_refused() {
    let set = |keys: Value| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
    assert!(matches!(KeySet::parse(b"{"), Err(BadKeySet::NotJson(_))));
    assert!(matches!(KeySet::parse(b"\xff"), Err(BadKeySet::NotJson(_))));
    assert_eq!(KeySet::parse(b"{}").unwrap_err(), BadKeySet::NoList);
    assert_eq!(KeySet::parse(b"[]").unwrap_err(), BadKeySet::NoList);
    assert_eq!(set(json!([])).unwrap_err(), BadKeySet::NoKey);
    let many = vec![json!({}); crate::limits::KEY_SET + 1];
    assert_eq!(set(json!(many)).unwrap_err(), BadKeySet::Long(crate::limits::KEY_SET));
    let good = Signer::new().set()["keys"][3].clone();
    let but = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    for useless in [
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kty": "new", "x": 1 }),
        json!("x"),
        but("use", json!("enc")),
        but("d", json!("AAAA")),
        but("alg", json!("HS256")),
        but("crv", json!("X25519")),
    ] {
        assert_eq!(set(json!([useless])).unwrap_err(), BadKeySet::NoKey, "{useless}");
        // Beside a good one it is left out (RFC 7517 section 5).
        assert_eq!(set(json!([useless, good])).unwrap().len(), 1, "{useless}");
    }
}
