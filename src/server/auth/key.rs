//! One key, its hash, and what it allows.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strum::IntoStaticStr;
use subtle::{Choice, ConstantTimeEq};

/// Tells a leaked key from other random text, for people and secret scanners.
const PREFIX: &str = "pw_";

/// A new key: 256 random bits. It is shown once and never stored.
pub struct ApiKey(String);

impl ApiKey {
    /// From the generator of `rand`, which is seeded by the operating system and made for secrets.
    pub fn generate() -> Self {
        let bits: [u8; 32] = rand::random();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits)))
    }

    /// The key itself, to be shown to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// SHA-256 of a key. A slow hash would add nothing: 256 random bits cannot be guessed.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of what a caller presents.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Whether both are the same, in constant time.
    pub fn same(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

impl TryFrom<String> for KeyHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const WRONG: &str = "must be the 64 hexadecimal digits of a SHA-256";
        // ASCII first, so that pairs of bytes are pairs of characters.
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WRONG);
        }
        let mut bits = [0; 32];
        for (place, byte) in bits.iter_mut().enumerate() {
            let digits = &text[place * 2..place * 2 + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| WRONG)?;
        }
        Ok(Self(bits))
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a key allows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Calls that change nothing and cost no LLM tokens.
    Read,
    /// Every call.
    Write,
}

impl Scope {
    /// The name used in the file and in flags.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_random_and_never_shown_by_debug() {
        let (key, other) = (ApiKey::generate(), ApiKey::generate());
        assert_eq!(key.reveal().len(), PREFIX.len() + 43);
        assert_ne!(key.reveal(), other.reveal());
        let hex = String::from(key.hash());
        let shown = format!("{key:?} {:?}", key.hash());
        assert!(!shown.contains(key.reveal()) && !shown.contains(&hex), "{shown}");
    }

    #[test]
    fn hashes_read_back_and_compare() {
        let key = ApiKey::generate();
        let hex = String::from(key.hash());
        assert_eq!(hex, crate::base::hash::sha256_hex(key.reveal().as_bytes()));
        let read = KeyHash::try_from(hex.to_uppercase()).expect("hexadecimal");
        assert!(bool::from(read.same(&key.hash())));
        assert!(!bool::from(read.same(&KeyHash::of("other"))));
        for wrong in ["", "é", &"g".repeat(64), &hex[1..]] {
            KeyHash::try_from(wrong.to_owned()).expect_err(wrong);
        }
    }
}
