//! LLaVA's conversation JSON: checking any such file row by row.

mod check;
mod report;
mod row;

pub use check::check;
pub use report::{LISTED_PROBLEMS, LlavaReport, RowProblem};
pub use row::DecodeCheck;

#[cfg(test)]
mod tests;
