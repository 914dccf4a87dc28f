//! The report's sample cards: photo, instruction, candidates, answers and verdict.

use std::collections::HashMap;

use crate::Error;
use crate::config::Config;
use crate::dataset::record::{AnswerRow, CandidateScore, Pair, Verdict};
use crate::dataset::{ImageRef, Photos};
use crate::image::{PreprocessConfig, Preprocessor};
use crate::report;

use super::Page;

/// JPEG quality of the photos in the page, 1 to 100.
const QUALITY: u8 = 78;

impl Page<'_> {
    /// The cards shown, and how many pairs there are in all.
    pub(super) fn samples(&self) -> Result<(Vec<report::SampleCard>, u64), Error> {
        let conf = &self.matching.conf;
        let rows = self.store.spread_pairs(conf, self.config.report.samples)?;
        let texts: HashMap<String, String> =
            self.instruction_use()?.into_iter().map(|one| (one.id, one.text)).collect();
        let thumbnails = Thumbnails::new(self.config, self.access)?;
        let cards = rows
            .into_iter()
            .map(|(pair, candidates)| self.card(pair, &candidates, &texts, &thumbnails))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((cards, self.store.count_current_pairs(self.store.pass()?, conf)?))
    }

    fn card(
        &self,
        pair: Pair,
        candidates: &[CandidateScore],
        texts: &HashMap<String, String>,
        thumbnails: &Thumbnails<'_>,
    ) -> Result<report::SampleCard, Error> {
        let attempts = self.store.attempts(&pair.key, self.answer_conf())?;
        let accepted = attempts.iter().find(|one| one.verdict == Verdict::Pass);
        let told = accepted.or(attempts.last());
        let candidate = |one: &CandidateScore| report::Candidate {
            id: one.id.clone(),
            text: texts.get(&one.id).cloned().unwrap_or_default(),
            similarity: one.similarity,
            score: one.score,
            chosen: one.id == pair.instruction_id,
            refused: refusals(one),
        };
        Ok(report::SampleCard {
            id: format!("{}-{}", pair.item_id, pair.rank),
            thumbnail: thumbnails.make(&pair.image),
            candidates: candidates.iter().map(candidate).collect(),
            width: pair.width,
            height: pair.height,
            description: pair.description,
            instruction_id: pair.instruction_id,
            instruction: pair.instruction,
            category: pair.category,
            requires: pair.requires.map(|phrases| match phrases.as_slice() {
                [] => "nothing".into(),
                phrases => phrases.join(", "),
            }),
            similarity: pair.similarity,
            score: pair.score,
            probability: pair.probability,
            rank: pair.rank,
            strategy: self.matching.strategy.clone(),
            answer: told.map(|one| one.text.clone()).unwrap_or_default(),
            verdict: self.verdict(&pair.key, told)?,
            llm: told.map(|one| one.llm.clone()).unwrap_or_default(),
            seed: told.map(|one| one.seed).unwrap_or_default(),
            example_ids: told.map(|one| one.examples.clone()).unwrap_or_default(),
            attempts: attempts.into_iter().map(attempt).collect(),
        })
    }

    fn verdict(&self, pair_key: &str, told: Option<&AnswerRow>) -> Result<report::Verdict, Error> {
        Ok(match told.map(|one| &one.verdict) {
            Some(Verdict::Pass) => report::Verdict::Accepted,
            Some(Verdict::Reject(refused)) => report::Verdict::Rejected {
                filter: refused.code.clone(),
                reason: refused.reason.clone(),
            },
            None => {
                let (code, reason) = self.store.why_no_answer(pair_key)?;
                report::Verdict::Failed { code, reason }
            }
        })
    }
}

/// What the checks did not find, in words.
fn refusals(one: &CandidateScore) -> String {
    let refused = one.checks.iter().filter(|found| !found.missing.is_empty());
    let words = refused.map(|found| format!("{}: no {}", found.check, found.missing.join(", ")));
    words.collect::<Vec<_>>().join("; ")
}

fn attempt(answer: AnswerRow) -> report::Attempt {
    report::Attempt {
        attempt: answer.attempt,
        text: answer.text,
        verdict: answer.verdict.code().to_owned(),
        finish: answer.finish,
        tokens: answer.completion_tokens as u32,
    }
}

/// Makes the small photos of the page.
pub(super) struct Thumbnails<'a> {
    photos: &'a dyn Photos,
    preprocessor: Preprocessor,
    side: u32,
}

impl<'a> Thumbnails<'a> {
    pub(super) fn new(config: &Config, photos: &'a dyn Photos) -> Result<Self, Error> {
        let decode = config.image.decode_options();
        let preprocessor = Preprocessor::new(PreprocessConfig::default(), decode)?;
        Ok(Self { photos, preprocessor, side: config.report.thumbnail })
    }

    /// `None` when the photo is gone or no longer decodes: the card says so.
    pub(super) fn make(&self, photo: &ImageRef) -> Option<report::Thumbnail> {
        let bytes = self.photos.read(photo, &self.preprocessor.options().limits).ok()?;
        let small = self.preprocessor.thumbnail(&bytes, self.side, QUALITY).ok()?;
        report::Thumbnail::from_encoded(&small).ok()
    }
}
