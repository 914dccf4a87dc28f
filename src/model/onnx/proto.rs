//! The parts of ONNX's protobuf schema (`onnx.proto`, version 1.x) that are read here.

use prost::Message;

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
pub(super) const TENSOR_HEADER: [u32; 4] = [1, 2, 8, 13];

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
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<Entry>,
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
