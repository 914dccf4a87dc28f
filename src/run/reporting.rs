//! Fills the report from the store: whole-run counts, and a bounded set of samples.

mod cards;
mod measures;

use std::path::PathBuf;

use crate::Error;
use crate::config::{Config, RUN_FILE};
use crate::dataset::store::{SampleContext, Store};
use crate::instruction::GenerateError;
use crate::llm::{Ledger, SamplingSettings};
use crate::measure::keep::KeepCounts;
use crate::report::histogram::{Comparison, Histogram, Layout};
use crate::report::{self, ReportData};
use crate::sandbox::FileAccess;

use super::judging;
use crate::index::SearchFacts;

use super::settings::{AnswerSettings, MatchSettings, Settings};
use super::{RunError, RunFolder};
use crate::generate;

/// Examples shown of each kind of refusal.
const EXAMPLES: usize = 5;

/// Writes `report.html` and returns its path.
///
/// # Errors
/// The store cannot be read or the page cannot be written.
pub fn write(
    folder: &RunFolder,
    store: &Store,
    config: &Config,
    access: &FileAccess,
) -> Result<PathBuf, Error> {
    let settings = Settings::read(store)?;
    let Some(matching) = &settings.matching else {
        let path = folder.path().to_owned();
        return Err(RunError::StepMissing { path, step: "report", needs: "match" }.into());
    };
    let answering = settings.answering.as_ref();
    let context = settings.sample_context();
    let search = settings.search.as_ref();
    let page = Page { folder, store, config, access, matching, answering, search, context };
    let path = folder.report();
    report::write(&page.data()?, &path)?;
    Ok(path)
}

struct Page<'a> {
    folder: &'a RunFolder,
    store: &'a Store,
    config: &'a Config,
    access: &'a FileAccess,
    matching: &'a MatchSettings,
    answering: Option<&'a AnswerSettings>,
    search: Option<&'a SearchFacts>,
    /// What the accepted samples share; `None` before the first answer.
    context: Option<SampleContext<'a>>,
}

