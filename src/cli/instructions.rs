//! `instructions`: generate, list, show, import, export, stats.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::Error;
use crate::config::Config;
use crate::dataset::sink::SinkError;
use crate::dataset::store::Store;
use crate::generate::{Generation, GenerationFolder, GenerationSummary, folder, import};
use crate::index::SearchFacts;
use crate::instruction::augment::LibraryMode;
use crate::instruction::diversity::Diversity;
use crate::instruction::lineage::{GenerationStore, LineageRow};
use crate::instruction::{GenerateError, Library};
use crate::run::{Settings, store_path};
use crate::work::Stop;

use super::args::{LlmArgs, SourceArgs, layers};
use super::exit::{Ended, Exit, conclude};
use super::{progress, signals};

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

    #[command(flatten)]
    pub source_form: SourceArgs,

    /// Descriptions without photos: .txt (one per line) or .jsonl (id, description).
    #[arg(long, value_name = "FILE")]
    pub descriptions: Option<PathBuf>,

    /// Seed instructions, .jsonl or .txt; default: the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub seeds: Option<PathBuf>,

    /// Built-in prompts, capable or small, or a folder with augment.*.txt and summarize.*.txt;
    /// default: small with a local LLM, else capable.
    #[arg(long, value_name = "SET|DIR")]
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

    /// What the library is made of: a summary of each cluster, its best members, or both.
    #[arg(long, value_name = "MODE", value_parser = LibraryMode::ALL.map(LibraryMode::name))]
    pub library: Option<String>,

    /// Clusters, so final instructions at most; default: chosen by silhouette.
    #[arg(long, value_name = "K")]
    pub k: Option<u64>,

    #[command(flatten)]
    pub llm: LlmArgs,

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

/// `pairwright instructions`.
pub async fn instructions(args: &InstructionsArgs) -> Result<Exit, Error> {
    match &args.command {
        InstructionsCommand::Generate(args) => generate(args).await,
        InstructionsCommand::List(args) => list(args),
        InstructionsCommand::Show(args) => show(args),
        InstructionsCommand::Import(args) => import_file(args),
        InstructionsCommand::Export(args) => export(args),
        InstructionsCommand::Stats(args) => stats(args),
    }
}

fn import_file(args: &ImportArgs) -> Result<Exit, Error> {
    let library = Library::read(Some(&args.file))?;
    let folder = GenerationFolder::take(&args.out)?;
    let done = import(&folder, &library)?;
    println!(
        "{} added, {} there already; {} instructions in {}",
        done.added,
        done.duplicates,
        done.library,
        folder.library().display()
    );
    Ok(Exit::Done)
}

/// `pairwright instructions generate`.
async fn generate(args: &GenerateArgs) -> Result<Exit, Error> {
    let config = configure(args)?;
    let folder = GenerationFolder::take(&args.out)?;
    let stop = Stop::default();
    signals::watch(stop.clone());
    let progress = progress::for_terminal();
    end(args, Generation::new(folder, config, progress, stop).run().await)
}

fn configure(args: &GenerateArgs) -> Result<Config, Error> {
    let earlier = args.out.join(folder::CONFIG);
    let layers = layers(args.config.as_deref(), Some(&earlier))?;
    let layers = args.source_form.layers(layers, args.source.as_ref())?;
    let config = args
        .llm
        .layers(layers)?
        .path_flag("model.path", args.model.as_ref())?
        .path_flag("generate.descriptions", args.descriptions.as_ref())?
        .path_flag("generate.seeds", args.seeds.as_ref())?
        .path_flag("generate.prompts", args.prompts.as_ref())?
        .flag("generate.limit", args.limit)?
        .flag("generate.seeds_per_prompt", args.seeds_per_prompt)?
        .flag("generate.per_description", args.per_description)?
        .flag("generate.text_model", args.text_model.clone())?
        .flag("generate.library", args.library.clone())?
        .flag("cluster.k", args.k)?
        .flag("seed", args.seed)?
        .resolve()?;
    Ok(without_list(args, config))
}

/// `--source` on the command line wins over a list of descriptions in a file.
fn without_list(args: &GenerateArgs, mut config: Config) -> Config {
    if args.source.is_some() {
        config.generate.descriptions = None;
    }
    config
}

fn end(args: &GenerateArgs, result: Result<GenerationSummary, Error>) -> Result<Exit, Error> {
    let resume = format!("pairwright instructions generate --out {}", args.out.display());
    let begun = args.out.join(folder::CONFIG).is_file();
    conclude(&resume, begun, result, |summary| {
        print!("{summary}");
        println!("report    {}", summary.folder.join("report.html").display());
        Ended { partial: summary.is_partial(), nothing: summary.why_nothing(), ..Ended::default() }
    })
}

