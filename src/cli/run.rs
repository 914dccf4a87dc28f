//! `run` and its steps, and `export`, `report` and `verify` of a run that is there.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::Error;
use crate::base::db::DbError;
use crate::config::{Config, RUN_FILE};
use crate::dataset::sink::ExportFormat;
use crate::dataset::store;
use crate::matching::Strategy;
use crate::measure::keep::Keep;
use crate::run::{self, Job, LostAt, RunError, RunFolder, Summary, store_path};
use crate::work::Stop;

use super::args::{FolderArgs, KeepArgs, LlmArgs, ModelArgs, SourceArgs, layers};
use super::exit::{Ended, Exit, conclude};
use super::{progress, signals};

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

    /// Folder of photos with their texts, JSON or CSV manifest, or COCO captions JSON.
    #[arg(long, value_name = "PATH")]
    pub source: Option<PathBuf>,

    /// Only the first N photos of the source: a preview. What it did counts when the run goes on
    /// with more, or with --limit 0 for all.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,

    #[command(flatten)]
    pub source_form: SourceArgs,

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

    /// Built-in prompts, capable or small, or a folder with answer.system.txt and answer.user.txt;
    /// default: small with a local LLM, else capable.
    #[arg(long, value_name = "SET|DIR")]
    pub prompts: Option<PathBuf>,

    /// Sampling strategy.
    #[arg(long, value_name = "NAME", value_parser = Strategy::ALL.map(Strategy::name))]
    pub strategy: Option<String>,

    /// Instructions drawn per photo.
    #[arg(long, value_name = "N")]
    pub per_image: Option<u64>,

    /// What an instruction must pass before it is drawn for a photo: text, encoder, with commas;
    /// empty: nothing. Default: text,encoder, or what the run began with.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub check: Option<Vec<String>>,

    #[command(flatten)]
    pub keep: KeepArgs,

    #[command(flatten)]
    pub llm: LlmArgs,

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

    /// Formats to write, with commas: llava, jsonl, parquet, parquet_images, finevision, webdataset,
    /// llamafactory, swift, trl; default: as configured for the run.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub format: Vec<ExportFormat>,

    #[command(flatten)]
    pub keep: KeepArgs,
}

/// `pairwright run`.
pub async fn run(args: &RunArgs) -> Result<Exit, Error> {
    let job = job(args)?;
    end(args, job.run().await)
}

/// `pairwright match`.
pub async fn matching(args: &RunArgs) -> Result<Exit, Error> {
    let job = job(args)?;
    let mut matched = job.match_only().await;
    if let Ok(Summary { nothing, .. }) = &mut matched {
        // Answers are not asked for yet.
        nothing.take_if(|nothing| nothing.lost_at == LostAt::Answers);
    }
    end(args, matched)
}

/// `pairwright answer`.
pub async fn answering(args: &RunArgs) -> Result<Exit, Error> {
    require_run(&args.out)?;
    let job = job(args)?;
    end(args, job.answer_only().await)
}

/// `pairwright export`.
pub fn export(args: &ExportArgs) -> Result<Exit, Error> {
    let mut config = existing(&args.out)?;
    if !args.format.is_empty() {
        config.export.formats.clone_from(&args.format);
    }
    if let Some(keep) = args.keep.expressions() {
        Keep::parse(&keep)?.require_enabled(&config.measure.enabled)?;
        config.export.keep = keep;
    }
    export_with(RunFolder::take(&args.out)?, config)
}

/// Exports a run under this configuration.
pub fn export_with(folder: RunFolder, config: Config) -> Result<Exit, Error> {
    let job = Job::new(folder, config, progress::for_terminal(), Stop::default());
    let summary = job.export_only()?;
    print!("{summary}");
    let Some(nothing) = summary.nothing else { return Ok(Exit::Done) };
    eprintln!("error: no file was written: {nothing}");
    Ok(Exit::Nothing)
}

/// `pairwright report`.
pub fn report(args: &FolderArgs) -> Result<Exit, Error> {
    let config = existing(&args.out)?;
    let path = quiet_job(&args.out, config)?.report_only()?;
    println!("{}", path.display());
    Ok(Exit::Done)
}

/// The configuration of a run that exists.
pub fn existing(out: &Path) -> Result<Config, Error> {
    require_run(out)?;
    Ok(layers(Some(&out.join(RUN_FILE)), None)?.resolve()?)
}

