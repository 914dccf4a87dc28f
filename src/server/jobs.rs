//! Jobs and their pairs as they travel.

use std::sync::Arc;

use prost::Message;

use super::app::App;
use super::call::Call;
use super::convert::{JOBS, instruction_name, requirements, timestamp, whole};
use super::fault::Fault;
use super::pb;
use super::validate;
use crate::base::hash;
use crate::dataset::record::{MeasureValue, Measured, Verdict};
use crate::dataset::store::AnsweredPair;
use crate::jobs::{JobKind, JobRecord, JobSpec, JobState, Measures, PhaseProgress, Rejected};
use crate::llm::RoleSpent;
use crate::measure::keep::{ExpressionCounts, KeepCounts};

/// Queues the job that `spec` makes of a request, off the async threads: it looks at files.
///
/// # Errors
/// The request id is too long, `spec`'s, or the manager refuses the job.
pub async fn submit(
    app: &Arc<App>,
    call: &Call,
    request_id: &str,
    spec: impl FnOnce(&App) -> Result<JobSpec, Fault> + Send + 'static,
) -> Result<pb::Job, Fault> {
    validate::echo_id("request_id", request_id)?;
    let spec = app.blocking(spec).await?;
    let queued = app.jobs.submit(spec, call.owner()).await;
    let record = queued.map_err(|error| call.job_refused(error))?;
    Ok(job(app, &record))
}

/// A text of a request that may be left empty.
pub fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// What two calls with one request id must agree in: all of the request.
pub fn fingerprint(request: &impl Message) -> String {
    hash::sha256_hex(&request.encode_to_vec())
}

/// The method that starts jobs of this kind.
fn method(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Match => "BatchMatch",
        JobKind::Generate => "Generate",
        JobKind::Judge => "Judge",
    }
}

/// A job as it travels.
pub fn job(app: &App, record: &JobRecord) -> pb::Job {
    let progress = &record.progress;
    // The manager checked the id when the job came.
    let run_path = app.jobs.run_folder(&record.run_id).ok();
    let failure = record.failure.as_ref();
    let keep = record.summary.as_ref().map(|summary| &summary.keep);
    let error = failure.map(|one| Fault::from(one).into_item());
    pb::Job {
        name: format!("{JOBS}{}", record.id),
        state: state(record.state).into(),
        kind: method(record.kind).to_owned(),
        create_time: Some(timestamp(record.created)),
        start_time: record.started.map(timestamp),
        end_time: record.ended.map(timestamp),
        stages: progress.phases.iter().map(stage).collect(),
        rejections: progress.rejected.iter().map(rejection).collect(),
        error,
        run_id: record.run_id.clone(),
        run_path: run_path.map(|path| path.display().to_string()).unwrap_or_default(),
        attempt: i32::try_from(record.attempts).unwrap_or(i32::MAX),
        answers_paused_reason: progress
            .paused
            .as_ref()
            .map(|paused| paused.message.clone())
            .unwrap_or_default(),
        pair_count: whole(progress.pairs),
        answer_count: whole(progress.answers_accepted),
        instruction_count: whole(progress.instructions),
        kept_back_count: whole(keep.map_or(0, KeepCounts::left_out)),
        thresholds: keep.into_iter().flat_map(|keep| &keep.expressions).map(threshold).collect(),
        llm_spending: progress.spending.iter().map(spending).collect(),
    }
}

fn spending(role: &RoleSpent) -> pb::LlmSpending {
    let RoleSpent { section, role, model, spent, cost } = role;
    pb::LlmSpending {
        role: role.clone(),
        model: model.clone(),
        section: section.clone(),
        call_count: whole(spent.calls),
        estimated_call_count: whole(spent.estimated_calls),
        prompt_tokens: whole(spent.prompt_tokens),
        completion_tokens: whole(spent.completion_tokens),
        cost: *cost,
    }
}

fn threshold(counts: &ExpressionCounts) -> pb::ThresholdCount {
    pb::ThresholdCount {
        expression: counts.expression.clone(),
        left_out_count: whole(counts.left_out),
        alone_count: whole(counts.alone),
        missing_count: whole(counts.missing),
    }
}

/// A job's state as it travels.
pub fn state(state: JobState) -> pb::JobState {
    match state {
        JobState::Queued => pb::JobState::Queued,
        JobState::Running => pb::JobState::Running,
        JobState::Succeeded => pb::JobState::Succeeded,
        JobState::Failed => pb::JobState::Failed,
        JobState::Cancelled => pb::JobState::Cancelled,
    }
}

/// A pair as it travels, with what measures say of its answer.
pub fn pair(((pair, answer), measures): (AnsweredPair, Measures)) -> pb::JobPair {
    let measure = |(name, measured): (String, Measured)| Some((name, value(measured.value?)));
    let accepted = answer.filter(|answer| answer.verdict == Verdict::Pass);
    pb::JobPair {
        image_id: pair.item_id,
        path: pair.image.to_string(),
        instruction: instruction_name(&pair.instruction_id),
        instruction_text: pair.instruction,
        requires: pair.requires.as_deref().map(requirements),
        similarity: pair.similarity,
        score: pair.score,
        probability: pair.probability,
        rank: i32::try_from(pair.rank).unwrap_or(i32::MAX),
        answer_text: accepted.map(|answer| answer.text).unwrap_or_default(),
        measures: measures.into_iter().filter_map(measure).collect(),
    }
}

fn value(value: MeasureValue) -> pb::MeasureValue {
    let value = match value {
        MeasureValue::Number(number) => pb::measure_value::Value::Number(number),
        MeasureValue::Text(text) => pb::measure_value::Value::Text(text),
    };
    pb::MeasureValue { value: Some(value) }
}

fn stage(phase: &PhaseProgress) -> pb::StageProgress {
    pb::StageProgress {
        stage: phase.phase.name().to_owned(),
        done_count: whole(phase.done),
        total_count: whole(phase.total.unwrap_or(0)),
        rate: phase.rate,
        finished: phase.finished,
    }
}

fn rejection(rejected: &Rejected) -> pb::RejectionCount {
    pb::RejectionCount {
        stage: rejected.stage.clone(),
        reason: rejected.code.clone(),
        count: whole(rejected.count),
    }
}
