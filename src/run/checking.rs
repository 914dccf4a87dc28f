//! The language model's check of candidates in a run: one question for a photo, its reply kept, and
//! the draw after it.

use std::sync::Arc;

use futures::stream;
use tokio::runtime::Handle;

use crate::Error;
use crate::base::key::Key;
use crate::config::Config;
use crate::dataset::PhotoViewer;
use crate::dataset::record::{Refused, Stage, Verdict};
use crate::dataset::store::{ItemToMatch, Store};
use crate::llm::{ChatModel, ChatReply, ChatRequest, ImageAttachment, LlmError, See, unfinished};
use crate::matching::check::{Asked, CheckKind, Finding, llm};
use crate::matching::{Candidate, MatchError, MatchRules, Wordings, keep_askable};
use crate::work::{Backend, Calls, Phase, Silent, Stop};

use super::photo_calls::{PhotoCalls, PhotoRole, PhotoTask, is_settled};

/// The text of an instruction, and what it requires where that is known.
type Worded = (Arc<str>, Option<Arc<[String]>>);

/// What is asked about a photo.
#[derive(Clone)]
pub struct About {
    descriptions: Vec<String>,
    instructions: Vec<Worded>,
}

impl About {
    fn asked(&self) -> Vec<Asked<'_>> {
        let asked = self.instructions.iter();
        asked.map(|(text, requires)| Asked { text, requires: requires.as_deref() }).collect()
    }

    /// The key of the question about the photo of `item_key`.
    fn key(&self, item_key: &str) -> String {
        let texts = self.instructions.iter().map(|(text, _)| &**text);
        Key::new("question", 1)
            .field("item", item_key)
            .list("said", self.descriptions.iter().map(String::as_str))
            .list("instructions", texts)
            .done()
    }
}

/// The role that says what applies.
pub struct Checking {
    see: See,
}

impl PhotoRole for Checking {
    type About = About;

    const NAME: &'static str = "check";
    const STAGE: Stage = Stage::Match;

    fn request(
        &self,
        about: &About,
        photo: Option<ImageAttachment>,
        seed: u64,
        attempt: u32,
    ) -> ChatRequest {
        let asked = about.asked();
        let settings = llm::sampling(asked.len(), attempt);
        llm::question(self.see, &about.descriptions, &asked, photo, settings, seed)
    }

    fn verdict(&self, about: &About, reply: &ChatReply) -> Verdict {
        let reason = match unfinished(reply.finish.name()) {
            Some(code) => Some(code.to_owned()),
            None => llm::read(&reply.text, about.instructions.len()).err().map(|e| e.to_string()),
        };
        match reason {
            Some(reason) => Verdict::Reject(Refused { code: UNREADABLE.into(), reason }),
            None => Verdict::Pass,
        }
    }
}

/// The code of a photo of whose candidates no reply could be read.
const UNREADABLE: &str = "llm_check_unreadable";

/// What became of a photo's candidates.
pub enum Checked {
    /// They can be drawn from.
    Ready,
    /// Its call failed: the photo is matched at the next start.
    Waiting,
    /// The model's verdict is not to be had.
    Refused(Refused),
}

/// Asks which candidates apply.
pub struct CheckAsker {
    calls: Arc<PhotoCalls<Checking>>,
    model: Arc<dyn ChatModel>,
    backend: Backend,
    /// Of the runtime that the calls are made in.
    handle: Handle,
}

impl CheckAsker {
    /// One that asks `model`; must be made inside a runtime.
    pub fn new(
        config: &Config,
        backend: Backend,
        model: Arc<dyn ChatModel>,
        viewer: Arc<PhotoViewer>,
    ) -> Self {
        let llm::CheckConfig { see, attempts } = config.check;
        let prompt_hash = llm::prompt_hash(see);
        let conf = Key::new("check", 1)
            .field("prompts", prompt_hash.as_str())
            .field("see", see.name())
            .field("model", model.name())
            .field("seed", config.seed)
            .done();
        let viewer = see.shows_photo().then_some(viewer);
        let (role, seed) = (Checking { see }, config.seed);
        let calls = PhotoCalls { role, conf, see, prompt_hash, seed, attempts, viewer };
        Self { calls: Arc::new(calls), model, backend, handle: Handle::current() }
    }

