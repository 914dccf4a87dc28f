//! Has a model answer the questions, and writes the published answer format.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Error;
use crate::base::hash;
use crate::base::key::Key;
use crate::base::tokens::break_up;
use crate::llm::{
    ChatReply, ChatRequest, FinishReason, LlmConfig, LlmError, Message, SamplingSettings,
    unfinished,
};
use crate::sandbox::FileAccess;
use crate::work::{Asking, Estimate, Fate, Outcome, Phase, Progress, Stop};

use super::folder::{EvaluationFolder, Kind};
use super::image_view::{ImageView, Sight};
use super::judge::{Session, Sheet, failure, raw_reply, unshown};
use super::old_keys;
use super::output;
use super::question::{Question, QuestionFile, QuestionId};
use super::session::{Finished, on_account, own, remember};
use super::store::{About, Entry, EvaluationStore, FailedCall, Record};
use super::tally::Cost;

/// The answers in the published format.
const ANSWERS_FILE: &str = "answers.jsonl";

/// What a model that cannot see is told before the instruction.
const CAPTION_FRAME: &str = "You are looking at an image that shows this: ";

/// What a model is to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerRequest {
    pub questions: PathBuf,
    /// Folder of the images.
    pub images: Option<PathBuf>,
    /// What the model sees; unset: images where their folder is given, captions otherwise.
    pub sight: Option<Sight>,
    pub llm: LlmConfig,
    pub settings: SamplingSettings,
    pub seed: u64,
    /// The name written as `model_id`; the model's own where unset.
    pub model_id: Option<String>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerResults {
    /// The file of answers.
    pub path: PathBuf,
    pub answered: u64,
    /// Questions without an answer: their calls failed, or were not made yet.
    pub missing: Vec<QuestionId>,
    /// Questions that the server refused for good.
    pub refused: Vec<QuestionId>,
    /// Answers without any text.
    pub empty: Vec<QuestionId>,
    pub cost: Cost,
    /// Why a question that has no answer has none.
    pub failure: Option<FailedCall>,
}

impl AnswerResults {
    /// Why there is no answer with any text, where there is none.
    pub fn why_nothing(&self) -> Option<String> {
        let empty = self.empty.len();
        (self.answered == empty as u64).then(|| match &self.failure {
            Some(failure) => format!("no question has an answer: {}", failure.reason),
            None => format!("no question has an answer: {empty} replies without any text"),
        })
    }
}

/// Answers every question that has no answer yet, and writes `answers.jsonl` into `folder`, with
/// what there is even if the model is gone.
///
/// # Errors
/// Questions or images that cannot be used, before any call; a backend that cannot be reached at
/// all; a folder that cannot be written.
pub async fn answer(
    request: &AnswerRequest,
    folder: &EvaluationFolder,
    stop: &Stop,
    progress: &dyn Progress,
) -> Result<Finished<AnswerResults>, Error> {
    let pad = Arc::new(Pad::read(request)?);
    let mut store = folder.store(Kind::Answer)?;
    remember(&store, request)?;
    let backend = own(&request.llm);
    let model = backend.model().await.map_err(|down| down.reason)?;
    let model = on_account(model, &store, "answer", &request.llm)?;
    let name = model.name().to_owned();
    let tasks = pad.tasks(&name);
    pad.rekey(&name, &tasks, &store)?;
    store.clear_failures()?;
    let record = Record::read(&store)?;
    let replied = |task: &&Task| !record.replies(&task.key).is_empty();
    let open = tasks.iter().filter(|task| !replied(task) && !record.is_refused(&task.key));
    let sheet = Sheet {
        phase: Phase::Answer,
        open: open.cloned().collect(),
        total: tasks.len(),
        answered: tasks.iter().any(|task| replied(&task)),
    };
    let session = Session { store: &mut store, stop, progress };
    let asking = Scribe { pad: Arc::clone(&pad) };
    let worked = session.work(asking, &backend, model, sheet).await?;
    let results = pad.write(folder, &tasks, &store, &name)?;
    Ok(Finished { results, worked })
}

