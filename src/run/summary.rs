//! What a run came to, for the closing lines of a command.

use std::fmt;
use std::path::PathBuf;

use crate::Error;
use crate::config::Config;
use crate::dataset::store::{ExportRow, IngestSummary, RejectionCount, Store, TokenTotals};
use crate::generate;
use crate::llm::{Ledger, LlmError, Spending};
use crate::measure::keep::{ExpressionCounts, KeepCounts};

use super::RunFolder;
use super::answering::AnswerOutcome;
use super::exporting::{Exported, LeftOut};
use super::judging;
use super::nothing::{LostAt, Nothing};
use super::settings::Settings;

/// Counts over the whole run, not only this session.
#[derive(Debug)]
pub struct Summary {
    pub folder: PathBuf,
    /// The source as it was read now, when it was.
    pub ingest: Option<IngestSummary>,
    /// Photos that are embedded.
    pub ready: u64,
    /// Photos that were refused.
    pub rejected_photos: u64,
    /// Photos among the embedded ones that are nearly the same as an earlier one.
    pub twins: u64,
    pub pairs: u64,
    /// Candidates that each check refused, by its name; none where nothing was checked.
    pub checks: Vec<(String, u64)>,
    pub tokens: TokenTotals,
    pub rejections: Vec<RejectionCount>,
    /// Calls to be tried again at the next start: (code, count, one reason).
    pub failures: Vec<(String, u64, String)>,
    /// Calls of the run's own generation of instructions to be tried again at the next start.
    pub generation_failures: u64,
    pub exports: Vec<ExportRow>,
    /// What `export.keep` did to the exports of this session; empty where it has no expression.
    pub keep: KeepCounts,
    pub report: Option<PathBuf>,
    /// Sentences about stand-ins that a reader must not miss.
    pub notices: Vec<String>,
    /// The failure that ended the answers of this session.
    pub gave_up: Option<LlmError>,
    /// Pairs that are still to be asked for, where the answers ended early.
    pub left: u64,
    /// What all roles have spent, in all sessions.
    pub spending: Spending,
    /// The first so many records of the source are all that was read, where that is set.
    pub limit: Option<u64>,
    /// That the run holds no sample, and why.
    pub nothing: Option<Nothing>,
}

impl Summary {
    /// Reads the run's figures; those of its own generation where it draws from it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn read(
        folder: &RunFolder,
        store: &Store,
        ingest: Option<IngestSummary>,
        answered: AnswerOutcome,
        exported: Exported,
        config: &Config,
    ) -> Result<Self, Error> {
        let (generates, attempts) = (config.generate.enabled, config.answer.attempts);
        let limit = config.source.limit.filter(|limit| *limit > 0);
        let settings = Settings::read(store)?;
        let (matching, answering) = (settings.match_conf(), settings.answer_conf());
        let pass = store.pass()?;
        let (_, ready, rejected_photos) = store.item_states(pass)?;
        let report = folder.report();
        let pairs = store.count_current_pairs(pass, matching)?;
        let tokens = store.token_totals(matching, answering)?;
        let rejections = store.rejection_counts(matching, answering)?;
        let filters = settings.answering.as_ref().map_or(0, |one| one.filters.len());
        let partly_judged = store.partly_judged(matching, answering, filters)?;
        let failures = store.failure_counts()?;
        let judge_failures = store.judge_failure_counts()?;
        let lost_at = match (ready, pairs, tokens.accepted) {
            (0, ..) => Some(LostAt::Photos),
            (_, 0, _) => Some(LostAt::Pairs),
            (.., 0) => Some(LostAt::Answers),
            _ => None,
        };
        let generation = match generates {
            true => generate::folder::open_if_there(folder.path())?,
            false => None,
        };
        let generation = generation.map(|store| store.failures()).transpose()?.unwrap_or_default();
        let open = generation.iter().filter(|failure| !failure.refused).count();
        let nothing = lost_at.map(|at| Nothing::read(store, at, &rejections, &failures));
        let nothing = nothing.transpose()?.or_else(|| Nothing::kept(&exported.keep));
        Ok(Self {
            folder: folder.path().to_owned(),
            ingest,
            ready,
            rejected_photos,
            twins: store.count_twins(pass)?,
            pairs,
            checks: store.check_refusals(matching)?.1,
            tokens,
            rejections,
            failures: [failures, judge_failures].concat(),
            generation_failures: open as u64,
            exports: store.exports()?,
            keep: exported.keep,
            report: report.is_file().then_some(report),
            notices: [
                notices(&settings, partly_judged, &exported.untaken, &exported.left_out),
                judging::notices(store, matching, answering)?,
            ]
            .concat(),
            gave_up: answered.gave_up,
            left: store.count_to_answer(matching, answering, attempts)?,
            spending: Ledger::read(folder.path())?,
            limit,
            nothing,
        })
    }

    /// Whether calls are left for a later start.
    pub fn is_partial(&self) -> bool {
        !self.failures.is_empty() || self.generation_failures > 0 || self.gave_up.is_some()
    }
}

