//! Rows of a table: CSV, TSV and their like.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::ops::ControlFlow;

use csv::{ReaderBuilder, StringRecord};

use super::encoding::{self, not_utf8};
use super::fields::{FieldNames, Fields};
use super::lines::{BoundedLines, Line};
use super::manifest::{File, Layout, MAX_LINE_BYTES, ManifestSource, Place, Take};
use super::refusal::Refusal;
use super::{Opened, Reader, SourceError, SourceKind};

/// The longest cell with line ends in it, in bytes: what is held to find its end.
const MAX_CELL_BYTES: usize = 1 << 20;

/// What may stand between cells; of those that cut the first line equally well, the first.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

pub(super) static LAYOUT: Layout = Layout {
    kind: "csv",
    name: "CSV manifest",
    expected: "a first line that names the columns, such as file_name,text, and a row per photo",
    endings: &["csv", "tsv"],
    rows: read,
};

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Csv,
    name: "csv",
    what: "a .csv or .tsv manifest",
    opened: Opened::File,
    endings: &["csv", "tsv"],
    open: |path, options| ManifestSource::open(path, options, &LAYOUT),
};

fn read(file: &File<'_>, names: &FieldNames, take: &mut Take<'_>) -> Result<(), SourceError> {
    let text = encoding::open(file.path, file.access)?;
    let mut rows = Rows::new(text);
    let Some(columns) = rows.header(file, names)? else { return Ok(()) };
    while let Some((line, row)) = rows.next_row()? {
        let row = match row {
            Ok(bytes) if bytes.trim_ascii().is_empty() => continue,
            Ok(bytes) => cells(&bytes, rows.delimiter),
            Err(refusal) => Err(refusal),
        };
        let fields = row.and_then(|cells| {
            if cells.len() > columns.len() {
                return Err(too_many(&cells, &columns, rows.delimiter));
            }
            Ok(Fields::of_cells(columns.iter().zip(&cells), names))
        });
        if let ControlFlow::Break(()) = take(Place::line(line), fields) {
            break;
        }
    }
    Ok(())
}

fn too_many(cells: &StringRecord, columns: &StringRecord, delimiter: u8) -> Refusal {
    let reason = format!(
        "{} cells, but the first line names {} columns: a text that holds {:?} must stand in \
         quotes",
        cells.len(),
        columns.len(),
        char::from(delimiter)
    );
    Refusal::new("invalid_row", reason)
}

/// The cells of one row.
fn cells(bytes: &[u8], delimiter: u8) -> Result<StringRecord, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Refusal::new("invalid_utf8", not_utf8(at + 1, bytes[at]))
    })?;
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .buffer_capacity(text.len().max(1))
        .from_reader(text.as_bytes());
    let mut cells = StringRecord::new();
    match reader.read_record(&mut cells) {
        Ok(_) => Ok(cells),
        Err(error) => Err(Refusal::new("invalid_row", error.to_string())),
    }
}

/// Cuts a file into rows. A cell in quotes may go over several lines; one whose quotes are never
/// closed costs its first line alone.
struct Rows<R> {
    lines: BoundedLines<R>,
    delimiter: u8,
    /// The number of the last line that was read.
    read: u64,
    /// Lines that were read in search of a quote, to be read again.
    again: VecDeque<(u64, Line)>,
    /// Up to this line no quote is searched for any more.
    searched: u64,
}

/// A row's bytes, or why it is none, behind the number of its first line.
type NumberedRow = (u64, Result<Vec<u8>, Refusal>);

/// Where a row stands at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Closed,
    Open,
    /// Something other than a delimiter follows closed quotes.
    Broken,
}

impl<R: BufRead> Rows<R> {
    fn new(reader: R) -> Self {
        let lines = BoundedLines::new(reader, MAX_LINE_BYTES);
        Self { lines, delimiter: DELIMITERS[0], read: 0, again: VecDeque::new(), searched: 0 }
    }

