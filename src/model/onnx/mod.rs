//! What an ONNX file says of itself, read without loading it: inputs, outputs, operators, weights'
//! types, and the files its weights lie in.

mod graph;
mod logit;
mod proto;
mod reads;
mod split;
mod weights;

use super::ModelError;

pub use graph::{Element, Graph, Port};
pub use reads::EndMarker;
pub use split::{InMemory, relocated, split};
pub use weights::weights_file;