fn require_run(out: &Path) -> Result<(), Error> {
    if store_path(out).is_file() && out.join(RUN_FILE).is_file() {
        return Ok(());
    }
    Err(DbError::absent(out, &store::SCHEMA).into())
}

fn quiet_job(out: &Path, config: Config) -> Result<Job, Error> {
    let folder = RunFolder::take(out)?;
    Ok(Job::new(folder, config, progress::for_terminal(), Stop::default()))
}

fn job(args: &RunArgs) -> Result<Job, Error> {
    let config = configure(args)?;
    let folder = RunFolder::take(&args.out)?;
    let stop = Stop::default();
    signals::watch(stop.clone());
    Ok(Job::new(folder, config, progress::for_terminal(), stop))
}

fn configure(args: &RunArgs) -> Result<Config, Error> {
    let earlier = args.out.join(RUN_FILE);
    let layers = layers(args.config.as_deref(), Some(&earlier))?;
    let layers = args.model_choice.layers(layers)?;
    let layers = args.source_form.layers(layers, args.source.as_ref())?;
    let config = args
        .llm
        .layers(layers)?
        .path_flag("model.path", args.model.as_ref())?
        .path_flag("library.instructions", args.instructions.as_ref())?
        .flag("generate.enabled", args.generate_instructions.then_some(true))?
        .path_flag("generate.seeds", args.seeds.as_ref())?
        .path_flag("answer.examples", args.examples.as_ref())?
        .path_flag("answer.prompts", args.prompts.as_ref())?
        .flag("matching.strategy", args.strategy.clone())?
        .flag("matching.per_image", args.per_image)?
        .flag("matching.check", args.check.clone())?
        .flag("export.keep", args.keep.expressions())?
        .flag("source.limit", args.limit)?
        .flag("seed", args.seed)?
        .resolve()?;
    if config.source.path.is_none() {
        return Err(RunError::NoSource.into());
    }
    Ok(config)
}

fn end(args: &RunArgs, result: Result<Summary, Error>) -> Result<Exit, Error> {
    let resume = format!("pairwright run --out {}", args.out.display());
    let begun = args.out.join(RUN_FILE).is_file();
    conclude(&resume, begun, result, |summary| {
        print!("{summary}");
        Ended {
            stopped: false,
            partial: summary.is_partial(),
            nothing: summary.nothing.as_ref().map(ToString::to_string),
            gave_up: summary.gave_up,
        }
    })
}