fn notices(
    settings: &Settings,
    partly_judged: u64,
    untaken: &[(String, u64)],
    left_out: &LeftOut,
) -> Vec<String> {
    let encoder = settings.matching.as_ref().and_then(|one| one.encoder.notice.clone());
    let llm = settings.answering.as_ref().and_then(|one| one.notice.clone());
    let language = (partly_judged > 0).then(|| {
        format!(
            "{partly_judged} accepted answers are in a language that the filters refusal and \
             meta_talk have no words for: these did not judge them"
        )
    });
    let untaken = untaken.iter().map(|(measure, count)| {
        format!(
            "{measure} was not taken of {count} samples yet: `export.keep` has no value of them; the \
             next run takes it"
        )
    });
    let left_out = left_out.first.as_ref().map(|first| {
        format!(
            "{} samples are not in the exports that carry photos, since theirs cannot be read \
             any more; the first: {first}",
            left_out.samples
        )
    });
    encoder.into_iter().chain(llm).chain(language).chain(untaken).chain(left_out).collect()
}

/// What `export.keep` left out, together and by each of its expressions.
fn write_kept_back(f: &mut fmt::Formatter<'_>, keep: &KeepCounts) -> fmt::Result {
    if keep.expressions.is_empty() {
        return Ok(());
    }
    writeln!(f, "kept back {:>6}  of {} samples, by export.keep", keep.left_out(), keep.samples)?;
    for ExpressionCounts { expression, left_out, alone, missing } in &keep.expressions {
        write!(f, "          {left_out:>6}  {expression} ({alone} by it alone")?;
        match missing {
            0 => writeln!(f, ")")?,
            _ => writeln!(f, "; {missing} samples have no value)")?,
        }
    }
    Ok(())
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(IngestSummary { records, new_or_changed, gone, rejected }) = self.ingest {
            let gone = match self.limit {
                Some(limit) => format!("only the first {limit} were read"),
                None => format!("{gone} gone"),
            };
            writeln!(
                f,
                "source    {records} records ({new_or_changed} new or changed, {gone}), \
                 {rejected} entries refused"
            )?;
        }
        writeln!(f, "photos    {} embedded, {} refused", self.ready, self.rejected_photos)?;
        if self.twins > 0 {
            writeln!(
                f,
                "twins     {:>6}  photos are nearly the same as an earlier one",
                self.twins
            )?;
        }
        writeln!(f, "pairs     {}", self.pairs)?;
        for (check, count) in &self.checks {
            writeln!(f, "check     {count:>6}  candidates do not apply: {check}")?;
        }
        let TokenTotals { answers, accepted, prompt_tokens, completion_tokens } = self.tokens;
        writeln!(
            f,
            "answers   {accepted} accepted of {answers} written ({prompt_tokens} prompt + \
             {completion_tokens} completion tokens)"
        )?;
        if self.gave_up.is_some() && self.left > 0 {
            writeln!(f, "left      {} pairs to ask for", self.left)?;
        }
        if self.spending.total().calls > 0 {
            writeln!(f, "spent     {}", self.spending)?;
        }
        for RejectionCount { stage, code, count } in &self.rejections {
            writeln!(f, "refused   {count:>6}  {stage}: {code}")?;
        }
        for (code, count, reason) in &self.failures {
            writeln!(f, "failed    {count:>6}  {code}: {reason}")?;
        }
        if self.generation_failures > 0 {
            writeln!(
                f,
                "failed    {:>6}  calls that write instructions",
                self.generation_failures
            )?;
        }
        write_kept_back(f, &self.keep)?;
        for ExportRow { path, rows, .. } in &self.exports {
            writeln!(f, "export    {rows:>6}  {path}")?;
        }
        if let Some(report) = &self.report {
            writeln!(f, "report    {}", report.display())?;
        }
        for notice in &self.notices {
            writeln!(f, "note      {notice}")?;
        }
        Ok(())
    }
}
