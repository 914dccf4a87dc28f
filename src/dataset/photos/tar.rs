//! Tars: their members one after the other, and where each lies. Nothing is unpacked to disk.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;
use tar::{EntryType, Header, PaxExtensions};

use crate::sandbox::OpenFile;

/// Headers and data come in blocks of so many bytes.
pub(super) const BLOCK: u64 = 512;

/// The longest name or extended header of a member, in bytes: what is held to read one.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// No member is so long, in bytes: a tar is no longer than what a signed number counts.
const LONGEST: u64 = 1 << 60;

/// Small, since what stands between two headers is mostly passed over.
const BUFFER: usize = 1 << 13;

/// Begins every gzip file.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A member's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Without `./` or `/` before it; what is not UTF-8 in it replaced.
    pub name: String,
    /// The name is UTF-8, and leads nowhere but below.
    pub sound: bool,
    pub kind: MemberKind,
    /// Where its data begin in the tar as it is unpacked, in bytes.
    pub start: u64,
    /// Of its data, in bytes.
    pub len: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    File,
    Folder,
    /// A link, a device or the like: what it is, in words.
    Other(&'static str),
}

/// What is wrong with a tar from some place on.
#[derive(Debug, thiserror::Error)]
pub enum TarFault {
    #[error("it is cut short {0}")]
    CutShort(String),
    /// The next members may be found.
    #[error("the header at byte {at} is damaged; what follows up to the next sound one is lost")]
    Damaged { at: u64 },
    #[error(
        "the name of a member at byte {at} takes {bytes} bytes; the limit is {MAX_HEADER_BYTES}"
    )]
    LongName { at: u64, bytes: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Bytes that can be passed over.
enum Bytes {
    Plain {
        file: BufReader<OpenFile>,
        /// Bytes up to the file's end.
        left: u64,
    },
    Gzip(Box<MultiGzDecoder<BufReader<OpenFile>>>),
}

impl Bytes {
    /// Passes over `count` bytes; false where there are fewer.
    fn pass(&mut self, count: u64) -> io::Result<bool> {
        match self {
            Self::Plain { file, left } => {
                let there = count.min(*left);
                file.seek_relative(i64::try_from(there).map_err(io::Error::other)?)?;
                *left -= there;
                Ok(there == count)
            }
            Self::Gzip(_) => Ok(io::copy(&mut self.take(count), &mut io::sink())? == count),
        }
    }
}

impl Read for Bytes {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain { file, left } => {
                let count = file.read(bytes)?;
                *left = left.saturating_sub(count as u64);
                Ok(count)
            }
            Self::Gzip(unpacked) => unpacked.read(bytes),
        }
    }
}

/// Reads a tar, plain or compressed by gzip, header by header. Data are read or passed over as they
/// are asked for; of a plain tar, what is passed over is not read at all.
pub struct Members {
    bytes: Bytes,
    /// Where `bytes` stands in the unpacked tar.
    at: u64,
    /// Of the last member, data and padding that were not read yet.
    data: u64,
    padding: u64,
    /// The name of the last member.
    last: Option<String>,
    ended: bool,
    /// A header was damaged, and no sound one was found since.
    lost: bool,
}

impl Members {
    /// # Errors
    /// Reading failed, or the file is compressed by something other than gzip.
    pub fn new(file: OpenFile) -> io::Result<Self> {
        let left = file.length()?;
        let mut file = BufReader::with_capacity(BUFFER, file);
        let start = io::BufRead::fill_buf(&mut file)?;
        let other = match *start {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
            [b'B', b'Z', b'h', ..] => Some("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz"),
            _ => None,
        };
        if let Some(other) = other {
            let reason = format!("compressed by {other}; only gzip is unpacked");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let bytes = if start.starts_with(&GZIP) {
            Bytes::Gzip(Box::new(MultiGzDecoder::new(file)))
        } else {
            Bytes::Plain { file, left }
        };
        let (at, data, padding, last) = (0, 0, 0, None);
        Ok(Self { bytes, at, data, padding, last, ended: false, lost: false })
    }

    /// The next member, or `None` at the end.
    ///
    /// # Errors
    /// What [`TarFault`] lists. After `Damaged` and `LongName`, the next call looks for more.
    pub fn next_member(&mut self) -> Result<Option<Member>, TarFault> {
        self.pass_data()?;
        let (mut long_name, mut pax) = (None, Pax::default());
        loop {
            let (header_at, Some(header)) = (self.at, self.header()?) else { return Ok(None) };
            let Some(len) = sound_size(&header) else {
                if self.lost {
                    continue;
                }
                self.lost = true;
                return Err(TarFault::Damaged { at: header_at });
            };
            self.lost = false;
            match header.entry_type() {
                EntryType::GNULongName => long_name = Some(self.extension(header_at, len)?),
                EntryType::XHeader => pax = Pax::read(&self.extension(header_at, len)?),
                EntryType::XGlobalHeader | EntryType::GNULongLink => {
                    self.expect(len);
                    self.pass_data()?;
                }
                _ if pax.unsound => {
                    self.lost = true;
                    return Err(TarFault::Damaged { at: header_at });
                }
                kind => {
                    let name = pax.path.or(long_name);
                    let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
                    return self.member(name, kind, pax.size.unwrap_or(len)).map(Some);
                }
            }
        }
    }

    fn member(&mut self, name: Vec<u8>, kind: EntryType, len: u64) -> Result<Member, TarFault> {
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous => MemberKind::File,
            EntryType::Directory => MemberKind::Folder,
            EntryType::Link | EntryType::Symlink => MemberKind::Other("a link"),
            EntryType::GNUSparse => MemberKind::Other("a sparse file"),
            _ => MemberKind::Other("no regular file"),
        };
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let text = String::from_utf8_lossy(&name[..end]);
        let mut plain: &str = &text;
        while let Some(rest) = plain.strip_prefix("./").or_else(|| plain.strip_prefix('/')) {
            plain = rest;
        }
        let sound = matches!(text, std::borrow::Cow::Borrowed(_))
            && !plain.split('/').any(|part| part == "..");
        let name = plain.to_owned();
        // What a link says of its length is of no data.
        let len = if kind == MemberKind::Other("a link") { 0 } else { len };
        self.last = Some(name.clone());
        self.expect(len);
        Ok(Member { name, sound, kind, start: self.at, len })
    }

