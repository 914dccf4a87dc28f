//! `push`: an export of a run to a dataset on the hub.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::run::existing;
use crate::Error;
use crate::base::hub::HubOptions;
use crate::dataset::sink::ExportFormat;
use crate::run::RunFolder;
use crate::run::push::{self, PushOptions};

/// Options of `push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The run folder.
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,

    /// The dataset on the hub; made if it is not there.
    #[arg(long, value_name = "OWNER/NAME")]
    pub to: String,

    /// Which export to push; default: the only one that is a folder.
    #[arg(long, value_name = "NAME")]
    pub format: Option<ExportFormat>,

    /// Branch to commit to; made if it is not there.
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    pub revision: String,

    /// Make the dataset a private one, if it is made.
    #[arg(long)]
    pub private: bool,

    /// First line of the commit's message.
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,

    /// Only check the files and tell what would be pushed; the hub is not asked.
    #[arg(long)]
    pub dry_run: bool,
}

/// `pairwright push`.
pub async fn push(args: &PushArgs) -> Result<Exit, Error> {
    existing(&args.out)?;
    // Nothing may export meanwhile.
    let folder = RunFolder::take(&args.out)?;
    let exports = folder.store()?.exports()?;
    let options = PushOptions {
        repo: args.to.clone(),
        format: args.format,
        revision: args.revision.clone(),
        private: args.private,
        message: args.message.clone(),
        dry_run: args.dry_run,
    };
    let pushed = push::push(&exports, &options, HubOptions::from_environment()).await?;
    print!("{pushed}");
    Ok(Exit::Done)
}
