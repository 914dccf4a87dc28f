//! `instructions generate`.

use crate::Error;
use crate::config::{Config, Layers};
use crate::generate::{Generation, GenerationFolder, GenerationSummary, folder};
use crate::work::Stop;

use super::super::args::GenerateArgs;
use super::super::exit::Outcome;
use super::super::{progress, signals};

/// `pairwright instructions generate`.
pub async fn generate(args: &GenerateArgs) -> Result<Outcome, Error> {
    let config = configure(args)?;
    let folder = GenerationFolder::take(&args.out)?;
    let stop = Stop::default();
    signals::watch(stop.clone());
    let progress = progress::for_terminal();
    conclude(args, Generation::new(folder, config, progress, stop).run().await)
}

fn configure(args: &GenerateArgs) -> Result<Config, Error> {
    let earlier = args.out.join(folder::CONFIG);
    let layers = Layers::default();
    let layers = match &args.config {
        Some(path) => layers.file(path)?,
        None if earlier.is_file() => layers.file(&earlier)?,
        None => layers,
    };
    let config = layers
        .environment()
        .path_flag("source.path", args.source.as_ref())?
        .flag("source.kind", args.source_kind.clone())?
        .path_flag("source.images", args.images.as_ref())?
        .path_flag("model.path", args.model.as_ref())?
        .path_flag("generate.descriptions", args.descriptions.as_ref())?
        .path_flag("generate.seeds", args.seeds.as_ref())?
        .path_flag("generate.prompts", args.prompts.as_ref())?
        .flag("generate.limit", args.limit)?
        .flag("generate.seeds_per_prompt", args.seeds_per_prompt)?
        .flag("generate.per_description", args.per_description)?
        .flag("generate.text_model", args.text_model.clone())?
        .flag("cluster.k", args.k)?
        .flag("llm.target", args.llm.clone())?
        .flag("llm.model", args.llm_model.clone())?
        .flag("llm.max_in_flight", args.llm_in_flight)?
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

fn conclude(
    args: &GenerateArgs,
    result: Result<GenerationSummary, Error>,
) -> Result<Outcome, Error> {
    let resume = format!("pairwright instructions generate --out {}", args.out.display());
    let summary = match result {
        Ok(summary) => summary,
        Err(error) if error.is_stop() => {
            eprintln!("stopped; everything finished is kept. To resume: {resume}");
            return Ok(Outcome::Interrupted);
        }
        Err(error) => {
            if args.out.join(folder::CONFIG).is_file() {
                eprintln!("finished work is kept. Once this is mended, resume with: {resume}");
            }
            return Err(error);
        }
    };
    print!("{summary}");
    println!("report    {}", summary.folder.join("report.html").display());
    if summary.is_partial() {
        eprintln!("some LLM calls failed; the same command tries them again: {resume}");
        return Ok(Outcome::Partial);
    }
    Ok(Outcome::Done)
}
