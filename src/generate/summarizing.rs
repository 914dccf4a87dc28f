//! The summarise stage: one general instruction for each cluster, near-duplicates merged.

use std::sync::Arc;

use crate::Error;
use crate::answer::generate::unfinished;
use crate::base::hash;
use crate::instruction::augment::{Candidate, Judge, Judged};
use crate::instruction::filter::InstructionFilterConfig;
use crate::instruction::lineage::{ACCEPTED, FinalRow, MERGED, RawRow, ReadingRow, RefusalRow};
use crate::instruction::prompt::SummarizePrompts;
use crate::instruction::summarize::SummarizeConfig;
use crate::instruction::wording::{normal_form, words};
use crate::instruction::{Seeds, diversity::RougeIndex, reply};

use super::asking::{Asker, Good, Question, Replies};
use super::vectors::Vectors;
use crate::work::Phase;

/// What the summarise stage works with.
pub struct SummarizeStage<'a> {
    pub config: &'a SummarizeConfig,
    pub filters: &'a InstructionFilterConfig,
    pub prompts: &'a SummarizePrompts,
    pub seeds: &'a Seeds,
    /// Seed of the generation.
    pub seed: u64,
}

/// A cluster as the LLM sees it.
struct Shown {
    /// The raw instructions, nearest first, with the descriptions they were written for.
    raws: Vec<RawRow>,
    descriptions: Vec<String>,
}

/// What the stage finds, row by row.
#[derive(Default)]
struct Found {
    readings: Vec<ReadingRow>,
    finals: Vec<FinalRow>,
    refusals: Vec<RefusalRow>,
}

impl SummarizeStage<'_> {
    /// Writes and keeps the final instructions.
    ///
    /// # Errors
    /// Store, embedder or backend failed, or the user stopped.
    pub async fn run(&self, asker: &Asker<'_>, vectors: &mut Vectors<'_>) -> Result<(), Error> {
        let clusters = Arc::new(self.clusters(vectors)?);
        asker.progress.expect(Phase::Summarize, clusters.len() as u64);
        let questions: Vec<Question> =
            clusters.iter().enumerate().map(|(at, shown)| self.question(at, shown)).collect();
        let judge = Arc::new(self.judge());
        let good = is_good(Arc::clone(&judge), Arc::clone(&clusters));
        let replies = asker.ask(vectors.store, questions, good).await?;
        let mut found = Found::default();
        for (cluster, (shown, replies)) in clusters.iter().zip(&replies).enumerate() {
            found.settle(cluster, shown, replies, &judge);
        }
        self.merge(&mut found.finals, vectors)?;
        vectors.store.put_finals(&found.readings, &found.finals, &found.refusals)?;
        asker.progress.finish(Phase::Summarize);
        Ok(())
    }

    fn clusters(&self, vectors: &Vectors<'_>) -> Result<Vec<Shown>, Error> {
        let store = vectors.store;
        let (raws, descriptions) = (store.raws()?, store.descriptions()?);
        let members = store.members()?;
        let mut clusters = Vec::new();
        for row in store.clusters()? {
            let own: Vec<&RawRow> = members
                .iter()
                .filter(|member| member.cluster == row.cluster)
                .filter_map(|member| raws.get(member.raw))
                .collect();
            // Of the cluster's content, so that a cluster that stays as it was asks nothing new.
            let keys: Vec<&str> = own.iter().map(|raw| raw.key.as_str()).collect();
            let seed = hash::seed(self.seed, &[&["shown"], keys.as_slice()].concat());
            let shown = self.config.shown(own.len(), seed);
            let raws: Vec<RawRow> = shown.into_iter().map(|at| own[at].clone()).collect();
            let text =
                |raw: &RawRow| descriptions.get(raw.description).map(|(_, text)| text.clone());
            let descriptions = raws.iter().filter_map(text).collect();
            clusters.push(Shown { raws, descriptions });
        }
        Ok(clusters)
    }

    fn question(&self, cluster: usize, shown: &Shown) -> Question {
        let texts: Vec<&str> = shown.raws.iter().map(|raw| raw.text.as_str()).collect();
        let seed = hash::seed(self.seed, &[&["summarize"], texts.as_slice()].concat());
        let subject = format!("cluster {cluster}");
        Question { subject, messages: self.prompts.build(&texts), seed }
    }

    /// Knows the seeds only: what it says of a reply must not depend on other clusters.
    fn judge(&self) -> Judge {
        let mut judge = Judge::new(self.filters.clone());
        self.seeds.seeds.iter().for_each(|seed| judge.add_seed(&seed.id, &seed.text, None));
        judge
    }

    /// Of near-duplicates the one of the earlier, so larger, cluster stays.
    fn merge(&self, finals: &mut [FinalRow], vectors: &mut Vectors<'_>) -> Result<(), Error> {
        let accepted: Vec<usize> =
            (0..finals.len()).filter(|at| finals[*at].verdict == ACCEPTED).collect();
        let texts: Vec<String> = accepted.iter().map(|at| finals[*at].text.clone()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embedded = vectors.of(&texts)?;
        let (mut rouge, mut kept) = (RougeIndex::default(), Vec::<usize>::new());
        for (number, at) in accepted.iter().copied().enumerate() {
            let words = words(texts[number]);
            let by_words = rouge.nearest(&words, self.filters.max_rouge_l);
            let by_words = by_words.map(|(place, f)| (kept[place], format!("ROUGE-L {f:.2}")));
            let twin = by_words.or_else(|| self.same_meaning(&embedded, &kept, number));
            match twin {
                Some((other, reason)) => {
                    let into = finals[accepted[other]].cluster;
                    let row = &mut finals[at];
                    (row.verdict, row.reason) = (MERGED.to_owned(), reason);
                    row.merged_into = Some(into);
                }
                None => {
                    rouge.add(&words);
                    kept.push(number);
                }
            }
        }
        Ok(())
    }

    fn same_meaning(
        &self,
        embedded: &[Vec<f32>],
        kept: &[usize],
        number: usize,
    ) -> Option<(usize, String)> {
        let cosine = |other: &usize| -> f64 {
            let pairs = embedded[number].iter().zip(&embedded[*other]);
            pairs.map(|(a, b)| a * b).sum::<f32>().into()
        };
        let nearest = kept.iter().map(|other| (*other, cosine(other)));
        let (other, cosine) = nearest.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (cosine >= self.config.merge_cosine).then(|| (other, format!("cosine {cosine:.3}")))
    }
}

