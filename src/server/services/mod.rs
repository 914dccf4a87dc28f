//! The services of the public contract, one file each: check the request, call the engine, map the
//! reply.

mod answer;
mod embedding;
mod evaluation;
mod info;
mod instruction;
mod job;
mod matching;

pub use answer::Answers;
pub use embedding::Embedding;
pub use evaluation::Evaluation;
pub use info::Info;
pub use instruction::Instructions;
pub use job::Jobs;
pub use matching::Matching;
