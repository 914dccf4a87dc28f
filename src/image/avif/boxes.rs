//! The boxes of an AVIF file (ISO/IEC 14496-12 and 23008-12, AVIF 1.1), as far as its primary picture needs
//! them. What crates there are for it copy what a file names often, and so take of a small file all the
//! memory there is. Here a picture's bytes are copied only where they lie in several pieces, one picture
//! at a time, and no piece twice.

use std::borrow::Cow;

/// Of the box that describes the others; it is rarely over a few kilobytes. Every list in it is walked
/// through for each picture, so that this and the numbers below bound the time, too.
const MOST_META_BYTES: usize = 1 << 20;

/// Pictures of a grid.
const MOST_CELLS: usize = 256;

/// Pieces of a picture.
const MOST_PIECES: u64 = 64;

/// Of all cells of a grid together, each as often as it is named.
const MOST_CODED_BYTES: u64 = 64 << 20;

/// Pictures that belong to another one: its transparency, its depth, and the like.
const MOST_AUXILIARIES: usize = 16;

/// Why a file is no AVIF that is read.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It ends before what it announces.
    Cut,
    /// It contradicts the format.
    Corrupt(&'static str),
    /// It uses what is not read.
    Unsupported(&'static str),
}

/// Where a picture lies and what its container tells of it.
#[derive(Debug)]
pub(super) struct Coded<'a> {
    place: Place<'a>,
    /// What the container tells of it.
    pub header: Header,
}

impl<'a> Coded<'a> {
    /// Its AV1 data.
    pub fn data(&self) -> Result<Cow<'a, [u8]>, Wrong> {
        self.place.read()
    }
}

/// What a picture's properties tell; the decoder is held to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Pixels, at least 1.
    pub width: u32,
    /// Pixels, at least 1.
    pub height: u32,
    /// Whether it has no colours.
    pub grey: bool,
    /// 8, 10 or 12.
    pub bits: u32,
}

/// The primary picture of a file.
#[derive(Debug)]
pub(super) struct Primary<'a> {
    /// One, or those of a grid, row by row.
    pub cells: Vec<Coded<'a>>,
    /// Of cells.
    pub columns: u32,
    /// Of cells.
    pub rows: u32,
    /// Pixels, at least 1; no cell lies outside.
    pub width: u32,
    /// Pixels, at least 1; no cell lies outside.
    pub height: u32,
    /// Its transparency, of the same size, and whether the colours were multiplied by it.
    pub alpha: Option<(Coded<'a>, bool)>,
    /// The code of its matrix by ITU-T H.273, and whether samples use all of their values; where the
    /// container is silent, the AV1 data tell.
    pub colours: Option<(u16, bool)>,
    /// Quarter turns against the clock.
    pub turns: u8,
    /// After the turn: 0 exchanges top and bottom, 1 left and right.
    pub mirror: Option<u8>,
}

/// Finds the primary picture.
pub(super) fn primary(file: &[u8]) -> Result<Primary<'_>, Wrong> {
    let meta = Meta::of(file)?;
    let mut ids = Reader(find(meta.children, b"pitm").ok_or(NO_PICTURE)?);
    let long = ids.version()?.0 > 0;
    let id = ids.id(long)?;
    let grid = match &meta.kind(id)? {
        b"av01" => None,
        b"grid" => Some(meta.grid(id)?),
        _ => return Err(Wrong::Unsupported("a picture that is neither AV1 nor a grid of such")),
    };
    let cell_ids = grid.as_ref().map_or(std::slice::from_ref(&id), |grid| &grid.cells);
    let cells: Vec<_> = cell_ids.iter().map(|&id| meta.coded(id)).collect::<Result<_, _>>()?;
    let coded_bytes = cells.iter().map(|cell| cell.place.len()).fold(0, u64::saturating_add);
    if cells.len() > 1 && coded_bytes > MOST_CODED_BYTES {
        return Err(Wrong::Unsupported("a grid of over 64 MiB"));
    }
    let first = cells[0].header;
    if cells.iter().any(|cell| cell.header != first) {
        return Err(Wrong::Unsupported("a grid of pictures that differ in size or colours"));
    }
    let (columns, rows, width, height) = match grid {
        Some(Grid { columns, rows, width, height, .. }) => (columns, rows, width, height),
        None => (1, 1, first.width, first.height),
    };
    let fits = |whole: u32, cell: u32, count: u32| {
        let most = u64::from(cell) * u64::from(count);
        u64::from(whole) <= most && u64::from(whole) > most - u64::from(cell)
    };
    if !fits(width, first.width, columns) || !fits(height, first.height, rows) {
        return Err(Wrong::Corrupt("a grid whose pictures do not cover it"));
    }
    let mut alpha = None;
    let mut auxiliaries = meta.references(b"auxl")?;
    auxiliaries.retain(|(_, to)| to.iter().any(|to| *to == id || cell_ids.contains(to)));
    if auxiliaries.len() > MOST_AUXILIARIES.max(cell_ids.len()) {
        return Err(Wrong::Unsupported("a picture with over 16 others that belong to it"));
    }
    for (from, to) in auxiliaries {
        if !meta.is_alpha(from)? {
            continue;
        }
        if &meta.kind(from)? != b"av01" || !to.contains(&id) {
            return Err(Wrong::Unsupported("transparency of a grid"));
        }
        let coded = meta.coded(from)?;
        if (coded.header.width, coded.header.height) != (width, height) {
            return Err(Wrong::Unsupported("transparency of another size than the picture"));
        }
        let multiplied =
            meta.references(b"prem")?.iter().any(|(by, to)| *by == id && to.contains(&from));
        alpha = Some((coded, multiplied));
    }
    let mut found = Primary {
        cells,
        columns,
        rows,
        width,
        height,
        alpha,
        colours: None,
        turns: 0,
        mirror: None,
    };
    for (kind, body, _) in meta.properties_to_read(id)? {
        let mut body = Reader(body);
        match &kind {
            b"colr" if body.0.starts_with(b"nclx") => {
                body.take(8)?;
                found.colours = Some((body.number(2)? as u16, body.number(1)? >> 7 == 1));
            }
            b"irot" => found.turns = (body.number(1)? & 3) as u8,
            b"imir" => found.mirror = Some((body.number(1)? & 1) as u8),
            _ => {}
        }
    }
    Ok(found)
}

