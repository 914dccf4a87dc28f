//! `run` and its steps.

use std::path::Path;

use crate::Error;
use crate::config::{Config, Layers, RUN_FILE};
use crate::dataset::store::StoreError;
use crate::run::{Job, PipelineError, RunFolder, Summary, store_path};
use crate::work::Stop;

use super::args::{ExportArgs, FolderArgs, RunArgs};
use super::exit::Outcome;
use super::{progress, signals};

/// `pairwright run`.
pub async fn run(args: &RunArgs) -> Result<Outcome, Error> {
    let job = job(args)?;
    conclude(args, job.run().await)
}

/// `pairwright match`.
pub async fn matching(args: &RunArgs) -> Result<Outcome, Error> {
    let job = job(args)?;
    conclude(args, job.match_only().await)
}

/// `pairwright answer`.
pub async fn answering(args: &RunArgs) -> Result<Outcome, Error> {
    require_run(&args.out)?;
    let job = job(args)?;
    conclude(args, job.answer_only().await)
}

/// `pairwright export`.
pub fn export(args: &ExportArgs) -> Result<Outcome, Error> {
    let mut config = existing(&args.out)?;
    if !args.format.is_empty() {
        config.export.formats.clone_from(&args.format);
    }
    let summary = quiet_job(&args.out, config)?.export_only()?;
    print!("{summary}");
    Ok(Outcome::Done)
}

/// `pairwright report`.
pub fn report(args: &FolderArgs) -> Result<Outcome, Error> {
    let config = existing(&args.out)?;
    let path = quiet_job(&args.out, config)?.report_only()?;
    println!("{}", path.display());
    Ok(Outcome::Done)
}

/// The configuration of a run that exists.
pub fn existing(out: &Path) -> Result<Config, Error> {
    require_run(out)?;
    Ok(Layers::default().file(&out.join(RUN_FILE))?.environment().resolve()?)
}

fn require_run(out: &Path) -> Result<(), Error> {
    if store_path(out).is_file() && out.join(RUN_FILE).is_file() {
        return Ok(());
    }
    Err(StoreError::NoRun { path: out.to_owned() }.into())
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
    let layers = Layers::default();
    let layers = match &args.config {
        Some(path) => layers.file(path)?,
        None if earlier.is_file() => layers.file(&earlier)?,
        None => layers,
    };
    let config = args
        .model_choice
        .layers(layers.environment())?
        .path_flag("source.path", args.source.as_ref())?
        .flag("source.kind", args.source_kind.clone())?
        .path_flag("source.images", args.images.as_ref())?
        .path_flag("model.path", args.model.as_ref())?
        .path_flag("library.instructions", args.instructions.as_ref())?
        .flag("generate.enabled", args.generate_instructions.then_some(true))?
        .path_flag("generate.seeds", args.seeds.as_ref())?
        .path_flag("answer.examples", args.examples.as_ref())?
        .path_flag("answer.prompts", args.prompts.as_ref())?
        .flag("matching.strategy", args.strategy.clone())?
        .flag("matching.per_image", args.per_image)?
        .flag("llm.target", args.llm.clone())?
        .flag("llm.model", args.llm_model.clone())?
        .flag("llm.max_in_flight", args.llm_in_flight)?
        .flag("seed", args.seed)?
        .resolve()?;
    if config.source.path.is_none() {
        return Err(PipelineError::NoSource.into());
    }
    Ok(config)
}

fn conclude(args: &RunArgs, result: Result<Summary, Error>) -> Result<Outcome, Error> {
    let resume = format!("pairwright run --out {}", args.out.display());
    let summary = match result {
        Ok(summary) => summary,
        Err(error) if error.is_stop() => {
            eprintln!("stopped; everything finished is kept. To resume: {resume}");
            return Ok(Outcome::Interrupted);
        }
        Err(error) => {
            if args.out.join(RUN_FILE).is_file() {
                eprintln!("finished work is kept. Once this is mended, resume with: {resume}");
            }
            return Err(error);
        }
    };
    print!("{summary}");
    if let Some(error) = &summary.gave_up {
        eprintln!("error: the LLM backend cannot be used: {error}");
    }
    if summary.is_partial() {
        eprintln!("answers are missing; the same command tries them again: {resume}");
    }
    Ok(Outcome::of_work(summary.gave_up.as_ref(), summary.is_partial()))
}
