//! The augment stage: round by round, ask for new instructions and judge them in order.

use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::Error;
use crate::base::{Stopped, hash};
use crate::dataset::{ImageRef, PhotoViewer};
use crate::instruction::augment::{
    Candidate, GenerateConfig, Judge, Judged, Pool, PoolEntry, SeedPool,
};
use crate::instruction::descriptions::Description;
use crate::instruction::filter::Refusal;
use crate::instruction::lineage::{ACCEPTED, RawRow, ReadingRow};
use crate::instruction::prompt::AugmentPrompts;
use crate::instruction::wording::normal_form;
use crate::instruction::{Seeds, reply};
use crate::work::{Stop, blocking};

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
            let photos = shown(round, self.viewer.as_ref(), asker.stop).await?;
            let questions = self.questions(round, &drawn, photos);
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

    fn questions(
        &self,
        round: &[Description],
        drawn: &[Vec<&PoolEntry>],
        photos: Vec<Option<ShownPhoto>>,
    ) -> Vec<Question> {
        let all = round.iter().zip(drawn).zip(photos);
        let questions = all.map(|((one, drawn), photo)| {
            let seeds: Vec<&str> = drawn.iter().map(|entry| entry.text.as_str()).collect();
            let seed = hash::seed(self.seed, &["augment", &one.id, &one.text]);
            let count = self.config.per_description;
            let messages = self.prompts.build(&seeds, one, count, seed);
            Question { subject: one.id.clone(), messages, seed, photo }
        });
        questions.collect()
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

/// The photos that a round's questions show, each in the place of its description. Every one is read
/// whole for its hash, also where its reply is known: that takes a thread that may block, and ends
/// between two photos when a stop is asked for.
async fn shown(
    round: &[Description],
    viewer: Option<&Arc<PhotoViewer>>,
    stop: &Stop,
) -> Result<Vec<Option<ShownPhoto>>, Error> {
    let Some(viewer) = viewer.cloned() else { return Ok(vec![None; round.len()]) };
    let images: Vec<Option<ImageRef>> = round.iter().map(|one| one.photo.clone()).collect();
    let stop = stop.clone();
    let shown = move |image: Option<ImageRef>| -> Result<Option<ShownPhoto>, Error> {
        let Some(image) = image else { return Ok(None) };
        if stop.is_asked() {
            return Err(Stopped.into());
        }
        // The asking says why it cannot be read.
        let sha256 = viewer.sha256(&image).unwrap_or_default();
        Ok(Some(ShownPhoto { image, sha256 }))
    };
    blocking(move || images.into_iter().map(shown).collect()).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Photos;
    use crate::image::{DecodeOptions, ImageError, ImageLimits};
    use crate::llm::LlmConfig;

    /// Photos whose bytes are their names; one called `stop` asks for a stop, `empty` has none.
    struct Names(Stop);

    impl Photos for Names {
        fn read(&self, photo: &ImageRef, _: &ImageLimits) -> Result<Vec<u8>, ImageError> {
            let name = photo.to_string();
            match name.as_str() {
                "stop" => self.0.ask(),
                "empty" => return Err(ImageError::EmptyFile),
                "never" => panic!("read after a stop was asked for"),
                _ => {}
            }
            Ok(name.into_bytes())
        }

        fn stamp(&self, _: &ImageRef) -> String {
            String::new()
        }

        fn key(&self) -> String {
            String::new()
        }
    }

    fn described(photo: Option<&str>) -> Description {
        let (id, photo) = ("one".to_owned(), photo.map(ImageRef::file));
        Description { id, text: String::new(), captions: Vec::new(), photo }
    }

    #[tokio::test]
    async fn photos_are_read_in_their_places_until_a_stop_is_asked_for() {
        let stop = Stop::default();
        let photos = Arc::new(Names(stop.clone()));
        let viewer = PhotoViewer::new(photos, DecodeOptions::default(), &LlmConfig::default());
        let viewer = Arc::new(viewer);
        let round = [Some("cat"), None, Some("empty")].map(described);
        let found = shown(&round, Some(&viewer), &stop).await.expect("read");
        let hashes: Vec<_> =
            found.iter().map(|one| one.as_ref().map(|photo| photo.sha256.as_str())).collect();
        assert_eq!(hashes, [Some(&*hash::sha256_hex(b"cat")), None, Some("")]);
        let none = shown(&round, None, &stop).await.expect("nothing to read");
        assert!(none.iter().all(Option::is_none) && none.len() == 3);
        let round = [Some("stop"), Some("never")].map(described);
        let stopped = shown(&round, Some(&viewer), &stop).await.expect_err("stopped");
        assert_eq!(stopped.code(), "stopped");
    }
}
