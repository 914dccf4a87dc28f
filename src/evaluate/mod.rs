//! Evaluation: judging that can be trusted and repeated (MM-Instruct, section 4.1).
//!
//! [`judge`] has a model compare two files of answers, every question in both orders, and says how
//! far the judge itself can be believed: order flips, unread replies, position and length bias.
//! [`leaderboard`] does so for many files and ranks them, [`compare`] tells how far two judges
//! agree, [`answer`] has a model write answers, [`build`] holds a benchmark
//! out of a run. Each works in a folder that resumes after any end.
//!
//! Nothing is asked before every file was read and found to fit.

mod align;
mod answer;
mod bootstrap;
mod bradley_terry;
mod build;
mod compare;
mod error;
mod estimate;
mod folder;
mod image_view;
mod judge;
mod leaderboard;
mod old_keys;
mod output;
mod prompt;
mod question;
mod request;
mod results;
mod rule;
mod session;
mod stats;
mod store;
mod table;
mod tally;
pub mod verdict;

pub use crate::work::{Estimate, Prices, Worked};
pub use align::{EmptyAnswers, Entrant, align};
pub use answer::{AnswerRequest, AnswerResults, answer, estimate_answer};
pub use bradley_terry::{Wins, strengths};
pub use build::{Benchmark, BuildRequest, build};
pub use compare::{Agreement, compare};
pub use error::EvaluationError;
pub use folder::{EvaluationFolder, Kind};
pub use image_view::{ImageView, Sight};
pub use leaderboard::{estimate_leaderboard, leaderboard};
pub use output::{REPORT_FILE, VERDICTS_FILE};
pub use prompt::JudgePrompts;
pub use question::{Answer, AnswerFile, Question, QuestionFile, QuestionId};
pub use request::{JudgeOptions, JudgeRequest, LeaderboardRequest, Shared};
pub use results::{
    FileFacts, JudgeFacts, JudgeResults, LeaderboardResults, Matchup, RESULTS_FILE, Ranked,
    read_results,
};
pub use rule::{Consistency, Letter, Outcome, Rule};
pub use session::{Finished, estimate_judge, judge, judge_with, last_request};
pub use stats::{Kappa, Share, cohens_kappa, sign_test};
pub use store::{EvaluationStore, FailedCall, Reply};
pub use table::{agreement_table, judge_table, ranking_table};
pub use tally::{
    ConsistencyCounts, Cost, Group, Length, Position, QuestionResult, RuleResults, Side, Tally,
};
