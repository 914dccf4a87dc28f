//! The summarise stage: what each cluster gives the library, one general instruction, its best
//! members or both, near-duplicates merged.

use std::sync::Arc;

use crate::Error;
use crate::base::hash;
use crate::encoder::Embedding;
use crate::instruction::augment::{Candidate, Judge, Judged, LibraryMode, cosine};
use crate::instruction::filter::{InstructionFilterConfig, Refusal};
use crate::instruction::lineage::{
    ACCEPTED, FinalRow, MERGED, MemberRow, NOT_SUMMARIZED, PickRow, RawRow, ReadingRow, RefusalRow,
};
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
    pub mode: LibraryMode,
    /// Members that each cluster gives at most, where members are picked.
    pub members_per_cluster: usize,
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
        let mut found = if self.mode.summarizes() {
            self.summarize(&clusters, asker, vectors).await?
        } else {
            Found {
                finals: clusters.iter().enumerate().map(not_summarized).collect(),
                ..Found::default()
            }
        };
        let kept = self.merge(&mut found.finals, vectors)?;
        let picks = match self.mode.picks() {
            true => self.pick(self.members_per_cluster, kept, vectors)?,
            false => Vec::new(),
        };
        vectors.store.put_finals(&found.readings, &found.finals, &found.refusals)?;
        vectors.store.put_picks(&picks)?;
        asker.progress.finish(Phase::Summarize);
        Ok(())
    }

    async fn summarize(
        &self,
        clusters: &Arc<Vec<Shown>>,
        asker: &Asker<'_>,
        vectors: &Vectors<'_>,
    ) -> Result<Found, Error> {
        asker.progress.expect(Phase::Summarize, clusters.len() as u64);
        let questions: Vec<Question> =
            clusters.iter().enumerate().map(|(at, shown)| self.question(at, shown)).collect();
        let judge = Arc::new(self.judge());
        let good = is_good(Arc::clone(&judge), Arc::clone(clusters));
        let replies = asker.ask(vectors.store, questions, good).await?;
        let mut found = Found::default();
        for (cluster, (shown, replies)) in clusters.iter().zip(&replies).enumerate() {
            found.settle(cluster, shown, replies, &judge);
        }
        Ok(found)
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
            let said = raws.iter().filter_map(text);
            let descriptions = said.filter(|text| !text.is_empty()).collect();
            clusters.push(Shown { raws, descriptions });
        }
        Ok(clusters)
    }

    fn question(&self, cluster: usize, shown: &Shown) -> Question {
        let texts: Vec<&str> = shown.raws.iter().map(|raw| raw.text.as_str()).collect();
        let seed = hash::seed(self.seed, &[&["summarize"], texts.as_slice()].concat());
        let subject = format!("cluster {cluster}");
        Question { subject, messages: self.prompts.build(&texts), seed, photo: None }
    }

    /// Knows the seeds only: what it says of a reply must not depend on other clusters.
    fn judge(&self) -> Judge {
        let mut judge = Judge::new(self.filters.clone());
        self.seeds.seeds.iter().for_each(|seed| judge.add_seed(&seed.id, &seed.text, None));
        judge
    }

    /// Of near-duplicates the one of the earlier, so larger, cluster stays.
    fn merge(&self, finals: &mut [FinalRow], vectors: &mut Vectors<'_>) -> Result<Kept, Error> {
        let accepted: Vec<usize> =
            (0..finals.len()).filter(|at| finals[*at].verdict == ACCEPTED).collect();
        let texts: Vec<&str> = accepted.iter().map(|at| finals[*at].text.as_str()).collect();
        let embedded = vectors.of(&texts)?;
        let mut kept = Kept::new(self.filters.max_rouge_l, self.config.merge_cosine);
        for (at, vector) in accepted.into_iter().zip(embedded) {
            let row = &mut finals[at];
            if let Err((other, reason)) = kept.add(row.cluster, &row.text, vector) {
                (row.verdict, row.reason) = (MERGED.to_owned(), reason);
                row.merged_into = Some(other);
            }
        }
        Ok(kept)
    }

    /// Of each cluster the members nearest its centre that say nothing which `kept` says already.
    fn pick(
        &self,
        members_per_cluster: usize,
        mut kept: Kept,
        vectors: &mut Vectors<'_>,
    ) -> Result<Vec<PickRow>, Error> {
        let (raws, members) = (vectors.store.raws()?, vectors.store.members()?);
        let members: Vec<(&MemberRow, &RawRow)> =
            members.iter().filter_map(|one| Some((one, raws.get(one.raw)?))).collect();
        let texts: Vec<&str> = members.iter().map(|(_, raw)| raw.text.as_str()).collect();
        let embedded = vectors.of(&texts)?;
        let mut picks: Vec<PickRow> = Vec::new();
        for ((member, raw), vector) in members.into_iter().zip(embedded) {
            let cluster = member.cluster;
            let taken = picks.iter().filter(|one| one.cluster == cluster).count();
            if taken < members_per_cluster && kept.add(cluster, &raw.text, vector).is_ok() {
                let id = format!("raw-{}", &raw.key[..12]);
                picks.push(PickRow { raw: raw.place, cluster, id });
            }
        }
        Ok(picks)
    }
}

