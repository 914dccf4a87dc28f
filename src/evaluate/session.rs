//! `judge` from its files to its results: the entry points a command or a job calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::llm::{self, Account, ChatModel, Ledger, LlmConfig, LlmError};
use crate::sandbox::FileAccess;
use crate::work::{Backend, Estimate, ProbePolicy, Progress, Stop, Worked};

use super::align::{Entrant, align};
use super::error::EvaluationError;
use super::folder::{EvaluationFolder, Kind};
use super::image_view::ImageView;
use super::judge::{Board, Judge, Session, count_open};
use super::prompt::JudgePrompts;
use super::question::{AnswerFile, QuestionFile};
use super::request::{JudgeOptions, JudgeRequest, Shared};
use super::results::{self, FileFacts, JudgeFacts, JudgeResults};
use super::store::{EvaluationStore, Record};

/// Names in the store's `meta`: what was last asked for, and the judge's own name.
const REQUEST: &str = "request";
const MODEL: &str = "model";

/// Results, and how the work of this session ended.
#[derive(Debug)]
pub struct Finished<T> {
    pub results: T,
    pub worked: Worked,
}

/// Files and settings that fit together, before anything is paid for.
pub(super) struct Prepared {
    pub board: Arc<Board>,
    pub prompts: JudgePrompts,
    pub questions: FileFacts,
}

impl Prepared {
    /// Reads and checks every file of an evaluation; `pairs` says who meets whom.
    pub fn read(
        questions: &Path,
        answers: &[&Path],
        options: &JudgeOptions,
        access: &FileAccess,
        pairs: impl FnOnce(&[Entrant]) -> Result<Vec<(usize, usize)>, EvaluationError>,
    ) -> Result<Self, Error> {
        options.validate()?;
        let file = QuestionFile::read(questions, access)?;
        let answers: Vec<AnswerFile> =
            answers.iter().map(|path| AnswerFile::read(path, access)).collect::<Result<_, _>>()?;
        let entrants = align(&file, &answers, options.empty)?;
        let images = options.images.as_deref();
        let view = ImageView::check(&file.questions, images, options.sight, access, &options.llm)?;
        let prompts = JudgePrompts::read(options.prompts.as_deref())?;
        let facts =
            FileFacts { name: String::new(), path: file.path.clone(), sha256: file.sha256.clone() };
        let pairs = pairs(&entrants)?;
        let board = Arc::new(Board { questions: file.questions, entrants, pairs, view });
        Ok(Self { board, prompts, questions: facts })
    }

    /// With the built-in prompts that the evaluation in `store` began with, unless its own are set.
    pub fn going_on(
        mut self,
        options: &JudgeOptions,
        store: &EvaluationStore,
    ) -> Result<Self, Error> {
        if options.prompts.is_none() {
            let JudgePrompts { system, user, .. } = self.prompts;
            let (system, user) = store.database().began_with("judge prompts", (system, user))?;
            self.prompts = JudgePrompts::of(system, user);
        }
        Ok(self)
    }

    pub fn judge(&self, options: &JudgeOptions, model: String) -> Arc<Judge> {
        Arc::new(Judge {
            prompts: self.prompts.clone(),
            model,
            settings: options.settings.clone(),
            seed: options.seed,
            attempts: options.attempts,
        })
    }

    pub fn entrant(&self, index: usize) -> FileFacts {
        let Entrant { name, path, sha256, .. } = &self.board.entrants[index];
        FileFacts { name: name.clone(), path: path.clone(), sha256: sha256.clone() }
    }

    pub fn judge_facts(&self, judge: &Judge, llm: &LlmConfig) -> JudgeFacts {
        JudgeFacts {
            model: judge.model.clone(),
            backend: llm.target.to_string(),
            sight: self.board.view.sight(),
            prompt_hash: judge.prompts.hash.clone(),
            system_prompt: judge.prompts.system.clone(),
            user_prompt: judge.prompts.user.clone(),
            settings: judge.settings.clone(),
            seed: judge.seed,
            attempts: judge.attempts,
        }
    }

    /// Judges what is open. A judge known from before is not even connected to when all is done.
    pub async fn work(
        &self,
        options: &JudgeOptions,
        shared: Option<&Backend>,
        session: Session<'_>,
    ) -> Result<(Arc<Judge>, Worked), Error> {
        if let Some(judge) = self.finished_before(options, session.store)? {
            return Ok((judge, Worked::default()));
        }
        let backend = shared.cloned().unwrap_or_else(|| own(&options.llm));
        let model = backend.model().await.map_err(|down| down.reason)?;
        let model = on_account(model, session.store, "judge", &options.llm)?;
        session.store.database().set_meta(MODEL, model.name())?;
        let judge = self.judge(options, model.name().to_owned());
        let worked = judge.run(&self.board, &backend, model, session).await?;
        Ok((judge, worked))
    }

    fn finished_before(
        &self,
        options: &JudgeOptions,
        store: &EvaluationStore,
    ) -> Result<Option<Arc<Judge>>, Error> {
        let Some(judge) = self.judge_by_name(options, store)? else { return Ok(None) };
        judge.rekey(&self.board, store)?;
        let (_, open) = count_open(&self.board, &judge, store)?;
        Ok((open == 0).then_some(judge))
    }

    /// The judge, where its name is known without asking its server.
    fn judge_by_name(
        &self,
        options: &JudgeOptions,
        store: &EvaluationStore,
    ) -> Result<Option<Arc<Judge>>, Error> {
        let name = match &options.llm.model {
            Some(name) => Some(name.clone()),
            None => store.database().meta(MODEL)?,
        };
        Ok(name.map(|name| self.judge(options, name)))
    }

