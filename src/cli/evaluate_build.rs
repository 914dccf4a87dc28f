//! `evaluate build`: holds a benchmark out of a run.

use crate::Error;
use crate::evaluate::{self, BuildRequest};
use crate::run::RunFolder;

use super::evaluate_args::BuildArgs;
use super::exit::Outcome;
use super::run::existing;

/// `pairwright evaluate build`.
pub fn build(args: &BuildArgs) -> Result<Outcome, Error> {
    // Refuses a folder without a run before it is taken, which would make one.
    existing(&args.run)?;
    let folder = RunFolder::take(&args.run)?;
    let BuildArgs { out, instructions, images, near, seed, .. } = args;
    let request = BuildRequest {
        out: out.clone(),
        instructions: *instructions,
        images: *images,
        near: *near,
        seed: *seed,
    };
    let built = evaluate::build(&request, &folder)?;
    println!(
        "{} questions in {}: {} instructions, {} photos; {} near-duplicate photos are held out with them",
        built.questions,
        built.path.display(),
        built.instructions,
        built.images,
        built.near_duplicates
    );
    for (category, count) in &built.categories {
        let name = if category.is_empty() { "(no category)" } else { category };
        println!("  {name}: {count} instructions");
    }
    println!(
        "The run's exports are to be written again without them: pairwright export --out {0}, then pairwright verify --out {0}",
        args.run.display()
    );
    Ok(Outcome::Done)
}
