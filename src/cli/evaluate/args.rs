//! Options of `evaluate`, and the requests they make.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::Error;
use crate::cli::args::{LlmArgs, layers};
use crate::evaluate::{
    self, AnswerRequest, EmptyAnswers, EvaluationError, EvaluationFolder, JudgeOptions,
    JudgeRequest, Kind, LeaderboardRequest, Rule, Sight,
};
use crate::llm::{LlmConfig, LlmError, SamplingSettings};

/// What to evaluate.
#[derive(Debug, Subcommand)]
pub enum EvaluateCommand {
    /// Have an LLM judge two files of answers, every question in both orders. `--out` alone
    /// resumes.
    Judge(Box<JudgeArgs>),
    /// Tell how far two judges agree: Cohen's kappa over the results in two folders.
    Compare(CompareArgs),
    /// Judge many files of answers and rank their models (Bradley-Terry). `--out` alone resumes.
    Leaderboard(Box<LeaderboardArgs>),
    /// Have a multimodal LLM answer the questions; writes the published answer format.
    Answer(Box<AnswerArgs>),
    /// Hold out instructions and images of a run as a benchmark; its exports then leave them out.
    Build(BuildArgs),
}

/// Options of every command that asks an LLM.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The evaluation's folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Questions: JSON lines or a JSON array of question_id, image, text, caption, category.
    #[arg(long, value_name = "FILE")]
    pub questions: Option<PathBuf>,

    /// Folder of the images; they are attached to each call.
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,

    /// What the LLM sees: image or caption; default: images where --images is given.
    #[arg(long, value_name = "image|caption")]
    pub see: Option<Sight>,

    /// A configuration file (TOML) whose [llm] section is used; flags and environment win.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub llm: LlmArgs,

    /// Sampling temperature, 0 to 2; default 0.2.
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,

    /// Longest reply in tokens; default: 64 for a judge, 512 for an answer.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,

    /// Seed of every call and draw, 0 to 2^63 - 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,

    /// Check every file, tell what it would take, and ask nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Price of a million prompt tokens, for --dry-run.
    #[arg(long, value_name = "PRICE", requires = "dry_run")]
    pub price_in: Option<f64>,

    /// Price of a million reply tokens, for --dry-run.
    #[arg(long, value_name = "PRICE", requires = "dry_run")]
    pub price_out: Option<f64>,

    /// Tokens that one image is charged as, for --dry-run.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub image_tokens: u64,
}

/// Options of a judge.
#[derive(Debug, Args)]
pub struct JudgeOptionArgs {
    /// The rule of the headline; the other is always shown beside it.
    #[arg(long, value_name = "strict|paper")]
    pub rule: Option<Rule>,

    /// Folder with judge.system.txt and judge.user.txt; default: the built-in prompts.
    #[arg(long, value_name = "DIR")]
    pub prompts: Option<PathBuf>,

    /// Askings per question and order until a verdict can be read, 1 to 10; default 3.
    #[arg(long, value_name = "N")]
    pub attempts: Option<u32>,

    /// Empty answers: refuse the file, or lose the question without a call; default refuse.
    #[arg(long, value_name = "refuse|lose", value_parser = ["refuse", "lose"])]
    pub empty_answers: Option<String>,
}

/// Options of `evaluate judge`.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    #[command(flatten)]
    pub judge: JudgeOptionArgs,

    /// The first model's answers.
    #[arg(long, value_name = "FILE", requires_all = ["b", "questions"])]
    pub a: Option<PathBuf>,

    /// The second model's answers.
    #[arg(long, value_name = "FILE", requires_all = ["a", "questions"])]
    pub b: Option<PathBuf>,
}

/// Options of `evaluate leaderboard`.
#[derive(Debug, Args)]
pub struct LeaderboardArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    #[command(flatten)]
    pub judge: JudgeOptionArgs,

    /// The models' answers, one file each, 2 or more.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "questions")]
    pub answers: Vec<PathBuf>,

    /// Everyone meets this model only (its model_id); default: everyone meets everyone.
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,

    /// Resamplings for the intervals, 0 to 100000; default 1000.
    #[arg(long, value_name = "N")]
    pub bootstrap: Option<u32>,
}

/// Options of `evaluate answer`.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    #[command(flatten)]
    pub ask: AskArgs,

    /// Name to write as model_id; default: the LLM's own.
    #[arg(long, value_name = "NAME")]
    pub model_id: Option<String>,
}

