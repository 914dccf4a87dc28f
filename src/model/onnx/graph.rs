//! A graph's outside, and what of its inside matters here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

use prost::Message;

use super::ModelError;
use super::logit::logit;
use super::proto::{self, Field, Holder, Node, Reader, Tensor, ValueInfo};
use super::reads::{EndMarker, Read, reads};
use crate::model::Precision;
use crate::model::manifest::Logit;

/// Operators that scale a whole activation tensor by its own largest value: a row's result then
/// depends on what else is in its batch.
const DYNAMIC_QUANTISERS: [&str; 4] =
    ["DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "DynamicQuantLSTM"];

/// The type of a tensor's elements, `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    F32,
    F16,
    I32,
    I64,
    /// Any other, by its number in ONNX.
    Other(i32),
}

impl Element {
    fn new(number: i32) -> Self {
        match number {
            1 => Self::F32,
            6 => Self::I32,
            7 => Self::I64,
            10 => Self::F16,
            other => Self::Other(other),
        }
    }

    /// Whether it is one of the floating-point types used here.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }

    /// Whether it is one of the integer types used here.
    pub fn is_integer(self) -> bool {
        matches!(self, Self::I32 | Self::I64)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => f.write_str("float32"),
            Self::F16 => f.write_str("float16"),
            Self::I32 => f.write_str("int32"),
            Self::I64 => f.write_str("int64"),
            Self::Other(number) => write!(f, "type {number}"),
        }
    }
}

/// An input or an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub element: Element,
    /// `None` is a dimension that the caller chooses.
    pub dims: Vec<Option<usize>>,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, element, dims } = self;
        let size = |dim: &Option<usize>| dim.map_or("?".into(), |size| size.to_string());
        let dims: Vec<String> = dims.iter().map(size).collect();
        write!(f, "{name} {element} [{}]", dims.join(", "))
    }
}

/// What an ONNX file says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Every operator, those in nested graphs included.
    pub operators: BTreeSet<String>,
    /// Names of the files beside the graph that hold its weights, those of nested graphs included.
    pub external_files: BTreeSet<String>,
    /// How the graph scores a pair, where it does.
    pub logit: Option<Logit>,
    /// Elements of the weights, by their type's number.
    weights: BTreeMap<i32, u64>,
    /// What is done with each input, by its name.
    reads: HashMap<String, Read>,
}

impl Graph {
    /// Reads a file's graph; weights are stepped over.
    ///
    /// # Errors
    /// The file cannot be read, ends too early, or is not ONNX.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let mut parts = Parts::read(path)?;
        let mut graph = Self::default();
        let mut weights: HashMap<String, Tensor> = HashMap::new();
        for field in parts.of(proto::graph::INITIALIZER) {
            let tensor = parts.tensor(&field)?;
            graph.weigh(&tensor);
            weights.insert(tensor.name.clone(), tensor);
        }
        let nodes = parts.nodes()?;
        graph.external_files = parts.locations()?;
        for (_, node) in &nodes {
            collect_operators(node, &mut graph.operators);
        }
        // Files of the first years list weights among the inputs.
        let mut inputs = parts.ports(proto::graph::INPUT)?;
        inputs.retain(|port| !weights.contains_key(&port.name));
        graph.reads = reads(&inputs, &nodes, &weights);
        graph.inputs = inputs;
        graph.outputs = parts.ports(proto::graph::OUTPUT)?;
        let outputs = graph.outputs.iter().map(|port| port.name.as_str());
        graph.logit = logit(outputs, nodes.iter().map(|(_, node)| node), &weights);
        Ok(graph)
    }

    /// The input of this name.
    pub fn input(&self, name: &str) -> Option<&Port> {
        self.inputs.iter().find(|port| port.name == name)
    }

    /// The output of this name.
    pub fn output(&self, name: &str) -> Option<&Port> {
        self.outputs.iter().find(|port| port.name == name)
    }

    /// Rows of the table that integer input `name` looks up, where the graph shows it: ids from 0
    /// to one less are allowed.
    pub fn table_rows(&self, name: &str) -> Option<usize> {
        self.reads.get(name)?.rows
    }

    /// How the graph finds the token of integer input `name` that ends a text, where it looks for
    /// one: a graph that reads a text off its first place or its mean does not.
    pub fn end_marker(&self, name: &str) -> Option<EndMarker> {
        self.reads.get(name)?.end
    }

    /// Whether a row's result does not depend on the rest of its batch.
    pub fn batch_independent(&self) -> bool {
        !DYNAMIC_QUANTISERS.iter().any(|operator| self.operators.contains(*operator))
    }

    /// How the weights are stored.
    pub fn precision(&self) -> Precision {
        let has = |operator: &&str| self.operators.contains(*operator);
        if ["MatMulNBits", "MatMulBnb4"].iter().any(has) {
            return Precision::Q4;
        }
        let integer =
            ["MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "QAttention"];
        if !self.batch_independent() || integer.iter().any(has) || has(&"DequantizeLinear") {
            return Precision::Int8;
        }
        let count = |number: i32| self.weights.get(&number).copied().unwrap_or_default();
        if count(10) > count(1) { Precision::Fp16 } else { Precision::Fp32 }
    }

    fn weigh(&mut self, tensor: &Tensor) {
        *self.weights.entry(tensor.data_type).or_default() += tensor.elements();
    }
}