    /// What the calls that are still open would take.
    pub fn estimate(
        mut self,
        options: &JudgeOptions,
        store: Option<&EvaluationStore>,
    ) -> Result<Estimate, Error> {
        if let Some(store) = store {
            self = self.going_on(options, store)?;
        }
        let known = match store {
            Some(store) => self.judge_by_name(options, store)?,
            None => None,
        };
        let name = options.llm.model.clone().unwrap_or_default();
        let judge = known.unwrap_or_else(|| self.judge(options, name));
        if let Some(store) = store {
            judge.rekey(&self.board, store)?;
        }
        let record = store.map(Record::read).transpose()?.unwrap_or_default();
        judge.estimate(&self.board, &record)
    }
}

/// The model with its calls counted beside the store, and held to the caps of its settings.
pub(super) fn on_account(
    model: Arc<dyn ChatModel>,
    store: &EvaluationStore,
    role: &str,
    config: &LlmConfig,
) -> Result<Arc<dyn ChatModel>, Error> {
    let folder = store.database().path().parent().unwrap_or(Path::new("."));
    let ledger = Ledger::open(folder, || Ok(Vec::new()))?;
    let account = Account::new(&ledger, ("llm", role), config)?;
    Ok(llm::on_account(account, model).map_err(LlmError::from)?)
}

/// A backend that this work does not share.
pub(super) fn own(llm: &LlmConfig) -> Backend {
    Backend::new(llm.clone(), ProbePolicy::default())
}

/// Judges two models, or goes on where an earlier start ended, and writes `results.json`,
/// `verdicts.csv` and `report.html` into `folder`, with what there is even if the judge is gone.
///
/// # Errors
/// Files that do not fit together, before any call; a backend that cannot be reached at all; a
/// folder that cannot be written.
pub async fn judge(
    request: &JudgeRequest,
    folder: &EvaluationFolder,
    stop: &Stop,
    progress: &dyn Progress,
) -> Result<Finished<JudgeResults>, Error> {
    judge_with(request, folder, &Shared::default(), stop, progress).await
}

/// As [`judge`], with what it shares with others.
///
/// # Errors
/// As [`judge`], and files that `shared` does not allow.
pub async fn judge_with(
    request: &JudgeRequest,
    folder: &EvaluationFolder,
    shared: &Shared,
    stop: &Stop,
    progress: &dyn Progress,
) -> Result<Finished<JudgeResults>, Error> {
    let prepared = prepare(request, &shared.access)?;
    let mut store = folder.store(Kind::Judge)?;
    let prepared = prepared.going_on(&request.options, &store)?;
    remember(&store, request)?;
    let session = Session { store: &mut store, stop, progress };
    let (judge, worked) = prepared.work(&request.options, shared.backend.as_ref(), session).await?;
    let verdicts = Record::read(&store)?.pair(&prepared.board, &judge, (0, 1));
    let facts = (prepared.questions.clone(), prepared.entrant(0), prepared.entrant(1));
    let judge_facts = prepared.judge_facts(&judge, &request.options.llm);
    let results = results::of_pair(verdicts, facts, judge_facts, request.options.rule);
    super::output::write_judge(folder, &results)?;
    Ok(Finished { results, worked })
}

/// What judging would take, without a call: every file is read and checked.
///
/// # Errors
/// As [`judge`], before its first call.
pub fn estimate_judge(
    request: &JudgeRequest,
    folder: Option<&EvaluationFolder>,
) -> Result<Estimate, Error> {
    let store = folder.map(|folder| folder.store(Kind::Judge)).transpose()?;
    prepare(request, &FileAccess::Anywhere)?.estimate(&request.options, store.as_ref())
}

fn prepare(request: &JudgeRequest, access: &FileAccess) -> Result<Prepared, Error> {
    let JudgeRequest { questions, first, second, options } = request;
    Prepared::read(questions, &[first, second], options, access, |_| Ok(vec![(0, 1)]))
}

pub(super) fn remember<T: Serialize>(store: &EvaluationStore, request: &T) -> Result<(), Error> {
    // Paths that are no Unicode cannot be kept; such a folder needs its flags again.
    if let Ok(text) = serde_json::to_string(request) {
        store.database().set_meta(REQUEST, &text)?;
    }
    Ok(())
}

/// What was last asked for in a folder, so that its path alone resumes it.
///
/// # Errors
/// The store's; [`EvaluationError::NoResults`] where nothing was asked yet.
pub fn last_request<T: DeserializeOwned>(
    folder: &EvaluationFolder,
    kind: Kind,
) -> Result<T, Error> {
    let none =
        || EvaluationError::NoResults { path: PathBuf::from(folder.path()), file: "request" };
    let text = folder.store(kind)?.database().meta(REQUEST)?.ok_or_else(none)?;
    Ok(serde_json::from_str(&text).map_err(|_| none())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Silent;

    /// A service runs it as a job on whatever thread is free; and what is wrong with its files is
    /// an error of its future, not of a call.
    #[tokio::test]
    async fn a_job_may_move_between_threads() {
        let folder = tempfile::tempdir().expect("temp dir");
        let job = {
            let path = folder.path().to_owned();
            async move {
                let request = JudgeRequest {
                    questions: path.join("none.json"),
                    first: path.join("a.json"),
                    second: path.join("b.json"),
                    options: JudgeOptions::default(),
                };
                let held = EvaluationFolder::take(&path)?;
                judge(&request, &held, &Stop::default(), &Silent).await
            }
        };
        let error = tokio::spawn(job).await.expect("ended").expect_err("no files");
        assert!(error.to_string().contains("none.json"), "{error}");
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
    }
}
