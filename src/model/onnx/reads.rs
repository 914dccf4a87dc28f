//! What a graph does with token ids.

use std::collections::HashMap;

use super::graph::Port;
use super::proto::{Field, Node, Tensor};

/// How a graph finds the token that ends a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndMarker {
    /// The first with the largest id.
    Largest,
    /// The first with this id.
    Id(i64),
}

/// What is done with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Read {
    /// Rows of the first table that it looks up.
    pub rows: Option<usize>,
    pub end: Option<EndMarker>,
}

/// A value that follows from an input: the ids themselves, or whether each is the one given.
#[derive(Clone, Copy)]
struct Trace<'g> {
    input: &'g str,
    is: Option<i64>,
}

/// What is done with each input, directly or after a cast or a reshape.
pub(super) fn reads(
    inputs: &[Port],
    nodes: &[(Field, Node)],
    weights: &HashMap<String, Tensor>,
) -> HashMap<String, Read> {
    let names = inputs.iter().map(|port| port.name.as_str());
    let mut traces: HashMap<&str, Trace> =
        names.map(|input| (input, Trace { input, is: None })).collect();
    let mut constants: HashMap<&str, i64> = HashMap::new();
    let mut found: HashMap<String, Read> = HashMap::new();
    let weight = |name: &str| weights.get(name);
    for (_, node) in nodes {
        let Node { input, output, op_type, attribute } = node;
        let [to, ..] = output.as_slice() else { continue };
        match (op_type.as_str(), input.as_slice()) {
            ("Constant", _) => {
                let tensor = attribute.iter().find_map(|one| one.tensor.as_ref());
                constants.extend(tensor.and_then(Tensor::integer).map(|id| (to.as_str(), id)));
            }
            ("Cast" | "Reshape" | "Identity", [from, ..]) => {
                // A constant may be cast, too.
                constants.extend(constants.get(from.as_str()).copied().map(|id| (to.as_str(), id)));
                let trace = traces.get(from.as_str()).copied();
                traces.extend(trace.map(|trace| (to.as_str(), trace)));
            }
            ("Equal", [one, other]) => {
                let number =
                    |name: &str| constants.get(name).copied().or_else(|| weight(name)?.integer());
                let compared = |ids: &str, id: &str| {
                    let trace = traces.get(ids).filter(|trace| trace.is.is_none())?;
                    Some(Trace { is: Some(number(id)?), ..*trace })
                };
                let trace = compared(one, other).or_else(|| compared(other, one));
                traces.extend(trace.map(|trace| (to.as_str(), trace)));
            }
            ("ArgMax", [from, ..]) => {
                if let Some(trace) = traces.get(from.as_str()) {
                    let end = trace.is.map_or(EndMarker::Largest, EndMarker::Id);
                    found.entry(trace.input.to_owned()).or_default().end.get_or_insert(end);
                }
            }
            ("Gather", [table, index, ..]) => {
                let rows = weight(table).and_then(|table| table.dims.first());
                let rows = rows.and_then(|rows| usize::try_from(*rows).ok());
                if let (Some(Trace { input, is: None }), Some(rows)) =
                    (traces.get(index.as_str()), rows)
                {
                    found.entry((*input).to_owned()).or_default().rows.get_or_insert(rows);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::graph::Element;
    use super::super::proto::Attribute;
    use super::*;

    fn node(op_type: &str, input: &[&str], output: &str) -> (Field, Node) {
        let node = Node {
            input: input.iter().map(ToString::to_string).collect(),
            output: vec![output.to_owned()],
            op_type: op_type.to_owned(),
            ..Node::default()
        };
        (Field::empty(), node)
    }

    fn constant(id: i64, output: &str) -> (Field, Node) {
        let (field, mut node) = node("Constant", &[], output);
        let tensor = Tensor { data_type: 7, int64_data: vec![id], ..Tensor::default() };
        node.attribute.push(Attribute { tensor: Some(tensor), ..Attribute::default() });
        (field, node)
    }

    fn read(nodes: &[(Field, Node)]) -> Read {
        let ids = Port { name: "ids".into(), element: Element::I64, dims: vec![None, None] };
        let table = Tensor { dims: vec![21_128, 8], data_type: 1, ..Tensor::default() };
        let weights = HashMap::from([("table".to_owned(), table)]);
        reads(&[ids], nodes, &weights).remove("ids").unwrap_or_default()
    }

    #[test]
    fn the_end_is_the_largest_id_or_one_that_is_compared_with() {
        let largest = [node("Cast", &["ids"], "narrow"), node("ArgMax", &["narrow"], "place")];
        assert_eq!(read(&largest).end, Some(EndMarker::Largest));
        let compared = [
            constant(49_407, "end"),
            node("Cast", &["end"], "narrow_end"),
            node("Cast", &["ids"], "narrow"),
            node("Equal", &["narrow", "narrow_end"], "is_end"),
            node("Cast", &["is_end"], "number"),
            node("ArgMax", &["number"], "place"),
        ];
        assert_eq!(read(&compared).end, Some(EndMarker::Id(49_407)));
    }

    #[test]
    fn a_tower_that_only_masks_its_padding_looks_for_no_end() {
        let masked = [
            node("Gather", &["table", "ids"], "words"),
            constant(0, "pad"),
            node("Equal", &["ids", "pad"], "is_padding"),
            node("ReduceMean", &["words"], "mean"),
            node("ArgMax", &["mean"], "other"),
        ];
        assert_eq!(read(&masked), Read { rows: Some(21_128), end: None });
    }
}