    /// The columns that the first line names; `None` where there is no line.
    fn header(
        &mut self,
        file: &File<'_>,
        names: &FieldNames,
    ) -> Result<Option<StringRecord>, SourceError> {
        let bytes = loop {
            match self.next_row()? {
                None => return Ok(None),
                Some((_, Ok(bytes))) if bytes.trim_ascii().is_empty() => {}
                Some((_, Ok(bytes))) => break bytes,
                Some((_, Err(refusal))) => return Err(no_columns(file, &refusal.reason)),
            }
        };
        let has = |columns: &StringRecord, is: fn(&FieldNames, &str) -> bool| {
            columns.iter().any(|name| is(names, name))
        };
        let known = |columns: &StringRecord| {
            [FieldNames::is_image, FieldNames::is_caption].map(|is| has(columns, is))
        };
        let mut best: Option<(usize, u8, StringRecord)> = None;
        for delimiter in DELIMITERS {
            let columns = match cells(&bytes, delimiter) {
                Ok(columns) => columns,
                Err(refusal) => return Err(no_columns(file, &refusal.reason)),
            };
            let rank = known(&columns).into_iter().filter(|known| *known).count() * 1000;
            let rank = rank + columns.len().min(999);
            if best.as_ref().is_none_or(|(other, ..)| rank > *other) {
                best = Some((rank, delimiter, columns));
            }
        }
        let Some((_, delimiter, columns)) = best else { return Ok(None) };
        self.delimiter = delimiter;
        let found = || columns.iter().take(12).map(|name| format!("`{name}`")).collect::<Vec<_>>();
        match known(&columns) {
            [true, true] => Ok(Some(columns)),
            [image, _] => {
                let (what, key) =
                    if image { ("description", "caption") } else { ("photo", "image") };
                let detail = format!(
                    "none of its columns ({}) is known to name the {what}; say which one does with \
                     source.fields.{key}",
                    found().join(", ")
                );
                Err(no_columns(file, &detail))
            }
        }
    }

    /// The next row.
    fn next_row(&mut self) -> io::Result<Option<NumberedRow>> {
        let Some((number, line)) = self.next_line()? else { return Ok(None) };
        let mut row = match line {
            Line::Whole(bytes) => bytes,
            Line::TooLong { bytes } => {
                let reason = format!("{bytes} bytes; the limit is {MAX_LINE_BYTES}");
                return Ok(Some((number, Err(Refusal::new("line_too_long", reason)))));
            }
        };
        let mut quotes = self.quotes(&row, false);
        if quotes != Quotes::Open {
            return Ok(Some((number, Ok(row))));
        }
        let mut taken = Vec::new();
        let mut held = 0;
        while quotes == Quotes::Open && number > self.searched && held < MAX_CELL_BYTES {
            let Some((number, line)) = self.next_line()? else { break };
            if let Line::Whole(bytes) = &line {
                quotes = self.quotes(bytes, true);
                held += bytes.len() + 1;
            } else {
                quotes = Quotes::Broken;
            }
            taken.push((number, line));
        }
        if quotes == Quotes::Closed {
            for (_, line) in taken {
                if let Line::Whole(bytes) = line {
                    row.push(b'\n');
                    row.extend(bytes);
                }
            }
            return Ok(Some((number, Ok(row))));
        }
        self.searched = self.searched.max(taken.last().map_or(number, |(last, _)| *last));
        for line in taken.into_iter().rev() {
            self.again.push_front(line);
        }
        let reason = "a cell opens with a quote that is not closed where the cell ends; a quote \
                      inside a text in quotes is written twice";
        Ok(Some((number, Err(Refusal::new("invalid_row", reason)))))
    }

    fn next_line(&mut self) -> io::Result<Option<(u64, Line)>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let line = self.lines.next_line()?;
        self.read += 1;
        Ok(line.map(|line| (self.read, line)))
    }

    /// Where a row stands at the end of a line, which begins inside quotes or outside.
    fn quotes(&self, line: &[u8], inside: bool) -> Quotes {
        let mut inside = inside;
        let mut start = !inside;
        let mut bytes = line.iter().peekable();
        while let Some(byte) = bytes.next() {
            let byte = *byte;
            if inside {
                if byte != b'"' {
                    continue;
                }
                match bytes.peek() {
                    Some(b'"') => _ = bytes.next(),
                    None => inside = false,
                    Some(next) if **next == self.delimiter => inside = false,
                    Some(_) => return Quotes::Broken,
                }
            } else if start && byte == b'"' {
                inside = true;
            }
            start = !inside && byte == self.delimiter;
        }
        if inside { Quotes::Open } else { Quotes::Closed }
    }
}

