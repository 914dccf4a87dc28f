//! Graphs made anew in memory: one tower of a graph that holds both, for ONNX Runtime would run the
//! other one, too; and graphs whose weights really lie where the runtime would not look for them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use prost::encoding::{WireType, encode_key, encode_varint};

use super::ModelError;
use super::graph::Parts;
use super::proto::{self, Field, Holder, Node, ValueInfo};
use super::weights::Weights;

/// A graph in memory, its weights where they are.
pub struct InMemory {
    /// As in an ONNX file.
    pub bytes: Vec<u8>,
    /// The real folder in which, or below which, the files of its weights are.
    pub folder: PathBuf,
}

/// The model in `path` reduced to what `output` depends on. Weights in files beside it stay there.
///
/// # Errors
/// The file cannot be read or is not ONNX, or its weights are missing.
pub fn split(path: &Path, output: &str) -> Result<InMemory, ModelError> {
    let mut parts = Parts::read(path)?;
    let (nodes, wanted) = needed(parts.nodes()?, output);
    let weights = Weights::find(path, &parts.locations()?)?;
    let mut graph = Vec::new();
    for field in nodes {
        append(&mut parts, &field, &weights, &mut graph)?;
    }
    for field in parts.graph.clone() {
        let keep = match field.number {
            proto::graph::NAME | proto::graph::SPARSE_INITIALIZER => true,
            proto::graph::INITIALIZER => wanted.contains(&parts.tensor(&field)?.name),
            proto::graph::INPUT => wanted.contains(&parts.decode::<ValueInfo>(&field)?.name),
            proto::graph::OUTPUT => parts.decode::<ValueInfo>(&field)?.name == output,
            _ => false,
        };
        if keep {
            append(&mut parts, &field, &weights, &mut graph)?;
        }
    }
    whole(parts, &graph, weights)
}

/// The model in `path` with the real places of its weights, where links lead out of its folder;
/// `None` where the file can be opened as it is. The weights themselves are not read.
///
/// # Errors
/// As [`split`].
pub fn relocated(path: &Path) -> Result<Option<InMemory>, ModelError> {
    let mut parts = Parts::read(path)?;
    // Decoding refuses graphs that are nested more deeply than can be walked through.
    parts.nodes()?;
    let weights = Weights::find(path, &parts.locations()?)?;
    if weights.beside {
        return Ok(None);
    }
    let mut graph = Vec::new();
    for field in parts.graph.clone() {
        append(&mut parts, &field, &weights, &mut graph)?;
    }
    whole(parts, &graph, weights).map(Some)
}

fn append(
    parts: &mut Parts,
    field: &Field,
    weights: &Weights,
    out: &mut Vec<u8>,
) -> Result<(), ModelError> {
    match weights.beside {
        true => parts.reader.append(field, out),
        false => parts.reader.append_renamed(Holder::Graph, field, &weights.names, out),
    }
}

/// The model around a graph.
fn whole(mut parts: Parts, graph: &[u8], weights: Weights) -> Result<InMemory, ModelError> {
    let mut model = Vec::with_capacity(graph.len() + 4096);
    for field in parts.model.clone() {
        if field.number != proto::model::GRAPH {
            parts.reader.append(&field, &mut model)?;
        }
    }
    encode_key(proto::model::GRAPH, WireType::LengthDelimited, &mut model);
    encode_varint(graph.len() as u64, &mut model);
    model.extend(graph);
    Ok(InMemory { bytes: model, folder: weights.folder })
}

/// The nodes that `output` depends on, in their order, and every value they read.
fn needed(nodes: Vec<(Field, Node)>, output: &str) -> (Vec<Field>, HashSet<String>) {
    // Converters append nodes whose results earlier ones use, so the order tells nothing.
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (place, (_, node)) in nodes.iter().enumerate() {
        makers.extend(node.output.iter().map(|name| (name.as_str(), place)));
    }
    let mut wanted = HashSet::from([output.to_owned()]);
    let mut waiting = vec![output.to_owned()];
    let mut kept = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        let Some(place) = makers.get(name.as_str()).copied() else { continue };
        if kept.insert(place) {
            let mut read = HashSet::new();
            read_by(&nodes[place].1, &mut read);
            waiting.extend(read.iter().filter(|name| !wanted.contains(*name)).cloned());
            wanted.extend(read);
        }
    }
    (kept.into_iter().map(|place| nodes[place].0.clone()).collect(), wanted)
}

/// Adds what a node reads, its nested graphs included: those see the values around them.
fn read_by(node: &Node, wanted: &mut HashSet<String>) {
    wanted.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
    for attribute in &node.attribute {
        let nested = attribute.graph.iter().chain(&attribute.graphs);
        nested.flat_map(|graph| &graph.node).for_each(|node| read_by(node, wanted));
    }
}