const NO_PICTURE: Wrong = Wrong::Unsupported("a file without a still picture");

/// The box `meta`, which tells what is where.
struct Meta<'a> {
    file: &'a [u8],
    children: &'a [u8],
}

impl<'a> Meta<'a> {
    fn of(file: &'a [u8]) -> Result<Self, Wrong> {
        let mut rest = Reader(file);
        // No box of that kind is shorter.
        while rest.0.len() >= 16 {
            let (kind, body, whole) = rest.next_box()?;
            if &kind != b"meta" {
                continue;
            }
            if !whole {
                return Err(Wrong::Cut);
            }
            let mut children = Reader(body);
            children.version()?;
            let pictures = find(children.0, b"idat").map_or(0, <[u8]>::len);
            if body.len() - pictures > MOST_META_BYTES {
                return Err(Wrong::Unsupported("descriptions of over 1 MiB"));
            }
            return Ok(Self { file, children: children.0 });
        }
        // What is missing may have stood behind the end; an animation may have none.
        Err(if find(file, b"moov").is_some() { NO_PICTURE } else { Wrong::Cut })
    }

    /// The four letters of item `id`'s type.
    fn kind(&self, id: u32) -> Result<[u8; 4], Wrong> {
        let mut list = Reader(find(self.children, b"iinf").ok_or(NO_PICTURE)?);
        let long = list.version()?.0 > 0;
        list.id(long)?;
        while !list.0.is_empty() {
            let (_, body, _) = list.next_box()?;
            let mut entry = Reader(body);
            let version = entry.version()?.0;
            if version >= 2 && entry.id(version > 2)? == id {
                entry.take(2)?;
                return entry.letters();
            }
        }
        Err(Wrong::Corrupt("an item without a type"))
    }

    /// Every reference of a kind: from which item, to which.
    fn references(&self, kind: &[u8; 4]) -> Result<Vec<(u32, Vec<u32>)>, Wrong> {
        let Some(list) = find(self.children, b"iref") else { return Ok(Vec::new()) };
        let mut list = Reader(list);
        let long = list.version()?.0 > 0;
        let mut found = Vec::new();
        while !list.0.is_empty() {
            let (name, body, _) = list.next_box()?;
            let mut body = Reader(body);
            if &name == kind {
                let from = body.id(long)?;
                let count = body.number(2)?;
                let to = (0..count).map(|_| body.id(long)).collect::<Result<_, _>>()?;
                found.push((from, to));
            }
        }
        Ok(found)
    }

    fn grid(&self, id: u32) -> Result<Grid, Wrong> {
        let data = self.place(id)?.read()?;
        let mut told = Reader(&data);
        told.number(1)?;
        let side = if told.number(1)? & 1 == 1 { 4 } else { 2 };
        let (rows, columns) = (told.number(1)? as u32 + 1, told.number(1)? as u32 + 1);
        let (width, height) = (told.number(side)? as u32, told.number(side)? as u32);
        let cells = self.references(b"dimg")?.into_iter().find(|(from, _)| *from == id);
        let cells = cells.map(|(_, cells)| cells).unwrap_or_default();
        if cells.len() > MOST_CELLS {
            return Err(Wrong::Unsupported("a grid of over 256 pictures"));
        }
        if cells.len() != (columns * rows) as usize || width == 0 || height == 0 {
            return Err(Wrong::Corrupt("a grid with pictures missing"));
        }
        Ok(Grid { cells, columns, rows, width, height })
    }

