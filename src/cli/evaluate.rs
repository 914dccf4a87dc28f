//! `evaluate`: judge, compare, leaderboard, answer, build.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::config::Layers;
use crate::evaluate::{
    self, AnswerRequest, EmptyAnswers, Estimate, EvaluationError, EvaluationFolder, JudgeOptions,
    JudgeRequest, Kind, LeaderboardRequest, Prices, Worked,
};
use crate::llm::{LlmConfig, SamplingSettings};
use crate::work::{Progress, Stop};

use super::evaluate_args::{
    AnswerArgs, AskArgs, CompareArgs, EvaluateCommand, JudgeArgs, JudgeOptionArgs, LeaderboardArgs,
};
use super::exit::Outcome;
use super::{evaluate_build, progress, signals};

/// `pairwright evaluate`.
pub async fn evaluate(command: &EvaluateCommand) -> Result<Outcome, Error> {
    match command {
        EvaluateCommand::Judge(args) => judge(args).await,
        EvaluateCommand::Compare(args) => compare(args),
        EvaluateCommand::Leaderboard(args) => leaderboard(args).await,
        EvaluateCommand::Answer(args) => answer(args).await,
        EvaluateCommand::Build(args) => evaluate_build::build(args),
    }
}

async fn judge(args: &JudgeArgs) -> Result<Outcome, Error> {
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
    Ok(conclude(&args.ask, "judge", &finished.worked, finished.results.is_complete()))
}

async fn leaderboard(args: &LeaderboardArgs) -> Result<Outcome, Error> {
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
    Ok(conclude(&args.ask, "leaderboard", &finished.worked, finished.results.is_complete()))
}

async fn answer(args: &AnswerArgs) -> Result<Outcome, Error> {
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
    for (what, ids) in [("no answer to", &results.missing), ("empty answers to", &results.empty)] {
        if !ids.is_empty() {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            eprintln!("{what} questions {}", ids.join(", "));
        }
    }
    Ok(conclude(&args.ask, "answer", &finished.worked, results.missing.is_empty()))
}

fn compare(args: &CompareArgs) -> Result<Outcome, Error> {
    let agreement = evaluate::compare(&args.a, &args.b, args.rule)?;
    if args.json {
        println!("{:#}", serde_json::json!(agreement));
    } else {
        print!("{}", evaluate::agreement_table(&agreement));
    }
    Ok(Outcome::Done)
}

