//! The language model's check of the candidates of a match: one question for a photo, under the
//! call's deadline.

use std::time::Instant;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::app::App;
use super::call::within;
use super::fault::Fault;
use crate::base::hash;
use crate::llm::{ChatModel, ImageAttachment, See};
use crate::matching::check::{Asked, CheckKind, Finding, llm};
use crate::matching::{Candidate, MatchRules, keep_askable};

/// Questions for one photo until its reply can be read.
const ATTEMPTS: u32 = 2;

/// What was found for a photo.
pub(super) struct Candidates {
    pub descriptions: Vec<String>,
    pub list: Vec<Candidate>,
    /// The photo's file, where the model is to see it.
    pub photo: Option<Bytes>,
}

/// How the candidates of a call are asked about.
pub(super) struct Asking<'a> {
    pub rules: &'a MatchRules,
    pub seed: u64,
    pub deadline: Option<Instant>,
}

impl App {
    /// Adds to each query's candidates what the language model says of them. Those that it was not
    /// asked about, because they are too many, are left out. What is wrong with one question is
    /// that query's own result.
    ///
    /// # Errors
    /// The language model is down, or the deadline has passed.
    pub(super) async fn ask_what_applies(
        &self,
        queries: &mut [(String, Result<Candidates, Fault>)],
        asking: &Asking<'_>,
    ) -> Result<(), Fault> {
        let asking_all = async {
            let shown = queries.iter().filter_map(|(_, found)| found.as_ref().ok()?.photo.as_ref());
            let see = if shown.count() > 0 { self.config.check.see } else { See::Description };
            let model = self.answers.model("check", see).await?;
            let places = self.answers.backend.in_flight().max(1);
            let mut questions = Vec::with_capacity(queries.len());
            for query in queries {
                questions.push(self.ask_about_query(&*model, query, asking));
            }
            stream::iter(questions).buffer_unordered(places).collect::<()>().await;
            Ok(())
        };
        let done = "the language model said which instructions apply";
        within(asking.deadline, done, asking_all).await
    }

    async fn ask_about_query(
        &self,
        model: &dyn ChatModel,
        (id, found): &mut (String, Result<Candidates, Fault>),
        asking: &Asking<'_>,
    ) {
        let Ok(candidates) = found else { return };
        if let Err(fault) = self.ask_about(model, id, candidates, asking).await {
            *found = Err(fault);
        }
    }

    async fn ask_about(
        &self,
        model: &dyn ChatModel,
        id: &str,
        found: &mut Candidates,
        asking: &Asking<'_>,
    ) -> Result<(), Fault> {
        let places = keep_askable(&mut found.list, asking.rules);
        let stored = places.into_iter().filter_map(|at| {
            let stored = self.library.by_key(&found.list[at].id)?;
            Some((at, stored))
        });
        let mut worded: Vec<_> = stored.collect();
        worded.retain(|(_, one)| one.requires.as_ref().is_none_or(|requires| !requires.is_empty()));
        if worded.is_empty() {
            return Ok(());
        }
        let asked: Vec<Asked<'_>> = worded
            .iter()
            .map(|(_, one)| Asked { text: &one.text, requires: one.requires.as_deref() })
            .collect();
        let findings: Vec<Finding> = if found.descriptions.is_empty() && found.photo.is_none() {
            // The model is not shown a photo, so that it has nothing to go by.
            vec![Finding::abstained(CheckKind::Llm); asked.len()]
        } else {
            let about = (found.descriptions.as_slice(), found.photo.as_ref());
            let verdicts = self.verdicts(model, about, &asked, id, asking).await?;
            asked
                .iter()
                .zip(verdicts)
                .map(|(asked, applies)| llm::finding(asked, applies))
                .collect()
        };
        for ((at, _), finding) in worded.iter().zip(findings) {
            found.list[*at].verdict.get_or_insert_default().findings.push(finding);
        }
        Ok(())
    }

    /// The photo as the model is shown it, where it is.
    async fn attached(&self, photo: Option<&Bytes>) -> Result<Option<ImageAttachment>, Fault> {
        match photo {
            Some(photo) => Ok(Some(self.answers.attach(photo).await?)),
            None => Ok(None),
        }
    }

    /// The verdicts on the instructions, in their order.
    async fn verdicts(
        &self,
        model: &dyn ChatModel,
        (descriptions, photo): (&[String], Option<&Bytes>),
        asked: &[Asked<'_>],
        id: &str,
        asking: &Asking<'_>,
    ) -> Result<Vec<bool>, Fault> {
        // Dropped with this future when the client goes away, which gives the call up.
        let cancel = CancellationToken::new();
        let _gone = cancel.clone().drop_guard();
        let mut unread = None;
        let see = if photo.is_some() { self.config.check.see } else { See::Description };
        let (mut attempt, mut shown) = (0, self.attached(photo).await?);
        while attempt < ATTEMPTS {
            let seed = hash::seed(asking.seed + u64::from(attempt), &["check", id]);
            let settings = llm::sampling(asked.len(), attempt + 1);
            let question = llm::question(see, descriptions, asked, shown.clone(), settings, seed);
            let reply = model.chat(&question, &cancel).await;
            if let Err(error) = &reply
                && self.answers.viewer.shrinks_after(&question, error)
            {
                shown = self.attached(photo).await?;
                continue;
            }
            attempt += 1;
            self.answers.note(&reply);
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
