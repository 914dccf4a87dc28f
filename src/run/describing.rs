//! The describe stage: a model writes one description of each photo that is to have one, once the
//! photo is embedded and before it is matched.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::{Stream, TryStreamExt, stream};

use crate::Error;
use crate::answer::describe::{DescribeMode, DescribePrompts, Describer};
use crate::config::Config;
use crate::dataset::PhotoViewer;
use crate::dataset::record::{Stage, Verdict};
use crate::dataset::store::{DESCRIBE, ItemToDescribe, Store};
use crate::llm::{ChatModel, ChatReply, ChatRequest, ImageAttachment, LlmError, PromptSource};
use crate::work::{Backend, Calls, Feed, Phase, Progress, Stop, blocking};

use super::photo_calls::{PhotoCalls, PhotoRole, PhotoTask};

/// Photos read from the store at once.
const PAGE: usize = 256;

impl PhotoRole for Describer {
    /// What the source says of the photo.
    type About = Vec<String>;

    const NAME: &'static str = DESCRIBE;
    const STAGE: Stage = Stage::Describe;

    fn request(
        &self,
        said: &Vec<String>,
        photo: Option<ImageAttachment>,
        seed: u64,
        _: u32,
    ) -> ChatRequest {
        Self::request(self, said, photo, seed)
    }

    fn verdict(&self, _: &Vec<String>, reply: &ChatReply) -> Verdict {
        Self::verdict(self, reply)
    }
}

/// What the stage works with.
pub struct DescribeStage {
    calls: Arc<PhotoCalls<Describer>>,
    /// Also photos of which the source says something.
    all: bool,
    pass: i64,
}

impl DescribeStage {
    /// Settles what is to be described and how, and which descriptions hold from now on; `None`
    /// where none are to be written.
    ///
    /// # Errors
    /// The prompts are refused, or the store failed.
    pub fn prepare(
        config: &Config,
        store: &Store,
        viewer: Arc<PhotoViewer>,
    ) -> Result<Option<Self>, Error> {
        let Config { describe, seed, .. } = config;
        if !describe.is_on() {
            store.hold_descriptions(None, false)?;
            return Ok(None);
        }
        let (_, llm) = config.describe_llm();
        let (set, folder) = DescribePrompts::resolve(describe, &llm.target);
        let name = format!("describe prompts that see {}", describe.see.name());
        let name = PromptSource::kept_as(describe.prompts.as_ref(), &name);
        let built_in = DescribePrompts::of(set, describe.see);
        let prompts = store.database().began_with(&name, built_in)?.with_folder(folder)?;
        let prompt_hash = prompts.hash();
        let describer = Describer::new(prompts, describe.resolved_settings())?;
        let conf = describer.conf_key(*seed);
        let all = describe.mode == DescribeMode::All;
        store.hold_descriptions(Some(&conf), all)?;
        let calls = PhotoCalls {
            role: describer,
            conf,
            see: describe.see,
            prompt_hash,
            seed: *seed,
            attempts: describe.attempts,
            viewer: describe.see.shows_photo().then_some(viewer),
        };
        Ok(Some(Self { calls: Arc::new(calls), all, pass: store.pass()? }))
    }

    /// Key over the descriptions that hold: what is drawn and answered rests on them.
    pub fn key(&self) -> String {
        let which = if self.all { DescribeMode::All } else { DescribeMode::Missing };
        format!("{} {}", self.calls.conf, which.name())
    }

    /// Whether the model is shown photos.
    pub fn shows_photos(&self) -> bool {
        self.calls.viewer.is_some()
    }

    /// Describes every photo that has no description, while embedding still brings new ones. Each
    /// is kept when it comes. A stop lets calls under way finish. Returns why the work ended early,
    /// if it did.
    ///
    /// # Errors
    /// The store failed.
    pub async fn run(
        &self,
        store: &Store,
        (backend, model): (&Backend, Arc<dyn ChatModel>),
        embedded: Feed,
        stop: &Stop,
        progress: &dyn Progress,
    ) -> Result<Option<LlmError>, Error> {
        let started = Instant::now();
        let (clearing, keeper) = (store.reopen()?, store.reopen()?);
        blocking(move || Ok(clearing.clear_photo_failures(DESCRIBE)?)).await?;
        let reading = Reading {
            stage: self,
            store: Arc::new(Mutex::new(store.reopen()?)),
            embedded,
            after: 0,
            progress,
        };
        let asking = Arc::clone(&self.calls);
        let calls = Calls {
            asking: Arc::clone(&self.calls),
            model,
            backend,
            answered: store.has_photo_replies(DESCRIBE, &self.calls.conf)?,
            phase: Phase::Describe,
            stop,
            progress,
        };
        let worked =
            calls.work(reading.photos(), move |rows| Ok(asking.keep(&keeper, &rows)?)).await?;
        if !worked.stopped && worked.gave_up.is_none() {
            progress.finish(Phase::Describe);
        }
        let seconds = started.elapsed().as_secs_f64();
        store.add_stage_time(Phase::Describe.name(), worked.done, seconds)?;
        Ok(worked.gave_up)
    }
}

/// Where the reading of photos stands.
struct Reading<'a> {
    stage: &'a DescribeStage,
    store: Arc<Mutex<Store>>,
    embedded: Feed,
    after: i64,
    progress: &'a dyn Progress,
}

type Task = PhotoTask<Vec<String>>;

impl<'a> Reading<'a> {
    /// The photos to describe in their order, until embedding brings no more.
    fn photos(self) -> impl Stream<Item = Result<Task, Error>> + 'a {
        let pages = stream::try_unfold(self, |mut reading| async {
            let page = reading.next().await?;
            Ok::<_, Error>((!page.is_empty()).then_some((page, reading)))
        });
        pages.map_ok(|page| stream::iter(page.into_iter().map(|item| Ok(task(item))))).try_flatten()
    }

    /// The next photos, once there are some; none when no more come.
    async fn next(&mut self) -> Result<Vec<ItemToDescribe>, Error> {
        loop {
            let last_look = self.embedded.begin_look();
            let items = self.look().await?;
            if let Some(last) = items.last() {
                self.after = last.seq;
            }
            if last_look || !items.is_empty() {
                return Ok(items);
            }
            self.embedded.more().await;
        }
    }

    async fn look(&mut self) -> Result<Vec<ItemToDescribe>, Error> {
        let DescribeStage { calls, all, pass } = self.stage;
        let (all, pass, attempts, after) = (*all, *pass, calls.attempts, self.after);
        let (conf, store) = (calls.conf.clone(), Arc::clone(&self.store));
        let (items, total) = blocking(move || {
            let store = store.lock().unwrap_or_else(PoisonError::into_inner);
            let items = store.items_to_describe(pass, &conf, (all, attempts), after, PAGE)?;
            Ok((items, store.count_to_describe(pass, all)?))
        })
        .await?;
        self.progress.expect(Phase::Describe, total);
        Ok(items)
    }
}

fn task(item: ItemToDescribe) -> Task {
    let ItemToDescribe { id, item_key, image, image_sha256, captions, attempt, .. } = item;
    PhotoTask { item_id: id, key: item_key, image, image_sha256, about: captions, attempt }
}
