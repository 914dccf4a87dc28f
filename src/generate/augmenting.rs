//! The augment stage: round by round, ask for new instructions and judge them in order.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::Error;
use crate::base::hash;
use crate::dataset::PhotoViewer;
use crate::instruction::augment::{
    Candidate, GenerateConfig, Judge, Judged, Pool, PoolEntry, SeedPool,
};
use crate::instruction::descriptions::Description;
use crate::instruction::filter::Refusal;
use crate::instruction::lineage::{ACCEPTED, RawRow, ReadingRow};
use crate::instruction::prompt::AugmentPrompts;
use crate::instruction::wording::normal_form;
use crate::instruction::{Seeds, reply};

use super::asking::{Asker, Good, Question, Replies, ShownPhoto};
use super::vectors::Vectors;

/// Refusals of one reply that the next attempt is told.
const SHOWN_REFUSALS: usize = 3;

/// What the augment stage works with.
pub struct AugmentStage<'a> {
    pub config: &'a GenerateConfig,
    pub prompts: &'a AugmentPrompts,
    pub seeds: &'a Seeds,
    /// Seed of the generation.
    pub seed: u64,
    /// Where the model is shown the photos.
    pub viewer: Option<Arc<PhotoViewer>>,
}

/// An instruction as it was read, before it is judged.
struct Read {
    text: String,
    /// Place of its description in the round.
    at: usize,
    call_key: String,
    /// Beyond the number asked for.
    surplus: bool,
}

impl AugmentStage<'_> {
    /// Writes instructions for every description and keeps what became of each. Depends on the
    /// replies and their order alone, never on when they came.
    ///
    /// # Errors
    /// Store, embedder or backend failed, or the user stopped.
    pub async fn run(
        &self,
        descriptions: &[Description],
        asker: &Asker<'_>,
        vectors: &mut Vectors<'_>,
    ) -> Result<(), Error> {
        let judge = Arc::new(RwLock::new(self.judge(vectors)?));
        let mut pool = SeedPool::new(self.seeds);
        let mut written = 0;
        for (number, round) in descriptions.chunks(self.config.round).enumerate() {
            let drawn: Vec<Vec<&PoolEntry>> =
                round.iter().map(|one| self.draw(&pool, one)).collect();
            let questions = self.questions(round, &drawn);
            let replies = asker.ask(vectors.store, questions, is_good(&judge, round)).await?;
            let (readings, found) = self.read(&replies);
            let judged = self.judge_all(&mut write(&judge), round, &found, vectors)?;
            let first = number * self.config.round;
            let rows = raw_rows(first, written, &drawn, found, judged);
            drop(drawn);
            vectors.store.put_round(written, &readings, &rows)?;
            written += rows.len();
            if self.config.pool == Pool::Accepted {
                let accepted = rows.iter().filter(|row| row.verdict == ACCEPTED);
                accepted.for_each(|row| {
                    pool.add(PoolEntry { id: format!("raw:{}", row.key), text: row.text.clone() });
                });
            }
        }
        asker.progress.finish(asker.phase);
        Ok(())
    }

    fn judge(&self, vectors: &mut Vectors<'_>) -> Result<Judge, Error> {
        let mut judge = Judge::new(self.config.filters.clone());
        let texts: Vec<&str> = self.seeds.seeds.iter().map(|seed| seed.text.as_str()).collect();
        let embedded = if judge.compares_vectors() { vectors.of(&texts)? } else { Vec::new() };
        let mut embedded = embedded.into_iter();
        for seed in &self.seeds.seeds {
            judge.add_seed(&seed.id, &seed.text, embedded.next());
        }
        Ok(judge)
    }

    fn draw<'p>(&self, pool: &'p SeedPool, one: &Description) -> Vec<&'p PoolEntry> {
        let seed = hash::seed(self.seed, &["seeds", &one.id, &one.text]);
        pool.draw(self.config.seeds_per_prompt, seed)
    }

    fn questions(&self, round: &[Description], drawn: &[Vec<&PoolEntry>]) -> Vec<Question> {
        let question = |(one, drawn): (&Description, &Vec<&PoolEntry>)| {
            let seeds: Vec<&str> = drawn.iter().map(|entry| entry.text.as_str()).collect();
            let seed = hash::seed(self.seed, &["augment", &one.id, &one.text]);
            let count = self.config.per_description;
            let messages = self.prompts.build(&seeds, one, count, seed);
            let photo = one.photo.clone().zip(self.viewer.as_ref());
            let photo = photo.map(|(image, viewer)| {
                // The asking says why it cannot be read.
                let sha256 = viewer.sha256(&image).unwrap_or_default();
                ShownPhoto { image, sha256 }
            });
            Question { subject: one.id.clone(), messages, seed, photo }
        };
        round.iter().zip(drawn).map(question).collect()
    }

    fn read(&self, replies: &[Replies]) -> (Vec<ReadingRow>, Vec<Read>) {
        let (mut readings, mut all) = (Vec::new(), Vec::new());
        for (at, reply) in
            replies.iter().enumerate().flat_map(|(at, all)| all.iter().map(move |one| (at, one)))
        {
            let read =
                reply.whole().and_then(|text| reply::read(text).map_err(|unread| unread.code()));
            let (outcome, found) = match read {
                Ok((form, found)) => (form.name(), found),
                Err(code) => (code, Vec::new()),
            };
            readings.push(ReadingRow {
                call_key: reply.key.clone(),
                role: "augment",
                outcome: outcome.to_owned(),
                found: found.len(),
            });
            let limit = self.config.per_description;
            all.extend(found.into_iter().enumerate().map(|(place, text)| Read {
                text,
                at,
                call_key: reply.key.clone(),
                surplus: place >= limit,
            }));
        }
        (readings, all)
    }

    fn judge_all(
        &self,
        judge: &mut Judge,
        round: &[Description],
        found: &[Read],
        vectors: &mut Vectors<'_>,
    ) -> Result<Vec<Judged>, Error> {
        let alone: Vec<Judged> = found.iter().map(|read| alone(judge, round, read)).collect();
        let fit = found.iter().zip(&alone).filter(|(_, judged)| judged.is_ok());
        let texts: Vec<&str> = fit.map(|(read, _)| read.text.as_str()).collect();
        // Clustering needs them all, so nothing is embedded in vain but a few duplicates.
        let mut embedded = vectors.of(&texts)?.into_iter();
        let mut judged = Vec::with_capacity(found.len());
        for (read, verdict) in found.iter().zip(alone) {
            if verdict.is_err() {
                judged.push(verdict);
                continue;
            }
            let vector = embedded.next();
            // Looked at again: the round itself may hold it twice.
            let verdict = self::alone(judge, round, read)
                .and_then(|()| judge.near_duplicate(&read.text, vector.as_deref()));
            if verdict.is_ok() {
                judge.add(&read.text, vector.filter(|_| judge.compares_vectors()));
            }
            judged.push(verdict);
        }
        Ok(judged)
    }
}

