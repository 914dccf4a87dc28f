//! Options of `evaluate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::evaluate::{Rule, Sight};

/// What to evaluate.
#[derive(Debug, Subcommand)]
pub enum EvaluateCommand {
    /// Have an LLM judge two files of answers, every question in both orders. `--out` alone
    /// resumes.
    Judge(Box<JudgeArgs>),
    /// Tell how far two judges agree: Cohen's kappa over the results in two folders.
    Compare(CompareArgs),
    /// Judge many files of answers and rank their models (Bradley-Terry). `--out` alone resumes.
    Leaderboard(Box<LeaderboardArgs>),
    /// Have a multimodal LLM answer the questions; writes the published answer format.
    Answer(Box<AnswerArgs>),
    /// Hold out instructions and images of a run as a benchmark; its exports then leave them out.
    Build(BuildArgs),
}

/// Options of every command that asks an LLM.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The evaluation's folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Questions: JSON lines or a JSON array of question_id, image, text, caption, category.
    #[arg(long, value_name = "FILE")]
    pub questions: Option<PathBuf>,

    /// Folder of the images; they are attached to each call.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// What the LLM sees: image or caption; default: images where --images is given.
    #[arg(long, value_name = "image|caption")]
    pub see: Option<Sight>,

    /// A configuration file (TOML) whose [llm] section is used; flags and environment win.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The LLM: local, local:FILE.gguf, or openai:http://HOST:PORT/v1.
    #[arg(long, value_name = "BACKEND")]
    pub llm: Option<String>,

    /// Model name to ask the LLM server for; default: the server's only one.
    #[arg(long, value_name = "NAME")]
    pub llm_model: Option<String>,

    /// LLM calls under way at once.
    #[arg(long, value_name = "N")]
    pub llm_in_flight: Option<u64>,

    /// Sampling temperature, 0 to 2; default 0.2.
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,

    /// Longest reply in tokens; default: 64 for a judge, 512 for an answer.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,

    /// Seed of every call and draw, 0 to 2^63 - 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,

    /// Check every file, tell what it would take, and ask nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Price of a million prompt tokens, for --dry-run.
    #[arg(long, value_name = "PRICE", requires = "dry_run")]
    pub price_in: Option<f64>,

    /// Price of a million reply tokens, for --dry-run.
    #[arg(long, value_name = "PRICE", requires = "dry_run")]
    pub price_out: Option<f64>,

    /// Tokens that one image is charged as, for --dry-run.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub image_tokens: u64,
}

/// Options of a judge.
#[derive(Debug, Args)]
pub struct JudgeOptionArgs {
    /// The rule of the headline; the other is always shown beside it.
    #[arg(long, value_name = "strict|paper")]
    pub rule: Option<Rule>,

    /// Folder with judge.system.txt and judge.user.txt; default: the built-in prompts.
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,

    /// Askings per question and order until a verdict can be read, 1 to 10; default 3.
    #[arg(long, value_name = "N")]
    pub attempts: Option<u32>,

    /// Empty answers: refuse the file, or lose the question without a call; default refuse.
    #[arg(long, value_name = "refuse|lose", value_parser = ["refuse", "lose"])]
    pub empty_answers: Option<String>,
}

/// Options of `evaluate judge`.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    #[command(flatten)]
    pub judge: JudgeOptionArgs,

    /// The first model's answers.
    #[arg(long, value_name = "FILE", requires_all = ["b", "questions"])]
    pub a: Option<PathBuf>,

    /// The second model's answers.
    #[arg(long, value_name = "FILE", requires_all = ["a", "questions"])]
    pub b: Option<PathBuf>,
}

/// Options of `evaluate leaderboard`.
#[derive(Debug, Args)]
pub struct LeaderboardArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    #[command(flatten)]
    pub judge: JudgeOptionArgs,

    /// The models' answers, one file each, 2 or more.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "questions")]
    pub answers: Vec<PathBuf>,

    /// Everyone meets this model only (its model_id); default: everyone meets everyone.
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,

    /// Resamplings for the intervals, 0 to 100000; default 1000.
    #[arg(long, value_name = "N")]
    pub bootstrap: Option<u32>,
}

/// Options of `evaluate answer`.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    /// Name to write as model_id; default: the LLM's own.
    #[arg(long, value_name = "NAME")]
    pub model_id: Option<String>,
}

/// Options of `evaluate compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The first judge's folder.
    #[arg(long, value_name = "DIR")]
    pub a: PathBuf,

    /// The second judge's folder.
    #[arg(long, value_name = "DIR")]
    pub b: PathBuf,

    /// The rule under which outcomes are compared.
    #[arg(long, value_name = "strict|paper", default_value = "strict")]
    pub rule: Rule,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Options of `evaluate build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The run to hold out from; it must have been matched.
    #[arg(long, value_name = "RUN")]
    pub run: PathBuf,

    /// Folder for the benchmark: questions.jsonl and images/.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Instructions to hold out, spread over the categories.
    #[arg(long, value_name = "N", default_value_t = 33)]
    pub instructions: u32,

    /// Images per instruction, at most.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub images: u32,

    /// Cosine similarity from which an image counts as a near-duplicate of a held-out one.
    #[arg(long, value_name = "S", default_value_t = 0.95)]
    pub near: f64,

    /// Seed of the choice.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}
