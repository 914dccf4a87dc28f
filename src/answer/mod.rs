//! Answers: the prompt as the paper builds it, the call, and the filters behind it.

pub mod backend;
mod error;
pub mod filter;
pub mod generate;
pub mod prompt;
mod write;
mod writer;

pub use backend::{AnswerBackend, BackendDown, BackendState, ProbePolicy, concerns_one_call};
pub use error::AnswerError;
pub use generate::Generator;
pub use prompt::{Example, PromptSet};
pub use write::{AnswerEvent, AnswerTask};
pub use writer::AnswerWriter;