/// Options of `evaluate compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The first judge's folder.
    #[arg(long, value_name = "DIR")]
    pub a: PathBuf,

    /// The second judge's folder.
    #[arg(long, value_name = "DIR")]
    pub b: PathBuf,

    /// The rule under which outcomes are compared.
    #[arg(long, value_name = "strict|paper", default_value = "strict")]
    pub rule: Rule,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Options of `evaluate build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The run to hold out from; it must have been matched.
    #[arg(long, value_name = "RUN")]
    pub run: PathBuf,

    /// Folder for the benchmark: questions.jsonl and images/.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Instructions to hold out, spread over the categories.
    #[arg(long, value_name = "N", default_value_t = 33)]
    pub instructions: u32,

    /// Images per instruction, at most.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub images: u32,

    /// Cosine similarity from which an image counts as a near-duplicate of a held-out one.
    #[arg(long, value_name = "S", default_value_t = 0.95)]
    pub near: f64,

    /// Seed of the choice.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

pub fn judge_request(
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

pub fn leaderboard_request(
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

pub fn answer_request(
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
    Ok(ask.llm.layers(layers(ask.config.as_deref(), None)?)?.resolve()?.llm)
}

/// An earlier request's backend, with the flags over it.
fn override_llm(earlier: LlmConfig, ask: &AskArgs) -> Result<LlmConfig, Error> {
    if ask.config.is_some() {
        return llm(ask);
    }
    let LlmArgs { llm: target, llm_model, llm_in_flight } = &ask.llm;
    let mut changed = earlier;
    if let Some(target) = target {
        changed.target = target.parse().map_err(LlmError::from)?;
    }
    changed.model = llm_model.clone().or(changed.model);
    let wanted = llm_in_flight.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    set(&mut changed.max_in_flight, wanted);
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(flags: &[&str]) -> EvaluateCommand {
        let line = ["pairwright", "evaluate"].iter().chain(flags);
        match Cli::try_parse_from(line).expect("parses").command {
            Command::Evaluate(command) => command,
            other => panic!("{other:?}"),
        }
    }

    fn judge(flags: &[&str]) -> Result<JudgeRequest, Error> {
        let EvaluateCommand::Judge(args) = parse(flags) else { panic!("{flags:?}") };
        judge_request(&args, None)
    }

    #[test]
    fn every_flag_of_a_judge_reaches_its_request() {
        let base = ["judge", "--out=/e", "--questions=/q", "--a=/a", "--b=/b"];
        for (flag, key, value) in [
            ("--dry-run", "/second", serde_json::json!("/b")),
            ("--images=/i", "/options/images", "/i".into()),
            ("--see=caption", "/options/sight", "caption".into()),
            ("--llm=openai:http://h:1/v1", "/options/llm/target", "openai:http://h:1/v1".into()),
            ("--llm-model=q", "/options/llm/model", "q".into()),
            ("--llm-in-flight=3", "/options/llm/max_in_flight", 3.into()),
            ("--temperature=0.5", "/options/settings/temperature", 0.5.into()),
            ("--max-tokens=9", "/options/settings/max_tokens", 9.into()),
            ("--seed=9", "/options/seed", 9.into()),
            ("--rule=paper", "/options/rule", "paper".into()),
            ("--prompts=/p", "/options/prompts", "/p".into()),
            ("--attempts=2", "/options/attempts", 2.into()),
            ("--empty-answers=lose", "/options/empty", "lose".into()),
        ] {
            let request = judge(&[&base[..], &[flag]].concat()).expect(flag);
            let request = serde_json::to_value(request).expect("serialises");
            assert_eq!(request.pointer(key), Some(&value), "{flag}");
        }
    }

    #[test]
    fn a_new_evaluation_says_which_flags_it_needs() {
        let error = judge(&["judge", "--out=/e"]).expect_err("nothing was asked before");
        let expected =
            "--questions, --a and --b is not given, must be given for a new evaluation in /e";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_leaderboard_and_an_answerer_begin_with_their_own_defaults() {
        let flags = ["leaderboard", "--out=/e", "--questions=/q", "--answers", "/a", "/b"];
        let EvaluateCommand::Leaderboard(args) = parse(&flags) else { panic!("{flags:?}") };
        let request = leaderboard_request(&args, None).expect("valid");
        assert_eq!((request.answers.len(), request.bootstrap, request.baseline), (2, 1000, None));
        let flags = ["answer", "--out=/e", "--questions=/q", "--model-id=m"];
        let EvaluateCommand::Answer(args) = parse(&flags) else { panic!("{flags:?}") };
        let request = answer_request(&args, None).expect("valid");
        assert_eq!((request.model_id.as_deref(), request.settings.temperature), (Some("m"), 0.2));
    }
}
