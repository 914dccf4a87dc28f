//! The command line of `instructions`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Options of `instructions`.
#[derive(Debug, Args)]
pub struct InstructionsArgs {
    #[command(subcommand)]
    pub command: InstructionsCommand,
}

/// What to do with instructions.
#[derive(Debug, Subcommand)]
pub enum InstructionsCommand {
    /// Make a library of general instructions from seeds and descriptions. Resumes what was
    /// interrupted; over grown input it does only what is new.
    Generate(Box<GenerateArgs>),
    /// List instructions: the library, what became of every raw instruction, or the clusters.
    List(ListArgs),
    /// Show one instruction with everything it came from.
    Show(ShowArgs),
    /// Add instructions from a .jsonl or .txt file to the library.
    Import(ImportArgs),
    /// Write the library or its lineage to a file.
    Export(ExportInstructionsArgs),
    /// Show sizes, losses and diversity.
    Stats(StatsArgs),
}

/// Options of `instructions generate`. Without --config, an existing DIR/generate.toml is used, so
/// that resuming needs nothing but --out.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The folder of the generation.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// A configuration file (TOML); flags and environment win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Photos whose descriptions are used: folder, JSONL manifest or COCO captions JSON.
    #[arg(long, value_name = "PATH", conflicts_with = "descriptions")]
    pub source: Option<PathBuf>,

    /// Kind of the source when its path does not tell: auto, folder, jsonl, coco.
    #[arg(long, value_name = "KIND", value_parser = ["auto", "folder", "jsonl", "coco"])]
    pub source_kind: Option<String>,

    /// Folder that image names in a manifest or COCO file are relative to.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// Descriptions without photos: .txt (one per line) or .jsonl (id, description).
    #[arg(long, value_name = "FILE")]
    pub descriptions: Option<PathBuf>,

    /// Seed instructions, .jsonl or .txt; default: the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub seeds: Option<PathBuf>,

    /// Folder with augment.*.txt and summarize.*.txt; default: the built-in prompts.
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,

    /// Descriptions written for; default: all.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,

    /// Seeds shown in each prompt.
    #[arg(long, value_name = "N")]
    pub seeds_per_prompt: Option<u64>,

    /// Instructions asked for per description.
    #[arg(long, value_name = "N")]
    pub per_description: Option<u64>,

    /// Clusters, so final instructions at most; default: chosen by silhouette.
    #[arg(long, value_name = "K")]
    pub k: Option<u64>,

    /// The LLM: local, local:FILE.gguf, or openai:http://HOST:PORT/v1.
    #[arg(long, value_name = "BACKEND")]
    pub llm: Option<String>,

    /// Model name to ask the LLM server for; default: the server's first.
    #[arg(long, value_name = "NAME")]
    pub llm_model: Option<String>,

    /// LLM calls under way at once.
    #[arg(long, value_name = "N")]
    pub llm_in_flight: Option<u64>,

    /// Encoder folder or name whose text tower embeds instructions; default: the bundled one.
    #[arg(long, value_name = "DIR|NAME")]
    pub model: Option<PathBuf>,

    /// Embed instructions with this fastembed model instead (e.g. BGESmallENV15, fetched by
    /// `models pull`).
    #[arg(long, value_name = "NAME")]
    pub text_model: Option<String>,

    /// Seed of every draw, 0 to 2^63 - 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
}

/// What `instructions list` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// The library: generated and imported instructions.
    Library,
    /// Every raw instruction with its verdict.
    Raw,
    /// Every cluster with what came of it.
    Clusters,
}

/// Options of `instructions list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The folder of the generation, or of a run that generated its instructions.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// What to list.
    #[arg(value_enum, default_value = "library")]
    pub what: Listed,
}

/// Options of `instructions show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The folder of the generation, or of a run that generated its instructions.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Id of the instruction, as `list` shows it.
    pub id: String,

    /// As JSON, on one line.
    #[arg(long)]
    pub json: bool,
}

/// Options of `instructions import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The folder of the generation; made when it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Instructions, .jsonl (id, text, category) or .txt (one per line).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Forms of `instructions export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LibraryFormat {
    /// One JSON object per line: id, text, category.
    Jsonl,
    /// One instruction per line.
    Txt,
    /// One JSON object per cluster, with everything it came from.
    Lineage,
}

/// Options of `instructions export`.
#[derive(Debug, Args)]
pub struct ExportInstructionsArgs {
    /// The folder of the generation, or of a run that generated its instructions.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// The form.
    #[arg(long, value_enum, default_value = "jsonl")]
    pub format: LibraryFormat,

    /// The file to write; default: standard output.
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// Options of `instructions stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// The folder of the generation, or of a run that generated its instructions.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
