//! The language model's check of the candidates of a match: one question for a photo, under the
//! call's deadline.

use std::time::Instant;

use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::app::App;
use super::fault::Fault;
use super::matcher::Candidates;
use crate::base::hash;
use crate::instruction::store::StoredInstruction;
use crate::llm::ChatModel;
use crate::matching::check::{Asked, PhotoView, llm};
use crate::matching::{Candidate, MatchRules};

/// The most candidates of one photo that are asked about.
const MOST_ASKED: usize = 32;

/// Questions for one photo until its reply can be read.
const ATTEMPTS: u64 = 2;

/// Tokens of a reply, and as many more for each candidate.
const TOKENS: (u32, u32) = (64, 24);

/// How the candidates of a call are asked about.
pub(super) struct Asking<'a> {
    pub rules: &'a MatchRules,
    pub seed: u64,
    pub deadline: Option<Instant>,
}

impl App {
    /// Adds to each query's candidates what the language model says of them. Those that it was not
    /// asked about, because they are too many to be drawn from, are left out. What is wrong with
    /// one question is that query's own result.
    ///
    /// # Errors
    /// The language model is down.
    pub(super) async fn ask_what_applies(
        &self,
        queries: &mut [(String, Result<Candidates, Fault>)],
        asking: &Asking<'_>,
    ) -> Result<(), Fault> {
        let model = self.answers.backend.model().await.map_err(Fault::from)?;
        let places = self.answers.backend.in_flight().max(1);
        let questions = queries.iter_mut().map(|(id, found)| {
            let model = &*model;
            async move {
                let Ok(candidates) = found else { return };
                let asked = self.ask_about(model, id, candidates, asking).await;
                if let Err(fault) = asked {
                    *found = Err(fault);
                }
            }
        });
        stream::iter(questions).buffer_unordered(places).collect::<()>().await;
        Ok(())
    }

    async fn ask_about(
        &self,
        model: &dyn ChatModel,
        id: &str,
        found: &mut Candidates,
        asking: &Asking<'_>,
    ) -> Result<(), Fault> {
        let worded = self.keep_asked(&mut found.list, asking.rules);
        if worded.is_empty() {
            return Ok(());
        }
        let asked: Vec<Asked<'_>> = worded
            .iter()
            .map(|(_, one)| Asked { text: &one.text, requires: one.requires.as_deref() })
            .collect();
        let photo = PhotoView { descriptions: &found.descriptions, ..PhotoView::default() };
        let verdicts = self.verdicts(model, &photo, &asked, id, asking).await?;
        for (((at, _), asked), applies) in worded.iter().zip(&asked).zip(verdicts) {
            let verdict = found.list[*at].verdict.get_or_insert_default();
            verdict.findings.push(llm::finding(asked, applies));
        }
        Ok(())
    }

    /// Keeps, of the candidates that nothing refused so far, the best ones, and those that were
    /// refused: the places of the former, with their instructions.
    fn keep_asked(
        &self,
        list: &mut Vec<Candidate>,
        rules: &MatchRules,
    ) -> Vec<(usize, StoredInstruction)> {
        let most = rules.config().top_k.max(rules.config().per_image).min(MOST_ASKED);
        list.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        let (mut open, mut worded) = (0, Vec::new());
        list.retain(|one| {
            if one.is_refused() || one.similarity < rules.min_similarity() {
                return true;
            }
            open += 1;
            open <= most
        });
        for (at, one) in list.iter().enumerate() {
            if !one.is_refused() && one.similarity >= rules.min_similarity() {
                worded.extend(self.library.by_key(&one.id).map(|stored| (at, stored)));
            }
        }
        worded
    }

    /// The verdicts on the instructions, in their order.
    async fn verdicts(
        &self,
        model: &dyn ChatModel,
        photo: &PhotoView<'_>,
        asked: &[Asked<'_>],
        id: &str,
        asking: &Asking<'_>,
    ) -> Result<Vec<bool>, Fault> {
        // Dropped with this future when the client goes away, which gives the call up.
        let cancel = CancellationToken::new();
        let _gone = cancel.clone().drop_guard();
        let mut unread = None;
        for attempt in 0..ATTEMPTS {
            let seed = hash::seed(asking.seed + attempt, &["check", id]);
            let settings = self.answers.check_settings(TOKENS.0 + TOKENS.1 * asked.len() as u32);
            let question = llm::question(photo, Vec::new(), asked, settings, seed >> 1);
            let calling = model.chat(&question, &cancel);
            let reply = match asking.deadline {
                None => calling.await,
                Some(deadline) => {
                    tokio::time::timeout_at(deadline.into(), calling).await.map_err(|_| late())?
                }
            };
            match &reply {
                Ok(_) => self.answers.backend.report_success(),
                Err(error) => {
                    self.answers.backend.report_failure(error);
                }
            }
            match llm::read(&reply.map_err(Fault::from)?.text, asked.len()) {
                Ok(verdicts) => return Ok(verdicts),
                Err(error) => unread = Some(error),
            }
        }
        let why = unread.map(|error| error.to_string()).unwrap_or_default();
        let message = format!("the language model was asked which instructions apply: {why}");
        Err(Fault::new(Code::Unavailable, "LLM_CHECK_UNREADABLE", message))
    }
}

fn late() -> Fault {
    let message = "the deadline passed before the language model said which instructions apply";
    Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
}
