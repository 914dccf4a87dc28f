//! Calls about one photo each, beside the answers: each reply is kept under its key in the run's
//! store, so that nothing is asked twice.

use std::sync::Arc;

use crate::Error;
use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::base::hash;
use crate::dataset::record::{Refused, Rejection, Stage, Verdict};
use crate::dataset::store::{PhotoReply, Store};
use crate::dataset::{ImageRef, PhotoViewer, ShowError};
use crate::llm::{ChatReply, ChatRequest, ImageAttachment, LlmError, See};
use crate::work::{Asking, Fate, Outcome};

/// Says that the server refused a question for good: such a reply has no text.
const REFUSED: &str = "refused";

/// What the language model is asked about a photo.
pub trait PhotoRole: Send + Sync + 'static {
    /// What is known of the photo beside the photo itself.
    type About: Clone + Send + Sync + 'static;

    /// The role's name in the store.
    const NAME: &'static str;
    /// Where what comes to nothing is counted.
    const STAGE: Stage;

    /// The call of attempt number `attempt`, from 1.
    fn request(
        &self,
        about: &Self::About,
        photo: Option<ImageAttachment>,
        seed: u64,
        attempt: u32,
    ) -> ChatRequest;

    /// What is said of a reply.
    fn verdict(&self, about: &Self::About, reply: &ChatReply) -> Verdict;
}

/// A photo to ask about.
#[derive(Debug, Clone)]
pub struct PhotoTask<A> {
    /// The user's own id of the photo.
    pub item_id: String,
    /// Of the question: the photo, and whatever else it is about.
    pub key: String,
    pub image: ImageRef,
    /// SHA-256 of the photo's bytes when it was embedded.
    pub image_sha256: String,
    pub about: A,
    /// From 1.
    pub attempt: u32,
}

/// How photos are asked about.
pub struct PhotoCalls<R> {
    pub role: R,
    /// Key over prompts, what is shown, settings and seed.
    pub conf: String,
    pub see: See,
    pub prompt_hash: String,
    pub seed: u64,
    /// Askings per photo until a reply is of use, at least 1.
    pub attempts: u32,
    /// Shows the photos, where the model sees them.
    pub viewer: Option<Arc<PhotoViewer>>,
}

/// What a call leaves in the store.
pub enum PhotoRow {
    /// With the rejection that it is, where nothing more is asked.
    Reply(Box<PhotoReply>, Option<Rejection>),
    Failed {
        key: String,
        failure: Rejection,
        attempts: u32,
    },
}

impl<R: PhotoRole> PhotoCalls<R> {
    /// Keeps rows in their order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keep(&self, store: &Store, rows: &[PhotoRow]) -> Result<(), DbError> {
        let put = |row: &PhotoRow| match row {
            PhotoRow::Reply(reply, rejection) => {
                store.put_photo_reply(R::NAME, &self.conf, reply)?;
                if R::STAGE != Stage::Describe {
                    return Ok(());
                }
                store.put_describe_rejection(&self.conf, &reply.key, rejection.as_ref())
            }
            PhotoRow::Failed { key, failure, attempts } => {
                store.put_failure(&self.conf, &format!("{}:{key}", R::NAME), failure, *attempts)
            }
        };
        store.database().together(|| rows.iter().try_for_each(put))
    }

    fn rejection(&self, task: &PhotoTask<R::About>, code: &str, reason: &str) -> Rejection {
        Rejection {
            stage: R::STAGE,
            code: code.to_owned(),
            reason: reason.to_owned(),
            subject: task.item_id.clone(),
        }
    }

    fn seed(&self, task: &PhotoTask<R::About>) -> u64 {
        hash::call_seed(self.seed, &[R::NAME, &task.key, &task.attempt.to_string()])
    }

    fn row(&self, task: &PhotoTask<R::About>, seed: u64, verdict: Verdict) -> PhotoReply {
        PhotoReply {
            key: task.key.clone(),
            attempt: task.attempt,
            text: String::new(),
            finish: REFUSED.to_owned(),
            llm: String::new(),
            see: self.see.name().to_owned(),
            prompt_hash: self.prompt_hash.clone(),
            seed,
            prompt_tokens: 0,
            completion_tokens: 0,
            verdict,
        }
    }
}

/// Whether nothing more is asked after these replies: one is of use, the server refused the
/// question, or the `attempts` are used up.
pub fn is_settled(replies: &[PhotoReply], attempts: u32) -> bool {
    replies.last().is_some_and(|last| {
        last.verdict == Verdict::Pass || last.finish == REFUSED || last.attempt >= attempts
    })
}

impl<R: PhotoRole> Asking for PhotoCalls<R> {
    type Task = PhotoTask<R::About>;
    type Row = PhotoRow;

    const READS_FILES: bool = true;

    fn request(&self, task: &Self::Task) -> Result<ChatRequest, Error> {
        let show = |viewer: &Arc<PhotoViewer>| viewer.show(&task.image, Some(&task.image_sha256));
        let photo = self.viewer.as_ref().map(show).transpose()?;
        Ok(self.role.request(&task.about, photo, self.seed(task), task.attempt))
    }

    fn reply(
        &self,
        task: Self::Task,
        request: &ChatRequest,
        reply: ChatReply,
    ) -> Outcome<Self::Task, PhotoRow> {
        let verdict = self.role.verdict(&task.about, &reply);
        let refused = verdict != Verdict::Pass;
        let more = refused && task.attempt < self.attempts;
        let rejection =
            (refused && !more).then(|| self.rejection(&task, verdict.code(), verdict.reason()));
        let row = PhotoReply {
            text: reply.text.trim().to_owned(),
            finish: reply.finish.name().to_owned(),
            llm: reply.model,
            prompt_tokens: reply.usage.prompt_tokens,
            completion_tokens: reply.usage.completion_tokens,
            ..self.row(&task, request.seed, verdict)
        };
        let attempt = task.attempt + 1;
        let again = more.then_some(PhotoTask { attempt, ..task });
        Outcome { row: Some(PhotoRow::Reply(row.into(), rejection)), again }
    }

    fn otherwise(
        &self,
        task: &Self::Task,
        request: &ChatRequest,
        error: &LlmError,
    ) -> Option<Self::Task> {
        let viewer = self.viewer.as_ref()?;
        viewer.shrinks_after(request, error).then(|| task.clone())
    }

    fn unaskable(&self, task: &Self::Task, error: &Error) -> Option<PhotoRow> {
        error.get::<ShowError>()?;
        let failure = self.rejection(task, error.code(), &error.to_string());
        Some(PhotoRow::Failed { key: task.key.clone(), failure, attempts: 0 })
    }

    fn failure(&self, task: &Self::Task, error: &LlmError, fate: Fate) -> PhotoRow {
        let (code, reason) = (error.code(), error.to_string());
        let rejection = self.rejection(task, code, &reason);
        if fate == Fate::Later {
            let (key, attempts) = (task.key.clone(), error.attempts);
            return PhotoRow::Failed { key, failure: rejection, attempts };
        }
        let verdict = Verdict::Reject(Refused { code: code.to_owned(), reason });
        PhotoRow::Reply(self.row(task, self.seed(task), verdict).into(), Some(rejection))
    }
}