/// The fields of a model file and of the graph in it.
pub(super) struct Parts<'p> {
    pub reader: Reader<'p>,
    pub model: Vec<Field>,
    pub graph: Vec<Field>,
}

impl<'p> Parts<'p> {
    pub fn read(path: &'p Path) -> Result<Self, ModelError> {
        let mut reader = Reader::open(path)?;
        let whole = reader.whole();
        let model = reader.fields(whole)?;
        let known = model.iter().any(|field| field.number == proto::model::IR_VERSION);
        let graph = model.iter().find(|field| field.number == proto::model::GRAPH).cloned();
        match graph {
            Some(graph) if known => {
                let graph = reader.fields(graph.value)?;
                Ok(Self { reader, model, graph })
            }
            _ => Err(reader.not_onnx("no graph in it".into())),
        }
    }

    /// What the graph calls the files beside it that hold weights.
    pub fn locations(&mut self) -> Result<BTreeSet<String>, ModelError> {
        let mut found = BTreeSet::new();
        for field in &self.graph {
            self.reader.locations(Holder::Graph, field, &mut found)?;
        }
        Ok(found)
    }

    pub fn of(&self, number: u32) -> Vec<Field> {
        self.graph.iter().filter(|field| field.number == number).cloned().collect()
    }

    pub fn decode<M: Message + Default>(&mut self, field: &Field) -> Result<M, ModelError> {
        let bytes = self.reader.bytes(&field.value)?;
        M::decode(bytes.as_slice()).map_err(|error| self.reader.not_onnx(error.to_string()))
    }

    /// What a weight is; of its values only a single one is read.
    pub fn tensor(&mut self, field: &Field) -> Result<Tensor, ModelError> {
        let mut header = Vec::new();
        for part in self.reader.fields(field.value.clone())? {
            if proto::TENSOR_HEADER.contains(&part.number) {
                self.reader.append(&part, &mut header)?;
            }
        }
        let decoded = Tensor::decode(header.as_slice());
        let tensor = decoded.map_err(|error| self.reader.not_onnx(error.to_string()))?;
        if tensor.elements() == 1 { self.decode(field) } else { Ok(tensor) }
    }

    pub fn nodes(&mut self) -> Result<Vec<(Field, Node)>, ModelError> {
        let fields = self.of(proto::graph::NODE);
        let mut nodes = Vec::with_capacity(fields.len());
        for field in fields {
            let mut node: Node = self.decode(&field)?;
            // Some converters keep their weights in constants.
            for attribute in &mut node.attribute {
                attribute.tensor.take_if(|tensor| tensor.elements() != 1);
            }
            nodes.push((field, node));
        }
        Ok(nodes)
    }

    fn ports(&mut self, number: u32) -> Result<Vec<Port>, ModelError> {
        self.of(number).iter().map(|field| Ok(port(self.decode(field)?))).collect()
    }
}

fn port(info: ValueInfo) -> Port {
    let tensor = info.r#type.and_then(|kind| kind.tensor).unwrap_or_default();
    let dims = tensor.shape.unwrap_or_default().dim;
    let size = |dim: &proto::Dimension| dim.value.and_then(|size| usize::try_from(size).ok());
    Port {
        name: info.name,
        element: Element::new(tensor.element),
        dims: dims.iter().map(|dim| size(dim).filter(|size| *size > 0)).collect(),
    }
}

fn collect_operators(node: &Node, operators: &mut BTreeSet<String>) {
    operators.insert(node.op_type.clone());
    for attribute in &node.attribute {
        let nested = attribute.graph.iter().chain(&attribute.graphs);
        nested.flat_map(|graph| &graph.node).for_each(|node| collect_operators(node, operators));
    }
}
