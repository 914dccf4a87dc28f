//! The command line.

mod instructions;
mod model;
mod models;
mod serve;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::dataset::sink::ExportFormat;
use crate::matching::Strategy;

use super::evaluate_args::EvaluateCommand;

pub use instructions::{
    ExportInstructionsArgs, GenerateArgs, ImportArgs, InstructionsArgs, InstructionsCommand,
    LibraryFormat, ListArgs, Listed, ShowArgs, StatsArgs,
};
pub use model::ModelArgs;
pub use models::{AddArgs, ModelsCommand, PullArgs};
pub use serve::{KeysArgs, KeysCommand, ServeArgs};

/// Turns captioned photos into a checked visual-instruction dataset (the MM-Instruct method).
///
/// The usual way: `pairwright run --source PHOTOS --out RUN`. It embeds the photos, draws
/// instructions that fit each one, has an LLM write the answers from the photos' descriptions,
/// filters them, and writes RUN/dataset/ and RUN/report.html. Run the same command again to
/// resume after any interruption, or to add what is new in the source.
#[derive(Debug, Parser)]
#[command(
    name = "pairwright",
    version,
    arg_required_else_help = true,
    after_long_help = "Exit codes:\n  \
        0    done (refused records are normal; the summary counts them)\n  \
        1    internal error\n  \
        2    wrong input, configuration or state; the message names it\n  \
        3    done, but some LLM calls failed: the same command tries them again\n  \
        4    the LLM server or the model hub cannot be used; what was done is kept\n  \
        5    verify found something wrong\n  \
        6    a limit was hit, such as a full disk; finished work is kept\n  \
        130  stopped by Ctrl-C; finished work is kept\n\n\
        Environment:\n  \
        PAIRWRIGHT__SECTION__KEY  any configuration value, e.g. PAIRWRIGHT__MATCHING__STRATEGY=mmr\n  \
        PAIRWRIGHT_LOG            log filter, e.g. debug or pairwright=debug\n  \
        PAIRWRIGHT_MODELS         the folder of fetched models\n  \
        PAIRWRIGHT_CATALOG        your own catalog of models\n  \
        HF_ENDPOINT, HF_TOKEN     another model hub, and a token for it\n  \
        ORT_DYLIB_PATH            the ONNX Runtime library to load"
)]
pub struct Cli {
    /// Write the log as JSON lines.
    #[arg(long, global = true)]
    pub log_json: bool,

    /// Fetch nothing from a model hub: what is not on this machine is refused by name.
    #[arg(long, global = true, env = "PAIRWRIGHT_OFFLINE",
          value_parser = clap::builder::FalseyValueParser::new())]
    pub offline: bool,

    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do the whole job: photos in, dataset and report out. Resumes what was interrupted.
    Run(Box<RunArgs>),
    /// First half of the job: read the source, embed photos, draw instructions.
    Match(Box<RunArgs>),
    /// Second half: write answers for the pairs of a matched run.
    Answer(Box<RunArgs>),
    /// Write the dataset files of a run again.
    Export(ExportArgs),
    /// Write report.html of a run again.
    Report(FolderArgs),
    /// Check a run: database, exports row by row, photos, hashes.
    Verify(FolderArgs),
    /// Embed photos or texts into a .npy file.
    Embed(EmbedArgs),
    /// Judge answers with an LLM, rank models, build a benchmark.
    #[command(subcommand)]
    Evaluate(EvaluateCommand),
    /// Show the prompts and in-context examples a run would use.
    Prompts(PromptsArgs),
    /// Generate instructions from seeds, and look at what came of it.
    Instructions(InstructionsArgs),
    /// Serve the gRPC API.
    Serve(Box<ServeArgs>),
    /// List, fetch and check encoder models by name.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Make, list and revoke the API keys of `serve`.
    Keys(KeysArgs),
}

