//! `pairwright.v1.EmbeddingService`.

use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};

use super::super::app::App;
use super::super::call::Call;
use super::super::fault::Fault;
use super::super::pb::embedding_service_server::EmbeddingService;
use super::super::pb::{self, embed_stream_request::Input, embed_stream_response as stream_reply};
use super::super::streams::{Replies, answer_in_order};
use super::super::{convert, validate};
use crate::encoder::queue::{CallContext, ImageEmbedded, Lane, TextEmbedded, Timings};

/// Embeds images and texts.
pub struct Embedding(pub Arc<App>);

#[tonic::async_trait]
impl EmbeddingService for Embedding {
    type EmbedStreamStream = Replies<pb::EmbedStreamResponse>;

    async fn embed_images(
        &self,
        request: Request<pb::EmbedImagesRequest>,
    ) -> Result<Response<pb::EmbedImagesResponse>, Status> {
        let call = Call::of(&request);
        let pb::EmbedImagesRequest { images, lane } = request.into_inner();
        validate::items("images", images.len(), &self.0.limits)?;
        call.items(images.len())?;
        let context = call.unary(validate::lane(lane, Lane::Interactive)?);
        let (items, spent) = self.0.embed_images(images, "images", &context).await?;
        let results = items.into_iter().map(image_result).collect();
        let model = Some(convert::model_ref(self.0.encoder()));
        let timings = Some(convert::timings(spent, call.began));
        Ok(Response::new(pb::EmbedImagesResponse { results, model, timings }))
    }

    async fn embed_texts(
        &self,
        request: Request<pb::EmbedTextsRequest>,
    ) -> Result<Response<pb::EmbedTextsResponse>, Status> {
        let call = Call::of(&request);
        let pb::EmbedTextsRequest { texts, lane } = request.into_inner();
        validate::items("texts", texts.len(), &self.0.limits)?;
        call.items(texts.len())?;
        let context = call.unary(validate::lane(lane, Lane::Interactive)?);
        let (items, spent) = self.0.embed_texts(texts, "texts", &context).await?;
        let results = items.into_iter().map(text_result).collect();
        let model = Some(convert::model_ref(self.0.encoder()));
        let timings = Some(convert::timings(spent, call.began));
        Ok(Response::new(pb::EmbedTextsResponse { results, model, timings }))
    }

    async fn embed_stream(
        &self,
        request: Request<Streaming<pb::EmbedStreamRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        let call = Call::of(&request);
        let app = Arc::clone(&self.0);
        let (ahead, idle) = (app.read_ahead(), app.idle());
        let bytes = call.bytes();
        let work = move |_, message| embed_one(Arc::clone(&app), call.clone(), message);
        Ok(Response::new(answer_in_order(request.into_inner(), ahead, idle, bytes, work)))
    }
}

/// Answers one message of a stream. Only a call that cannot go on at all is an error.
async fn embed_one(
    app: Arc<App>,
    call: Call,
    message: pb::EmbedStreamRequest,
) -> Result<Option<pb::EmbedStreamResponse>, Fault> {
    let began = Instant::now();
    let pb::EmbedStreamRequest { correlation_id, input, lane } = message;
    validate::echo_id("correlation_id", &correlation_id)?;
    let context = call.stream(validate::lane(lane, Lane::Bulk)?);
    call.stream_item().await;
    let (result, spent) = match embed_input(&app, input, &context).await {
        Ok(embedded) => embedded,
        Err(fault) if fault.ends_stream() => return Err(fault),
        Err(fault) => (stream_reply::Result::Error(fault.into_item()), Timings::default()),
    };
    let timings = Some(convert::timings(spent, began));
    Ok(Some(pb::EmbedStreamResponse { correlation_id, result: Some(result), timings }))
}

async fn embed_input(
    app: &App,
    input: Option<Input>,
    context: &CallContext,
) -> Result<(stream_reply::Result, Timings), Fault> {
    match input {
        None => Err(Fault::required("input")),
        Some(Input::Image(image)) => {
            let (image, spent) = app.embed_image(image, "image", context).await?;
            Ok((stream_reply::Result::Image(image_embedding(image)), spent))
        }
        Some(Input::Text(text)) => {
            let (text, spent) = app.embed_text(text, "text", context).await?;
            Ok((stream_reply::Result::Text(text_embedding(text)), spent))
        }
    }
}

fn image_result(item: Result<ImageEmbedded, Fault>) -> pb::ImageEmbeddingResult {
    use pb::image_embedding_result::Result as Outcome;
    let result = match item {
        Ok(image) => Outcome::Embedding(image_embedding(image)),
        Err(fault) => Outcome::Error(fault.into_item()),
    };
    pb::ImageEmbeddingResult { result: Some(result) }
}

fn image_embedding(image: ImageEmbedded) -> pb::ImageEmbedding {
    let info = Some(convert::image_info(&image.info));
    pb::ImageEmbedding { vector: Some(convert::embedding(image.vector)), image: info }
}

fn text_result(item: Result<TextEmbedded, Fault>) -> pb::TextEmbeddingResult {
    use pb::text_embedding_result::Result as Outcome;
    let result = match item {
        Ok(text) => Outcome::Embedding(text_embedding(text)),
        Err(fault) => Outcome::Error(fault.into_item()),
    };
    pb::TextEmbeddingResult { result: Some(result) }
}

fn text_embedding(text: TextEmbedded) -> pb::TextEmbedding {
    pb::TextEmbedding {
        vector: Some(convert::embedding(text.vector)),
        token_count: convert::count(text.tokens),
        truncated: text.truncated,
    }
}
