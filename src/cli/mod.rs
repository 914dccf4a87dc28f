//! The `pairwright` command: parse, call the engine, print, exit with a documented code.

mod args;
mod embed;
mod evaluate;
mod evaluate_args;
mod exit;
mod progress;
mod prompts;
mod run;
mod signals;
mod verify;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use exit::Outcome;

/// Parses the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime's threads: {error}");
            return Outcome::Internal.into();
        }
    };
    let outcome = runtime.block_on(dispatch(cli.command));
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

async fn dispatch(command: Command) -> Result<Outcome, crate::Error> {
    match command {
        Command::Run(args) => run::run(&args).await,
        Command::Match(args) => run::matching(&args).await,
        Command::Answer(args) => run::answering(&args).await,
        Command::Export(args) => run::export(&args),
        Command::Report(args) => run::report(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Embed(args) => embed::embed(&args),
        Command::Evaluate(command) => evaluate::evaluate(&command).await,
        Command::Prompts(args) => prompts::prompts(&args),
    }
}

fn start_log(json: bool) {
    let filter = EnvFilter::try_from_env("PAIRWRIGHT_LOG")
        .unwrap_or_else(|_| EnvFilter::new("pairwright=info,warn,ort=error,async_openai=off"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(progress::log_writer);
    if json {
        log.json().init();
    } else {
        log.with_target(false).init();
    }
}