/// What answering would take, without a call.
///
/// # Errors
/// As [`answer`], before its first call.
pub fn estimate_answer(request: &AnswerRequest) -> Result<Estimate, Error> {
    let pad = Pad::read(request)?;
    let mut estimate = Estimate { calls: pad.questions.len() as u64, ..Estimate::default() };
    for question in &pad.questions {
        let characters = pad.text(question).chars().count();
        estimate.add(characters, pad.view.sight() == Sight::Image, pad.settings.max_tokens);
    }
    Ok(estimate)
}

#[derive(Debug, Clone)]
struct Task {
    question: usize,
    key: String,
}

/// The questions as they will be asked.
struct Pad {
    questions: Vec<Question>,
    view: ImageView,
    settings: SamplingSettings,
    seed: u64,
    model_id: Option<String>,
}

impl Pad {
    fn read(request: &AnswerRequest) -> Result<Self, Error> {
        request.llm.validate().map_err(LlmError::from)?;
        request.settings.validate().map_err(LlmError::from)?;
        // Only the command line has models answer, where the user is the operator.
        let access = FileAccess::Anywhere;
        let file = QuestionFile::read(&request.questions, &access)?;
        // The same check as for answers: ids must be unique.
        super::align(&file, &[], Default::default())?;
        let (images, llm) = (request.images.as_deref(), &request.llm);
        let view = ImageView::check(&file.questions, images, request.sight, &access, llm)?;
        Ok(Self {
            questions: file.questions,
            view,
            settings: request.settings.clone(),
            seed: request.seed,
            model_id: request.model_id.clone(),
        })
    }

    fn tasks(&self, model: &str) -> Vec<Task> {
        let task = |question: usize| {
            let id = self.questions[question].question_id.to_string();
            let key = reply_key(model, &self.settings, self.seed, self.shown(&id, question));
            Task { question, key }
        };
        (0..self.questions.len()).map(task).collect()
    }

    /// Gives the answers that release 0.1.0 kept for these tasks today's keys.
    fn rekey(&self, model: &str, tasks: &[Task], store: &EvaluationStore) -> Result<(), Error> {
        let old = |task: &Task| {
            let id = self.questions[task.question].question_id.to_string();
            old_keys::answer(model, &self.settings, self.seed, self.shown(&id, task.question))
        };
        let keys = || tasks.iter().map(|task| (old(task), task.key.clone())).collect();
        store.rekey(keys, true)?.report("answers");
        Ok(())
    }

    /// All that an answer depends on beside who gives it; `id` is the question's.
    fn shown<'a>(&'a self, id: &'a str, question: usize) -> [&'a str; 4] {
        let text = &self.questions[question].text;
        [id, text, self.view.sight().name(), self.view.hash(question)]
    }

    fn text(&self, question: &Question) -> String {
        match self.view.sight() {
            Sight::Image => question.text.clone(),
            Sight::Caption => {
                format!("{CAPTION_FRAME}{}\n\n{}", question.caption.trim(), question.text)
            }
        }
    }

    fn write(
        &self,
        folder: &EvaluationFolder,
        tasks: &[Task],
        store: &EvaluationStore,
        model: &str,
    ) -> Result<AnswerResults, Error> {
        let record = Record::read(store)?;
        let path = folder.file(ANSWERS_FILE);
        let mut results = AnswerResults {
            path: path.clone(),
            answered: 0,
            missing: Vec::new(),
            refused: Vec::new(),
            empty: Vec::new(),
            cost: Cost::default(),
            failure: None,
        };
        let mut rows = Vec::new();
        for task in tasks {
            let question = &self.questions[task.question];
            let Some(reply) = record.replies(&task.key).last() else {
                let failure = record.failure(&task.key);
                let refused = failure.is_some_and(|failure| failure.refused);
                let list = if refused { &mut results.refused } else { &mut results.missing };
                results.failure = results.failure.or_else(|| failure.cloned());
                list.push(question.question_id.clone());
                continue;
            };
            results.answered += 1;
            results.cost.add(reply);
            if reply.text.trim().is_empty() {
                results.empty.push(question.question_id.clone());
            }
            let row = json!({
                "question_id": question.question_id,
                "prompt": question.text,
                "text": reply.text.trim(),
                // The name under which the answer was published stays.
                "answer_id": store.old_key(&task.key)?.unwrap_or_else(|| task.key.clone()),
                "model_id": self.model_id.as_deref().unwrap_or(model),
                "metadata": {
                    "shown": self.view.sight(),
                    "seed": reply.seed,
                    "finish": reply.finish,
                },
            });
            rows.push(row);
        }
        output::save_json_lines(&path, &rows)?;
        Ok(results)
    }
}