/// `pairwright instructions list`.
fn list(args: &ListArgs) -> Result<Exit, Error> {
    let store = folder::open(&args.out)?;
    let mut text = String::new();
    match args.what {
        Listed::Library => {
            for one in store.library()? {
                text +=
                    &format!("{}\t{}\t{}\n", one.id, one.category.unwrap_or_default(), one.text);
            }
        }
        Listed::Raw => {
            for row in store.raws()? {
                text += &format!("{}\t{}\t{}\n", row.place, row.verdict, row.text);
            }
        }
        Listed::Clusters => {
            for row in store.lineage()? {
                text += &cluster_line(&row);
            }
        }
    }
    write_out(text.as_bytes(), None)
}

fn cluster_line(row: &LineageRow) -> String {
    let into = row.merged_into.map_or(String::new(), |into| format!(" into cluster {into}"));
    let what = if row.text.is_empty() { &row.reason } else { &row.text };
    format!("{}\t{} members\t{}{into}\t{what}\n", row.cluster, row.size, row.verdict)
}

/// `pairwright instructions show`.
fn show(args: &ShowArgs) -> Result<Exit, Error> {
    let store = folder::open(&args.out)?;
    let is_it = |row: &LineageRow| {
        row.id == args.id || row.members.iter().any(|member| member.id == args.id)
    };
    // An id is not empty, as that of a cluster of which nothing came.
    let found = store.lineage()?.into_iter().find(|row| !args.id.is_empty() && is_it(row));
    if let Some(row) = found {
        let text = if args.json { json_line(&row)? } else { told(&store, &row, &args.id)? };
        return write_out(text.as_bytes(), None);
    }
    match store.imported()?.into_iter().find(|one| one.id == args.id) {
        Some(one) if args.json => write_out(json_line(&one)?.as_bytes(), None),
        Some(one) => write_out(format!("{}\n{}\nimported\n", one.id, one.text).as_bytes(), None),
        None => {
            let (path, id) = (args.out.clone(), args.id.clone());
            Err(GenerateError::NoInstruction { path, id }.into())
        }
    }
}

