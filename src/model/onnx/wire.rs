//! Protobuf fields read straight from a file, so that gigabytes of weights are stepped over.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use prost::encoding::{WireType, encode_key, encode_varint};

use super::ModelError;

/// A file read field by field.
pub(super) struct Reader<'p> {
    path: &'p Path,
    file: BufReader<fs_err::File>,
    at: u64,
    size: u64,
}

/// A field of a message: its number, and where its value lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub number: u32,
    wire: WireType,
    /// Of a length-delimited field without its length.
    pub value: Range<u64>,
}

impl<'p> Reader<'p> {
    pub fn open(path: &'p Path) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io { path: path.to_owned(), source };
        let file = fs_err::File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        Ok(Self { path, file: BufReader::new(file), at: 0, size })
    }

    /// The whole file as one message.
    pub fn whole(&self) -> Range<u64> {
        0..self.size
    }

    /// The fields of the message that fills `range`, their values not read.
    pub fn fields(&mut self, range: Range<u64>) -> Result<Vec<Field>, ModelError> {
        let mut fields = Vec::new();
        self.seek(range.start)?;
        while self.at < range.end {
            let field = self.field(range.end)?;
            self.seek(field.value.end)?;
            fields.push(field);
        }
        Ok(fields)
    }

    /// The bytes of a range.
    pub fn bytes(&mut self, range: &Range<u64>) -> Result<Vec<u8>, ModelError> {
        self.seek(range.start)?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file.read_exact(&mut bytes).map_err(|source| self.io(source))?;
        self.at = range.end;
        Ok(bytes)
    }

    /// A field as it stands in a message, its key and length before its value.
    pub fn append(&mut self, field: &Field, out: &mut Vec<u8>) -> Result<(), ModelError> {
        let value = self.bytes(&field.value)?;
        encode_key(field.number, field.wire, out);
        if field.wire == WireType::LengthDelimited {
            encode_varint(value.len() as u64, out);
        }
        out.extend(value);
        Ok(())
    }

    fn field(&mut self, end: u64) -> Result<Field, ModelError> {
        let began = self.at;
        let key = self.varint(end)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0);
        let wire = WireType::try_from(key & 7).ok();
        let (Some(number), Some(wire)) = (number, wire) else {
            return Err(self.not_onnx(format!("no protobuf field at byte {began}")));
        };
        let start = self.at;
        let value = match wire {
            WireType::Varint => {
                self.varint(end)?;
                start..self.at
            }
            WireType::SixtyFourBit => start..start + 8,
            WireType::ThirtyTwoBit => start..start + 4,
            WireType::LengthDelimited => {
                let length = self.varint(end)?;
                self.at..self.at.saturating_add(length)
            }
            WireType::StartGroup | WireType::EndGroup => {
                return Err(self.not_onnx(format!("a protobuf group at byte {began}")));
            }
        };
        if value.end <= end {
            return Ok(Field { number, wire, value });
        }
        Err(self.too_short(value.end))
    }

    fn varint(&mut self, end: u64) -> Result<u64, ModelError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            if self.at >= end {
                return Err(self.too_short(self.at + 1));
            }
            let mut byte = [0];
            self.file.read_exact(&mut byte).map_err(|source| self.io(source))?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(self.not_onnx(format!("an overlong number before byte {}", self.at)))
    }

    /// What is wrong when a field goes on to byte `needed`.
    fn too_short(&self, needed: u64) -> ModelError {
        if needed > self.size && self.at > 0 {
            let (path, size) = (self.path.to_owned(), self.size);
            return ModelError::Truncated { path, size, needed };
        }
        self.not_onnx(format!("a field that leaves its message at byte {needed}"))
    }

    pub fn not_onnx(&self, message: String) -> ModelError {
        ModelError::NotOnnx { path: self.path.to_owned(), message }
    }

    fn io(&self, source: io::Error) -> ModelError {
        ModelError::Io { path: self.path.to_owned(), source }
    }

    fn seek(&mut self, to: u64) -> Result<(), ModelError> {
        // Files are far below 2^63 bytes.
        let offset = to as i64 - self.at as i64;
        self.file.seek_relative(offset).map_err(|source| self.io(source))?;
        self.at = to;
        Ok(())
    }
}