impl Page<'_> {
    fn data(&self) -> Result<ReportData, Error> {
        let name = self.folder.path().file_name().unwrap_or_default().to_string_lossy();
        let (samples, total) = self.samples()?;
        let (measures, keep) = self.measured()?;
        let shown_all = samples.len() as u64 == total;
        Ok(ReportData {
            title: name.into_owned(),
            run_folder: self.folder.path().display().to_string(),
            generated_with: format!("pairwright {}", env!("CARGO_PKG_VERSION")),
            notices: self.notices()?,
            run: self.run_facts(),
            encoder: self.encoder(),
            llm: self.llm(),
            funnel: self.funnel(&keep)?,
            rejections: self.rejections()?,
            failures: self.failures()?,
            similarity: self.similarity()?,
            instruction_use: self.instruction_use()?,
            answer_words: self.answer_words()?,
            tokens: self.tokens()?,
            stages: self.stages()?,
            prompts: self.prompts(),
            measures,
            matching: self.matching_facts()?,
            generation: self.generation()?,
            samples,
            samples_total: total,
            samples_note: if shown_all {
                String::new()
            } else {
                "spread evenly over the run".into()
            },
            exports: self.exports()?,
        })
    }

    /// What the run's own generation says of itself, while the run draws from it.
    fn generation(&self) -> Result<Option<report::GenerationReport>, Error> {
        if !self.config.generate.enabled {
            return Ok(None);
        }
        match generate::folder::open(self.folder.path()) {
            Ok(store) => generate::report_of(&store),
            Err(error) if matches!(error.get(), Some(GenerateError::NoFolder { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn answer_conf(&self) -> &str {
        self.answering.map_or("", |settings| &settings.conf)
    }

    fn notices(&self) -> Result<Vec<String>, Error> {
        let (answers, judge) = (self.store.failure_counts()?, self.store.judge_failure_counts()?);
        let failed: u64 = answers.iter().chain(&judge).map(|(_, count, _)| count).sum();
        let (waiting, _, _) = self.store.item_states(self.store.pass()?)?;
        let resume = format!("pairwright run --out {}", self.folder.path().display());
        let mut notices = Vec::new();
        if failed > 0 {
            notices.push(format!("{failed} LLM calls failed; to try them again: {resume}"));
        }
        if waiting > 0 {
            notices.push(format!("{waiting} photos wait to be embedded; to go on: {resume}"));
        }
        let (matching, answering) = (&self.matching.conf, self.answer_conf());
        notices.extend(judging::notices(self.store, matching, answering)?);
        Ok(notices)
    }

    fn run_facts(&self) -> report::RunFacts {
        let row = |key: &str, value: String| report::KeyValue::new(key, value);
        let input = report::Section {
            name: "Input".into(),
            rows: vec![
                row("source", self.matching.source.clone()),
                row("instructions", self.matching.library_origin.clone()),
                row("seed", self.config.seed.to_string()),
            ],
        };
        let toml = fs_err::read_to_string(self.folder.path().join(RUN_FILE)).unwrap_or_default();
        let sampling = self.answering.map(|settings| report::Section {
            name: "LLM sampling".into(),
            rows: sampling_rows(&settings.sampling),
        });
        report::RunFacts { sections: std::iter::once(input).chain(sampling).collect(), toml }
    }

    fn encoder(&self) -> report::EncoderFacts {
        let facts = &self.matching.encoder;
        let file = |file: &crate::model::manifest::ModelFile| report::ModelFile {
            path: file.name.clone(),
            sha256: file.sha256.clone(),
        };
        report::EncoderFacts {
            name: facts.name.clone(),
            hash: facts.hash.clone(),
            embedding_dim: facts.embedding_dim as u32,
            stand_in: facts.stand_in,
            notice: facts.notice.clone(),
            files: facts.files.iter().map(file).collect(),
            quality: facts
                .quality
                .iter()
                .map(|(key, value)| report::KeyValue::new(key, value))
                .collect(),
        }
    }

    fn llm(&self) -> report::LlmFacts {
        self.answering.map_or_else(
            || report::LlmFacts { name: "none yet".into(), backend: String::new(), notice: None },
            |settings| report::LlmFacts {
                name: settings.llm.clone(),
                backend: settings.backend.clone(),
                notice: settings.notice.clone(),
            },
        )
    }

    fn funnel(&self, keep: &KeepCounts) -> Result<Vec<report::FunnelStep>, Error> {
        let pass = self.store.pass()?;
        let conf = &self.matching.conf;
        let counts = self.store.rejection_counts(conf, self.answer_conf())?;
        let refused = |stage: &str| {
            counts.iter().filter(|one| one.stage == stage).map(|one| one.count).sum::<u64>()
        };
        let (new, ready, bad) = self.store.item_states(pass)?;
        let records = new + ready + bad;
        let pairs = self.store.count_current_pairs(pass, conf)?;
        let totals = self.store.token_totals(conf, self.answer_conf())?;
        let failed = self.store.count_failed_pairs()?;
        let step = |stage: &str, input, output, rejected, failed| report::FunnelStep {
            stage: stage.into(),
            input,
            output,
            rejected,
            failed,
        };
        let refused_answers = totals.answers - totals.accepted.min(totals.answers);
        let mut steps = vec![
            step("source entries", records + refused("source"), records, refused("source"), 0),
            step("photos embedded", records, ready, bad, 0),
            step("photos matched to pairs", ready, pairs, refused("match"), 0),
            step("answers written", pairs, totals.answers, refused("answer"), failed),
            step("answers accepted", totals.answers, totals.accepted, refused_answers, 0),
        ];
        if !keep.expressions.is_empty() {
            steps.push(step("samples kept", keep.samples, keep.kept, keep.left_out(), 0));
        }
        Ok(steps)
    }

    fn rejections(&self) -> Result<Vec<report::RejectionGroup>, Error> {
        let counts = self.store.rejection_counts(&self.matching.conf, self.answer_conf())?;
        counts
            .into_iter()
            .map(|one| {
                let examples = self.store.rejection_examples(&one.stage, &one.code, EXAMPLES)?;
                let example = |(subject, reason)| report::Example { subject, reason };
                Ok(report::RejectionGroup {
                    stage: one.stage,
                    code: one.code,
                    count: one.count,
                    examples: examples.into_iter().map(example).collect(),
                })
            })
            .collect()
    }

    fn failures(&self) -> Result<Vec<report::FailureGroup>, Error> {
        let group = |(code, count, example)| report::FailureGroup { code, count, example };
        let (answers, judge) = (self.store.failure_counts()?, self.store.judge_failure_counts()?);
        Ok(answers.into_iter().chain(judge).map(group).collect())
    }

    fn similarity(&self) -> Result<Comparison, Error> {
        let mut comparison = Comparison::new(Layout::nice(-0.2, 1.0, 48));
        self.store
            .each_similarity(&self.matching.conf, |value, drawn| comparison.add(value, drawn))?;
        Ok(comparison)
    }

    fn answer_words(&self) -> Result<Histogram, Error> {
        let mut lengths = Histogram::new(Layout::nice_counts(0, 400, 40));
        let (matching, answering) = (&self.matching.conf, self.answer_conf());
        self.store.each_accepted_length(matching, answering, |words| lengths.add(words as f64))?;
        Ok(lengths)
    }

    fn instruction_use(&self) -> Result<Vec<report::InstructionUse>, Error> {
        let rows = self.store.instruction_use(
            &self.matching.library,
            &self.matching.conf,
            self.answer_conf(),
        )?;
        let row = |(id, text, category, chosen, accepted)| report::InstructionUse {
            id,
            text,
            category,
            chosen,
            accepted,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    fn tokens(&self) -> Result<report::TokenFacts, Error> {
        let totals = self.store.token_totals(&self.matching.conf, self.answer_conf())?;
        let (calls, retries) = self.store.llm_calls()?;
        Ok(report::TokenFacts {
            prompt: totals.prompt_tokens,
            completion: totals.completion_tokens,
            calls,
            retries,
            accepted: totals.accepted,
            spending: Ledger::read(self.folder.path())?.roles,
        })
    }

    fn stages(&self) -> Result<Vec<report::StageTime>, Error> {
        let times = self.store.stage_times()?;
        Ok(times
            .into_iter()
            .map(|one| report::StageTime {
                name: one.stage,
                items: one.items,
                seconds: one.seconds,
            })
            .collect())
    }

    fn prompts(&self) -> Vec<report::PromptText> {
        let Some(settings) = self.answering else { return Vec::new() };
        [("answer.system.txt", &settings.system), ("answer.user.txt", &settings.user)]
            .map(|(name, text)| report::PromptText {
                name: name.into(),
                hash: settings.prompt_hash.clone(),
                text: text.clone(),
            })
            .into()
    }

    fn matching_facts(&self) -> Result<report::MatchingFacts, Error> {
        let rules = self.matching;
        let quota = rules.quota.map_or("none".into(), |cap| format!("{cap} pairs each"));
        let fact = |key: &str, value: String| report::KeyValue::new(key, value);
        Ok(report::MatchingFacts {
            facts: vec![
                fact("strategy", rules.strategy.clone()),
                fact("similarity floor", rules.min_similarity.to_string()),
                fact("temperature", rules.temperature.to_string()),
                fact("caption weight", rules.caption_weight.to_string()),
                fact("hubness correction", self.config.matching.hubness.name().to_owned()),
                fact("quota", quota),
                fact("check", self.check_words()?),
            ]
            .into_iter()
            .chain(self.search.map(|search| fact("search", search.to_string())))
            .collect(),
            hubs: self.hubs()?,
        })
    }

    /// What the checks refused.
    fn check_words(&self) -> Result<String, Error> {
        if self.matching.checks.is_empty() {
            return Ok("none".into());
        }
        let (photos, refused) = self.store.check_refusals(&self.matching.conf)?;
        let names = self.matching.checks.join(", ");
        let refused: Vec<String> =
            refused.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let refused = if refused.is_empty() { "none".into() } else { refused.join(", ") };
        Ok(format!("{names}; candidates refused over {photos} photos: {refused}"))
    }

    fn hubs(&self) -> Result<Vec<report::Hub>, Error> {
        let Some(json) = self.store.hubness(&self.matching.conf)? else { return Ok(Vec::new()) };
        let stats: crate::matching::HubnessStats = serde_json::from_str(&json)
            .map_err(|error| RunError::Hubness { message: error.to_string() })?;
        let mut hubs: Vec<_> = stats
            .instructions
            .into_iter()
            .map(|(instruction_id, one)| report::Hub {
                instruction_id,
                mean: one.mean,
                deviation: one.deviation,
            })
            .collect();
        hubs.sort_by(|a, b| b.mean.total_cmp(&a.mean));
        Ok(hubs)
    }

    fn exports(&self) -> Result<Vec<report::ExportFile>, Error> {
        let file = |row: crate::dataset::store::ExportRow| report::ExportFile {
            path: row.path,
            rows: row.rows,
            bytes: row.bytes,
            sha256: row.sha256,
        };
        Ok(self.store.exports()?.into_iter().map(file).collect())
    }
}

/// The sampling settings as sent with each call.
fn sampling_rows(sampling: &SamplingSettings) -> Vec<report::KeyValue> {
    let named = [
        ("temperature", sampling.temperature.to_string()),
        ("top_p", sampling.top_p.to_string()),
        ("max_tokens", sampling.max_tokens.to_string()),
        ("stop", format!("{:?}", sampling.stop)),
        ("repeat_penalty", format!("{:?}", sampling.repeat_penalty.unwrap_or(1.0))),
    ];
    named.into_iter().map(|(key, value)| report::KeyValue::new(key, value)).collect()
}