/// The key of one answer.
fn reply_key(
    model: &str,
    settings: &SamplingSettings,
    seed: u64,
    [question, text, sight, seen]: [&str; 4],
) -> String {
    let key = settings.add_to(Key::new("reply", 2).field("model", model));
    key.field("seed", seed)
        .field("question", question)
        .field("text", text)
        .field("sight", sight)
        .field("shown", seen)
        .done()
}

struct Scribe {
    pad: Arc<Pad>,
}

impl Scribe {
    fn about(&self, task: Task) -> About {
        let question_id = self.pad.questions[task.question].question_id.to_string();
        About { task_key: task.key, question_id, shown_a: String::new(), shown_b: String::new() }
    }
}

impl Asking for Scribe {
    type Task = Task;
    type Row = Entry;

    const READS_FILES: bool = true;

    fn request(&self, task: &Task) -> Result<ChatRequest, Error> {
        let pad = &self.pad;
        let question = &pad.questions[task.question];
        let images = pad.view.attachments(question, task.question)?;
        let message = Message { images, ..Message::user(break_up(&pad.text(question))) };
        let seed = hash::call_seed(pad.seed, &["evaluate answer", &task.key]);
        Ok(ChatRequest::new(vec![message], pad.settings.clone(), seed))
    }

    fn otherwise(&self, task: &Task, request: &ChatRequest, error: &LlmError) -> Option<Task> {
        self.pad.view.shrinks_after(request, error).then(|| task.clone())
    }

    fn unaskable(&self, task: &Task, error: &Error) -> Option<Entry> {
        Some(Entry::Failure(self.about(task.clone()), unshown(error)?))
    }

    fn reply(&self, task: Task, request: &ChatRequest, reply: ChatReply) -> Outcome<Task, Entry> {
        // The server failed in the middle, or does not say that the reply is complete.
        if matches!(reply.finish, FinishReason::Failed | FinishReason::Unknown) {
            let code = unfinished(reply.finish.name()).unwrap_or_default().to_owned();
            let reason = "the server did not end its reply as a complete one".to_owned();
            let failed = FailedCall { code, reason, attempts: reply.attempts, refused: false };
            return Outcome::done(Entry::Failure(self.about(task), failed));
        }
        Outcome::done(Entry::Reply(self.about(task), raw_reply(1, request, reply)))
    }

    fn failure(&self, task: &Task, error: &LlmError, fate: Fate) -> Entry {
        Entry::Failure(self.about(task.clone()), failure(error, fate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a question in tests/golden/made-by-0.1.0/answered: that release's key and today's, both
    /// frozen.
    #[test]
    fn keys_are_frozen() {
        let settings = SamplingSettings { temperature: 0.2, ..SamplingSettings::default() };
        let shown = ["0", "Write a limerick.", "caption", "f266d282ee53a4a85e0234b93ab9447f"];
        let key = reply_key("stub-model", &settings, 7, shown);
        assert_eq!(key, "reply2-905a499eaac59bbe067748d7564797c5");
        let old = old_keys::answer("stub-model", &settings, 7, shown);
        assert_eq!(old, "bd6210df98ef800bd37b879bbd454d20");
    }
}
