//! What the services share: the engine's parts, and embedding as every service needs it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Limits;
use super::fault::Fault;
use super::images::ImageLoader;
use super::pb;
use super::validate;
use super::writer::AnswerWriter;
use crate::config::Config;
use crate::encoder::Encoder;
use crate::encoder::queue::{CallContext, EncoderService, ImageEmbedded, TextEmbedded, Timings};
use crate::instruction::store::InstructionStore;
use crate::jobs::JobManager;
use crate::matching::PhotoSearch;
use crate::matching::check::Checker;

/// The server's parts.
pub struct App {
    pub config: Arc<Config>,
    pub limits: Limits,
    pub queue: EncoderService,
    pub encoder: Arc<dyn Encoder>,
    pub library: Arc<InstructionStore>,
    pub jobs: JobManager,
    pub answers: AnswerWriter,
    pub images: ImageLoader,
    pub photos: Arc<PhotoSearch>,
    /// Holds what instructions require against photos; of no kind by itself.
    pub checker: Checker,
    pub started: SystemTime,
}

/// Results of a list's items, and where the time went.
pub type Embedded<T> = (Vec<Result<T, Fault>>, Timings);

impl App {
    /// The encoder in use.
    pub fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// Width of the embeddings.
    pub fn dim(&self) -> usize {
        self.encoder().dim()
    }

    /// Items of one stream that may be in work at once: two batches keep the encoder busy while
    /// answers are on their way.
    pub fn read_ahead(&self) -> usize {
        (4 * self.config.serve.queue.batch_size).clamp(2, 64)
    }

    /// How long a stream may stand still.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.limits.stream_idle_seconds)
    }

    /// Embeds a list of images; what is wrong with one is its own result.
    ///
    /// # Errors
    /// The queue refused the call as a whole.
    pub async fn embed_images(
        &self,
        images: Vec<pb::Image>,
        field: &str,
        context: &CallContext,
    ) -> Result<Embedded<ImageEmbedded>, Fault> {
        let mut loaded = self.images.load(images, field).await?;
        let (sound, gaps) = split(loaded.take_images().into_iter());
        if sound.is_empty() {
            return Ok((merge(Vec::new(), gaps), Timings::default()));
        }
        let embedded = self.queue.embed_images(sound, context).await.map_err(Fault::from)?;
        let items = embedded.items.into_iter().map(|item| item.map_err(Fault::from));
        Ok((merge(items.collect(), gaps), embedded.timings))
    }

    /// Embeds a list of texts; what is wrong with one is its own result.
    ///
    /// # Errors
    /// The queue refused the call as a whole.
    pub async fn embed_texts(
        &self,
        texts: Vec<String>,
        field: &str,
        context: &CallContext,
    ) -> Result<Embedded<TextEmbedded>, Fault> {
        let checked = texts.into_iter().enumerate().map(|(position, text)| {
            validate::text(&format!("{field}[{position}]"), &text, &self.limits).map(|()| text)
        });
        let (sound, gaps) = split(checked);
        if sound.is_empty() {
            return Ok((merge(Vec::new(), gaps), Timings::default()));
        }
        let embedded = self.queue.embed_texts(sound, context).await.map_err(Fault::from)?;
        let items = embedded.items.into_iter().map(|item| item.map_err(Fault::from));
        Ok((merge(items.collect(), gaps), embedded.timings))
    }

    /// Embeds one image.
    ///
    /// # Errors
    /// What is wrong with it, or with the call.
    pub async fn embed_image(
        &self,
        image: pb::Image,
        field: &str,
        context: &CallContext,
    ) -> Result<(ImageEmbedded, Timings), Fault> {
        let (items, spent) = self.embed_images(vec![image], field, context).await?;
        let image = only(items).map_err(|fault| fault.at(field))?;
        Ok((image, spent))
    }

    /// Embeds one text.
    ///
    /// # Errors
    /// What is wrong with it, or with the call.
    pub async fn embed_text(
        &self,
        text: String,
        field: &str,
        context: &CallContext,
    ) -> Result<(TextEmbedded, Timings), Fault> {
        validate::text(field, &text, &self.limits)?;
        let (items, spent) = self.embed_texts(vec![text], field, context).await?;
        Ok((only(items)?, spent))
    }

    /// The vector of an instruction, if there is one of this id.
    pub fn instruction_vector(&self, id: &str) -> Option<Vec<f32>> {
        self.library.vector(id)
    }

    /// Runs engine work that blocks (SQLite, index) off the async threads.
    ///
    /// # Errors
    /// The work's own, or that it ended unexpectedly.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let app = Arc::clone(self);
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(&app))).await;
        done.unwrap_or_else(|error| Err(Fault::internal(error.to_string())))
    }
}

/// The sound items, and for each place in the list the fault that stands there.
pub fn split<T>(items: impl Iterator<Item = Result<T, Fault>>) -> (Vec<T>, Vec<Option<Fault>>) {
    let mut sound = Vec::new();
    let gaps = items.map(|item| item.map(|item| sound.push(item)).err()).collect();
    (sound, gaps)
}

/// Puts the results of the sound items back into their places.
pub fn merge<T>(results: Vec<Result<T, Fault>>, gaps: Vec<Option<Fault>>) -> Vec<Result<T, Fault>> {
    let mut results = results.into_iter();
    let missing = || Err(Fault::internal("no result for this item"));
    gaps.into_iter()
        .map(|gap| gap.map_or_else(|| results.next().unwrap_or_else(missing), Err))
        .collect()
}

/// The result of a list of one.
fn only<T>(items: Vec<Result<T, Fault>>) -> Result<T, Fault> {
    items.into_iter().next().unwrap_or_else(|| Err(Fault::internal("no result for this item")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_keep_their_places() {
        let items = [Ok(1), Err(Fault::required("a")), Ok(2), Err(Fault::required("b"))];
        let (sound, gaps) = split(items.clone().into_iter());
        assert_eq!(sound, [1, 2]);
        assert_eq!(merge(sound.into_iter().map(Ok).collect(), gaps), items);
    }
}
