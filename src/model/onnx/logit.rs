//! The score of a pair, where a graph computes it: `scale * cosine + bias`.

use std::collections::HashMap;

use super::proto::{Node, Tensor};
use crate::model::manifest::Logit;

/// More steps than any export takes between the cosines and the scores.
const STEPS: usize = 16;

/// Reads scale and bias from what leads to an output `logits_per_image` or `logits_per_text`.
/// `None` where there is no such output, or something else than a product and a sum leads to it.
pub(super) fn logit<'g>(
    mut outputs: impl Iterator<Item = &'g str>,
    nodes: impl Iterator<Item = &'g Node>,
    weights: &'g HashMap<String, Tensor>,
) -> Option<Logit> {
    let mut values = Values { makers: HashMap::new(), weights };
    for node in nodes {
        values.makers.extend(node.output.iter().map(|name| (name.as_str(), node)));
    }
    let scores = outputs.find(|name| name.starts_with("logits_per_"))?;
    let logit = values.line(scores)?;
    (logit.scale.is_finite() && logit.scale > 0.0 && logit.bias.is_finite()).then_some(logit)
}

struct Values<'g> {
    makers: HashMap<&'g str, &'g Node>,
    weights: &'g HashMap<String, Tensor>,
}

impl<'g> Values<'g> {
    /// What stands between the product of the embeddings and the value of this name.
    fn line(&self, name: &'g str) -> Option<Logit> {
        let (mut name, mut logit) = (name, Logit { scale: 1.0, bias: 0.0 });
        for _ in 0..STEPS {
            let node = self.makers.get(name)?;
            match node.op_type.as_str() {
                "Transpose" | "Identity" | "Cast" => name = node.input.first()?,
                "Add" => {
                    let (number, rest) = self.number_and_rest(node)?;
                    logit.bias += logit.scale * number;
                    name = rest;
                }
                "Mul" => {
                    let (number, rest) = self.number_and_rest(node)?;
                    logit.scale *= number;
                    name = rest;
                }
                // OpenAI's code scales one side before the product.
                "MatMul" => {
                    let scaled = node.input.iter().filter_map(|side| self.scaled(side));
                    logit.scale *= scaled.product::<f64>();
                    return Some(logit);
                }
                _ => return None,
            }
        }
        None
    }

    /// The number that this side of a product was multiplied with.
    fn scaled(&self, side: &str) -> Option<f64> {
        let node = self.makers.get(side).filter(|node| node.op_type == "Mul")?;
        Some(self.number_and_rest(node)?.0)
    }

    /// The input that is a number, and the other one.
    fn number_and_rest(&self, node: &'g Node) -> Option<(f64, &'g str)> {
        let [left, right] = node.input.as_slice() else { return None };
        let number = |name: &str| self.number(name, STEPS);
        number(right).map(|number| (number, left.as_str())).or_else(|| Some((number(left)?, right)))
    }

    fn number(&self, name: &str, steps: usize) -> Option<f64> {
        if let Some(weight) = self.weights.get(name) {
            return weight.number();
        }
        let (node, steps) = (self.makers.get(name)?, steps.checked_sub(1)?);
        match node.op_type.as_str() {
            "Constant" => node.attribute.iter().find_map(|attribute| attribute.number()),
            "Exp" => Some(self.number(node.input.first()?, steps)?.exp()),
            "Cast" | "Identity" => self.number(node.input.first()?, steps),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, input: &[&str], output: &str) -> Node {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Node {
            op_type: op_type.into(),
            input: names(input),
            output: names(&[output]),
            attribute: Vec::new(),
        }
    }

    fn number(value: f32) -> Tensor {
        Tensor { data_type: 1, float_data: vec![value], ..Tensor::default() }
    }

    fn found(nodes: &[Node], weights: &[(&str, Tensor)]) -> Option<Logit> {
        let weights: HashMap<String, Tensor> =
            weights.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        logit(["text_embeds", "logits_per_text"].into_iter(), nodes.iter(), &weights)
    }

    #[test]
    fn siglip_has_a_scale_whose_exponential_counts_and_a_bias() {
        let nodes = [
            node("MatMul", &["text_embeds", "turned"], "cosines"),
            node("Exp", &["logit_scale"], "scale"),
            node("Mul", &["cosines", "scale"], "scaled"),
            node("Add", &["scaled", "logit_bias"], "logits_per_text"),
        ];
        let logit = found(&nodes, &[("logit_scale", number(4.7)), ("logit_bias", number(-16.5))]);
        let logit = logit.expect("a logit");
        assert!((logit.scale - 4.7f64.exp()).abs() < 1e-4, "{logit:?}");
        assert_eq!(logit.bias, -16.5);
    }

    #[test]
    fn the_scale_may_come_first_or_before_the_product() {
        let first = [
            node("MatMul", &["text_embeds", "turned"], "cosines"),
            node("Mul", &["scale", "cosines"], "logits_per_image"),
            node("Transpose", &["logits_per_image"], "logits_per_text"),
        ];
        let before = [
            node("Mul", &["scale", "text_embeds"], "scaled"),
            node("MatMul", &["scaled", "turned"], "logits_per_text"),
        ];
        for nodes in [first.as_slice(), &before] {
            let logit = found(nodes, &[("scale", number(100.0))]);
            assert_eq!(logit, Some(Logit { scale: 100.0, bias: 0.0 }));
        }
    }

    #[test]
    fn what_is_no_line_has_no_logit() {
        let (product, scale) =
            (node("MatMul", &["a", "b"], "cosines"), ("scale", number(f32::NAN)));
        let nan = [product.clone(), node("Mul", &["cosines", "scale"], "logits_per_text")];
        let bent = [product, node("Tanh", &["cosines"], "logits_per_text")];
        let round = [node("Mul", &["logits_per_text", "scale"], "logits_per_text")];
        for nodes in [nan.as_slice(), &bent, &round, &[]] {
            assert_eq!(found(nodes, std::slice::from_ref(&scale)), None);
        }
    }
}
