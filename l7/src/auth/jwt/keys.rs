//! Sets of public keys (RFC 7517).

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::limits::KEY_SET;

/// The keys of a set with which a token can be verified.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    verifies: DecodingKey,
}

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadKeySet {
    /// It is not JSON.
    NotJson(String),
    /// It has no list `keys`.
    NoList,
    /// None of its keys is a public key of RSA, P-256, P-384 or Ed25519 for signatures.
    NoKey,
    /// There are more than that.
    Long(usize),
}

impl fmt::Display for BadKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(error) => write!(f, "it is not JSON: {error}"),
            Self::NoList => f.write_str("it is no key set: it has no list `keys`"),
            Self::NoKey => f.write_str(
                "it has no public key of RSA, P-256, P-384 or Ed25519 that is for signatures",
            ),
            Self::Long(most) => write!(f, "it has more than {most} keys"),
        }
    }
}

impl std::error::Error for BadKeySet {}

impl KeySet {
    /// Reads a set. Keys that are of no use here are left out (RFC 7517 section 5).
    ///
    /// # Errors
    /// [`BadKeySet`]; nothing of such a set is used.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadKeySet> {
        let set: Value =
            serde_json::from_slice(bytes).map_err(|error| BadKeySet::NotJson(error.to_string()))?;
        let list = set.get("keys").and_then(Value::as_array).ok_or(BadKeySet::NoList)?;
        if list.len() > KEY_SET {
            return Err(BadKeySet::Long(KEY_SET));
        }
        let keys: Vec<_> = list.iter().filter_map(Key::read).collect();
        if keys.is_empty() { Err(BadKeySet::NoKey) } else { Ok(Self { keys }) }
    }

    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// True if there is none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token with that algorithm, which names the key `id`, or none.
    pub(super) fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        id: Option<&'a str>,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let may = move |key: &&Key| {
            key.algorithms.contains(&algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        self.keys.iter().filter(may).map(|key| &key.verifies)
    }
}

impl Key {
    /// Nothing for what is no public key for signatures, or of a kind that is not taken.
    fn read(value: &Value) -> Option<Self> {
        // A private key has no place in a set that verifies: whoever put it there made a mistake.
        if value.get("d").is_some() {
            return None;
        }
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let mut algorithms = algorithms(&jwk.algorithm)?;
        if let Some(said) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| is_same(*algorithm, said));
        }
        let verifies = DecodingKey::from_jwk(&jwk).ok()?;
        let id = jwk.common.key_id;
        (!algorithms.is_empty()).then_some(Self { id, algorithms, verifies })
    }
}

/// What a key of that kind can verify.
fn algorithms(kind: &AlgorithmParameters) -> Option<Vec<Algorithm>> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match kind {
        AlgorithmParameters::RSA(_) => Some(vec![RS256, RS384, RS512, PS256, PS384, PS512]),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Some(vec![ES256]),
            EllipticCurve::P384 => Some(vec![ES384]),
            _ => None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Some(vec![EdDSA])
        }
        _ => None,
    }
}

fn is_same(algorithm: Algorithm, said: KeyAlgorithm) -> bool {
    matches!(
        (algorithm, said),
        (Algorithm::RS256, KeyAlgorithm::RS256)
            | (Algorithm::RS384, KeyAlgorithm::RS384)
            | (Algorithm::RS512, KeyAlgorithm::RS512)
            | (Algorithm::PS256, KeyAlgorithm::PS256)
            | (Algorithm::PS384, KeyAlgorithm::PS384)
            | (Algorithm::PS512, KeyAlgorithm::PS512)
            | (Algorithm::ES256, KeyAlgorithm::ES256)
            | (Algorithm::ES384, KeyAlgorithm::ES384)
            | (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
    )
}
