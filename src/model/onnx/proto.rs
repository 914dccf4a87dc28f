//! The parts of ONNX's protobuf schema (`onnx.proto`, version 1.x) that are read here, and fields
//! read straight from a file, so that gigabytes of weights are stepped over.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::ModelError;

/// Field numbers of `ModelProto`.
pub(super) mod model {
    pub const IR_VERSION: u32 = 1;
    pub const GRAPH: u32 = 7;
}

/// Field numbers of `GraphProto`.
pub(super) mod graph {
    pub const NODE: u32 = 1;
    pub const NAME: u32 = 2;
    pub const INITIALIZER: u32 = 5;
    pub const INPUT: u32 = 11;
    pub const OUTPUT: u32 = 12;
    pub const SPARSE_INITIALIZER: u32 = 15;
}

/// Field numbers of `TensorProto` that say what a tensor is; the others hold its values.
pub(super) const TENSOR_HEADER: [u32; 3] = [1, 2, 8];

/// A message in which, at some depth, files are named that hold weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Graph,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
    /// A pair of strings, of which one may name a file.
    Entry,
}

impl Holder {
    /// What a field of it is, if that is such a message again.
    fn inside(self, number: u32) -> Option<Self> {
        Some(match (self, number) {
            (Self::Graph, graph::NODE) => Self::Node,
            (Self::Graph, graph::INITIALIZER) => Self::Tensor,
            (Self::Graph, graph::SPARSE_INITIALIZER) => Self::SparseTensor,
            (Self::Node, 5) => Self::Attribute,
            (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Tensor, 13) => Self::Entry,
            _ => return None,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(float, optional, tag = "2")]
    pub float: Option<f32>,
    #[prost(message, optional, tag = "5")]
    pub tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    pub graph: Option<Subgraph>,
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<Subgraph>,
}

/// A graph inside a node (`If`, `Loop`).
#[derive(Clone, PartialEq, Message)]
pub(super) struct Subgraph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    #[prost(int32, tag = "1")]
    pub element: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub parameter: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Also the bits of 16-bit floats.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

impl Tensor {
    /// How many values it has.
    pub fn elements(&self) -> u64 {
        let dims = self.dims.iter().map(|dim| (*dim).max(0) as u64);
        dims.fold(1, u64::saturating_mul)
    }

    /// The value of a tensor that is one float.
    pub fn number(&self) -> Option<f64> {
        if self.elements() != 1 {
            return None;
        }
        let raw = self.raw_data.as_slice();
        match self.data_type {
            1 => {
                let value = self.float_data.first().copied();
                value.or_else(|| Some(f32::from_le_bytes(raw.try_into().ok()?))).map(f64::from)
            }
            10 => {
                let bits = self.int32_data.first().and_then(|bits| u16::try_from(*bits).ok());
                let bits = bits.or_else(|| Some(u16::from_le_bytes(raw.try_into().ok()?)));
                bits.map(|bits| half::f16::from_bits(bits).to_f64())
            }
            _ => None,
        }
    }
}

impl Tensor {
    /// The value of a tensor that is one whole number.
    pub fn integer(&self) -> Option<i64> {
        if self.elements() != 1 {
            return None;
        }
        let raw = self.raw_data.as_slice();
        match self.data_type {
            6 => {
                let value = self.int32_data.first().copied();
                value.or_else(|| Some(i32::from_le_bytes(raw.try_into().ok()?))).map(i64::from)
            }
            7 => {
                let value = self.int64_data.first().copied();
                value.or_else(|| Some(i64::from_le_bytes(raw.try_into().ok()?)))
            }
            _ => None,
        }
    }
}

impl Attribute {
    /// The value of an attribute that is one float.
    pub fn number(&self) -> Option<f64> {
        self.float.map(f64::from).or_else(|| self.tensor.as_ref()?.number())
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Entry {
    /// The file it names, if it is the entry that does.
    fn location(&self) -> Option<String> {
        (self.key == "location").then(|| self.value.clone())
    }
}

/// A file read field by field.
pub(super) struct Reader<'p> {
    path: &'p Path,
    file: BufReader<fs_err::File>,
    at: u64,
    size: u64,
}

#[cfg(test)]
impl Field {
    /// A field that stands for none of a file.
    pub fn empty() -> Self {
        Self { number: 1, wire: WireType::LengthDelimited, value: 0..0 }
    }
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

    /// Adds the names of files that a field of a `holder` gives for weights.
    pub fn locations(
        &mut self,
        holder: Holder,
        field: &Field,
        found: &mut BTreeSet<String>,
    ) -> Result<(), ModelError> {
        match holder.inside(field.number) {
            None => {}
            Some(Holder::Entry) => found.extend(self.entry(field)?.location()),
            Some(inside) => {
                for part in self.fields(field.value.clone())? {
                    self.locations(inside, &part, found)?;
                }
            }
        }
        Ok(())
    }

    /// As [`Self::append`], with other names for the files of weights.
    pub fn append_renamed(
        &mut self,
        holder: Holder,
        field: &Field,
        names: &BTreeMap<String, String>,
        out: &mut Vec<u8>,
    ) -> Result<(), ModelError> {
        let mut value = Vec::new();
        match holder.inside(field.number) {
            None => return self.append(field, out),
            Some(Holder::Entry) => {
                let mut entry = self.entry(field)?;
                if let Some(name) = entry.location().and_then(|name| names.get(&name)) {
                    entry.value.clone_from(name);
                }
                value = entry.encode_to_vec();
            }
            Some(inside) => {
                for part in self.fields(field.value.clone())? {
                    self.append_renamed(inside, &part, names, &mut value)?;
                }
            }
        }
        encode_key(field.number, WireType::LengthDelimited, out);
        encode_varint(value.len() as u64, out);
        out.extend(value);
        Ok(())
    }

    fn entry(&mut self, field: &Field) -> Result<Entry, ModelError> {
        let bytes = self.bytes(&field.value)?;
        Entry::decode(bytes.as_slice()).map_err(|error| self.not_onnx(error.to_string()))
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
