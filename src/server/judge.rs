//! `Judge`: a request becomes a job that judges answers; and what evaluations come to, as it
//! travels.

use std::sync::Arc;

use super::app::App;
use super::call::Call;
use super::convert::{JOBS, whole};
use super::fault::Fault;
use super::{batch, jobs, pb, validate};
use crate::evaluate::{
    Agreement, EmptyAnswers, Group, JudgeOptions, JudgeRequest, JudgeResults, Letter, Outcome,
    QuestionResult, REPORT_FILE, Rule, RuleResults, Share, Side, Sight, Tally,
};
use crate::jobs::{JobSpec, JobTask};

/// Groups by instruction that travel.
const MAX_GROUPS: usize = 1000;

/// Ids of questions on which two judges differ that travel.
const MAX_DIFFERING: usize = 1000;

/// Outcomes in the order of [`Agreement::counts`].
const OUTCOMES: [Outcome; 3] = [Outcome::First, Outcome::Tie, Outcome::Second];

/// Checks the request and queues the job.
///
/// # Errors
/// The request is wrong, a file is not below an image root, or the manager refuses the job.
pub async fn submit(
    app: &Arc<App>,
    call: &Call,
    request: pb::JudgeRequest,
) -> Result<pb::Job, Fault> {
    let request_id = request.request_id.clone();
    jobs::submit(app, call, &request_id, move |app| spec(app, &request)).await
}

fn spec(app: &App, request: &pb::JudgeRequest) -> Result<JobSpec, Fault> {
    let file = |field: &str, path: &str| match path {
        "" => Err(Fault::required(field)),
        path => batch::place(app, field, path),
    };
    let task = JudgeRequest {
        questions: file("questions", &request.questions)?,
        first: file("first_answers", &request.first_answers)?,
        second: file("second_answers", &request.second_answers)?,
        options: options(app, request)?,
    };
    Ok(JobSpec {
        run_id: jobs::given(&request.run_id),
        task: JobTask::Judge(Box::new(task)),
        request_id: jobs::given(&request.request_id),
        spec_json: jobs::fingerprint(request),
    })
}

fn options(app: &App, request: &pb::JudgeRequest) -> Result<JudgeOptions, Fault> {
    let mut options = JudgeOptions { llm: app.config.llm.clone(), ..JudgeOptions::default() };
    if !request.images.is_empty() {
        options.images = Some(batch::place(app, "images", &request.images)?);
    }
    options.sight = sight(request.sight)?;
    if options.sight == Some(Sight::Image) && options.images.is_none() {
        return Err(Fault::required("images").hint(" where `sight` is an image"));
    }
    options.rule = rule(request.rule)?;
    options.empty = empty_answers(request.empty_answers)?;
    options.seed = validate::seed("seed", request.seed)?;
    if let Some(attempts) = request.attempts {
        options.attempts = validate::count("attempts", attempts, 1, 10)?;
    }
    if let Some(max_tokens) = request.max_tokens {
        options.settings.max_tokens = validate::count("max_tokens", max_tokens, 1, 131_072)?;
    }
    if let Some(temperature) = request.temperature {
        // A NaN lies in no range, so it is refused too.
        if !(0.0..=2.0).contains(&temperature) {
            return Err(Fault::range("temperature", temperature, 0.0, 2.0));
        }
        options.settings.temperature = temperature as f32;
    }
    Ok(options)
}

/// The rule that a request names.
///
/// # Errors
/// The enum number is unknown.
pub fn rule(number: i32) -> Result<Rule, Fault> {
    match pb::JudgeRule::try_from(number) {
        Ok(pb::JudgeRule::Unspecified | pb::JudgeRule::Strict) => Ok(Rule::Strict),
        Ok(pb::JudgeRule::Paper) => Ok(Rule::Paper),
        Err(_) => Err(Fault::unknown_enum("rule", number)),
    }
}

fn sight(number: i32) -> Result<Option<Sight>, Fault> {
    match pb::JudgeSight::try_from(number) {
        Ok(pb::JudgeSight::Unspecified) => Ok(None),
        Ok(pb::JudgeSight::Image) => Ok(Some(Sight::Image)),
        Ok(pb::JudgeSight::Caption) => Ok(Some(Sight::Caption)),
        Err(_) => Err(Fault::unknown_enum("sight", number)),
    }
}

fn empty_answers(number: i32) -> Result<EmptyAnswers, Fault> {
    match pb::EmptyAnswers::try_from(number) {
        Ok(pb::EmptyAnswers::Unspecified | pb::EmptyAnswers::Refuse) => Ok(EmptyAnswers::Refuse),
        Ok(pb::EmptyAnswers::Lose) => Ok(EmptyAnswers::Lose),
        Err(_) => Err(Fault::unknown_enum("empty_answers", number)),
    }
}

