//! Content hashes: every key in a run comes from content.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

/// SHA-256 of `bytes` as 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, read in pieces so that memory stays constant.
///
/// # Errors
/// The error of opening or reading the file; it names the path.
pub fn sha256_file(path: &Path) -> std::io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// A key made of several parts: SHA-256 over each part's length and bytes, first 32 hexadecimal
/// digits (128 bits). The lengths keep `["ab", "c"]` and `["a", "bc"]` apart.
pub fn key(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut digits = hex(&hasher.finalize());
    digits.truncate(32);
    digits
}

/// A 64-bit seed from a run seed and the names of what is drawn, so that each draw is repeatable
/// and independent of the order in which items are worked.
pub fn seed(run_seed: u64, parts: &[&str]) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(run_seed.to_le_bytes());
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// [`seed`] for a call to a language model, below 2^31: servers take 32-bit seeds, and llama.cpp
/// reads the largest as "random".
pub fn call_seed(run_seed: u64, parts: &[&str]) -> u64 {
    seed(run_seed, parts) & 0x7fff_ffff
}

/// A key of a sequence of texts that is too long to hold: SHA-256 over each one's length and bytes.
#[derive(Default)]
pub struct Sequence(Sha256);

impl Sequence {
    /// Adds the next text.
    pub fn add(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    /// 64 lower-case hexadecimal digits.
    pub fn done(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The first 128 bits of the SHA-256 of `bytes`, which are enough to tell them from any others.
pub fn fingerprint(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(16).fold(0, |value, byte| value << 8 | u128::from(*byte))
}

/// A key of a set of byte strings that is too long to hold, in whatever order they come: the sum of
/// each one's [`fingerprint`].
#[derive(Default)]
pub struct Set(u128);

impl Set {
    /// Adds one.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0 = self.0.wrapping_add(fingerprint(bytes));
    }

    /// 32 lower-case hexadecimal digits.
    pub fn done(self) -> String {
        format!("{:032x}", self.0)
    }
}

/// Lower-case hexadecimal digits of a digest.
pub fn hex(digest: &[u8]) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_matches_the_published_vector() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
    }

    #[test]
    fn key_keeps_parts_apart() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab", "c"]).len(), 32);
    }

    #[test]
    fn seeds_differ_by_name_and_run() {
        assert_eq!(seed(1, &["a"]), seed(1, &["a"]));
        assert_ne!(seed(1, &["a"]), seed(2, &["a"]));
        assert_ne!(seed(1, &["a"]), seed(1, &["b"]));
    }
}
