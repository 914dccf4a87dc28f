//! Answers: the prompt as the paper builds it, the call, and the filters behind it.

pub mod decline;
pub mod describe;
mod error;
pub mod filter;
pub mod generate;
pub mod prompt;
mod write;

pub use error::AnswerError;
pub use generate::Generator;
pub use prompt::{Example, PromptSet};
pub use write::{AnswerEvent, AnswerTask};