fn json_line<T: serde::Serialize>(row: &T) -> Result<String, Error> {
    let bytes = folder::json_lines(std::slice::from_ref(row))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The instruction `id` and, line by line, where it came from.
fn told(store: &GenerationStore, row: &LineageRow, id: &str) -> Result<String, Error> {
    let descriptions = store.descriptions()?;
    let member = row.members.iter().find(|member| member.id == id);
    let (what, call) = member.map_or((&row.text, &row.call), |one| (&one.text, &one.call));
    let mut text = format!("{id}\n{what}\n\n");
    if member.is_some() {
        text += "a raw instruction, taken as it is\n";
    }
    if let Some(call) = call {
        text += &format!(
            "written by {}, attempt {}, seed {}, {} + {} tokens\n",
            call.model, call.attempt, call.seed, call.prompt_tokens, call.completion_tokens
        );
    }
    text += &format!(
        "from cluster {} of {} members ({} shown to the LLM):\n",
        row.cluster,
        row.size,
        row.shown.len()
    );
    for member in &row.members {
        let shown = if row.shown.contains(&member.place) { "*" } else { " " };
        let description = descriptions.iter().find(|(id, _)| *id == member.description);
        let start: String = description.map_or("", |(_, text)| text).chars().take(70).collect();
        text += &format!(
            "{shown} {}\n    distance {:.3}, for {} ({start}...), seeds {}\n",
            member.text,
            member.distance,
            member.description,
            member.seeds.join(" ")
        );
    }
    Ok(text)
}

/// `pairwright instructions export`.
fn export(args: &ExportInstructionsArgs) -> Result<Exit, Error> {
    let store = folder::open(&args.out)?;
    let bytes = match args.format {
        LibraryFormat::Jsonl => folder::json_lines(&store.library()?)?,
        LibraryFormat::Lineage => folder::json_lines(&store.lineage()?)?,
        LibraryFormat::Txt => {
            let lines = store.library()?.into_iter().map(|one| one.text + "\n");
            lines.collect::<String>().into_bytes()
        }
    };
    write_out(&bytes, args.to.as_deref())
}

/// `pairwright instructions stats`.
fn stats(args: &StatsArgs) -> Result<Exit, Error> {
    let store = folder::open(&args.out)?;
    let summary = GenerationSummary::read(folder::find(&args.out)?, &store)?;
    let mut text = summary.to_string();
    let seeds: Vec<String> = store.seeds()?.into_iter().map(|seed| seed.text).collect();
    let library: Vec<String> = store.library()?.into_iter().map(|one| one.text).collect();
    for (name, texts) in [("seeds", seeds), ("library", library)] {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let Diversity { count, distinct, not_questions, mean_words, verbs, .. } =
            Diversity::new(&texts, &[]);
        text += &format!(
            "{name:<9} {count} texts, distinct-1/2/3 {:.2}/{:.2}/{:.2}, {:.0} % no question, \
             {mean_words:.1} words, {} root verbs\n",
            distinct[0],
            distinct[1],
            distinct[2],
            100.0 * not_questions,
            verbs.len()
        );
    }
    if let Some(search) = run_search(&args.out)? {
        text += &format!("search    {search}\n");
    }
    write_out(text.as_bytes(), None)
}

/// How the run in a folder searches its library; `None` where there is no run, or none yet.
fn run_search(folder: &Path) -> Result<Option<SearchFacts>, Error> {
    let path = store_path(folder);
    if !path.is_file() {
        return Ok(None);
    }
    Ok(Settings::read(&Store::open_to_read(&path)?)?.search)
}

/// To a file, or to standard output; a reader that has seen enough is no error.
#[expect(clippy::disallowed_methods, reason = "the path may be that of a pipe or a device")]
fn write_out(bytes: &[u8], to: Option<&Path>) -> Result<Exit, Error> {
    let path = to.unwrap_or(Path::new("standard output"));
    let written = match to {
        Some(path) => fs_err::write(path, bytes),
        None => std::io::stdout().write_all(bytes),
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(SinkError::Io { path: path.to_owned(), source: error }.into())
        }
        _ => Ok(Exit::Done),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(flags: &[&str]) -> GenerateArgs {
        let line = ["pairwright", "instructions", "generate"].iter().chain(flags);
        match Cli::try_parse_from(line).expect("parses").command {
            Command::Instructions(InstructionsArgs {
                command: InstructionsCommand::Generate(args),
            }) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        for (flag, key, value) in [
            ("--source=/s", "/source/path", serde_json::json!("/s")),
            ("--source-kind=jsonl", "/source/kind", "jsonl".into()),
            ("--images=/i", "/source/images", "/i".into()),
            ("--descriptions=/d", "/generate/descriptions", "/d".into()),
            ("--seeds=/s", "/generate/seeds", "/s".into()),
            ("--prompts=/p", "/generate/prompts", "/p".into()),
            ("--limit=7", "/generate/limit", 7.into()),
            ("--library=both", "/generate/library", "both".into()),
            ("--seeds-per-prompt=4", "/generate/seeds_per_prompt", 4.into()),
            ("--per-description=3", "/generate/per_description", 3.into()),
            ("--text-model=BGESmallENV15", "/generate/text_model", "BGESmallENV15".into()),
            ("--k=12", "/cluster/k", 12.into()),
            ("--llm=local:/m.gguf", "/llm/target", "local:/m.gguf".into()),
            ("--llm-model=q", "/llm/model", "q".into()),
            ("--llm-in-flight=3", "/llm/max_in_flight", 3.into()),
            ("--model=/m", "/model/path", "/m".into()),
            ("--seed=9", "/seed", 9.into()),
        ] {
            let config = configure(&parse(&["--out=/nowhere", flag])).expect(flag);
            let config = serde_json::to_value(config).expect("serialises");
            assert_eq!(config.pointer(key), Some(&value), "{flag}");
        }
    }

    #[test]
    fn a_source_on_the_command_line_stands_in_the_place_of_a_list_in_a_file() {
        let folder = tempfile::tempdir().expect("temp dir");
        let earlier = "seed = 4\n[generate]\ndescriptions = \"/list.txt\"\n";
        fs_err::write(folder.path().join(folder::CONFIG), earlier).expect("write");
        let out = format!("--out={}", folder.path().display());
        let config = configure(&parse(&[&out])).expect("resumes");
        assert_eq!((config.seed, config.generate.descriptions), (4, Some("/list.txt".into())));
        let config = configure(&parse(&[&out, "--source=/photos"])).expect("valid");
        assert_eq!(
            (config.source.path, config.generate.descriptions),
            (Some("/photos".into()), None)
        );
    }
}
