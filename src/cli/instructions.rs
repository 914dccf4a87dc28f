//! `instructions`: generate, list, show, import, export, stats.

mod generate;
mod reading;

use crate::Error;
use crate::generate::{GenerationFolder, import};
use crate::instruction::Library;

use super::args::{ImportArgs, InstructionsArgs, InstructionsCommand};
use super::exit::Outcome;

/// `pairwright instructions`.
pub async fn instructions(args: &InstructionsArgs) -> Result<Outcome, Error> {
    match &args.command {
        InstructionsCommand::Generate(args) => generate::generate(args).await,
        InstructionsCommand::List(args) => reading::list(args),
        InstructionsCommand::Show(args) => reading::show(args),
        InstructionsCommand::Import(args) => import_file(args),
        InstructionsCommand::Export(args) => reading::export(args),
        InstructionsCommand::Stats(args) => reading::stats(args),
    }
}

fn import_file(args: &ImportArgs) -> Result<Outcome, Error> {
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
    Ok(Outcome::Done)
}
