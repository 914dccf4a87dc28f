//! The `pairwright` command: parse, call the engine, print, exit with a documented code. Each
//! command's options stand with it.

mod args;
mod embed;
mod evaluate;
mod exit;
mod filter;
#[cfg(test)]
mod flag_tests;
mod instructions;
mod keys;
mod log;
mod models;
mod progress;
mod prompts;
mod push;
mod run;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::base::offline;
use exit::Exit;

/// Turns captioned photos into a checked visual-instruction dataset (the MM-Instruct method).
///
/// The usual way: `pairwright run --source PHOTOS --out RUN`. It embeds the photos, draws
/// instructions that fit each one, has an LLM write the answers from the photos' descriptions,
/// filters them, and writes RUN/dataset/ and RUN/report.html. Run the same command again to
/// resume after any interruption, or to add what is new in the source.
#[derive(Debug, Parser)]
#[command(
    name = "pairwright",
    version,
    arg_required_else_help = true,
    after_long_help = "Exit codes:\n  \
        0    done (refused records are normal; the summary counts them)\n  \
        1    internal error\n  \
        2    wrong input, configuration or state; the message names it\n  \
        3    done, but some LLM calls failed: the same command tries them again\n  \
        4    the LLM server or the model hub cannot be used; what was done is kept\n  \
        5    verify found something wrong\n  \
        6    a limit was hit: a full disk, a spending cap; finished work is kept\n  \
        7    nothing was made: everything was refused; the message names the first cause\n  \
        130  stopped by Ctrl-C; finished work is kept\n\n\
        Environment:\n  \
        PAIRWRIGHT__SECTION__KEY  any configuration value, e.g. PAIRWRIGHT__MATCHING__STRATEGY=mmr\n  \
        PAIRWRIGHT_LOG            log filter, e.g. debug or pairwright=debug\n  \
        PAIRWRIGHT_MODELS         the folder of fetched models\n  \
        PAIRWRIGHT_CATALOG        your own catalog of models\n  \
        HF_ENDPOINT, HF_TOKEN     another model hub, and a token for it\n  \
        ORT_DYLIB_PATH            the ONNX Runtime library to load"
)]
struct Cli {
    /// Write the log as JSON lines.
    #[arg(long, global = true)]
    log_json: bool,

    /// Fetch nothing from a model hub: what is not on this machine is refused by name.
    #[arg(long, global = true, env = "PAIRWRIGHT_OFFLINE",
          value_parser = clap::builder::FalseyValueParser::new())]
    offline: bool,

    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Do the whole job: photos in, dataset and report out. Resumes what was interrupted.
    Run(Box<run::RunArgs>),
    /// First half of the job: read the source, embed photos, draw instructions.
    Match(Box<run::RunArgs>),
    /// Second half: write answers for the pairs of a matched run.
    Answer(Box<run::RunArgs>),
    /// Write the dataset files of a run again.
    Export(run::ExportArgs),
    /// Leave samples out of a run's exports by thresholds, or look first at what that would do.
    Filter(filter::FilterArgs),
    /// Push an export with its photos to a dataset on the hub, as one commit.
    Push(push::PushArgs),
    /// Write report.html of a run again.
    Report(args::FolderArgs),
    /// Check a run: database, exports row by row, photos, hashes.
    Verify(run::VerifyArgs),
    /// Embed photos or texts into a .npy file.
    Embed(embed::EmbedArgs),
    /// Judge answers with an LLM, rank models, build a benchmark.
    #[command(subcommand)]
    Evaluate(evaluate::EvaluateCommand),
    /// Show the prompts and in-context examples a run would use.
    Prompts(prompts::PromptsArgs),
    /// Generate instructions from seeds, and look at what came of it.
    Instructions(instructions::InstructionsArgs),
    /// Serve the gRPC API.
    Serve(Box<serve::ServeArgs>),
    /// List, fetch and check encoder models by name.
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Make, list and revoke the API keys of `serve`.
    Keys(keys::KeysArgs),
}

/// The command line's grammar: every subcommand and flag.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime's threads: {error}");
            return Exit::Internal.into();
        }
    };
    let exit = runtime.block_on(dispatch(cli));
    // Blocking threads that wait on a hung file system must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match exit {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error}");
            Exit::of(&error).into()
        }
    }
}

async fn dispatch(cli: Cli) -> Result<Exit, crate::Error> {
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
        Command::Filter(args) => filter::filter(&args),
        Command::Push(args) => push::push(&args).await,
        Command::Report(args) => run::report(&args),
        Command::Verify(args) => run::verify(&args),
        Command::Embed(args) => embed::embed(&args),
        Command::Evaluate(command) => evaluate::evaluate(&command).await,
        Command::Prompts(args) => prompts::prompts(&args),
        Command::Instructions(args) => instructions::instructions(&args).await,
        Command::Serve(args) => serve::serve(&args, cli.log_json).await,
        Command::Models(command) => models::models(&command).await,
        Command::Keys(args) => keys::keys(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What the environment holds at the moment is not part of a page.
    fn without_environment(command: clap::Command) -> clap::Command {
        let command = command.mut_args(|arg| arg.hide_env_values(true));
        command.mut_subcommands(without_environment)
    }

    /// What `--help` prints after `path`, and after the path of every command below it, on a
    /// terminal of 100 columns.
    fn help(root: &clap::Command, path: &[&str], command: &clap::Command) -> String {
        let line = path.iter().copied().chain(["--help"]);
        let page = root.clone().try_get_matches_from(line.clone()).expect_err("a page");
        let line: Vec<&str> = line.collect();
        let mut text = format!("$ {}\n{page}\n", line.join(" "));
        for below in command.get_subcommands() {
            text += &help(root, &[path, &[below.get_name()]].concat(), below);
        }
        text
    }

    /// What the documents say about flags is checked against these pages.
    #[test]
    fn help_reads_as_before() {
        let root = without_environment(Cli::command().term_width(100));
        let own = help(&root, &["pairwright"], &clap::Command::new("pairwright"));
        insta::assert_snapshot!("help", own.trim_end());
        for command in root.get_subcommands() {
            let name = command.get_name();
            let text = help(&root, &["pairwright", name], command);
            insta::assert_snapshot!(format!("help_{name}"), text.trim_end());
        }
    }
}