    /// The properties of item `id`, in their order.
    fn properties(&self, id: u32) -> Result<Vec<Property<'a>>, Wrong> {
        let all = find(self.children, b"iprp").ok_or(NO_PICTURE)?;
        let mut held = Reader(find(all, b"ipco").ok_or(NO_PICTURE)?);
        let mut known = Vec::new();
        while !held.0.is_empty() {
            let (kind, body, _) = held.next_box()?;
            known.push((kind, body));
        }
        let mut boxes = Reader(all);
        while !boxes.0.is_empty() {
            let (kind, body, _) = boxes.next_box()?;
            if &kind != b"ipma" {
                continue;
            }
            let mut list = Reader(body);
            let (version, flags) = list.version()?;
            let bytes = if flags & 1 == 1 { 2 } else { 1 };
            for _ in 0..list.number(4)? {
                let item = list.id(version > 0)?;
                let count = list.number(1)? as usize;
                let mut numbers = Reader(list.take(count * bytes)?);
                if item != id {
                    continue;
                }
                let mut found = Vec::new();
                while !numbers.0.is_empty() {
                    let number = numbers.number(bytes)? as usize;
                    let essential = 1 << (8 * bytes - 1);
                    let place = number & (essential - 1);
                    // Zero is no property.
                    let Some(place) = place.checked_sub(1) else { continue };
                    let (kind, body) =
                        *known.get(place).ok_or(Wrong::Corrupt("a property that is missing"))?;
                    found.push((kind, body, number & essential != 0));
                }
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// The same of an item that is decoded: nothing may be essential to it that is not read.
    fn properties_to_read(&self, id: u32) -> Result<Vec<Property<'a>>, Wrong> {
        let found = self.properties(id)?;
        match found.iter().all(|(kind, _, essential)| !essential || READ.contains(&kind)) {
            true => Ok(found),
            false => Err(Wrong::Unsupported("a picture with a property that is not read")),
        }
    }

    fn is_alpha(&self, id: u32) -> Result<bool, Wrong> {
        let named = |body: &[u8]| {
            body.get(4..).is_some_and(|name| {
                name.starts_with(b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
                    || name.starts_with(b"urn:mpeg:hevc:2015:auxid:1\0")
            })
        };
        Ok(self.properties(id)?.iter().any(|(kind, body, _)| kind == b"auxC" && named(body)))
    }

    fn coded(&self, id: u32) -> Result<Coded<'a>, Wrong> {
        let (mut size, mut format) = (None, None);
        for (kind, body, _) in self.properties_to_read(id)? {
            let mut body = Reader(body);
            match &kind {
                b"ispe" => {
                    body.version()?;
                    size = Some((body.number(4)? as u32, body.number(4)? as u32));
                }
                b"av1C" => {
                    body.take(2)?;
                    format = Some(body.number(1)?);
                }
                _ => {}
            }
        }
        let (Some((width @ 1.., height @ 1..)), Some(format)) = (size, format) else {
            return Err(Wrong::Corrupt("a picture without a size or without AV1's settings"));
        };
        let bits = match ((format >> 6) & 1, (format >> 5) & 1) {
            (0, _) => 8,
            (_, 0) => 10,
            (_, _) => 12,
        };
        let header = Header { width, height, grey: (format >> 4) & 1 == 1, bits };
        Ok(Coded { place: self.place(id)?, header })
    }

    /// Where the bytes of item `id` lie.
    fn place(&self, id: u32) -> Result<Place<'a>, Wrong> {
        let mut list = Reader(find(self.children, b"iloc").ok_or(NO_PICTURE)?);
        let version = list.version()?.0;
        let sizes = list.number(2)?;
        let size = |place: u32| ((sizes >> (12 - 4 * place)) & 15) as usize;
        let count = if version < 2 { list.number(2)? } else { list.number(4)? };
        for _ in 0..count {
            let item = list.id(version >= 2)?;
            let method = if version == 0 { 0 } else { list.number(2)? & 15 };
            let other_file = list.number(2)? != 0;
            let base = list.number(size(2))?;
            let extents = list.number(2)?;
            let before = if version == 0 { 0 } else { size(3) };
            if item != id {
                list.take(extents as usize * (before + size(0) + size(1)))?;
                continue;
            }
            if extents > MOST_PIECES {
                return Err(Wrong::Unsupported("a picture in over 64 pieces"));
            }
            let mut pieces = Vec::new();
            for _ in 0..extents {
                list.take(before)?;
                let (offset, length) = (list.number(size(0))?, list.number(size(1))?);
                pieces.push((base.saturating_add(offset), length));
            }
            let within = match method {
                0 if !other_file => self.file,
                1 => find(self.children, b"idat").ok_or(Wrong::Corrupt("data that are missing"))?,
                _ => return Err(Wrong::Unsupported("a picture that is put together from others")),
            };
            return Ok(Place { within, pieces });
        }
        Err(Wrong::Corrupt("an item without a place"))
    }
}

