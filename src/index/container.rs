//! The index file: one container, so that one rename commits it.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PWINDEX\n` |
//! | 4 | format number, little-endian like all that follow |
//! | 8 + 8 | length of the header, length of the payload |
//! | header | JSON: model hash, width, ids, kind with its settings |
//! | payload | the vectors, f32; of a graph behind them `usearch`'s own serialisation |
//! | 32 | SHA-256 of everything before |
//!
//! The checksum finds damage. It does not make files from strangers safe: `usearch` trusts its
//! own part of the file.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{IndexConfig, IndexError, IndexKind, Recall, Scalar};
use crate::base::durable::Staged;

const MAGIC: [u8; 8] = *b"PWINDEX\n";
/// Format 1 may hold a graph that has lost a vector by refilling the place of a removed one, format
/// 2 has no vectors beside a graph. Whoever holds such a file builds it anew.
const FORMAT: u32 = 3;
const PREFIX: usize = 28;
const CHECKSUM: usize = 32;

/// What the file says about its payload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub model_hash: String,
    pub dim: usize,
    /// The users' ids, in the payload's order.
    pub ids: Vec<String>,
    pub kind: StoredKind,
}

/// The implementation that wrote the payload, with what else it needs to read it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredKind {
    Exact,
    Usearch(StoredGraph),
}

impl StoredKind {
    /// Refuses what these settings would not have built.
    pub(super) fn check(&self, path: &Path, config: &IndexConfig) -> Result<(), IndexError> {
        let agree = |setting, expected: &dyn Display, found: &dyn Display| {
            let (expected, found) = (expected.to_string(), found.to_string());
            if expected == found {
                return Ok(());
            }
            Err(IndexError::OtherSettings { path: path.into(), setting, expected, found })
        };
        match (config.kind, self) {
            (IndexKind::Usearch, Self::Exact) => agree("kind", &"usearch", &"exact"),
            (IndexKind::Exact, Self::Usearch(_)) => agree("kind", &"exact", &"usearch"),
            (_, Self::Exact) => Ok(()),
            (_, Self::Usearch(graph)) => {
                let StoredGraph { connectivity, expansion_add, scalar, .. } = graph;
                agree("connectivity", &config.connectivity, connectivity)?;
                agree("expansion_add", &config.expansion_add, expansion_add)?;
                agree("scalar", &config.scalar.name(), &scalar.name())
            }
        }
    }
}

/// What belongs to a graph of `usearch`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredGraph {
    /// The number under which `usearch` knows each id.
    pub keys: Vec<u64>,
    /// Above all keys that the graph has ever held.
    pub next_key: u64,
    /// Vectors in the graph that belong to no id any more.
    pub removed: usize,
    pub connectivity: usize,
    pub expansion_add: usize,
    pub scalar: Scalar,
    /// What the index measured of itself.
    #[serde(default)]
    pub recall: Vec<Recall>,
}

/// A file read and found whole.
#[derive(Debug)]
pub(super) struct Container {
    pub header: Header,
    bytes: Vec<u8>,
    payload: Range<usize>,
}

impl Container {
    /// Reads `path`, checks it from the outside in, and refuses another model's index.
    pub(super) fn read(path: &Path, model_hash: &str) -> Result<Self, IndexError> {
        let mut file = fs_err::File::open(path)?;
        let mut bytes = Vec::with_capacity(PREFIX);
        Read::by_ref(&mut file).take(PREFIX as u64).read_to_end(&mut bytes)?;
        let (header, payload) = layout(path, &bytes, file.metadata()?.len())?;
        // Only now, so that a large foreign file is refused by its first bytes.
        file.read_to_end(&mut bytes)?;
        check_sum(path, &bytes)?;
        let header: Header = serde_json::from_slice(&bytes[header])
            .map_err(|error| inconsistent(path, error.to_string()))?;
        if header.model_hash != model_hash {
            let (expected, found) = (model_hash.to_owned(), header.model_hash);
            return Err(IndexError::OtherModel { path: path.into(), expected, found });
        }
        Ok(Self { header, bytes, payload })
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }
}

pub(super) fn inconsistent(path: &Path, reason: impl Into<String>) -> IndexError {
    IndexError::Inconsistent { path: path.into(), reason: reason.into() }
}

/// Where header and payload lie, from the file's first bytes and its size.
fn layout(
    path: &Path,
    prefix: &[u8],
    actual: u64,
) -> Result<(Range<usize>, Range<usize>), IndexError> {
    let start = prefix.len().min(MAGIC.len());
    if prefix[..start] != MAGIC[..start] {
        return Err(IndexError::Foreign { path: path.into() });
    }
    let wrong_size = |expected| IndexError::WrongSize { path: path.into(), expected, actual };
    let [header, payload] = match prefix.split_at_checked(12) {
        Some((start, lengths)) if lengths.len() == 16 => {
            check_format(path, &start[8..])?;
            [number(&lengths[..8]), number(&lengths[8..])]
        }
        _ => return Err(wrong_size((PREFIX + CHECKSUM) as u64)),
    };
    let end = (PREFIX as u64).checked_add(header).and_then(|end| end.checked_add(payload));
    let expected = end.and_then(|end| end.checked_add(CHECKSUM as u64)).unwrap_or(u64::MAX);
    if expected != actual {
        return Err(wrong_size(expected));
    }
    let middle = PREFIX + header as usize;
    Ok((PREFIX..middle, middle..middle + payload as usize))
}

fn check_format(path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
    match number(bytes) as u32 {
        FORMAT => Ok(()),
        found => Err(IndexError::FormatVersion { path: path.into(), found, supported: FORMAT }),
    }
}

/// A little-endian number of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn check_sum(path: &Path, bytes: &[u8]) -> Result<(), IndexError> {
    let path = || PathBuf::from(path);
    let Some((body, stored)) = bytes.split_last_chunk::<CHECKSUM>() else {
        let (expected, actual) = ((PREFIX + CHECKSUM) as u64, bytes.len() as u64);
        return Err(IndexError::WrongSize { path: path(), expected, actual });
    };
    let sum = Sha256::digest(body);
    if sum[..] == stored[..] {
        return Ok(());
    }
    Err(IndexError::Checksum { path: path(), expected: hex(stored), actual: hex(&sum) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An index as it will stand in its file.
#[derive(Debug)]
pub struct IndexSnapshot {
    header: Header,
    payload: Vec<u8>,
}

impl IndexSnapshot {
    pub(super) fn new(header: Header, payload: Vec<u8>) -> Self {
        Self { header, payload }
    }

    /// Writes one file that stands complete under `path` or not at all, whatever interrupts it.
    /// Only one writer may write to a path at a time.
    ///
    /// # Errors
    /// Writing failed; what stood under `path` before is still there.
    pub fn write(&self, path: &Path) -> Result<(), IndexError> {
        let mut file = Staged::create(path)?;
        write_parts(&mut file, &self.header, &self.payload)?;
        Ok(file.commit()?)
    }
}

fn write_parts(out: &mut Staged, header: &Header, payload: &[u8]) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let parts: [&[u8]; 6] = [
        &MAGIC,
        &FORMAT.to_le_bytes(),
        &(header.len() as u64).to_le_bytes(),
        &(payload.len() as u64).to_le_bytes(),
        &header,
        payload,
    ];
    let mut sum = Sha256::new();
    for part in parts {
        out.write_all(part)?;
        sum.update(part);
    }
    out.write_all(&sum.finalize())
}
