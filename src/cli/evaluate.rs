//! `evaluate`: judge, compare, leaderboard, answer, build.

mod args;

use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::evaluate::{self, BuildRequest, Estimate, EvaluationFolder, Finished, Prices, Worked};
use crate::run::RunFolder;
use crate::work::{Progress, Stop};

use super::exit::{Ended, Exit, conclude};
use super::{progress, run, signals};
use args::{
    AnswerArgs, AskArgs, BuildArgs, CompareArgs, JudgeArgs, LeaderboardArgs, answer_request,
    judge_request, leaderboard_request,
};

pub use args::EvaluateCommand;

/// `pairwright evaluate`.
pub async fn evaluate(command: &EvaluateCommand) -> Result<Exit, Error> {
    match command {
        EvaluateCommand::Judge(args) => judge(args).await,
        EvaluateCommand::Compare(args) => compare(args),
        EvaluateCommand::Leaderboard(args) => leaderboard(args).await,
        EvaluateCommand::Answer(args) => answer(args).await,
        EvaluateCommand::Build(args) => build(args),
    }
}

async fn judge(args: &JudgeArgs) -> Result<Exit, Error> {
    if args.ask.dry_run {
        let folder = existing(&args.ask.out)?;
        let request = judge_request(args, folder.as_ref())?;
        return tell(&args.ask, &evaluate::estimate_judge(&request, folder.as_ref())?);
    }
    let folder = EvaluationFolder::take(&args.ask.out)?;
    let request = judge_request(args, Some(&folder))?;
    let (stop, progress) = start();
    let finished = evaluate::judge(&request, &folder, &stop, &*progress).await?;
    print!("{}", evaluate::judge_table(&finished.results));
    println!("report   {}", folder.file(evaluate::REPORT_FILE).display());
    let Finished { results, worked } = finished;
    let nothing = results.why_nothing();
    end(&args.ask, "judge", worked, results.is_complete(), nothing)
}

async fn leaderboard(args: &LeaderboardArgs) -> Result<Exit, Error> {
    if args.ask.dry_run {
        let folder = existing(&args.ask.out)?;
        let request = leaderboard_request(args, folder.as_ref())?;
        return tell(&args.ask, &evaluate::estimate_leaderboard(&request, folder.as_ref())?);
    }
    let folder = EvaluationFolder::take(&args.ask.out)?;
    let request = leaderboard_request(args, Some(&folder))?;
    let (stop, progress) = start();
    let finished = evaluate::leaderboard(&request, &folder, &stop, &*progress).await?;
    print!("{}", evaluate::ranking_table(&finished.results));
    println!("report   {}", folder.file(evaluate::REPORT_FILE).display());
    let complete = finished.results.is_complete();
    end(&args.ask, "leaderboard", finished.worked, complete, None)
}

async fn answer(args: &AnswerArgs) -> Result<Exit, Error> {
    if args.ask.dry_run {
        let request = answer_request(args, existing(&args.ask.out)?.as_ref())?;
        return tell(&args.ask, &evaluate::estimate_answer(&request)?);
    }
    let folder = EvaluationFolder::take(&args.ask.out)?;
    let request = answer_request(args, Some(&folder))?;
    let (stop, progress) = start();
    let finished = evaluate::answer(&request, &folder, &stop, &*progress).await?;
    let results = &finished.results;
    println!("{} answers in {}", results.answered, results.path.display());
    let lists = [
        ("no answer to", &results.missing),
        ("the server refuses", &results.refused),
        ("empty answers to", &results.empty),
    ];
    for (what, ids) in lists {
        if !ids.is_empty() {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            eprintln!("{what} questions {}", ids.join(", "));
        }
    }
    let (complete, nothing) = (results.missing.is_empty(), results.why_nothing());
    end(&args.ask, "answer", finished.worked, complete, nothing)
}

fn compare(args: &CompareArgs) -> Result<Exit, Error> {
    let agreement = evaluate::compare(&args.a, &args.b, args.rule)?;
    if args.json {
        println!("{:#}", serde_json::json!(agreement));
    } else {
        print!("{}", evaluate::agreement_table(&agreement));
    }
    Ok(Exit::Done)
}

fn start() -> (Stop, Arc<dyn Progress>) {
    let stop = Stop::default();
    signals::watch(stop.clone());
    (stop, progress::for_terminal())
}

/// The folder for a dry run, which must not make one.
fn existing(out: &Path) -> Result<Option<EvaluationFolder>, Error> {
    if !out.is_dir() {
        return Ok(None);
    }
    Ok(Some(EvaluationFolder::take(out)?))
}

fn tell(ask: &AskArgs, estimate: &Estimate) -> Result<Exit, Error> {
    print!("{estimate}");
    if let (Some(prompt), Some(reply)) = (ask.price_in, ask.price_out) {
        let prices = Prices { prompt, reply, image_tokens: ask.image_tokens };
        println!("cost            at most about {:.2}", estimate.cost(&prices));
    }
    println!("nothing was asked");
    Ok(Exit::Done)
}

fn end(
    ask: &AskArgs,
    command: &str,
    worked: Worked,
    complete: bool,
    nothing: Option<String>,
) -> Result<Exit, Error> {
    let resume = format!("pairwright evaluate {command} --out {}", ask.out.display());
    let Worked { stopped, gave_up, .. } = worked;
    conclude(&resume, true, Ok(()), |()| Ended { stopped, partial: !complete, gave_up, nothing })
}

/// `pairwright evaluate build`.
fn build(args: &BuildArgs) -> Result<Exit, Error> {
    // Refuses a folder without a run before it is taken, which would make one.
    run::existing(&args.run)?;
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
    Ok(Exit::Done)
}
