//! One tower taken out of a graph that holds both: ONNX Runtime would run the other one, too.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use prost::encoding::{WireType, encode_key, encode_varint};

use super::ModelError;
use super::graph::Parts;
use super::proto::{self, Field, Node, ValueInfo};

/// The model in `path` reduced to what `output` depends on, as the bytes of an ONNX file. Weights
/// in files beside it stay there.
///
/// # Errors
/// The file cannot be read or is not ONNX.
pub fn split(path: &Path, output: &str) -> Result<Vec<u8>, ModelError> {
    let mut parts = Parts::read(path)?;
    let (nodes, wanted) = needed(parts.nodes()?, output);
    let mut graph = Vec::new();
    for field in nodes {
        parts.reader.append(&field, &mut graph)?;
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
            parts.reader.append(&field, &mut graph)?;
        }
    }
    let mut model = Vec::with_capacity(graph.len() + 4096);
    for field in parts.model.clone() {
        if field.number != proto::model::GRAPH {
            parts.reader.append(&field, &mut model)?;
        }
    }
    encode_key(proto::model::GRAPH, WireType::LengthDelimited, &mut model);
    encode_varint(graph.len() as u64, &mut model);
    model.extend(graph);
    Ok(model)
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