/// Whether a reply holds an instruction that passes every filter which looks at it alone. The judge
/// learns nothing while questions of a round are out.
fn is_good(judge: &Arc<RwLock<Judge>>, round: &[Description]) -> Good {
    let (judge, round) = (Arc::clone(judge), round.to_vec());
    Arc::new(move |at, text| {
        let (_, found) = reply::read(text).map_err(|unread| unread.told().to_owned())?;
        let judge = judge.read().unwrap_or_else(PoisonError::into_inner);
        let descriptions = round[at].said();
        let mut refused = Vec::with_capacity(found.len());
        for text in &found {
            match judge.alone(Candidate { text, descriptions: &descriptions }) {
                Ok(()) => return Ok(()),
                Err(refusal) => refused.push(format!("\"{text}\": {}", refusal.reason)),
            }
        }
        refused.truncate(SHOWN_REFUSALS);
        Err(refused.join("; "))
    })
}

fn write(judge: &RwLock<Judge>) -> RwLockWriteGuard<'_, Judge> {
    judge.write().unwrap_or_else(PoisonError::into_inner)
}

fn alone(judge: &Judge, round: &[Description], read: &Read) -> Judged {
    if read.surplus {
        return Err(Refusal { code: "surplus".into(), reason: "more than was asked for".into() });
    }
    let descriptions = round[read.at].said();
    judge.alone(Candidate { text: &read.text, descriptions: &descriptions })
}

/// `first` is the place of the round's first description, `written` that of its first instruction.
fn raw_rows(
    first: usize,
    written: usize,
    drawn: &[Vec<&PoolEntry>],
    found: Vec<Read>,
    judged: Vec<Judged>,
) -> Vec<RawRow> {
    let row = |(number, (read, judged)): (usize, (Read, Judged))| {
        let (verdict, reason) = match judged {
            Ok(()) => (ACCEPTED.to_owned(), String::new()),
            Err(refusal) => (refusal.code, refusal.reason),
        };
        RawRow {
            place: written + number,
            key: hash::key(&["raw", &normal_form(&read.text)]),
            description: first + read.at,
            seeds: drawn[read.at].iter().map(|entry| entry.id.clone()).collect(),
            text: read.text,
            call_key: read.call_key,
            verdict,
            reason,
        }
    };
    found.into_iter().zip(judged).enumerate().map(row).collect()
}