/// Instructions that stay, of which no later one may be a near-duplicate.
struct Kept {
    max_rouge_l: f64,
    merge_cosine: f64,
    rouge: RougeIndex,
    /// Cluster and unit vector, in the order of the index.
    rows: Vec<(usize, Embedding)>,
}

impl Kept {
    fn new(max_rouge_l: f64, merge_cosine: f64) -> Self {
        Self { max_rouge_l, merge_cosine, rouge: RougeIndex::default(), rows: Vec::new() }
    }

    /// Adds an instruction, unless one that is kept says the same: then its cluster, and how near
    /// the two are.
    fn add(
        &mut self,
        cluster: usize,
        text: &str,
        vector: Embedding,
    ) -> Result<(), (usize, String)> {
        let words = words(text);
        let by_words = self.rouge.nearest(&words, self.max_rouge_l);
        let by_words = by_words.map(|(place, f)| (self.rows[place].0, format!("ROUGE-L {f:.2}")));
        if let Some(twin) = by_words.or_else(|| self.same_meaning(&vector)) {
            return Err(twin);
        }
        self.rouge.add(&words);
        self.rows.push((cluster, vector));
        Ok(())
    }

    fn same_meaning(&self, vector: &Embedding) -> Option<(usize, String)> {
        let cosine = |(cluster, other): &(usize, Embedding)| (*cluster, cosine(vector, other));
        let (cluster, cosine) = self.rows.iter().map(cosine).max_by(|a, b| a.1.total_cmp(&b.1))?;
        (cosine >= self.merge_cosine).then(|| (cluster, format!("cosine {cosine:.3}")))
    }
}

/// Whether a reply's instruction passes for its cluster.
fn is_good(judge: Arc<Judge>, clusters: Arc<Vec<Shown>>) -> Good {
    Arc::new(move |at, text| {
        let (_, found) = reply::read_summary(text).map_err(|unread| unread.told().to_owned())?;
        let refused = |refusal: Refusal| format!("\"{}\": {}", found.instruction, refusal.reason);
        check(&judge, &clusters[at], &found.instruction).map_err(refused)
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
            shown: shown.raws.iter().map(|raw| raw.place).collect(),
            attempts: replies.len() as u32,
            verdict: "llm_failed".into(),
            reason: "no reply came".into(),
            ..FinalRow::of(cluster)
        };
        for reply in replies {
            let read = reply
                .whole()
                .and_then(|text| reply::read_summary(text).map_err(|unread| unread.code()));
            self.readings.push(ReadingRow {
                call_key: reply.key.clone(),
                role: "summarize",
                outcome: read.as_ref().map_or_else(|code| *code, |(form, _)| form.name()).into(),
                found: usize::from(read.is_ok()),
            });
            let (text, code, reason) = match read {
                Err(code) => (String::new(), code.to_owned(), "nothing in the reply".into()),
                Ok((_, found)) => match check(judge, shown, &found.instruction) {
                    Ok(()) => {
                        let reply::Summary { instruction: text, requires, coherent } = found;
                        (row.requires, row.coherent) = (requires, coherent);
                        row.id = instruction_id(&text);
                        (row.verdict, row.reason) = (ACCEPTED.into(), String::new());
                        (row.text, row.call_key) = (text, reply.key.clone());
                        break;
                    }
                    Err(refusal) => (found.instruction, refusal.code, refusal.reason),
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

fn not_summarized((cluster, _): (usize, &Shown)) -> FinalRow {
    FinalRow { verdict: NOT_SUMMARIZED.to_owned(), ..FinalRow::of(cluster) }
}

fn instruction_id(text: &str) -> String {
    let key = hash::key(&["final", &normal_form(text)]);
    format!("gen-{}", &key[..12])
}
