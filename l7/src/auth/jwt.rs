//! Signed tokens (RFC 7519, RFC 7515), verified with a set of public keys (RFC 7517).
//!
//! # Theory of operation
//! The key says which algorithms a token may name, never the token: one of an RSA key is signed by RSA, one
//! of P-256 by ECDSA with that curve. Keys that are no public keys are not taken from a set, so there is
//! none with which a token of the family of HMAC could be verified, and `none` is not an algorithm here
//! (RFC 8725 sections 3.1 and 3.2). A token that names extensions that must be understood (`crit`) is
//! refused, since none is.
//!
//! Signatures are verified by `jsonwebtoken`; times, issuer and audience are ours to judge, by the time that
//! is given. What was found good is remembered for as long as it is valid, with the set of keys by which it
//! was: another set forgets all.

mod claims;
mod keys;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::remembered::Remembered;
use super::{Identity, Reason};
use crate::limits::KEYS_TRIED;
pub use claims::Claim;
pub use keys::{BadKeySet, KeySet};

/// What a token must say besides being signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// Who must have issued it (`iss`); none is anybody whose key is in the set.
    pub issuer: Option<String>,
    /// Whom it must be meant for (`aud`); none is anybody.
    pub audience: Option<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// What is told to backends: the field's name in small letters, and the claim.
    pub claims: Vec<(String, Claim)>,
}

/// Tokens of an `[auth.NAME]`, and which of them were found good.
#[derive(Debug)]
pub(super) struct Jwt {
    config: JwtConfig,
    known: Remembered<Good>,
    /// What is known was found by these.
    keys: Arc<KeySet>,
}

/// A token that was found good.
#[derive(Clone, Debug)]
struct Good {
    identity: Rc<Identity>,
    /// When it begins to be valid, in seconds since 1970.
    from: u64,
}

impl Jwt {
    pub(super) fn new(config: JwtConfig, keys: Arc<KeySet>, seed: u64) -> Self {
        Self { config, known: Remembered::new(seed), keys }
    }

    /// Judges a token at `now`, in seconds since 1970.
    pub(super) fn judge(
        &mut self,
        now: u64,
        keys: Arc<KeySet>,
        token: &[u8],
    ) -> Result<Rc<Identity>, Reason> {
        if !Arc::ptr_eq(&keys, &self.keys) {
            self.known.clear();
            self.keys = keys;
        }
        let leeway = self.config.leeway.as_secs();
        let digest = self.known.digest(&[token]);
        if let Some(good) = self.known.find(now, &digest)
            && good.from <= now.saturating_add(leeway)
        {
            return Ok(good.identity);
        }
        let claims = verify(&self.keys, token)?;
        let (from, until) = self.config.validity(&claims, now)?;
        let identity = Rc::new(self.config.identity(&claims)?);
        let good = Good { identity: Rc::clone(&identity), from };
        self.known.put(digest, good, until.saturating_add(leeway));
        Ok(identity)
    }
}

impl JwtConfig {
    /// The seconds from which and until which the token may be used, if it may be now.
    fn validity(&self, claims: &Map<String, Value>, now: u64) -> Result<(u64, u64), Reason> {
        let leeway = self.leeway.as_secs();
        let until = time(claims, "exp")?.ok_or(Reason::NoExpiry)?;
        let from = time(claims, "nbf")?.unwrap_or(0);
        if now >= until.saturating_add(leeway) {
            return Err(Reason::Expired);
        }
        if now.saturating_add(leeway) < from {
            return Err(Reason::NotYet);
        }
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Reason::Issuer);
        }
        let is_audience = |audience: &String| match claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(audience)),
            _ => false,
        };
        if self.audience.as_ref().is_some_and(|audience| !is_audience(audience)) {
            return Err(Reason::Audience);
        }
        Ok((from, until))
    }

    fn identity(&self, claims: &Map<String, Value>) -> Result<Identity, Reason> {
        let subject = Claim::new("sub").value(claims);
        let name = subject.map_err(|_| Reason::Malformed)?.unwrap_or_default();
        let mut fields = Vec::new();
        for (field, claim) in &self.claims {
            // What cannot be told is not told in part.
            if let Some(value) = claim.value(claims).map_err(|_| Reason::Malformed)? {
                fields.push((field.clone(), value));
            }
        }
        Ok(Identity { name, fields })
    }
}

/// A time in seconds since 1970 (`NumericDate`); fractions are cut off.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Reason> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let number = value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| (0.0..9e15).contains(number))?;
        Duration::try_from_secs_f64(number).ok().map(|time| time.as_secs())
    });
    number.map(Some).ok_or(Reason::Malformed)
}

/// What the token says, if a key of the set has signed it.
fn verify(keys: &KeySet, token: &[u8]) -> Result<Map<String, Value>, Reason> {
    let mut parts = token.split(|&byte| byte == b'.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::Malformed);
    };
    let header = object(header)?;
    if header.contains_key("crit") || header.get("b64").is_some_and(|b64| *b64 != true) {
        return Err(Reason::Algorithm);
    }
    let named = header.get("alg").and_then(Value::as_str).ok_or(Reason::Malformed)?;
    let algorithm = algorithm(named).ok_or(Reason::Algorithm)?;
    let id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str()),
        Some(_) => return Err(Reason::Malformed),
    };
    let message = token.get(..token.len() - signature.len() - 1).unwrap_or_default();
    let signature = str::from_utf8(signature).map_err(|_| Reason::Malformed)?;
    let mut candidates = keys.candidates(algorithm, id).take(KEYS_TRIED).peekable();
    if candidates.peek().is_none() {
        return Err(Reason::Key);
    }
    let signed = candidates.any(|key| {
        jsonwebtoken::crypto::verify(signature, message, key, algorithm).unwrap_or(false)
    });
    if !signed {
        return Err(Reason::Signature);
    }
    object(payload)
}

/// Those that are taken, by their names in RFC 7518 section 3.1 and RFC 8037, RFC 9864.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// The JSON object that is encoded so.
fn object(encoded: &[u8]) -> Result<Map<String, Value>, Reason> {
    let decoded = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Reason::Malformed)?;
    match serde_json::from_slice(&decoded) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Reason::Malformed),
    }
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
