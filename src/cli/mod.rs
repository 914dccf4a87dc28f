//! The `pairwright` command: parse, call the engine, print, exit with a documented code.

mod args;
mod embed;
mod evaluate;
mod evaluate_args;
mod evaluate_build;
mod exit;
#[cfg(test)]
mod flag_tests;
mod instructions;
mod keys;
mod log;
mod models;
mod progress;
mod prompts;
mod run;
mod serve;
mod signals;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use crate::model::store::offline;
use args::{Cli, Command};
use exit::Outcome;

/// Parses the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime's threads: {error}");
            return Outcome::Internal.into();
        }
    };
    let outcome = runtime.block_on(dispatch(cli));
    // Blocking threads that wait on a hung file system must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match outcome {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            eprintln!("error: {error}");
            Outcome::of(&error).into()
        }
    }
}

async fn dispatch(cli: Cli) -> Result<Outcome, crate::Error> {
    // `serve` starts the log itself: its traces are known only once it is configured.
    if !matches!(cli.command, Command::Serve(_)) {
        log::start(cli.log_json, None);
    }
    if cli.offline {
        offline::promise();
    }
    match cli.command {
        Command::Run(args) => run::run(&args).await,
        Command::Match(args) => run::matching(&args).await,
        Command::Answer(args) => run::answering(&args).await,
        Command::Export(args) => run::export(&args),
        Command::Report(args) => run::report(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Embed(args) => embed::embed(&args),
        Command::Evaluate(command) => evaluate::evaluate(&command).await,
        Command::Prompts(args) => prompts::prompts(&args),
        Command::Instructions(args) => instructions::instructions(&args).await,
        Command::Serve(args) => serve::serve(&args, cli.log_json).await,
        Command::Models(command) => models::models(&command).await,
        Command::Keys(args) => keys::keys(&args),
    }
}