/// An evaluation as it travels; `folder` is its run's.
pub fn evaluation(job: &str, folder: &std::path::Path, results: &JudgeResults) -> pb::Evaluation {
    let (judge, cost) = (&results.judge, &results.cost);
    let sight = match judge.sight {
        Sight::Image => pb::JudgeSight::Image,
        Sight::Caption => pb::JudgeSight::Caption,
    };
    let rule = match results.rule {
        Rule::Strict => pb::JudgeRule::Strict,
        Rule::Paper => pb::JudgeRule::Paper,
    };
    let (orders, position) = (&results.consistency, &results.position);
    pb::Evaluation {
        job: format!("{JOBS}{job}"),
        first_model: results.first.name.clone(),
        second_model: results.second.name.clone(),
        judge_model: judge.model.clone(),
        sight: sight.into(),
        rule: rule.into(),
        strict: Some(rule_results(&results.strict)),
        paper: Some(rule_results(&results.paper)),
        consistency: Some(pb::OrderConsistency {
            agreed_count: whole(orders.agreed),
            flip_count: whole(orders.order_flips),
            leaning_count: whole(orders.leaning),
            unread_count: whole(orders.unread),
        }),
        position: Some(pb::PositionBias {
            first_place_count: whole(position.first_place),
            second_place_count: whole(position.second_place),
            neither_count: whole(position.neither),
            first_share: Some(share(position.first_share)),
            p_value: position.p_value,
        }),
        reply_count: whole(cost.replies),
        prompt_tokens: whole(cost.prompt_tokens),
        completion_tokens: whole(cost.completion_tokens),
        report_path: folder.join(REPORT_FILE).display().to_string(),
    }
}

fn rule_results(results: &RuleResults) -> pb::RuleResults {
    let mut by_instruction: Vec<&Group> = results.by_instruction.iter().collect();
    if by_instruction.len() > MAX_GROUPS {
        by_instruction.sort_by_key(|group| std::cmp::Reverse(group.tally.questions));
        by_instruction.truncate(MAX_GROUPS);
    }
    pb::RuleResults {
        total: Some(tally(&results.total)),
        by_category: results.by_category.iter().map(group).collect(),
        by_instruction: by_instruction.into_iter().map(group).collect(),
        by_length: results.by_length.iter().map(group).collect(),
        longer_wins: Some(share(results.length.longer_wins)),
        length_p_value: results.length.p_value,
    }
}

fn group(group: &Group) -> pb::TallyGroup {
    pb::TallyGroup { name: group.name.clone(), tally: Some(tally(&group.tally)) }
}

fn tally(tally: &Tally) -> pb::Tally {
    pb::Tally {
        question_count: whole(tally.questions),
        first_wins: Some(share(tally.first)),
        ties: Some(share(tally.tie)),
        second_wins: Some(share(tally.second)),
        first_of_decided: Some(share(tally.first_of_decided)),
        unparsed_count: whole(tally.unparsed),
        missing_count: whole(tally.missing),
        forfeit_count: whole(tally.forfeits),
    }
}

fn share(share: Share) -> pb::Share {
    let Share { count, of, value, low, high } = share;
    pb::Share { count: whole(count), of: whole(of), value, low, high }
}

/// A question as it travels.
pub fn verdict(question: QuestionResult) -> pb::JobVerdict {
    let letter = |side: &Side| side.letter.map(Letter::name).unwrap_or_default().to_owned();
    let reply = |side: Side| side.replies.into_iter().next_back().map(|reply| reply.text);
    pb::JobVerdict {
        question_id: question.question_id.to_string(),
        category: question.category,
        instruction: question.instruction,
        strict: outcome(question.strict).into(),
        paper: outcome(question.paper).into(),
        forward_verdict: letter(&question.forward),
        backward_verdict: letter(&question.backward),
        forward_reply: reply(question.forward).unwrap_or_default(),
        backward_reply: reply(question.backward).unwrap_or_default(),
        forfeit: question.forfeit,
    }
}

fn outcome(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::First => pb::Outcome::First,
        Outcome::Tie => pb::Outcome::Tie,
        Outcome::Second => pb::Outcome::Second,
        Outcome::Unparsed => pb::Outcome::Unparsed,
        Outcome::Missing => pb::Outcome::Missing,
    }
}

/// The agreement of two judges as it travels.
pub fn agreement(found: Agreement) -> pb::CompareResponse {
    let rows = OUTCOMES.into_iter().zip(found.counts);
    let pairs = rows.flat_map(|(one, row)| {
        OUTCOMES.into_iter().zip(row).map(move |(other, count)| (one, other, count))
    });
    let outcomes = pairs.filter(|(_, _, count)| *count > 0).map(|(one, other, count)| {
        let (one, other) = (outcome(one).into(), outcome(other).into());
        pb::OutcomePair { outcome: one, other_outcome: other, count: whole(count) }
    });
    let alike = (0..OUTCOMES.len()).map(|place| found.counts[place][place]).sum();
    let differing = found.differ.iter().take(MAX_DIFFERING);
    pb::CompareResponse {
        outcomes: outcomes.collect(),
        judge: found.one,
        other_judge: found.other,
        compared_count: whole(found.compared),
        left_out_count: whole(found.left_out),
        agreement: Some(share(Share::new(alike, found.compared))),
        kappa: found.kappa.and_then(|kappa| kappa.kappa),
        differing_question_ids: differing.map(ToString::to_string).collect(),
    }
}