/// Whether a reply's instruction passes for its cluster.
fn is_good(judge: Arc<Judge>, clusters: Arc<Vec<Shown>>) -> Good {
    Arc::new(move |at, text| {
        reply::read(text).is_ok_and(|(_, found)| {
            found.first().is_some_and(|text| check(&judge, &clusters[at], text).is_ok())
        })
    })
}

fn check(judge: &Judge, shown: &Shown, text: &str) -> Judged {
    let descriptions: Vec<&str> = shown.descriptions.iter().map(String::as_str).collect();
    judge.alone(Candidate { text, descriptions: &descriptions })?;
    judge.near_duplicate(text, None)
}

impl Found {
    /// Reads a cluster's replies in order: the first that passes counts, the others are kept as
    /// refusals.
    fn settle(&mut self, cluster: usize, shown: &Shown, replies: &Replies, judge: &Judge) {
        let mut row = FinalRow {
            cluster,
            id: String::new(),
            text: String::new(),
            call_key: String::new(),
            shown: shown.raws.iter().map(|raw| raw.place).collect(),
            attempts: replies.len() as u32,
            verdict: "llm_failed".into(),
            reason: "no reply came".into(),
            merged_into: None,
        };
        for reply in replies {
            let read = match unfinished(&reply.finish) {
                Some(code) => Err(code),
                None => reply::read(&reply.text).map_err(|unread| unread.code()),
            };
            self.readings.push(ReadingRow {
                call_key: reply.key.clone(),
                role: "summarize",
                outcome: read.as_ref().map_or_else(|code| *code, |(form, _)| form.name()).into(),
                found: read.as_ref().map_or(0, |(_, found)| found.len()),
            });
            let text = read.map(|(_, found)| found.into_iter().next().unwrap_or_default());
            let (text, code, reason) = match text {
                Err(code) => (String::new(), code.to_owned(), "nothing in the reply".into()),
                Ok(text) => match check(judge, shown, &text) {
                    Ok(()) => {
                        row.id = instruction_id(&text);
                        (row.verdict, row.reason) = (ACCEPTED.into(), String::new());
                        (row.text, row.call_key) = (text, reply.key.clone());
                        break;
                    }
                    Err(refusal) => (text, refusal.code, refusal.reason),
                },
            };
            (row.verdict, row.reason) = (code.clone(), reason.clone());
            self.refusals.push(RefusalRow {
                call_key: reply.key.clone(),
                cluster,
                text,
                code,
                reason,
            });
        }
        self.finals.push(row);
    }
}

fn instruction_id(text: &str) -> String {
    let key = hash::key(&["final", &normal_form(text)]);
    format!("gen-{}", &key[..12])
}