    /// Adds what the model says to the candidates of each photo, asking where no reply is kept.
    /// Those that it was not asked about, because they are too many, are left out. Returns what
    /// became of each photo, and why the calls ended early, if they did. To be called from a thread
    /// that may block.
    ///
    /// # Errors
    /// The store failed.
    pub fn settle(
        &self,
        store: &Store,
        items: &[ItemToMatch],
        found: &mut [Result<Vec<Candidate>, MatchError>],
        (rules, wordings): (&MatchRules, &Wordings),
        stop: &Stop,
    ) -> Result<(Vec<Checked>, Option<LlmError>), Error> {
        let sees = self.calls.see.shows_photo();
        let mut questions = Vec::new();
        for (at, (item, found)) in items.iter().zip(&mut *found).enumerate() {
            let Ok(list) = found else { continue };
            let places = keep_askable(list, rules);
            let worded = places.into_iter().filter_map(|place| {
                let wording = wordings(&list[place].id)?;
                let any = wording.requires.as_ref().is_some_and(|requires| requires.is_empty());
                (!any).then_some((place, (wording.text, wording.requires)))
            });
            let (places, instructions): (Vec<usize>, Vec<_>) = worded.unzip();
            if places.is_empty() {
                continue;
            }
            if item.descriptions.is_empty() && !sees {
                // It has nothing to go by.
                for place in places {
                    add(&mut list[place], Finding::abstained(CheckKind::Llm));
                }
                continue;
            }
            let about = About { descriptions: item.descriptions.clone(), instructions };
            let key = about.key(&item.item_key);
            questions.push(Question { at, places, about, key });
        }
        let gave_up = self.ask(store, items, &questions, stop)?;
        let mut checked: Vec<Checked> = items.iter().map(|_| Checked::Ready).collect();
        for Question { at, places, about, key } in questions {
            let replies = store.photo_replies(Checking::NAME, &key, &self.calls.conf)?;
            let last = replies.last().filter(|_| is_settled(&replies, self.calls.attempts));
            let asked = about.asked();
            checked[at] = match last.map(|last| (&last.verdict, llm::read(&last.text, asked.len())))
            {
                None => Checked::Waiting,
                Some((Verdict::Reject(refused), _)) => Checked::Refused(refused.clone()),
                Some((Verdict::Pass, Err(error))) => {
                    let reason = error.to_string();
                    Checked::Refused(Refused { code: UNREADABLE.into(), reason })
                }
                Some((Verdict::Pass, Ok(verdicts))) => {
                    let Ok(list) = &mut found[at] else { continue };
                    for ((place, asked), applies) in places.into_iter().zip(asked).zip(verdicts) {
                        add(&mut list[place], llm::finding(&asked, applies));
                    }
                    Checked::Ready
                }
            };
        }
        Ok((checked, gave_up))
    }

    /// Makes the calls for questions without an end.
    fn ask(
        &self,
        store: &Store,
        items: &[ItemToMatch],
        questions: &[Question],
        stop: &Stop,
    ) -> Result<Option<LlmError>, Error> {
        let mut open = Vec::new();
        for Question { at, about, key, .. } in questions {
            let replies = store.photo_replies(Checking::NAME, key, &self.calls.conf)?;
            if is_settled(&replies, self.calls.attempts) {
                continue;
            }
            let item = &items[*at];
            open.push(Ok(PhotoTask {
                item_id: item.id.clone(),
                key: key.clone(),
                image: item.photo.clone(),
                image_sha256: item.image_sha256.clone(),
                about: about.clone(),
                attempt: replies.last().map_or(1, |last| last.attempt + 1),
            }));
        }
        if open.is_empty() {
            return Ok(None);
        }
        let (asking, keeper) = (Arc::clone(&self.calls), store.reopen()?);
        let calls = Calls {
            asking: Arc::clone(&self.calls),
            model: Arc::clone(&self.model),
            backend: &self.backend,
            answered: store.has_photo_replies(Checking::NAME, &self.calls.conf)?,
            phase: Phase::Match,
            stop,
            // Photos are counted when they are matched.
            progress: &Silent,
        };
        let keep = move |rows: Vec<_>| Ok(asking.keep(&keeper, &rows)?);
        let worked = self.handle.block_on(calls.work(stream::iter(open), keep))?;
        Ok(worked.gave_up)
    }
}

/// What is to be asked about the photo at `at`: of the candidates at `places`.
struct Question {
    at: usize,
    places: Vec<usize>,
    about: About,
    key: String,
}

fn add(candidate: &mut Candidate, finding: Finding) {
    candidate.verdict.get_or_insert_default().findings.push(finding);
}