/// Options of `run`, `match` and `answer`. Without --config, an existing RUN/run.toml is used, so
/// that resuming needs nothing but --out.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run folder.
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,

    /// A configuration file (TOML); flags and environment win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Folder of photos with .txt/.json sidecars, JSONL manifest, or COCO captions JSON.
    #[arg(long, value_name = "PATH")]
    pub source: Option<PathBuf>,

    /// Kind of the source when its path does not tell: auto, folder, jsonl, coco.
    #[arg(long, value_name = "KIND", value_parser = ["auto", "folder", "jsonl", "coco"])]
    pub source_kind: Option<String>,

    /// Folder that image names in a manifest or COCO file are relative to.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// Encoder: a name of `pairwright models list`, or a folder with model.toml and its graphs, or
    /// with a CLIP-like ONNX export; default: the bundled stand-in, not CLIP.
    #[arg(long, value_name = "DIR|NAME")]
    pub model: Option<PathBuf>,

    #[command(flatten)]
    pub model_choice: ModelArgs,

    /// Instruction library, .jsonl or .txt; default: the built-in one.
    #[arg(long, value_name = "FILE")]
    pub instructions: Option<PathBuf>,

    /// Begin by generating the instructions from seeds and the source's descriptions.
    #[arg(long)]
    pub generate_instructions: bool,

    /// Seed instructions for --generate-instructions, .jsonl or .txt; default: the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub seeds: Option<PathBuf>,

    /// In-context examples, .jsonl; default: the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub examples: Option<PathBuf>,

    /// Folder with answer.system.txt and answer.user.txt; default: the built-in prompts.
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,

    /// Sampling strategy.
    #[arg(long, value_name = "NAME", value_parser = Strategy::ALL.map(Strategy::name))]
    pub strategy: Option<String>,

    /// Instructions drawn per photo.
    #[arg(long, value_name = "N")]
    pub per_image: Option<u64>,

    /// The LLM: local, local:FILE.gguf, or openai:http://HOST:PORT/v1.
    #[arg(long, value_name = "BACKEND")]
    pub llm: Option<String>,

    /// Model name to ask the LLM server for; default: the server's first.
    #[arg(long, value_name = "NAME")]
    pub llm_model: Option<String>,

    /// LLM calls under way at once.
    #[arg(long, value_name = "N")]
    pub llm_in_flight: Option<u64>,

    /// Seed of every draw, 0 to 2^63 - 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The run folder.
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,

    /// Formats to write; default: as configured for the run.
    #[arg(long, value_name = "llava|jsonl|parquet", value_delimiter = ',')]
    pub format: Vec<ExportFormat>,
}

/// Options of commands that only need a run folder.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// The run folder.
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
}

/// Options of `embed`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub struct EmbedArgs {
    /// Folder of photos (recursive).
    #[arg(long, value_name = "DIR", group = "input")]
    pub images: Option<PathBuf>,

    /// Text file, one text per line.
    #[arg(long, value_name = "FILE", group = "input")]
    pub texts: Option<PathBuf>,

    /// Writes PREFIX.npy (float32 [N, D], L2-normalised) and PREFIX.jsonl (one {"id"} per row).
    #[arg(long, value_name = "PREFIX")]
    pub out: PathBuf,

    /// Encoder folder, or a name of `pairwright models list`; default: the bundled stand-in, not CLIP.
    #[arg(long, value_name = "DIR|NAME")]
    pub model: Option<PathBuf>,

    #[command(flatten)]
    pub model_choice: ModelArgs,

    /// Embed texts with this fastembed model instead (e.g. BGESmallENV15, fetched by `models pull`).
    #[arg(long, value_name = "NAME", requires = "texts", conflicts_with = "model")]
    pub text_model: Option<String>,

    /// Photos per inference call, 1 to 256.
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch_size: u16,

    /// Threads inside one inference call; 0: one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub intra_threads: usize,

    /// Threads that decode photos; 0: one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub decode_threads: usize,
}

/// Options of `prompts`.
#[derive(Debug, Args)]
pub struct PromptsArgs {
    /// Folder with answer.system.txt and answer.user.txt; default: the built-in prompts.
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,

    /// In-context examples, .jsonl; default: the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub examples: Option<PathBuf>,

    /// Examples per prompt.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub examples_per_prompt: usize,
}