fn start() -> (Stop, std::sync::Arc<dyn Progress>) {
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

fn tell(ask: &AskArgs, estimate: &Estimate) -> Result<Outcome, Error> {
    print!("{estimate}");
    if let (Some(prompt), Some(reply)) = (ask.price_in, ask.price_out) {
        let prices = Prices { prompt, reply, image_tokens: ask.image_tokens };
        println!("cost            at most about {:.2}", estimate.cost(&prices));
    }
    println!("nothing was asked");
    Ok(Outcome::Done)
}

fn conclude(ask: &AskArgs, command: &str, worked: &Worked, complete: bool) -> Outcome {
    let resume = format!("pairwright evaluate {command} --out {}", ask.out.display());
    if worked.stopped {
        eprintln!("stopped; every reply is kept. To resume: {resume}");
        return Outcome::Interrupted;
    }
    if let Some(error) = &worked.gave_up {
        eprintln!("error: the LLM backend cannot be used: {error}");
    }
    if !complete {
        eprintln!("some calls are missing; to make them: {resume}");
    }
    Outcome::of_work(worked.gave_up.as_ref(), !complete)
}

fn judge_request(
    args: &JudgeArgs,
    folder: Option<&EvaluationFolder>,
) -> Result<JudgeRequest, Error> {
    let mut request = match (&args.ask.questions, &args.a, &args.b) {
        (Some(questions), Some(first), Some(second)) => JudgeRequest {
            questions: absolute(questions),
            first: absolute(first),
            second: absolute(second),
            options: JudgeOptions { llm: llm(&args.ask)?, ..JudgeOptions::default() },
        },
        _ => earlier(folder, Kind::Judge, "--questions, --a and --b", &args.ask)?,
    };
    set_judge(&mut request.options, &args.ask, &args.judge)?;
    Ok(request)
}

fn leaderboard_request(
    args: &LeaderboardArgs,
    folder: Option<&EvaluationFolder>,
) -> Result<LeaderboardRequest, Error> {
    let mut request = match &args.ask.questions {
        Some(questions) => LeaderboardRequest {
            questions: absolute(questions),
            answers: args.answers.iter().map(|path| absolute(path)).collect(),
            baseline: None,
            bootstrap: 1000,
            options: JudgeOptions { llm: llm(&args.ask)?, ..JudgeOptions::default() },
        },
        None => earlier(folder, Kind::Leaderboard, "--questions and --answers", &args.ask)?,
    };
    set(&mut request.bootstrap, args.bootstrap);
    if args.baseline.is_some() {
        request.baseline.clone_from(&args.baseline);
    }
    set_judge(&mut request.options, &args.ask, &args.judge)?;
    Ok(request)
}

fn answer_request(
    args: &AnswerArgs,
    folder: Option<&EvaluationFolder>,
) -> Result<AnswerRequest, Error> {
    let mut request = match &args.ask.questions {
        Some(questions) => AnswerRequest {
            questions: absolute(questions),
            images: None,
            sight: None,
            llm: llm(&args.ask)?,
            settings: SamplingSettings { temperature: 0.2, ..SamplingSettings::default() },
            seed: 0,
            model_id: None,
        },
        None => earlier(folder, Kind::Answer, "--questions", &args.ask)?,
    };
    let AskArgs { images, see, seed, .. } = &args.ask;
    request.images = images.as_deref().map(absolute).or(request.images);
    request.sight = see.or(request.sight);
    set(&mut request.seed, *seed);
    request.model_id = args.model_id.clone().or(request.model_id);
    request.llm = override_llm(request.llm, &args.ask)?;
    set_sampling(&mut request.settings, &args.ask);
    Ok(request)
}

/// What the folder was last asked for, or a word about the flags that a new one needs.
fn earlier<T: serde::de::DeserializeOwned>(
    folder: Option<&EvaluationFolder>,
    kind: Kind,
    flags: &'static str,
    ask: &AskArgs,
) -> Result<T, Error> {
    let missing = || EvaluationError::Setting {
        setting: flags,
        value: "not given".into(),
        expected: format!("given for a new evaluation in {}", ask.out.display()),
    };
    let folder = folder.ok_or_else(missing)?;
    evaluate::last_request(folder, kind).map_err(|error| match error {
        error if matches!(error.get(), Some(EvaluationError::NoResults { .. })) => missing().into(),
        other => other,
    })
}

fn set_judge(
    options: &mut JudgeOptions,
    ask: &AskArgs,
    judge: &JudgeOptionArgs,
) -> Result<(), Error> {
    let JudgeOptionArgs { rule, prompts, attempts, empty_answers } = judge;
    if let Some(images) = &ask.images {
        options.images = Some(absolute(images));
    }
    options.sight = ask.see.or(options.sight);
    set(&mut options.rule, *rule);
    if let Some(prompts) = prompts {
        options.prompts = Some(absolute(prompts));
    }
    set(&mut options.attempts, *attempts);
    set(&mut options.seed, ask.seed);
    match empty_answers.as_deref() {
        Some("lose") => options.empty = EmptyAnswers::Lose,
        Some(_) => options.empty = EmptyAnswers::Refuse,
        None => {}
    }
    options.llm = override_llm(std::mem::take(&mut options.llm), ask)?;
    set_sampling(&mut options.settings, ask);
    Ok(())
}

/// An evaluation must resume from any current folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

fn set_sampling(settings: &mut SamplingSettings, ask: &AskArgs) {
    set(&mut settings.temperature, ask.temperature);
    set(&mut settings.max_tokens, ask.max_tokens);
}

/// The [llm] section of the configuration, with the flags over it.
fn llm(ask: &AskArgs) -> Result<LlmConfig, Error> {
    let layers = match &ask.config {
        Some(path) => Layers::default().file(path)?,
        None => Layers::default(),
    };
    Ok(flags(layers.environment(), ask)?.resolve()?.llm)
}

/// An earlier request's backend, with the flags over it.
fn override_llm(llm: LlmConfig, ask: &AskArgs) -> Result<LlmConfig, Error> {
    if ask.config.is_some() {
        return self::llm(ask);
    }
    let AskArgs { llm: target, llm_model, llm_in_flight, .. } = ask;
    let mut changed = llm;
    if let Some(target) = target {
        changed.target = target.parse().map_err(crate::llm::LlmError::from)?;
    }
    changed.model = llm_model.clone().or(changed.model);
    let wanted = llm_in_flight.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    set(&mut changed.max_in_flight, wanted);
    Ok(changed)
}

fn flags(layers: Layers, ask: &AskArgs) -> Result<Layers, Error> {
    Ok(layers
        .flag("llm.target", ask.llm.clone())?
        .flag("llm.model", ask.llm_model.clone())?
        .flag("llm.max_in_flight", ask.llm_in_flight)?)
}
