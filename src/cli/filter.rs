//! `filter`: thresholds of a run that is there.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::args::KeepArgs;
use super::exit::Exit;
use super::run::{existing, export_with, quiet_job};
use crate::Error;
use crate::config::{Config, ConfigError};
use crate::dataset::store::Store;
use crate::measure::MeasureName;
use crate::measure::keep::Keep;
use crate::run::{DryRunOptions, RunFolder, dry_run, store_path};

/// Options of `filter`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["keep", "dry_run"])))]
pub struct FilterArgs {
    /// The run folder.
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,

    #[command(flatten)]
    pub keep: KeepArgs,

    /// Only tell what the expressions (those of the run where none is given) would leave out, beside
    /// a random group of the same size; nothing is written.
    #[arg(long)]
    pub dry_run: bool,

    /// With --dry-run: tell what taking these measures would cost, with commas, instead of what
    /// expressions would leave out: the calls of those that a language model takes.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        requires = "dry_run",
        conflicts_with = "keep"
    )]
    pub measures: Vec<String>,

    /// With --dry-run: print JSON for programs.
    #[arg(long, requires = "dry_run")]
    pub json: bool,

    /// With --dry-run: samples shown of each group.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "dry_run")]
    pub show: usize,

    /// With --dry-run: seed of the random groups; default: the run's.
    #[arg(long, value_name = "N", requires = "dry_run")]
    pub seed: Option<u64>,
}

/// `pairwright filter`.
pub fn filter(args: &FilterArgs) -> Result<Exit, Error> {
    let mut config = existing(&args.out)?;
    if !args.measures.is_empty() {
        config.measure.enabled = named(&args.measures)?;
        // Thresholds may look at other measures.
        config.export.keep.clear();
        return tell_cost(args, config);
    }
    if let Some(keep) = args.keep.expressions() {
        config.export.keep = keep;
    }
    let keep = Keep::parse(&config.export.keep)?;
    keep.require_enabled(&config.measure.enabled)?;
    if args.dry_run { look(args, &config, &keep) } else { apply(args, config) }
}

fn named(names: &[String]) -> Result<Vec<MeasureName>, Error> {
    let named = |name: &String| {
        let known = || MeasureName::ALL.map(MeasureName::name).join(", ");
        let unknown = || ConfigError::Value {
            message: format!("--measures: there is no measure {name:?}; there are {}", known()),
        };
        MeasureName::named(name.trim()).ok_or_else(unknown)
    };
    Ok(names.iter().map(named).collect::<Result<_, _>>()?)
}

/// What taking measures would cost.
fn tell_cost(args: &FilterArgs, config: Config) -> Result<Exit, Error> {
    config.validate()?;
    let job = quiet_job(&args.out, config)?;
    let found = job.estimate_judging()?;
    if args.json {
        println!("{:#}", serde_json::json!({ "judging": found }));
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        println!("none of these measures asks a language model");
    }
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    print!("{}", told.join("\n"));
    Ok(Exit::Done)
}

/// Reads the run beside whoever works in it.
fn look(args: &FilterArgs, config: &Config, keep: &Keep) -> Result<Exit, Error> {
    let store = Store::open_to_read(&store_path(&args.out))?;
    let options = DryRunOptions { seed: args.seed.unwrap_or(config.seed), show: args.show };
    let found = dry_run(&args.out, &store, config, keep, options)?;
    if args.json {
        println!("{:#}", serde_json::json!(found));
    } else {
        print!("{found}");
    }
    Ok(Exit::Done)
}

/// Makes the expressions the run's own and exports.
fn apply(args: &FilterArgs, config: Config) -> Result<Exit, Error> {
    config.validate()?;
    let folder = RunFolder::take(&args.out)?;
    folder.write_run_file(&config, None)?;
    export_with(folder, config)
}
