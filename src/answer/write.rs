//! Writes one answer as the service does: attempt after attempt until the filters let one pass,
//! telling what happens meanwhile.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Generator;
use super::filter::{Refused, Verdict};
use crate::base::hash;
use crate::dataset::record::{AnswerRow, Pair};
use crate::llm::{ImageAttachment, LlmError};

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerTask {
    /// What the image shows.
    pub description: String,
    /// The instruction's text.
    pub instruction: String,
    /// The photo as it is shown to a model that sees.
    pub photo: Option<ImageAttachment>,
}

/// What happens while an answer is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerEvent {
    /// The next piece of text.
    Delta(String),
    /// A filter refused the attempt; another one begins.
    Retry { attempt: u32, refused: Refused },
}

/// Pieces of text that wait for a slow listener before the reading from the model is slowed down.
const PIECES: usize = 16;

impl Generator {
    /// Makes up to `attempts` attempts (at least 1) and returns the first that passes the filters,
    /// or else the last; one in which the LLM declines is the last. `events` hears of pieces and attempts; a listener that is gone ends the
    /// work as cancelled.
    ///
    /// # Errors
    /// The LLM's, after its retries.
    pub async fn write(
        &self,
        task: &AnswerTask,
        attempts: u32,
        cancel: &CancellationToken,
        events: Option<&mpsc::Sender<AnswerEvent>>,
    ) -> Result<AnswerRow, LlmError> {
        let pair = pair(task);
        let mut last: Option<AnswerRow> = None;
        loop {
            let (attempt, refused) =
                (last.as_ref().map_or(1, |row| row.attempt + 1), last.as_ref());
            let row = match events {
                Some(events) => {
                    let attempting =
                        self.attempt_told(&pair, attempt, refused, task, cancel, events);
                    attempting.await?
                }
                None => self.attempt(&pair, attempt, refused, task.photo.clone(), cancel).await?,
            };
            if !row.verdict.asks_again() || attempt >= attempts {
                return Ok(row);
            }
            if let (Some(events), Verdict::Reject(refused)) = (events, &row.verdict) {
                let refused = refused.clone();
                // A listener that is gone is met again at the next piece of text.
                let _ = events.send(AnswerEvent::Retry { attempt, refused }).await;
            }
            last = Some(row);
        }
    }

    async fn attempt_told(
        &self,
        pair: &Pair,
        attempt: u32,
        last: Option<&AnswerRow>,
        task: &AnswerTask,
        cancel: &CancellationToken,
        events: &mpsc::Sender<AnswerEvent>,
    ) -> Result<AnswerRow, LlmError> {
        let (pieces, mut heard) = mpsc::channel(PIECES);
        let telling = async {
            while let Some(piece) = heard.recv().await {
                if events.send(AnswerEvent::Delta(piece)).await.is_err() {
                    return;
                }
            }
        };
        let asking = self.attempt_streamed(pair, attempt, last, task.photo.clone(), cancel, pieces);
        let (row, ()) = tokio::join!(asking, telling);
        row
    }
}

/// The task as the pipeline knows pairs; its key is made of the texts alone.
fn pair(task: &AnswerTask) -> Pair {
    let AnswerTask { description, instruction, .. } = task.clone();
    let key = hash::key(&["task", &description, &instruction]);
    Pair { key, rank: 1, description, instruction, ..Pair::default() }
}
