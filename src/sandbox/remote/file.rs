use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::address::Address;
use super::error::RemoteError;
use super::store::{Head, Store};

/// What is asked for first at a place that nothing leads to.
const FIRST: u64 = 16 << 10;

/// What is asked for at most in one request, and held of one stretch.
const MOST: u64 = 4 << 20;

/// Stretches that are held of one object: columns of a table are read side by side.
const STRETCHES: usize = 4;

/// Large objects whose last bytes are kept for whoever opens them again.
const KEPT_OPEN: usize = 4;

/// Smaller objects are read once and are not kept.
const LARGE: u64 = 2 << 20;

static OPEN: Mutex<VecDeque<Arc<Object>>> = Mutex::new(VecDeque::new());

/// An object and the last that was read of it, shared by all its readers.
struct Object {
    address: Address,
    head: Head,
    store: Arc<Store>,
    /// The one that was used last at the end.
    held: Mutex<Vec<Stretch>>,
}

struct Stretch {
    start: u64,
    bytes: Bytes,
}

impl Stretch {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Object {
    /// Bytes from `at` on, at least one and at most `wanted`. Whoever reads on from where a stretch
    /// ends, or passes over less than it was long, is given a longer one each time.
    fn read(&self, at: u64, wanted: u64) -> io::Result<Bytes> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.iter().position(|one| (one.start..one.end()).contains(&at));
        let place = match found {
            Some(place) => place,
            None => {
                let near = held
                    .iter()
                    .position(|one| at >= one.end() && at - one.end() <= one.bytes.len() as u64);
                let len = match near.map(|place| held.remove(place)) {
                    Some(before) => before.bytes.len() as u64 * 2,
                    None => FIRST,
                };
                let end = at.saturating_add(len.max(wanted).min(MOST)).min(self.head.len);
                let read = self.store.range(&self.address, &self.head, at..end);
                let bytes = read.map_err(RemoteError::into_io)?;
                if held.len() >= STRETCHES {
                    held.remove(0);
                }
                held.push(Stretch { start: at, bytes });
                held.len() - 1
            }
        };
        let one = held.remove(place);
        let from = (at - one.start) as usize;
        let count = (one.bytes.len() - from).min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let bytes = one.bytes.slice(from..from + count);
        held.push(one);
        Ok(bytes)
    }
}

/// An object as a file: it is read by ranges, and every part of it is of the state that it had when
/// it was opened.
#[derive(Clone)]
pub struct RemoteFile {
    object: Arc<Object>,
    at: u64,
}

impl RemoteFile {
    /// A reader of an object, which finds what others of the same object have read.
    pub(super) fn new(address: Address, head: Head, store: Arc<Store>) -> Self {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |one: &&Arc<Object>| {
            one.address.key == address.key && one.head == head && Arc::ptr_eq(&one.store, &store)
        };
        if let Some(object) = open.iter().find(same) {
            return Self { object: Arc::clone(object), at: 0 };
        }
        let large = head.len > LARGE;
        let object = Arc::new(Object { address, head, store, held: Mutex::default() });
        if large {
            open.push_back(Arc::clone(&object));
            if open.len() > KEPT_OPEN {
                open.pop_front();
            }
        }
        Self { object, at: 0 }
    }

    /// In bytes.
    pub fn length(&self) -> u64 {
        self.object.head.len
    }
}

impl Read for RemoteFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.at >= self.length() {
            return Ok(0);
        }
        let bytes = self.object.read(self.at, into.len() as u64)?;
        into[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Seek for RemoteFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.object.address.shown, self.at)
    }
}
