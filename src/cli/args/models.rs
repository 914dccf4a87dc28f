//! The command line of `models`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::model::Precision;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show the models known by name, and which of them are on this machine.
    List {
        /// As JSON, one array.
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model into the cache; goes on where an earlier try stopped.
    Pull(PullArgs),
    /// Check the SHA-256 of every file of a model, or of all that were fetched.
    Verify {
        /// The model's name; default: all that were fetched.
        name: Option<String>,
    },
    /// Show what is known of a model.
    Info {
        /// A name of the catalog, or a model folder.
        #[arg(value_name = "NAME|DIR")]
        model: PathBuf,
    },
    /// Make a model of your own known by name.
    Add(AddArgs),
}

/// Options of `models pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The model's name.
    pub name: String,

    /// How its weights are stored; default: the most exact there is.
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<Precision>,
}

/// Options of `models add`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("place").required(true))]
pub struct AddArgs {
    /// The name it gets.
    pub name: String,

    /// A repository of the hub, OWNER/NAME; its files are pinned as the hub describes them now.
    #[arg(long, value_name = "OWNER/NAME", group = "place")]
    pub repo: Option<String>,

    /// The commit, tag or branch of the repository.
    #[arg(long, value_name = "REVISION", default_value = "main", requires = "repo")]
    pub revision: String,

    /// A model folder on this machine.
    #[arg(long, value_name = "DIR", group = "place")]
    pub dir: Option<PathBuf>,
}