/// A picture that is put together from others.
struct Grid {
    /// Their ids, row by row.
    cells: Vec<u32>,
    columns: u32,
    rows: u32,
    /// Pixels of it that are shown, at least 1.
    width: u32,
    /// Pixels of it that are shown, at least 1.
    height: u32,
}

/// Four letters, a body, and whether it is essential to the picture.
type Property<'a> = ([u8; 4], &'a [u8], bool);

/// Properties that may be essential to a picture. A crop (`clap`) is not made, as in Pillow; the numbers of
/// bits (`pixi`) stand in `av1C`, too.
const READ: [&[u8; 4]; 9] =
    [b"av1C", b"ispe", b"colr", b"irot", b"imir", b"clap", b"pasp", b"pixi", b"auxC"];

/// Pieces of the file, or of the box that holds small items.
#[derive(Debug)]
struct Place<'a> {
    within: &'a [u8],
    /// Start and length; a length of 0 reaches to the end.
    pieces: Vec<(u64, u64)>,
}

impl<'a> Place<'a> {
    /// In bytes, as they are told.
    fn len(&self) -> u64 {
        let whole = self.within.len() as u64;
        let length = |&(_, length): &(u64, u64)| if length == 0 { whole } else { length };
        self.pieces.iter().map(length).fold(0, u64::saturating_add)
    }

    /// The pieces one behind the other, in which order they have to lie.
    fn read(&self) -> Result<Cow<'a, [u8]>, Wrong> {
        let mut whole = Cow::Borrowed(&[][..]);
        let mut read_to = 0;
        for &(start, length) in &self.pieces {
            let start = usize::try_from(start).map_err(|_| Wrong::Cut)?;
            if start < read_to {
                return Err(Wrong::Unsupported(
                    "pieces of a picture in another order than in the file",
                ));
            }
            let rest = self.within.get(start..).ok_or(Wrong::Cut)?;
            let length = usize::try_from(length).map_err(|_| Wrong::Cut)?;
            let piece =
                rest.get(..if length == 0 { rest.len() } else { length }).ok_or(Wrong::Cut)?;
            read_to = start + piece.len();
            if whole.is_empty() {
                whole = Cow::Borrowed(piece);
            } else {
                whole.to_mut().extend_from_slice(piece);
            }
        }
        if whole.is_empty() { Err(Wrong::Corrupt("an item without data")) } else { Ok(whole) }
    }
}

/// The first box of a kind among `boxes`.
fn find<'a>(boxes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    let mut boxes = Reader(boxes);
    while let Ok((found, body, _)) = boxes.next_box() {
        if &found == kind {
            return Some(body);
        }
    }
    None
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or(Wrong::Corrupt("a box that ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A whole number of up to eight bytes, the highest first.
    fn number(&mut self, bytes: usize) -> Result<u64, Wrong> {
        match bytes {
            0..=8 => {
                Ok(self.take(bytes)?.iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte)))
            }
            _ => Err(Wrong::Corrupt("a number of over eight bytes")),
        }
    }

    fn id(&mut self, long: bool) -> Result<u32, Wrong> {
        Ok(self.number(if long { 4 } else { 2 })? as u32)
    }

    fn letters(&mut self) -> Result<[u8; 4], Wrong> {
        let mut letters = [0; 4];
        letters.copy_from_slice(self.take(4)?);
        Ok(letters)
    }

    /// Version and flags, with which many boxes begin.
    fn version(&mut self) -> Result<(u8, u32), Wrong> {
        let both = self.number(4)?;
        Ok(((both >> 24) as u8, (both & 0xff_ffff) as u32))
    }

    /// The next box: its four letters, its body, and whether all of that is there.
    fn next_box(&mut self) -> Result<([u8; 4], &'a [u8], bool), Wrong> {
        let start = self.0;
        let told = self.number(4)?;
        let kind = self.letters()?;
        let size = match told {
            0 => start.len() as u64,
            1 => self.number(8)?,
            size => size,
        };
        let head = start.len() - self.0.len();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size < head {
            return Err(Wrong::Corrupt("a box that is shorter than its head"));
        }
        let there = size.min(start.len());
        self.0 = &start[there..];
        Ok((kind, &start[head..there], there == size))
    }
}