fn no_columns(file: &File<'_>, detail: &str) -> SourceError {
    let detail = format!("{detail}; expected {}", LAYOUT.expected);
    SourceError::NoColumns { path: file.path.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::{Said, folder};
    use super::*;

    fn said(text: &[u8]) -> Said {
        let folder = folder(&[("m.csv", text)]);
        Said::of(&ManifestSource::new(&folder.path().join("m.csv"), Path::new("photos"), &LAYOUT))
    }

    /// `id image description` of each record.
    fn rows(said: &Said) -> Vec<String> {
        let row = |r: &&crate::dataset::record::SourceRecord| {
            format!("{} {} {}", r.id, r.image, r.description)
        };
        said.records().iter().map(row).collect()
    }

    #[test]
    fn tables_are_read_whatever_stands_between_cells() {
        for between in [",", "\t", ";", "|"] {
            for end in ["\n", "\r\n", "\r"] {
                let text = [
                    "file_name,Text,n",
                    "a.jpg,A cat.,1",
                    "",
                    "\"b c.jpg\",\"A, \"\"dog\"\"\nruns.\",2",
                ];
                let text = text
                    .join(end)
                    .replacen(',', between, 4)
                    .replace("\",\"A", &format!("\"{between}\"A"));
                let text = text.replace("\",2", &format!("\"{between}2"));
                let said = said(text.as_bytes());
                let expected = ["a photos/a.jpg A cat.", "b c photos/b c.jpg A, \"dog\"\nruns."];
                assert_eq!(rows(&said), expected, "{between:?} {end:?}");
                assert_eq!(said.codes(), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn rows_about_one_photo_are_its_captions() {
        let said = said(b"image,caption\na.jpg,A cat\na.jpg,A dog\nb.jpg,\"[\"\"x\"\", \"\"y\"\"]\"\na.jpg,late\n");
        assert_eq!(
            rows(&said),
            ["a photos/a.jpg A cat. A dog.", "b photos/b.jpg x. y.", "a#2 photos/a.jpg late"]
        );
        let lists: Vec<_> = said.records().iter().map(|r| r.descriptions.len()).collect();
        assert_eq!(lists, [2, 2, 0]);
    }

    #[test]
    fn a_bad_row_costs_itself_alone() {
        let text = b"id,image,caption\n1,a.jpg,good\n2,b.jpg,\"never closed\n3,c.jpg,\"good\"\n\
            4,d.jpg,one, two\n5,e.jpg,caf\xe9\n6,f.jpg,\n7,g.jpg,nan\n1,h.jpg,again\n8,i.jpg,last";
        let said = said(text);
        let ids: Vec<_> = said.records().iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["1", "3", "8"]);
        let expected = [
            "m.csv:3 invalid_row",
            "m.csv:5 invalid_row",
            "m.csv:6 invalid_utf8",
            "6 missing_description",
            "7 missing_description",
            "1 duplicate_id",
        ];
        assert_eq!(said.codes(), expected);
        let mut open = b"image,caption\na.jpg,\"open\n".to_vec();
        open.extend(b"b.jpg,plain\n".repeat(1000));
        let said = super::tests::said(&open);
        assert_eq!((said.codes(), said.records().len()), (vec!["m.csv:2 invalid_row".into()], 16));
    }

    #[test]
    fn columns_that_are_not_known_are_named() {
        let error = |text: &[u8]| said(text).error.expect("no columns").to_string();
        let message = error(b"image,kapition\na.jpg,x\n");
        assert!(
            message.contains("`kapition`") && message.contains("source.fields.caption"),
            "{message}"
        );
        assert!(error(b"a.jpg,A cat\n").contains("source.fields.image"));
        assert_eq!(said(b"").error_code(), Some("source_empty"));
        assert_eq!(said(b"image,text\n").error_code(), Some("source_empty"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut text = b"image,caption\n".to_vec();
            text.extend(bytes);
            let (first, second) = (said(&text), said(&text));
            proptest::prop_assert_eq!(first.events, second.events);
        }
    }
}