/// `pairwright verify`.
pub fn verify(args: &FolderArgs) -> Result<Exit, Error> {
    let config = existing(&args.out)?;
    let folder = RunFolder::take(&args.out)?;
    let findings = run::verify(&folder, config.image.decode_options())?;
    for finding in &findings {
        println!("{} {}", if finding.is_sound() { "ok   " } else { "WRONG" }, finding.check);
        for problem in &finding.problems {
            println!("      {problem}");
        }
    }
    let sound = findings.iter().all(run::Finding::is_sound);
    Ok(if sound { Exit::Done } else { Exit::Unsound })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(flags: &[&str]) -> RunArgs {
        let line = ["pairwright", "run"].iter().chain(flags);
        match Cli::try_parse_from(line).expect("parses").command {
            Command::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let settings = |flags: &[&str]| {
            let base = ["--out=/nowhere", "--source=/photos"];
            let config = configure(&parse(&[&base[..], flags].concat())).expect("valid");
            serde_json::to_value(config).expect("serialises")
        };
        for (flags, key, value) in [
            (&[][..], "/source/path", serde_json::json!("/photos")),
            (&["--source-kind=coco"], "/source/kind", "coco".into()),
            (&["--images=/i"], "/source/images", "/i".into()),
            (&["--caption-field=c"], "/source/fields/caption", "c".into()),
            (&["--model=/m"], "/model/path", "/m".into()),
            (&["--model=/m", "--model-text=/t"], "/model/text_path", "/t".into()),
            (&["--model-precision=fp16"], "/model/precision", "fp16".into()),
            (&["--device=cuda:1"], "/encoder/device", "cuda:1".into()),
            (&["--instructions=/l.txt"], "/library/instructions", "/l.txt".into()),
            (&["--generate-instructions"], "/generate/enabled", true.into()),
            (&["--seeds=/s.txt"], "/generate/seeds", "/s.txt".into()),
            (&["--examples=/e"], "/answer/examples", "/e".into()),
            (&["--prompts=/p"], "/answer/prompts", "/p".into()),
            (&["--strategy=mmr"], "/matching/strategy", "mmr".into()),
            (&["--per-image=5"], "/matching/per_image", 5.into()),
            (&["--check=text,encoder"], "/matching/check", serde_json::json!(["text", "encoder"])),
            (&["--check="], "/matching/check", serde_json::json!([])),
            (&["--llm=openai:http://h:1/v1"], "/llm/target", "openai:http://h:1/v1".into()),
            (&["--llm-model=q"], "/llm/model", "q".into()),
            (&["--llm-in-flight=3"], "/llm/max_in_flight", 3.into()),
            (
                &["--keep=similarity > 0.2", "--keep=rank == 1"],
                "/export/keep",
                serde_json::json!(["similarity > 0.2", "rank == 1"]),
            ),
            (&["--keep="], "/export/keep", serde_json::json!([])),
            (&["--limit=9"], "/source/limit", 9.into()),
            (&["--seed=9"], "/seed", 9.into()),
        ] {
            assert_eq!(settings(flags).pointer(key), Some(&value), "{key}");
        }
    }

    #[test]
    fn a_run_that_is_there_needs_nothing_but_its_folder() {
        let folder = tempfile::tempdir().expect("temp dir");
        let out = format!("--out={}", folder.path().display());
        let error = configure(&parse(&[&out])).expect_err("no source yet").to_string();
        assert!(error.contains("--source"), "{error}");
        let earlier = "seed = 4\n[source]\npath = \"/photos\"\n[llm]\nmax_in_flight = 3\n";
        fs_err::write(folder.path().join(RUN_FILE), earlier).expect("write");
        let config = configure(&parse(&[&out, "--llm-in-flight=5"])).expect("resumes");
        assert_eq!(config.source.path.as_deref(), Some("/photos".as_ref()));
        assert_eq!((config.seed, config.llm.max_in_flight), (4, 5));
        // A file that is named stands in the place of the earlier one.
        let other = folder.path().join("other.toml");
        fs_err::write(&other, "[source]\npath = \"/other\"\n").expect("write");
        let config = format!("--config={}", other.display());
        let config = configure(&parse(&[&out, &config])).expect("valid");
        assert_eq!((config.seed, config.source.path), (0, Some("/other".into())));
    }

    #[test]
    fn what_ends_early_tells_how_to_go_on() {
        let folder = tempfile::tempdir().expect("temp dir");
        let args = parse(&[&format!("--out={}", folder.path().display())]);
        let stopped = end(&args, Err(crate::base::Stopped.into())).expect("no error");
        assert_eq!(stopped, Exit::Interrupted);
        let error = existing(folder.path()).expect_err("there is no run");
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert_eq!(end(&args, Err(error)).map_err(|error| Exit::of(&error)), Err(Exit::Usage));
    }

    #[test]
    fn wrong_flags_are_refused_by_name() {
        for (flags, named) in [
            (&["run"][..], "--out"),
            (&["run", "--out=r", "--strategy=best"], "top1"),
            (&["run", "--out=r", "--seed=9223372036854775808"], "--seed"),
            (&["run", "--out=r", "--model-text=t"], "--model"),
            (&["export", "--out=r", "--format=csv"], "parquet"),
            (&["embed", "--out=p"], "--images"),
            (&["embed", "--out=p", "--images=i", "--texts=t"], "--texts"),
            (&["embed", "--out=p", "--images=i", "--batch-size=0"], "1..=256"),
            (&["models", "add", "m"], "--repo"),
            (&["evaluate", "judge", "--out=e", "--a=a"], "--questions"),
            (&["evaluate", "judge", "--out=e", "--price-in=1"], "--dry-run"),
            (&["evaluate", "compare", "--a=a", "--b=b", "--rule=x"], "strict or paper"),
        ] {
            let line = ["pairwright"].iter().chain(flags);
            let error = Cli::try_parse_from(line).expect_err(named).to_string();
            assert!(error.contains(named), "{flags:?}: {error}");
        }
    }
}