    /// The data of the member that came last, of which no more than `limit` bytes are held; `None`
    /// where they are longer.
    ///
    /// # Errors
    /// `CutShort` or `Io`.
    pub fn read_data(&mut self, limit: u64) -> Result<Option<Vec<u8>>, TarFault> {
        if self.data > limit {
            self.pass_data()?;
            return Ok(None);
        }
        let wanted = std::mem::take(&mut self.data);
        let mut data = Vec::new();
        let read = (&mut self.bytes).take(wanted).read_to_end(&mut data);
        self.at += data.len() as u64;
        read.map_err(|error| self.fault(error))?;
        if (data.len() as u64) < wanted {
            return Err(self.cut_short());
        }
        Ok(Some(data))
    }

    /// Passes over the data of the member that came last.
    ///
    /// # Errors
    /// `CutShort` or `Io`.
    pub fn pass_data(&mut self) -> Result<(), TarFault> {
        let (data, padding) = (std::mem::take(&mut self.data), std::mem::take(&mut self.padding));
        self.at += data + padding;
        let whole = self.bytes.pass(data).map_err(|error| self.fault(error))?;
        // Padding that is missing at the very end loses nothing.
        if !whole {
            return Err(self.cut_short());
        }
        self.bytes.pass(padding).map_err(|error| self.fault(error))?;
        Ok(())
    }

    fn expect(&mut self, len: u64) {
        self.data = len;
        self.padding = len.next_multiple_of(BLOCK) - len;
    }

    /// The next block that is not all zeros; `None` at the end.
    fn header(&mut self) -> Result<Option<Header>, TarFault> {
        if self.ended {
            return Ok(None);
        }
        let mut block = Vec::with_capacity(BLOCK as usize);
        let read = (&mut self.bytes).take(BLOCK).read_to_end(&mut block);
        read.map_err(|error| self.fault(error))?;
        self.at += block.len() as u64;
        if block.len() < BLOCK as usize {
            self.ended = true;
            // An empty file is an empty tar; a damaged one was spoken of.
            let said = self.lost || self.at == 0;
            return if said { Ok(None) } else { Err(self.cut_short()) };
        }
        // Where a header is looked for, zeros may be a photo's.
        if !self.lost && block.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(None);
        }
        Ok(Some(Header::from_byte_slice(&block).clone()))
    }

    /// The data of a header that belongs to the next one.
    fn extension(&mut self, at: u64, len: u64) -> Result<Vec<u8>, TarFault> {
        self.expect(len);
        let data = self.read_data(MAX_HEADER_BYTES)?;
        self.pass_data()?;
        data.ok_or(TarFault::LongName { at, bytes: len })
    }

    fn fault(&mut self, error: io::Error) -> TarFault {
        self.ended = true;
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.cut_short(),
            _ => TarFault::Io(error),
        }
    }

    fn cut_short(&mut self) -> TarFault {
        self.ended = true;
        let last = self.last.as_deref();
        TarFault::CutShort(match last {
            Some(last) => format!("in or behind `{last}`"),
            None => "before its first member".into(),
        })
    }
}

/// What an extended header says of the member behind it.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    /// It tells a size that no member has.
    unsound: bool,
}

impl Pax {
    fn read(bytes: &[u8]) -> Self {
        let mut pax = Self::default();
        for extension in PaxExtensions::new(bytes).flatten() {
            match extension.key_bytes() {
                b"path" => pax.path = Some(extension.value_bytes().to_owned()),
                b"size" => {
                    let told = extension.value().ok().and_then(|size| size.parse::<u64>().ok());
                    pax.size = told.filter(|len| *len < LONGEST);
                    pax.unsound = pax.size.is_none();
                }
                _ => {}
            }
        }
        pax
    }
}

/// The length that a header tells, if the header is sound.
pub(super) fn sound_size(header: &Header) -> Option<u64> {
    /// Where the checksum stands, which counts as blanks in itself.
    const SUM: std::ops::Range<usize> = 148..156;
    let bytes = header.as_bytes();
    let counted =
        |(at, byte): (usize, &u8)| u32::from(if SUM.contains(&at) { b' ' } else { *byte });
    let sum: u32 = bytes.iter().enumerate().map(counted).sum();
    let sound = header.cksum().is_ok_and(|told| told == sum);
    sound.then(|| header.entry_size().ok()).flatten().filter(|len| *len < LONGEST)
}
